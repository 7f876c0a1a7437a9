//! Doors into the network namespace of a cluster: ports of this machine's loopback behind which something inside
//! answers. Nothing else leads in.
//!
//! A socket belongs to the namespace that it was made in, whichever thread uses it. So the listener is made out here,
//! and the thread that serves it is inside, as are the connections that it makes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{ControlPlane, Namespace};

/// A port of loopback that leads to an address inside. Dropping it closes it, and whatever goes through.
pub struct Door {
    address: SocketAddr,
    closing: CancellationToken,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Door {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl ControlPlane {
    /// Opens a door to an address inside, at this port of loopback, or at another one where it is taken.
    pub fn open_door(&self, port: u16, inside: SocketAddr) -> Result<Door> {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(loopback(port)).or_else(|_| TcpListener::bind(loopback(0)))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (namespace, closing) = (self.network().clone(), CancellationToken::new());
        let closed = closing.clone();
        let thread = std::thread::Builder::new()
            .name(format!("door {}", address.port()))
            .spawn(move || serve(&namespace, listener, inside, &closed))?;
        Ok(Door { address, closing, thread: Some(thread) })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.closing.cancel();
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the door at {} did not lead anywhere: {error:#}", self.address);
        }
    }
}

fn serve(
    namespace: &Namespace,
    listener: TcpListener,
    inside: SocketAddr,
    closing: &CancellationToken,
) -> Result<()> {
    let passed = namespace.inside(async || pass(listener, inside, closing).await)?;
    passed.with_context(|| format!("passing connections on to {inside}"))
}

async fn pass(listener: TcpListener, inside: SocketAddr, closing: &CancellationToken) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut passing = JoinSet::new();
    while let Some(accepted) = closing.run_until_cancelled(listener.accept()).await {
        let (mut outer, _) = accepted?;
        passing.spawn(async move {
            // That nobody answers inside is shown out here by the same: a connection that ends.
            if let Ok(mut inner) = TcpStream::connect(inside).await {
                let _ = copy_bidirectional(&mut outer, &mut inner).await;
            }
        });
        while passing.try_join_next().is_some() {}
    }
    Ok(())
}
