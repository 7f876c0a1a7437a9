//! Options of every TCP socket that carries traffic.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// A peer that vanished without a word is noticed by the kernel's probes, begun after so long.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// No delay for small messages; keepalive on. A socket that refuses an option works without it.
pub(crate) fn prepare(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    if let Err(error) = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive)) {
        tracing::debug!(%error, "socket option refused");
    }
}
