//! The cluster that a controller belongs to: how it is reached, and who we are in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::addresses::Publish;

/// How long connecting to the API server may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long the API server may be silent within an answer. A watch has something to say at least this often: its end.
const SILENCE: Duration = Duration::from_secs(90);

/// What a controller is told about its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Where the API server is, and who we are there. `None`: the pod's service account, or what kubectl would use.
    pub kubeconfig: Option<PathBuf>,
    /// The namespaces that are watched; none: all of them.
    pub namespaces: BTreeSet<String>,
    /// Write status and Events.
    pub status: bool,
    /// Which addresses the status of objects shows.
    pub publish: Publish,
    /// The Lease that says who writes.
    pub lease: String,
    /// The name of this pod.
    pub pod: String,
    /// The namespace of this pod, of the Lease and of the peers' Service.
    pub namespace: String,
    /// The headless Service of all Longhaul pods.
    pub peers_service: Option<String>,
    /// The Secret, in this pod's namespace, for the key of affinity cookies.
    pub affinity_key_secret: Option<String>,
}

impl Cluster {
    /// A client of the API server. It need not be there yet; how it is reached must be known.
    pub async fn client(&self) -> anyhow::Result<Client> {
        client(self.kubeconfig.as_deref(), None).await
    }
}

/// A client of the API server that a kubeconfig names, or kubectl would ask; in `context` in place of the current one.
pub async fn client(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<Client> {
    let file = match (kubeconfig, context) {
        (Some(path), _) => Some(Kubeconfig::read_from(path).context("the kubeconfig cannot be read")?),
        (None, Some(_)) => Some(Kubeconfig::read().context("the kubeconfig cannot be read")?),
        (None, None) => None,
    };
    let mut config = match file {
        Some(file) => {
            let context = context.map(str::to_owned);
            let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(file, &options)
                .await
                .context("the kubeconfig does not say how the API server is reached")?
        }
        None => Config::infer().await.context(
            "there is neither a service account nor a kubeconfig: run in a pod, or name a file with --kubeconfig",
        )?,
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    config.write_timeout = Some(CONNECT);
    // Whoever asks knows better when to ask again, and says meanwhile what is in the way.
    config.default_retry = false;
    Client::try_from(config).context("the API server's client cannot be made")
}
