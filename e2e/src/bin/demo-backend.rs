//! A small echo-and-chat backend, to try Longhaul with. What it serves: [`e2e::backend::demo`].

use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A small WebSocket echo-and-chat backend that says its name.
#[derive(Parser)]
struct Arguments {
    /// The name it gives itself.
    #[arg(long, default_value = "backend")]
    name: String,
    /// Where to listen. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let leaving = CancellationToken::new();
    // Before it says that it listens: the first process of a container ignores whatever signal it did not ask for.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("listening on {}", arguments.listen))?;
    eprintln!("{} listens on {}", arguments.name, listener.local_addr()?);
    let told = leaving.clone();
    let mut waiting = JoinSet::new();
    waiting.spawn(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        told.cancel();
    });
    e2e::backend::demo::serve(listener, arguments.name, leaving).await;
    Ok(())
}
