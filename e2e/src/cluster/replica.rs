//! Longhaul's controller and proxy as they run in one pod: next to each other, with a socket between them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::ControlPlane;
use crate::world::{Controller, Proxy};

/// One controller and one proxy. Start and use it inside the namespace; both end when it is dropped.
///
/// Either can be ended and started again. Where they listen is up to their flags; what the flags leave out listens on
/// a free port of loopback.
pub struct Replica {
    /// The controller, while it runs.
    pub controller: Option<Controller>,
    /// The proxy, while it runs.
    pub proxy: Option<Proxy>,
    name: String,
    folder: PathBuf,
    kubeconfig: PathBuf,
}

impl Replica {
    /// A replica of which nothing runs yet. It asks the API server as who is in the kubeconfig. The name is used by
    /// no other replica of this cluster.
    pub fn new(cluster: &ControlPlane, name: &str, kubeconfig: &Path) -> Result<Self> {
        let folder = cluster.folder().join("replicas").join(name);
        std::fs::create_dir_all(&folder)?;
        let (name, kubeconfig) = (name.to_owned(), kubeconfig.to_owned());
        Ok(Self { controller: None, proxy: None, name, folder, kubeconfig })
    }

    /// Starts the controller, with these flags beside those that say where objects come from.
    pub async fn start_controller(&mut self, flags: &[&str]) -> Result<&Controller> {
        let mut all: Vec<OsString> = vec!["--source".into(), "cluster".into(), "--kubeconfig".into()];
        all.push(self.kubeconfig.clone().into());
        all.extend(flags.iter().map(OsString::from));
        let name = format!("controller of {}", self.name);
        Ok(self.controller.insert(Controller::start(&name, &self.socket(), &all).await?))
    }

    /// Starts the proxy, with these flags.
    pub async fn start_proxy(&mut self, flags: &[&str]) -> Result<&Proxy> {
        let flags: Vec<OsString> = flags.iter().map(OsString::from).collect();
        let (name, last_good) = (format!("proxy of {}", self.name), self.folder.join("last-good"));
        Ok(self.proxy.insert(Proxy::start(&name, &self.socket(), &last_good, &flags).await?))
    }

    /// Ends the controller as a crash would.
    pub fn kill_controller(&mut self) -> Result<()> {
        self.controller.take().context("the controller runs")?.process.kill()
    }

    /// Ends the proxy as a crash would.
    pub fn kill_proxy(&mut self) -> Result<()> {
        self.proxy.take().context("the proxy runs")?.process.kill()
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("longhaul.sock")
    }
}
