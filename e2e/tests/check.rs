//! `longhaul-controller check` as people run it: what it says, where, and how it ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use e2e::certificate::Authority;
use e2e::objects::{Ingress, backend};
use e2e::process::binary;
use serde_json::Value;

fn check(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("longhaul-controller").unwrap());
    command.current_dir(folder).arg("check").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with a sound site.
fn site() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pair = Authority::new().unwrap().issue(&["app.example.com"]).unwrap();
    let ingress = Ingress::new("site", "app.example.com").path("/", "backend").tls("site-tls").yaml();
    for (name, content) in [
        ("site.yaml", ingress),
        ("backend.yaml", backend("backend", &["10.0.0.1:8080".parse().unwrap()])),
        ("secret.yaml", pair.secret("default", "site-tls")),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[test]
fn sound_manifests_are_called_so() {
    let folder = site();
    let done = check(folder.path(), &["."]);
    assert_eq!(
        (done.status.code(), &*text(&done.stdout)),
        (Some(0), "nothing to remark in 4 objects, 3 files\n")
    );
}

#[test]
fn each_remark_names_file_line_field_and_remedy() {
    let folder = site();
    let bad = fs::read_to_string(folder.path().join("site.yaml"))
        .unwrap()
        .replace("name: backend,", "name: bakend,");
    let bad = bad.replace("metadata:\n", "metadata:\n  annotations: {longhaul.dev/idle-timeout: \"300\"}\n");
    fs::write(folder.path().join("site.yaml"), &bad).unwrap();
    let line = 1 + bad.lines().position(|line| line.contains("bakend")).unwrap();
    let done = check(folder.path(), &["."]);
    let wanted = format!(
        "site.yaml:4: warning: \"300\" is not a duration; the default is served [UnsupportedValue]\n    in Ingress \
         default/site, metadata.annotations[longhaul.dev/idle-timeout]\n    help: write a duration with unit (h, m, s, \
         ms), such as 30s, 5m or 1h30m; 0s: no limit\nsite.yaml:{line}: error: there is no Service default/bakend \
         [BackendNotFound]\n    in Ingress default/site, spec.rules[0].http.paths[0].backend.service\n    help: create \
         it, or name a Service of namespace default\n1 error, 1 warning in 4 objects, 3 files\n"
    );
    assert_eq!((done.status.code(), text(&done.stdout)), (Some(1), wanted));

    let done = check(folder.path(), &["--format", "json", "."]);
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(said["summary"]["errors"], 1, "{said:#}");
    let error = &said["findings"][1];
    assert_eq!((&error["line"], &error["object"]["name"]), (&Value::from(line), &Value::from("site")));
    assert_eq!(error["field"], "spec.rules[0].http.paths[0].backend.service");
    assert!(error["file"].as_str().unwrap().ends_with("/site.yaml"), "{error}");
}

#[test]
fn a_part_of_the_world_may_refer_to_the_rest() {
    let folder = site();
    let whole = check(folder.path(), &["site.yaml"]);
    assert_eq!(whole.status.code(), Some(1), "{}", text(&whole.stdout));
    let part = check(folder.path(), &["--partial", "site.yaml"]);
    let said = text(&part.stdout);
    assert_eq!(part.status.code(), Some(0), "{said}");
    for missing in ["there is no Service default/backend among", "there is no Secret default/site-tls among"]
    {
        assert!(said.contains(missing), "{said}");
    }
    assert!(said.ends_with("2 warnings in 1 object, 1 file\n"), "{said}");
}

#[test]
fn what_is_refused_is_an_error_in_any_scope() {
    let folder = site();
    let path = folder.path().join("site.yaml");
    let bad = fs::read_to_string(&path).unwrap().replace("pathType:", "pathTipe:");
    fs::write(&path, bad).unwrap();
    let done = check(folder.path(), &["--partial", "."]);
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stdout).contains("did you mean `pathType`?"), "{}", text(&done.stdout));
}

#[test]
fn an_expired_certificate_is_remarked_upon() {
    let folder = site();
    let expired = Authority::new().unwrap().issue_expired(&["app.example.com"]).unwrap();
    fs::write(folder.path().join("secret.yaml"), expired.secret("default", "site-tls")).unwrap();
    let done = check(folder.path(), &["."]);
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains("warning: the certificate has expired"), "{said}");
    assert!(said.contains("in Secret default/site-tls, data[tls.crt]"), "{said}");
}

#[test]
fn paths_that_cannot_be_read_and_bad_usage_are_told_apart() {
    let folder = site();
    let done = check(folder.path(), &["nowhere"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("cannot read nowhere"), "{}", text(&done.stderr));
    for arguments in [&[][..], &["--format", "xml", "."]] {
        assert_eq!(check(folder.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// What the documentation shows can be used as it stands. (Values and other projects' objects are marked `yml`.)
#[test]
fn the_examples_of_the_documentation_are_sound() {
    for document in ["README.md", "docs/install.md"] {
        let readme =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document)).unwrap();
        let examples: Vec<_> = readme
            .split("```yaml\n")
            .skip(1)
            .filter_map(|rest| rest.split_once("```"))
            .map(|(yaml, _)| yaml)
            .collect();
        assert!(examples.len() >= 2, "{document}: {} examples", examples.len());
        let folder = tempfile::tempdir().unwrap();
        for (number, example) in examples.iter().enumerate() {
            fs::write(folder.path().join(format!("{number}.yaml")), example).unwrap();
        }
        are_sound(document, folder.path());
    }
}

/// What is not among these files is in the cluster.
fn are_sound(document: &str, folder: &Path) {
    let done = check(folder, &["--partial", "."]);
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{document}: {said}");
    let remarks = said.lines().filter(|line| line.contains("warning: "));
    assert!(remarks.clone().all(|line| line.contains(" among these files")), "{document}: {said}");
}
