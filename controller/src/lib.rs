//! Longhaul's controller: objects in, snapshots out.
//!
//! [`source`] brings objects and their changes; [`reconcile`] keeps them, translates them and publishes what comes
//! out; [`publish`] hands it to proxies; [`overview`] and [`admin`] tell people what is going on. Data flows one way:
//! what proxies answer leads to remarks, never into a translation. [`supervise`] keeps a process with all this
//! running, and [`selftest`] tries what comes of it.
//!
//! Invariant: no traffic passes here. While the controller is away, proxies serve what they have.

pub mod addresses;
pub mod admin;
pub mod affinity_key;
pub mod args;
pub mod check;
pub mod cluster;
pub mod complaint;
pub mod events;
pub mod explain;
mod follow;
pub mod lease;
pub mod live;
pub mod metrics;
pub mod overview;
pub mod pace;
pub mod peers;
pub mod programmed;
pub mod publish;
pub mod reconcile;
pub mod selftest;
pub mod source;
pub mod status;
pub mod supervise;
pub mod version;

#[cfg(test)]
mod memory_api;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use translate::{AffinityKeyFrom, Settings};

use crate::admin::{Admin, ListenError, Listening, Pages};
use crate::affinity_key::Filler;
use crate::cluster::Cluster;
use crate::metrics::Metrics;
use crate::overview::Overview;
use crate::publish::{Proxies, Publisher, Socket};
use crate::reconcile::Reconciler;

/// Where objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The manifests below a directory: [`source::dir`].
    Directory(PathBuf),
    /// An API server: [`source::cluster`].
    Cluster(Box<Cluster>),
}

/// What a controller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where objects come from.
    pub source: Source,
    /// The socket for proxies.
    pub socket: PathBuf,
    /// Where objects come from a directory, the file with the key of affinity cookies. `None`: one beside the socket.
    pub affinity_key: Option<PathBuf>,
    /// Where the admin server listens; port 0 takes any.
    pub admin: Option<SocketAddr>,
    /// Where probes and metrics alone are served as well; port 0 takes any.
    pub observe: Option<SocketAddr>,
    /// How objects are translated.
    pub settings: Settings,
}

/// A controller that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Controller {
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
    /// Of what is written to the API server.
    silent: CancellationToken,
    proxies: watch::Receiver<Proxies>,
    /// Of the admin server, with all pages and with those to observe.
    addresses: [Option<SocketAddr>; 2],
    /// Its file goes with it.
    _socket: Arc<Socket>,
}

impl Controller {
    /// Starts everything, or says plainly what is in the way. `stop` asks all of it to end.
    pub async fn start(config: Config, stop: CancellationToken) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        let mut settings = config.settings;
        let silent = stop.child_token();
        let mut writing = None;
        let feed = match &config.source {
            Source::Directory(directory) => {
                settings.affinity_key = standalone_key(&config.socket, config.affinity_key)?;
                source::dir::start(directory.clone(), &mut tasks, stop.clone()).await?
            }
            Source::Cluster(cluster) => {
                let client = cluster.client().await?;
                let scope = source::cluster::Scope {
                    namespaces: cluster.namespaces.clone(),
                    affinity_key: cluster
                        .affinity_key_secret
                        .clone()
                        .map(|name| (cluster.namespace.clone(), name)),
                    field_manager: status::field_manager(&cluster.namespace, &cluster.lease),
                };
                let (feed, lives) = source::cluster::start(&client, &scope, &mut tasks, &stop);
                writing = Some((client, cluster, lives));
                feed
            }
        };
        let socket = Arc::new(Socket::bind(&config.socket)?);
        let admin = listen(config.admin, Pages::All).await?;
        let observe = listen(config.observe, Pages::Observe).await?;
        let metrics = Arc::new(Metrics::new());
        let publisher = Publisher::new(metrics.bytes_sent())?;
        let controller_name = settings.controller_name.clone();
        let reconciler =
            Reconciler::new(reconcile::from_scratch, settings, publisher.clone(), metrics.clone());
        let overview =
            Overview::new(feed.said, reconciler.view(), publisher.published(), publisher.proxies());

