//! `make demo`: see [`e2e::demo`].

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use e2e::demo::Demo;
use tokio::signal::unix::{SignalKind, signal};

/// Runs Longhaul's main job on this machine and shows it.
#[derive(Parser)]
struct Arguments {
    /// Leave when everything was shown, in place of waiting for Ctrl-C.
    #[arg(long)]
    once: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Dropping the demo, finished or not, ends its processes and removes its files.
    let shown = tokio::select! {
        shown = show(&arguments) => shown,
        interrupted = interrupted() => interrupted,
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn show(arguments: &Arguments) -> Result<()> {
    let demo = Demo::run().await?;
    if arguments.once {
        demo.conclude();
        return Ok(());
    }
    demo.invite()?;
    std::future::pending().await
}

async fn interrupted() -> Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended?,
        _ = hangup.recv() => {}
        _ = terminate.recv() => {}
    }
    println!("\nstopping");
    Ok(())
}
