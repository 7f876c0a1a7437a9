//! A backend that reads whole messages, writes them down and only then answers, so that a body which breaks off
//! is never answered. It reads plainly what it gets: the proxy is what has to be strict.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use e2e::wire::{Upstream, Wire, field, switching_protocols};
use tokio::task::JoinSet;

/// The target of requests that are answered and not written down.
pub(crate) const PROBE: &str = "/probe";

/// A running backend. It ends when dropped.
pub(crate) struct Backend {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
    _serving: JoinSet<()>,
}

/// What has reached the backend.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    /// How many heads, whole messages or not.
    pub(crate) begun: usize,
    /// The whole messages.
    pub(crate) messages: Vec<Recorded>,
}

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    pub(crate) target: String,
    /// The names of all fields, trailers too, in lower case.
    pub(crate) names: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Backend {
    /// Starts one on a free loopback port.
    pub(crate) async fn start() -> Result<Backend> {
        let upstream = Upstream::bind().await?;
        let address = upstream.address()?;
        let received = Arc::new(Mutex::new(Received::default()));
        let mut serving = JoinSet::new();
        serving.spawn(serve(upstream, received.clone()));
        Ok(Backend { address, received, _serving: serving })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forgets what it has received.
    pub(crate) fn forget(&self) {
        self.change(|received| *received = Received::default());
    }

    /// What it has received since.
    pub(crate) fn received(&self) -> Received {
        self.change(|received| received.clone())
    }

    fn change<T>(&self, change: impl FnOnce(&mut Received) -> T) -> T {
        change(&mut self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn serve(upstream: Upstream, received: Arc<Mutex<Received>>) {
    let mut connections = JoinSet::new();
    loop {
        // Nobody connects for a while: the proxy keeps its connections.
        if let Ok(wire) = upstream.accept().await {
            let received = received.clone();
            connections.spawn(async move {
                // How the proxy ends a connection is not this test's matter.
                let _ = converse(wire, &received).await;
            });
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(mut wire: Wire, received: &Mutex<Received>) -> Result<()> {
    let change = |change: &dyn Fn(&mut Received)| {
        change(&mut received.lock().unwrap_or_else(PoisonError::into_inner));
    };
    loop {
        let head = wire.head().await?;
        let probe = head.split(' ').nth(1) == Some(PROBE);
        if !probe {
            change(&|received| received.begun += 1);
        }
        let message = message(&mut wire, &head).await?;
        if !probe {
            change(&|received| received.messages.push(message.clone()));
        }
        if field(&head, "upgrade").is_some() {
            wire.send(switching_protocols(&head)?).await?;
            return echo(wire).await;
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
    }
}

/// Sends back every byte, which ends with the connection.
async fn echo(mut wire: Wire) -> Result<()> {
    loop {
        let byte = wire.take(1).await?;
        wire.send(byte).await?;
    }
}

async fn message(wire: &mut Wire, head: &str) -> Result<Recorded> {
    let mut line = head.split("\r\n").next().unwrap_or_default().split(' ');
    let mut word = || line.next().map(str::to_owned).context("a request line has three words");
    let mut names = names(head.split("\r\n").skip(1));
    let body = if field(head, "transfer-encoding").is_some() {
        chunks(wire, &mut names).await?
    } else if let Some(length) = field(head, "content-length") {
        wire.take(length.parse()?).await?
    } else {
        Vec::new()
    };
    Ok(Recorded { method: word()?, target: word()?, names, body })
}

async fn chunks(wire: &mut Wire, names_so_far: &mut Vec<String>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(wire).await?;
        let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
        if size == 0 {
            break;
        }
        body.extend(wire.take(size).await?);
        line(wire).await?;
    }
    loop {
        let trailer = line(wire).await?;
        if trailer.is_empty() {
            return Ok(body);
        }
        names_so_far.extend(names([trailer.as_str()].into_iter()));
    }
}

async fn line(wire: &mut Wire) -> Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(wire.take(1).await?);
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8(line)?)
}

fn names<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    lines.filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase())).collect()
}