        tracing::info!(path = %socket.path().display(), "socket listening on {}", socket.path().display());
        let addresses = [&admin, &observe].map(|listening| listening.as_ref().map(Listening::address));
        for listening in [admin, observe].into_iter().flatten() {
            let admin = Admin::new(overview.clone(), metrics.clone());
            let admin = match &config.source {
                Source::Directory(_) => admin,
                Source::Cluster(cluster) => admin.answering_as(cluster.pod.clone()),
            };
            tasks.spawn(quietly(admin.serve(listening), stop.clone()));
        }
        if let Some((client, cluster, _)) = writing.as_ref().filter(|(_, cluster, _)| !cluster.status)
            && let Some(name) = cluster.affinity_key_secret.clone()
        {
            // There is no election then.
            let (client, namespace) = (client.clone(), cluster.namespace.clone());
            let filler =
                Filler { client, namespace, name, published: publisher.published(), leadership: None };
            tasks.spawn(quietly(filler.run(), silent.clone()));
        }
        if let Some((client, cluster, lives)) = writing.filter(|(_, cluster, _)| cluster.status) {
            let setup = status::Setup {
                client,
                pod: cluster.pod.clone(),
                namespace: cluster.namespace.clone(),
                lease: cluster.lease.clone(),
                peers_service: cluster.peers_service.clone(),
                affinity_key: cluster.affinity_key_secret.clone(),
                publish: cluster.publish.clone(),
                controller_name,
                view: reconciler.view(),
                published: publisher.published(),
                proxies: publisher.proxies(),
                lives,
                metrics: metrics.clone(),
            };
            tasks.spawn(status::run(setup, silent.clone()));
        }
        tasks.spawn(quietly(overview::log_remarks(overview), stop.clone()));
        tasks.spawn(quietly(reconciler.run(feed.changes, feed.wanted), stop.clone()));
        let proxies = publisher.proxies();
        let (served, stopped) = (socket.clone(), stop.clone());
        tasks.spawn(async move {
            publisher.serve(served, stopped).await;
            Ok(())
        });
        Ok(Self { tasks, stop, silent, proxies, addresses, _socket: socket })
    }

    /// Where the admin server listens.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.addresses[0]
    }

    /// Where probes and metrics alone are served.
    pub fn observe(&self) -> Option<SocketAddr> {
        self.addresses[1]
    }

    /// Waits for a part to end that should not. Waiting may be given up and begun again.
    pub async fn failure(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a part of the controller ended by itself"),
            Some(Err(error)) => anyhow::Error::new(error).context("a part of the controller broke down"),
        }
    }

    /// Writes no more status and gives the lease back, but goes on feeding the proxies until the last one has left.
    pub async fn outstay_proxies(&mut self) {
        self.silent.cancel();
        // The sender ends with the publisher, and then nobody is fed.
        let _ = self.proxies.wait_for(Proxies::is_empty).await;
    }

    /// Ends everything and waits for it. The socket's file is gone afterwards.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The key of affinity cookies where there is no cluster. Without a file that was asked for nothing starts; one that
/// nobody asked for may be impossible, and then the key lasts as long as this process.
fn standalone_key(socket: &Path, file: Option<PathBuf>) -> anyhow::Result<AffinityKeyFrom> {
    let key = match file {
        Some(file) => affinity_key::of_file(&file)?,
        None => affinity_key::of_file(&affinity_key::beside(socket)).or_else(|error| {
            tracing::warn!("{error:#}; affinity cookies do not outlive this process");
            affinity_key::random()
        })?,
    };
    Ok(AffinityKeyFrom::Given(key))
}

/// Opens a port of the admin server, where one is asked for.
async fn listen(address: Option<SocketAddr>, pages: Pages) -> Result<Option<Listening>, ListenError> {
    match address {
        Some(address) => Listening::open(address, pages).await.map(Some),
        None => Ok(None),
    }
}

/// Runs until it ends or is asked to stop.
async fn quietly(work: impl Future<Output = ()>, stop: CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
    Ok(())
}
