//! `make cluster`, which is [`e2e::demo::OnCluster`], and the keeper that takes such a thing away.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use e2e::cluster::{ControlPlane, run};
use e2e::demo::OnCluster;
use tokio::signal::unix::{SignalKind, signal};

/// A real Kubernetes with Longhaul, in a network namespace of its own.
#[derive(Parser)]
enum Arguments {
    /// Starts it, says how to use it, and takes it away on Ctrl-C.
    Up {
        /// Leave when everything was shown, in place of waiting for Ctrl-C.
        #[arg(long)]
        once: bool,
    },
    /// Starts a control plane without anything in it, says its name, and holds it until it is killed: for the test of
    /// what then becomes of it.
    #[command(hide = true)]
    Hold,
    /// Waits until its input ends, and takes away the cluster that the folder belongs to.
    Keep {
        /// The cluster's folder.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse() {
        Arguments::Keep { folder } => run::keep(&folder),
        Arguments::Up { once } => up(once),
        Arguments::Hold => hold(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn up(once: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    // From here on a signal is remembered, also while the cluster starts.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    let cluster = OnCluster::start()?;
    runtime.block_on(async {
        tokio::select! {
            shown = show(&cluster, once) => shown,
            _ = interrupted.recv() => Ok(()),
            _ = terminated.recv() => Ok(()),
            _ = hung_up.recv() => Ok(()),
        }
    })?;
    eprintln!("\ntaking it away");
    Ok(())
}

fn hold() -> Result<()> {
    let cluster = ControlPlane::start()?;
    println!("held: {}", cluster.name());
    loop {
        std::thread::park();
    }
}

async fn show(cluster: &OnCluster, once: bool) -> Result<()> {
    cluster.tour().await?;
    if once {
        cluster.conclude();
        return Ok(());
    }
    cluster.invite()?;
    std::future::pending().await
}
