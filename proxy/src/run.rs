//! Puts the process together, and takes it apart on a signal.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use snapshot::ListenerName;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::acceptor::{Acceptor, Listening};
use crate::admin::Admin;
use crate::args::Args;
use crate::auth::{Names, Passwords};
use crate::close::CloseReason;
use crate::drain::{self, Phase};
use crate::feed::{Feed, FeedConfig, Storage};
use crate::pulse::Vigil;
use crate::table::Table;
use crate::telemetry::Telemetry;
use crate::upstream_tls;
use crate::worker::{Shared, Worker};

/// So long for what waits to be accepted. It takes milliseconds.
const LAST_ACCEPTS: Duration = Duration::from_secs(10);

/// After the last tunnel was told, plain requests have so long to come to their end.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// Runs the proxy until it is told to stop and its last tunnel has ended.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let http = listen(args.http, "HTTP")?;
    let https = listen(args.https, "HTTPS")?;
    let admin = args.admin.map(|address| listen(address, "admin")).transpose()?;

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let auth_tls = auth_tls(args.auth_ca_file.as_deref(), provider.clone())?;
    let table = Table::served_from(provider);
    let feed = Feed::new(feed_config(&args), table.clone())?;
    let telemetry = Telemetry::new();
    let (leaving, ending) = (CancellationToken::new(), CancellationToken::new());
    let shared = Arc::new(Shared {
        table: table.clone(),
        telemetry: telemetry.clone(),
        passwords: Passwords::new(),
        names: Names::default(),
        auth_tls,
        public_http_port: args.public_http_port.unwrap_or(http.local_addr()?.port()),
        public_https_port: args.public_https_port.unwrap_or(https.local_addr()?.port()),
        leaving: leaving.clone(),
        ending: ending.clone(),
    });
    let count = args.workers.map_or_else(cores, usize::from);
    let workers: Result<Vec<_>, _> = (0..count).map(|index| Worker::start(index, shared.clone())).collect();
    let workers = Arc::new(workers.context("cannot start workers")?);

    let phases = drain::Phases::default();
    let listening = vec![
        Listening { socket: http, name: ListenerName::Http },
        Listening { socket: https, name: ListenerName::Https },
    ];
    let acceptor = Acceptor::start(listening, workers.clone(), telemetry.clone())?;

    let mut tasks = JoinSet::new();
    let standstill = watch::Sender::default();
    if let Some(listener) = admin {
        let (feed, ready) = (feed.state(), feed.ready());
        let (phase, standstill) = (phases.subscribe(), standstill.subscribe());
        let admin = Admin { telemetry: telemetry.clone(), table, feed, ready, phase, standstill };
        tasks.spawn(admin.serve(tokio::net::TcpListener::from_std(listener)?));
    }
    tasks.spawn(vigil(&workers, &acceptor).keep(standstill));
    let feeding = CancellationToken::new();
    let mut feed = Box::pin(feed.run(feeding.clone()));
    let life = async {
        signals.next().await;
        let leaving = leave(&args, &phases, (&leaving, &ending), (acceptor, workers));
        tokio::select! {
            () = leaving => {}
            () = signals.next() => {
                tracing::warn!(tunnels = telemetry.open_tunnels(), "second signal: ending now");
                std::process::exit(0);
            }
        }
    };
    tokio::select! {
        () = life => {}
        () = &mut feed => anyhow::bail!("the feed ended by itself"),
    }
    feeding.cancel();
    feed.await;
    tracing::info!("left");
    Ok(())
}

/// The phases of a shutdown. Ends when the last tunnel has.
async fn leave(
    args: &Args,
    phases: &watch::Sender<Phase>,
    (leaving, ending): (&CancellationToken, &CancellationToken),
    (acceptor, workers): (Acceptor, Arc<Vec<Worker>>),
) {
    tracing::info!(delay = ?args.shutdown_delay, "leaving: still accepting");
    phases.send_replace(Phase::Announcing);
    tokio::time::sleep(args.shutdown_delay).await;
    tracing::info!(period = ?args.drain_period, "leaving: accepting stopped, tunnels are being closed");
    phases.send_replace(Phase::Draining);
    let stopped = tokio::task::spawn_blocking(|| acceptor.stop());
    // Workers that are stuck may hold up the acceptor, but not the leaving of the others.
    if tokio::time::timeout(LAST_ACCEPTS, stopped).await.is_err() {
        tracing::error!("the acceptor does not stop: leaving without waiting for it");
    }
    leaving.cancel();
    drain::close_over(args.drain_period, CloseReason::Shutdown, &workers).await;
    let done = tokio::task::spawn_blocking(move || {
        let workers = Arc::into_inner(workers).expect("the acceptor's handle went with its thread");
        workers.into_iter().map(Worker::join).filter(Result::is_err).count()
    });
    let late = async {
        tokio::time::sleep(LAST_REQUESTS).await;
        ending.cancel();
        std::future::pending::<()>().await;
    };
    let done = tokio::select! {
        done = done => done,
        () = late => return,
    };
    if !matches!(done, Ok(0)) {
        tracing::error!("a worker panicked");
    }
}

/// Over every thread that carries traffic.
fn vigil(workers: &[Worker], acceptor: &Acceptor) -> Vigil {
    let workers = workers.iter().enumerate();
    let workers = workers.map(|(index, worker)| (format!("worker-{index}"), worker.pulse.clone()));
    Vigil::over(workers.chain([("the acceptor".to_owned(), acceptor.pulse())]))
}

/// How authentication services are spoken to whose address is `https`: the file has further authorities.
fn auth_tls(file: Option<&Path>, provider: Arc<CryptoProvider>) -> anyhow::Result<Arc<upstream_tls::Policy>> {
    let mut further = Vec::new();
    if let Some(file) = file {
        let shown = file.display();
        let read = CertificateDer::pem_file_iter(file).with_context(|| format!("cannot read {shown}"))?;
        further =
            read.collect::<Result<_, _>>().with_context(|| format!("{shown} does not hold certificates"))?;
        anyhow::ensure!(!further.is_empty(), "{shown} holds no certificate in PEM");
    }
    upstream_tls::public(provider, further).context("an authority of --auth-ca-file cannot be used")
}

fn feed_config(args: &Args) -> FeedConfig {
    FeedConfig {
        last_good: args.last_good.clone(),
        storage: if args.last_good_on_disk { Storage::AnyDisk } else { Storage::MemoryOnly },
        ..FeedConfig::new(args.socket.clone())
    }
}

fn listen(address: SocketAddr, what: &'static str) -> anyhow::Result<TcpListener> {
    let listener = bind(address).with_context(|| format!("cannot listen for {what} on {address}"))?;
    tracing::info!(listener = what, address = %listener.local_addr()?, "listening");
    Ok(listener)
}

/// A backlog for a storm of reconnects: the kernel cuts it at `net.core.somaxconn`.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Being told to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
