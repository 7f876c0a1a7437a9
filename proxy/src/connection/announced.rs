//! Connections in front of which a load balancer says whose they are, by the PROXY protocol.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use snapshot::ListenerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::proxy_protocol::{self, Malformed, Source};
use crate::worker::Home;

/// A header is there so long after its connection: as long as ingress-nginx waits.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// Why a connection is dropped.
#[derive(Debug, thiserror::Error)]
enum Unannounced {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("it ended before its PROXY protocol header did")]
    Ended,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Who is at the other end: `peer`, or where that must announce its connections, who it says. What was read behind the
/// header is left in `ahead`. `None`: it did not, and the connection is over.
pub(super) async fn peer(
    home: &Home,
    listener: ListenerName,
    peer: SocketAddr,
    stream: &mut TcpStream,
    ahead: &mut BytesMut,
) -> Option<SocketAddr> {
    if !home.shared.table.load().announces(listener, peer.ip()) {
        return Some(peer);
    }
    let (result, found) = match timeout(HEADER_TIME, header(stream, ahead)).await {
        Ok(Ok(Source::Client(client))) => ("client", Some(client)),
        Ok(Ok(Source::Peer)) => ("peer", Some(peer)),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a connection was dropped");
            // A balancer that only looks whether somebody listens says nothing at all.
            let silent = matches!(error, Unannounced::Ended) && ahead.is_empty();
            (if silent { "silent" } else { "malformed" }, None)
        }
        Err(_) => ("timeout", None),
    };
    home.shared.telemetry.proxy_header(result);
    found
}

async fn header(stream: &mut TcpStream, ahead: &mut BytesMut) -> Result<Source, Unannounced> {
    loop {
        // It may go on while a request, or a ClientHello, is behind it already.
        if let Some((source, length)) = proxy_protocol::parse(ahead)? {
            ahead.advance(length);
            return Ok(source);
        }
        if stream.read_buf(ahead).await? == 0 {
            return Err(Unannounced::Ended);
        }
    }
}
