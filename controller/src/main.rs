//! The controller's process: arguments, logs, signals. Everything else is the library.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use controller::Controller;
use controller::args::{Args, Check, CheckFormat, Command, LogFormat, Run};
use controller::check::{self, Scope};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Run(flags) => run(*flags).map(|()| ExitCode::SUCCESS),
        Command::Check(flags) => check(flags),
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
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut controller = Controller::start(flags.config(), stop.clone()).await?;
    tokio::select! {
        failed = controller.failure() => return Err(failed),
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
    }
    controller.stop().await;
    Ok(())
}

fn check(flags: Check) -> anyhow::Result<ExitCode> {
    let scope = if flags.partial { Scope::Part } else { Scope::Whole };
    let checked = check::check(&flags.paths, &flags.reading.settings(), scope)?;
    let text = match flags.format {
        CheckFormat::Text => checked.to_string(),
        CheckFormat::Json => checked.json() + "\n",
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.context("the remarks cannot be written")?,
    }
    Ok(if checked.sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
