//! Longhaul's controller: objects in, snapshots out.
//!
//! [`source`] brings objects and their changes; [`reconcile`] keeps them, translates them and publishes what comes
//! out; [`publish`] hands it to proxies; [`overview`] and [`admin`] tell people what is going on. Data flows one way:
//! what proxies answer leads to remarks, never into a translation.
//!
//! Invariant: no traffic passes here. While the controller is away, proxies serve what they have.

pub mod admin;
pub mod args;
pub mod check;
pub mod cluster;
pub mod live;
pub mod metrics;
pub mod overview;
pub mod publish;
pub mod reconcile;
pub mod source;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use translate::Settings;

use crate::admin::Admin;
use crate::cluster::Cluster;
use crate::metrics::Metrics;
use crate::overview::Overview;
use crate::publish::{Publisher, Socket};
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
    /// Where the admin server listens; port 0 takes any.
    pub admin: Option<SocketAddr>,
    /// How objects are translated.
    pub settings: Settings,
}

/// A controller that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Controller {
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
    admin: Option<SocketAddr>,
    /// Its file goes with it.
    _socket: Arc<Socket>,
}

impl Controller {
    /// Starts everything, or says plainly what is in the way. `stop` asks all of it to end.
    pub async fn start(config: Config, stop: CancellationToken) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        let feed = match &config.source {
            Source::Directory(directory) => {
                source::dir::start(directory.clone(), &mut tasks, stop.clone()).await?
            }
            Source::Cluster(cluster) => {
                let client = cluster.client().await?;
                let scope = source::cluster::Scope {
                    namespaces: cluster.namespaces.clone(),
                    field_manager: cluster.field_manager(),
                };
                let (feed, _lives) = source::cluster::start(&client, &scope, &mut tasks, &stop);
                feed
            }
        };
        let socket = Arc::new(Socket::bind(&config.socket)?);
        let admin = match config.admin {
            Some(address) => Some(admin::listen(address).await?),
            None => None,
        };
        let metrics = Arc::new(Metrics::new());
        let publisher = Publisher::new(metrics.bytes_sent())?;
        let reconciler =
            Reconciler::new(reconcile::from_scratch, config.settings, publisher.clone(), metrics.clone());
        let overview =
            Overview::new(feed.said, reconciler.view(), publisher.published(), publisher.proxies());

        tracing::info!(path = %socket.path().display(), "socket listening on {}", socket.path().display());
        let address = admin.as_ref().map(|(_, address)| *address);
        if let Some((listener, address)) = admin {
            tracing::info!(%address, "admin listening on {address}");
            let (admin, stop) = (Admin::new(overview.clone(), metrics), stop.clone());
            tasks.spawn(async move {
                admin.serve(listener, stop).await;
                Ok(())
            });
        }
        tasks.spawn(quietly(overview::log_remarks(overview), stop.clone()));
        tasks.spawn(quietly(reconciler.run(feed.changes), stop.clone()));
        let (served, stopped) = (socket.clone(), stop.clone());
        tasks.spawn(async move {
            publisher.serve(served, stopped).await;
            Ok(())
        });
        Ok(Self { tasks, stop, admin: address, _socket: socket })
    }

    /// Where the admin server listens.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Waits for a part to end that should not. Waiting may be given up and begun again.
    pub async fn failure(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a part of the controller ended by itself"),
            Some(Err(error)) => anyhow::Error::new(error).context("a part of the controller broke down"),
        }
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

/// Runs until it ends or is asked to stop.
async fn quietly(work: impl Future<Output = ()>, stop: CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
    Ok(())
}
