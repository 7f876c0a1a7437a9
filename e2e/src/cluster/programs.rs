//! Where the programs of a cluster are.
//!
//! `e2e/kube/build.sh` builds those of Kubernetes. With `KUBEBUILDER_ASSETS`, as is the convention of tests with a
//! control plane, what is in that folder is taken in place of what was built.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;

use super::image;
use crate::foreign::in_path;

/// What a control plane needs.
const CONTROL_PLANE: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"];

/// What a node needs besides.
const NODE: [&str; 4] = ["kube-scheduler", "kubelet", "kube-proxy", "pause"];

/// What a node needs of the machine.
const OF_THE_MACHINE: [&str; 6] = ["containerd", "ctr", "runc", "nft", "conntrack", "unshare"];

/// Where Debian keeps the plugins that give pods their network.
pub(super) const CNI_PLUGINS: &str = "/usr/lib/cni";

/// The folders with the programs of Kubernetes.
pub(super) struct Programs {
    assets: Option<PathBuf>,
    built: Option<PathBuf>,
}

impl Programs {
    /// Finds the programs, and whatever else a control plane needs.
    pub(super) fn for_control_plane() -> Result<Self> {
        ensure!(geteuid().is_root(), "not root, and a cluster needs namespaces");
        in_path("ip")?;
        in_path("nsenter")?;
        let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|folder| !folder.is_empty());
        let programs = Self { assets: assets.map(PathBuf::from), built: built()? };
        CONTROL_PLANE.iter().try_for_each(|name| programs.path(name).map(|_| ()))?;
        programs.mention_replaced(&CONTROL_PLANE)?;
        Ok(programs)
    }

    /// Finds the programs, and whatever else a node needs.
    pub(super) fn for_node() -> Result<Self> {
        let programs = Self::for_control_plane()?;
        image::can_be_built()?;
        NODE.iter().try_for_each(|name| programs.path(name).map(|_| ()))?;
        OF_THE_MACHINE.iter().try_for_each(|name| in_path(name).map(|_| ()))?;
        for plugin in ["bridge", "host-local", "portmap", "loopback"] {
            let path = Path::new(CNI_PLUGINS).join(plugin);
            ensure!(path.exists(), "{} is not installed", path.display());
        }
        Ok(programs)
    }

    /// Where a program is.
    pub(super) fn path(&self, name: &str) -> Result<PathBuf> {
        let folders = self.assets.iter().chain(&self.built);
        let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
        found.with_context(|| format!("{name} is not there; `e2e/tools.sh cluster` builds it"))
    }

    /// Says which programs are not where they were wanted from.
    fn mention_replaced(&self, names: &[&str]) -> Result<()> {
        let Some(assets) = &self.assets else { return Ok(()) };
        for path in names.iter().map(|name| self.path(name)) {
            let path = path?;
            if !path.starts_with(assets) {
                eprintln!("KUBEBUILDER_ASSETS has no such program, so {} is used", path.display());
            }
        }
        Ok(())
    }
}

/// The folder with what was built from the present sources.
fn built() -> Result<Option<PathBuf>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kube/build.sh");
    let ended = Command::new(&script).arg("where").output().context("running e2e/kube/build.sh")?;
    let folder = String::from_utf8(ended.stdout)?;
    Ok(ended.status.success().then(|| PathBuf::from(folder.trim())))
}
