//! Images without a registry: archives that containerd imports.
//!
//! Longhaul's own is built from the project's Dockerfile, by `image.sh`. One of any other program of this machine is made
//! here, without a builder: the program and the libraries that it needs, in the form of `docker save` (a manifest, a
//! configuration, layers as tar).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::foreign::in_path;

/// What building Longhaul's image needs is there.
pub fn can_be_built() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "not root, and the builder makes mounts");
    in_path("buildah").map(|_| ())
}

/// An archive with Longhaul's image, built from the Dockerfile unless that was done for the present sources. Blocks, and
/// the first time for minutes.
pub fn longhaul() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../image.sh");
    let ended =
        Command::new(script).arg("archive").stderr(Stdio::inherit()).output().context("running image.sh")?;
    ensure!(ended.status.success(), "image.sh archive: {}", ended.status);
    Ok(PathBuf::from(String::from_utf8(ended.stdout)?.trim()))
}

/// Writes an image that runs one program to a new archive in a folder.
pub(super) fn of_program(name: &str, program: &Path, folder: &Path) -> Result<PathBuf> {
    let work = tempfile::tempdir_in(folder)?;
    let root = work.path().join("root");
    copy(program, &root.join("program"))?;
    for library in libraries(program)? {
        copy(&library, &root.join(library.strip_prefix("/")?))?;
    }
    tar(&root, &work.path().join("layer.tar"))?;
    let layer = sha256(&work.path().join("layer.tar"))?;
    let configuration = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Entrypoint": ["/program"], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    fs::write(work.path().join("config.json"), configuration.to_string())?;
    fs::write(work.path().join("manifest.json"), manifest.to_string())?;
    fs::remove_dir_all(root)?;
    let archive = folder.join(format!("{}.tar", name.replace(['/', ':'], "_")));
    tar(work.path(), &archive)?;
    Ok(archive)
}

fn copy(file: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(target.parent().context("a file lies in a folder")?)?;
    fs::copy(file, target).with_context(|| format!("copying {}", file.display()))?;
    Ok(())
}

/// The shared libraries that a program loads, and what loads them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listed = Command::new("ldd").arg(program).output().context("running ldd")?;
    let said = String::from_utf8_lossy(&listed.stdout).into_owned();
    if !listed.status.success() {
        let complaint = String::from_utf8_lossy(&listed.stderr);
        ensure!(complaint.contains("not a dynamic executable"), "ldd {}: {complaint}", program.display());
        return Ok(Vec::new());
    }
    if said.contains("not found") {
        bail!("libraries of {} are not there:\n{said}", program.display());
    }
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`.
    let words = said.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(words.map(PathBuf::from).collect())
}

fn tar(folder: &Path, archive: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command
        .args(["--create", "--owner=0", "--group=0", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(folder);
    let ended = command.arg(".").output().context("running tar")?;
    ensure!(ended.status.success(), "tar: {}", String::from_utf8_lossy(&ended.stderr).trim());
    Ok(())
}

fn sha256(file: &Path) -> Result<String> {
    let ended = Command::new("sha256sum").arg(file).output().context("running sha256sum")?;
    let said = String::from_utf8(ended.stdout)?;
    Ok(said.split_whitespace().next().context("sha256sum says something")?.to_owned())
}
