//! A real Kubernetes of [`e2e::cluster`] that one can look at, and the keeper that takes such a thing away.

#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use e2e::cluster::{ControlPlane, Node, run};
use tokio::signal::unix::{SignalKind, signal};

/// A real Kubernetes in a network namespace of its own.
#[derive(Parser)]
enum Arguments {
    /// Starts a control plane and a node, says how to use them, and takes them away on Ctrl-C.
    Up {
        /// Only the control plane.
        #[arg(long)]
        without_node: bool,
    },
    /// Waits until its input ends, and takes away the cluster that the folder belongs to.
    Keep {
        /// The cluster's folder.
        folder: PathBuf,
    },
}

fn main() -> Result<()> {
    match Arguments::parse() {
        Arguments::Keep { folder } => run::keep(&folder),
        Arguments::Up { without_node } => up(without_node),
    }
}

fn up(without_node: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    // From here on a signal is remembered, also while the cluster starts.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut wait = |cluster: &ControlPlane| {
        invite(cluster);
        runtime.block_on(async {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
        });
        println!("taking it away");
    };
    if without_node {
        wait(&ControlPlane::start()?);
    } else {
        let node = Node::start()?;
        wait(&node);
    }
    Ok(())
}

fn invite(cluster: &ControlPlane) {
    println!("{} is ready. In another shell:", cluster.name());
    println!(
        "  nsenter --net=/run/netns/{} env KUBECONFIG={} bash",
        cluster.name(),
        cluster.kubeconfig().display()
    );
}
