//! The controller's process: arguments, logs, signals. Everything else is the library.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anyhow::{Context, ensure};
use clap::Parser;
use controller::args::{
    self, Args, Check, CheckFormat, Command, Explain, ExplainFormat, LogFormat, OneCluster, Run, Supervise,
};
use controller::check::{self, Scope, Strictness};
use controller::explain::{self, World};
use controller::selftest::Selftest;
use controller::source::once::Manifests;
use controller::supervise::{self, Tether};
use controller::{Controller, cluster, source};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use translate::{Kind, Settings};

/// How long a worker without a supervisor may take to stop.
const ORPHANED: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Run(flags) => run(*flags).map(|()| ExitCode::SUCCESS),
        Command::Check(flags) => check(&flags),
        Command::Explain(flags) => explain(&flags),
        Command::Supervise(flags) => supervise(flags),
        Command::Selftest(flags) => selftest(flags).map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("longhaul-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(flags: Run) -> anyhow::Result<()> {
    log(&flags)?;
    let (stop, orphaned) = (CancellationToken::new(), CancellationToken::new());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut tethered = JoinSet::new();
    if let Some(tether) = Tether::inherited()? {
        let orphaned = orphaned.clone();
        tethered.spawn(async move {
            tether.hold().await;
            orphaned.cancel();
        });
    }
    let outstay = flags.outstay_proxies;
    let mut controller = Controller::start(flags.config(), stop.clone()).await?;
    tokio::select! {
        failed = controller.failure() => return Err(failed),
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        () = orphaned.cancelled() => tracing::error!("the supervisor is gone: stopping"),
    }
    tokio::select! {
        () = stopped(controller, outstay) => {}
        _ = terminate.recv() => tracing::warn!("second signal: ending now"),
        _ = interrupt.recv() => tracing::warn!("second signal: ending now"),
        () = end_of_orphans(&orphaned) => std::process::exit(1),
    }
    ensure!(!orphaned.is_cancelled(), "the supervisor is gone");
    Ok(())
}

async fn stopped(mut controller: Controller, outstay_proxies: bool) {
    if outstay_proxies {
        controller.outstay_proxies().await;
    }
    controller.stop().await;
}

/// Without a supervisor nobody replaces a worker that hangs while it stops, and another may be at work already.
async fn end_of_orphans(orphaned: &CancellationToken) {
    orphaned.cancelled().await;
    tokio::time::sleep(ORPHANED).await;
}

#[tokio::main(flavor = "current_thread")]
async fn supervise(flags: Supervise) -> anyhow::Result<ExitCode> {
    match flags.run() {
        // With the same settings as the worker's: so their lines read as one log.
        Ok(run) => log(&run)?,
        Err(error) => error.exit(),
    }
    Ok(supervise::supervise(flags.plan()).await?.into())
}

#[tokio::main(flavor = "current_thread")]
async fn selftest(flags: args::Selftest) -> anyhow::Result<()> {
    let selftest = Selftest::open(flags.plan()).await?;
    println!("listening on {}", selftest.address()?);
    println!("{}", selftest.run().await?);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn check(flags: &Check) -> anyhow::Result<ExitCode> {
    let scope = if flags.partial { Scope::Part } else { Scope::Whole };
    let strictness = if flags.strict { Strictness::WarningsFail } else { Strictness::ErrorsFail };
    let (format, color) = (flags.format, flags.color);
    let (manifests, settings) = if flags.cluster {
        of_cluster(&flags.of, flags.settings()).await?
    } else {
        (source::once::read(&flags.paths)?, flags.settings())
    };
    let checked = check::check(manifests, &settings, scope);
    match format {
        CheckFormat::Text => print(&checked.text(), color.into()),
        CheckFormat::Json => print(&(checked.json() + "\n"), ColorChoice::Never),
        CheckFormat::Sarif => print(&(checked.sarif() + "\n"), ColorChoice::Never),
    }?;
    Ok(if checked.passes(strictness) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[tokio::main(flavor = "current_thread")]
async fn explain(flags: &Explain) -> anyhow::Result<ExitCode> {
    let (question, format, color) = (flags.question(), flags.format, flags.color);
    let explanation = match flags.controller {
        Some(address) => explain::ask::ask(address, &question).await?,
        None => {
            let (manifests, settings) = if flags.cluster {
                of_cluster(&flags.of, flags.settings()).await?
            } else {
                (source::once::read(&flags.dir)?, flags.settings())
            };
            explain::explain(&World::of(manifests, settings), question)?
        }
    };
    match format {
        ExplainFormat::Text => print(&explanation.text(), color.into()),
        ExplainFormat::Json => print(&(explanation.json() + "\n"), ColorChoice::Never),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// What is in a cluster, and how it is translated with what may be read of it.
async fn of_cluster(of: &OneCluster, settings: Settings) -> anyhow::Result<(Manifests, Settings)> {
    let client = cluster::client(of.kubeconfig.as_deref(), of.context.as_deref()).await?;
    let namespaces = of.namespaces.iter().filter(|name| !name.is_empty()).cloned().collect();
    let mut manifests = source::cluster::once::read(&client, &namespaces).await?;
    let settings = blind(settings, &manifests);
    source::cluster::once::read_wanted(&client, &mut manifests, &settings).await?;
    Ok((manifests, settings))
}

/// Where classes may not be read, they are known by their names, as to a controller that may not either.
fn blind(settings: Settings, manifests: &Manifests) -> Settings {
    if !manifests.unlisted.contains(&Kind::IngressClass) {
        return settings;
    }
    let class = settings.ingress_class.clone().unwrap_or_else(|| "longhaul".into());
    Settings { class_by_name: Some(class), ..settings }
}

fn print(text: &str, color: ColorChoice) -> anyhow::Result<()> {
    match AutoStream::new(std::io::stdout(), color).write_all(text.as_bytes()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("the result cannot be written"),
    }
}

fn log(flags: &Run) -> anyhow::Result<()> {
    // What kube says of each attempt, the source says once. Who wants to see it names it.
    let filter = format!("kube_client=off,kube_runtime=off,{}", flags.log_level);
    let filter = EnvFilter::try_new(filter).context("the log level cannot be read")?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter);
    match flags.log_format {
        LogFormat::Text => logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stdout())).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}
