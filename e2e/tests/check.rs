//! `longhaul-controller check` as people run it: what it says, where, and how it ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use e2e::certificate::Authority;
use e2e::objects::{Ingress, backend};
use e2e::process::binary;
use serde_json::Value;

fn check(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("longhaul-controller").unwrap());
    command.current_dir(folder).arg("check").args(arguments).output().unwrap()
}

/// As `helm template CHART | longhaul-controller check -` runs it.
fn check_piped(input: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("longhaul-controller").unwrap());
    command.arg("check").args(arguments).arg("-");
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = streams.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
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
    for arguments in [
        &[][..],
        &["--format", "xml", "."],
        &["--cluster", "."],
        &["--context=a", "."],
        &["--color=red", "."],
    ] {
        assert_eq!(check(folder.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// What `helm template` renders: comments between documents, kinds of others.
const RENDERED: &str = "---\n# Source: chat/templates/serviceaccount.yaml\napiVersion: v1\nkind: \
    ServiceAccount\nmetadata: {name: chat}\n---\n# Source: chat/templates/service.yaml\napiVersion: v1\nkind: \
    Service\nmetadata: {name: chat}\nspec: {ports: [{name: ws, port: 80}]}\n---\n# Source: \
    chat/templates/ingress.yaml\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: chat\n  \
    annotations:\n    longhaul.dev/idle-timeout: 300\nspec:\n  ingressClassName: longhaul\n  rules:\n  - host: \
    chat.example.com\n    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: chat, port: {name: \
    ws}}}}]}\n---\n# Source: chat/templates/deployment.yaml\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: \
    chat}\n";

#[test]
fn what_helm_renders_is_checked_as_it_comes() {
    let done = check_piped(RENDERED, &["--partial"]);
    let wanted = "<stdin>:19: error: invalid type: integer `300`, expected a string [Invalid]\n    in document 3, Ingress \
                  default/chat, metadata.annotations[longhaul.dev/idle-timeout]\n    help: put the value in quotes\n1 \
                  error in 1 object, 1 file; 2 objects of kinds that Longhaul does not read\n";
    assert_eq!((done.status.code(), &*text(&done.stdout)), (Some(1), wanted));
    let quoted = RENDERED.replace("300", "\"300\"");
    let done = check_piped(&quoted, &["--partial"]);
    let wanted = "<stdin>:19: warning: \"300\" is not a duration; the default is served [UnsupportedValue]\n    in document \
                  3, Ingress default/chat, metadata.annotations[longhaul.dev/idle-timeout]\n    help: write a duration \
                  with unit (h, m, s, ms), such as 30s, 5m or 1h30m; 0s: no limit\n1 warning in 2 objects, 1 file; 2 \
                  objects of kinds that Longhaul does not read\n";
    assert_eq!((done.status.code(), &*text(&done.stdout)), (Some(0), wanted));
    assert_eq!(check_piped(&quoted, &["--partial", "--strict"]).status.code(), Some(1));
    let json: Value = serde_json::from_slice(&check_piped(&quoted, &["--format=json"]).stdout).unwrap();
    assert_eq!(
        (&json["findings"][0]["document"], &json["summary"]["others"]),
        (&3.into(), &2.into()),
        "{json:#}"
    );
    let sound = check_piped(&RENDERED.replace("300", "5m"), &["--partial", "--strict"]);
    assert_eq!(sound.status.code(), Some(0), "{}", text(&sound.stdout));
}

#[test]
fn colours_are_for_whoever_sees_them() {
    for (arguments, variable, colored) in [
        (&["--color=always"][..], "", true),
        (&["--color=always"], "1", true),
        (&["--color=never"], "", false),
        (&[], "", false),
    ] {
        let folder = site();
        let path = folder.path().join("site.yaml");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("name: backend,", "name: bakend,"))
            .unwrap();
        let mut command = Command::new(binary("longhaul-controller").unwrap());
        command.current_dir(folder.path()).env("NO_COLOR", variable).arg("check").args(arguments).arg(".");
        let said = text(&command.output().unwrap().stdout);
        assert_eq!(said.contains("\u{1b}[1m\u{1b}[31merror"), colored, "{arguments:?} {said:?}");
    }
}

/// What the standard (SARIF 2.1.0) requires, and what services need to show a finding beside a line.
#[test]
fn findings_are_sarif_too() {
    let folder = site();
    let path = folder.path().join("site.yaml");
    let bad = fs::read_to_string(&path).unwrap().replace("name: backend,", "name: bakend,");
    let bad = bad.replace(
        "metadata:\n",
        "metadata:\n  annotations: {longhaul.dev/idle-timeout: \"300\", example.com/x: y}\n",
    );
    let bad = bad.replace("example.com/x: y", "longhaul.dev/idle-timout: 5s");
    fs::write(&path, &bad).unwrap();
    fs::write(folder.path().join("a b.yaml"), "a: [").unwrap();
    let done = check(folder.path(), &["--format=sarif", "."]);
    assert_eq!(done.status.code(), Some(1));
    let log: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().ends_with("/sarif-schema-2.1.0.json"), "{log:#}");
    let [run] = &log["runs"].as_array().unwrap()[..] else { panic!("one run: {log:#}") };
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "longhaul-controller");
    let here = format!("file://{}/", fs::canonicalize(folder.path()).unwrap().display());
    assert_eq!(run["originalUriBaseIds"]["%SRCROOT%"]["uri"], *here);

    let rules = driver["rules"].as_array().unwrap();
    let shown = |result: &Value| {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"], "{result:#}");
        assert!(!rule["shortDescription"]["text"].as_str().unwrap().is_empty(), "{rule:#}");
        assert!(!result["message"]["text"].as_str().unwrap().is_empty(), "{result:#}");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uriBaseId"], "%SRCROOT%", "{result:#}");
        let (uri, line) = (&place["artifactLocation"]["uri"], &place["region"]["startLine"]);
        assert!(line.as_u64().unwrap() > 0, "{result:#}");
        format!("{} {} {}:{line}", result["level"], result["ruleId"], uri).replace('"', "")
    };
    let line = 1 + bad.lines().position(|line| line.contains("bakend")).unwrap();
    let results: Vec<_> = run["results"].as_array().unwrap().iter().map(shown).collect();
    let missing = format!("error BackendNotFound site.yaml:{line}");
    let wanted = [
        "error Unreadable a%20b.yaml:2",
        "warning UnsupportedValue site.yaml:4",
        "warning UnknownAnnotation site.yaml:4",
        &missing,
    ];
    assert_eq!(results, wanted);
    let fingerprints: std::collections::BTreeSet<_> = run["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["partialFingerprints"].to_string())
        .collect();
    assert_eq!(fingerprints.len(), wanted.len());
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
