//! The image as the Dockerfile makes it: what is in it, what is not, and that its programs run with nothing else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use e2e::cluster::image;
use e2e::notes;
use serde_json::Value;
use tempfile::TempDir;

const PROGRAMS: [&str; 2] = ["usr/local/bin/longhaul-controller", "usr/local/bin/longhaul-proxy"];

/// An image, opened.
struct Image {
    config: Value,
    /// Its layers, one on top of the other.
    root: PathBuf,
    _folder: TempDir,
}

impl Image {
    /// As an archive holds it: <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>.
    fn open(archive: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        untar(archive, folder.path());
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            folder.path().join("blobs").join(digest.replace(':', "/"))
        };
        let manifest = json(&blob(&json(&folder.path().join("index.json"))["manifests"][0]));
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            untar(&blob(layer), &root);
        }
        Self { config: json(&blob(&manifest["config"])), root, _folder: folder }
    }

    /// Longhaul's. None: it cannot be built here, which is noted.
    fn wanted_by(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Image> = OnceLock::new();
        if !notes::can_run(test, image::can_be_built()) {
            return None;
        }
        Some(SHARED.get_or_init(|| {
            let archive = image::longhaul().unwrap();
            notes::measured(&format!(
                "the image: {} KiB, compressed",
                fs::metadata(&archive).unwrap().len() / 1024
            ));
            Self::open(&archive)
        }))
    }
}

fn untar(archive: &Path, folder: &Path) {
    let done = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder).status().unwrap();
    assert!(done.success(), "tar -xf {}", archive.display());
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Every regular file below a folder, by its path from there.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path().strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn it_holds_both_programs_and_nothing_else_that_can_be_run() {
    let Some(image) = Image::wanted_by("what the image holds") else { return };
    let mode = |file: &PathBuf| fs::metadata(image.root.join(file)).unwrap().permissions().mode();
    let (executable, other): (Vec<_>, Vec<_>) =
        files(&image.root).into_iter().partition(|file| mode(file) & 0o111 != 0);
    assert_eq!(executable, PROGRAMS.map(PathBuf::from));
    assert!(other.contains(&"etc/ssl/certs/ca-certificates.crt".into()), "{other:?}");
    assert!(other.contains(&"usr/share/doc/longhaul/LICENSE".into()), "{other:?}");
}

#[test]
fn its_programs_need_no_library_and_no_root() {
    let Some(image) = Image::wanted_by("the programs of the image") else { return };
    for program in PROGRAMS {
        let mut command = Command::new("chroot");
        command.arg("--userspec=65532:65532").arg(&image.root).arg(format!("/{program}")).arg("--version");
        let ended = command.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        let name = program.rsplit('/').next().unwrap();
        assert_eq!(said.trim(), format!("{name} {}", env!("CARGO_PKG_VERSION")), "{ended:?}");
    }
}

#[test]
fn it_runs_as_nobody_in_particular_and_says_what_it_is() {
    let Some(image) = Image::wanted_by("the configuration of the image") else { return };
    let config = &image.config["config"];
    assert_eq!(config["User"], "65532:65532");
    // Which of the two programs a container is, its pod says.
    assert_eq!((&config["Entrypoint"], &config["Cmd"]), (&Value::Null, &Value::Null));
    let label = |name: &str| &config["Labels"][format!("org.opencontainers.image.{name}")];
    assert_eq!(label("title"), "Longhaul");
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("licenses"), "Apache-2.0");
}
