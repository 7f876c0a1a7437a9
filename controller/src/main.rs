//! The controller's process: arguments, logs, signals. Everything else is the library.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use controller::Controller;
use controller::args::{Args, Command, LogFormat, Run};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let Command::Run(flags) = Args::parse().command;
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
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

fn log(flags: &Run) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&flags.log_level).context("the log level cannot be read")?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter);
    match flags.log_format {
        LogFormat::Text => logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stdout())).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}
