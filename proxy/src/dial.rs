//! Reaching an endpoint, and the handshake with it.
//!
//! A connect failure tries the next endpoint, at most two more times, before anything was sent. After that there is
//! no retry: the upstream may have acted on what it got.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::handshake::{self, Offer};
use crate::head::{ResponseHead, ResponseParser};
use crate::socket;
use crate::table::{Route, Timeouts};
use crate::telemetry::Telemetry;
use crate::upstream::{Choice, Picked};

/// Endpoints that are tried for one request.
pub(crate) const ATTEMPTS: usize = 3;

/// An upstream that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody to connect to.
    #[error("no endpoint is ready")]
    NoEndpoint,
    /// Every endpoint that was tried refused.
    #[error("{0} does not accept connections: {1}")]
    Refused(SocketAddr, #[source] io::Error),
    /// The proxy has no descriptor or memory for another connection.
    #[error("no connection can be made: {0}")]
    Exhausted(#[source] io::Error),
    /// No local port is left towards the last endpoint that was tried: it has all the connections from here that it can
    /// have, and is not broken.
    #[error("no further connection to {0} can be made: every local port is in use")]
    Full(SocketAddr),
    /// The last endpoint that was tried did not answer.
    #[error("{0} did not accept a connection in time")]
    ConnectTimeout(SocketAddr),
    /// The connection stood, but no answer came.
    #[error("{0} did not answer the handshake in time")]
    ResponseTimeout(SocketAddr),
    /// The connection ended before an answer came.
    #[error("{0} closed the connection before it answered")]
    Terminated(SocketAddr),
    /// What came is no HTTP.
    #[error("{0} answered with something that is not HTTP: {1}")]
    Protocol(SocketAddr, String),
    /// A 101 that does not answer the handshake.
    #[error("{0} answered the handshake wrongly: {1}")]
    Handshake(SocketAddr, String),
}

impl DialError {
    /// What the client is told: the status, and the error type of RFC 9209 §2.3.
    pub fn refusal(&self) -> (u16, &'static str) {
        match self {
            Self::NoEndpoint => (503, "destination_unavailable"),
            Self::Exhausted(_) | Self::Full(_) => (503, "connection_limit_reached"),
            Self::Refused(..) => (502, "connection_refused"),
            Self::ConnectTimeout(_) => (504, "connection_timeout"),
            Self::ResponseTimeout(_) => (504, "http_response_timeout"),
            Self::Terminated(_) => (502, "connection_terminated"),
            Self::Protocol(..) => (502, "http_protocol_error"),
            Self::Handshake(..) => (502, "http_upgrade_failed"),
        }
    }
}

/// An upstream that has answered a handshake.
#[derive(Debug)]
pub struct Answered {
    /// The connection.
    pub stream: TcpStream,
    /// The answer.
    pub head: ResponseHead,
    /// What came behind it.
    pub ahead: BytesMut,
    /// The place at the endpoint.
    pub picked: Picked,
}

/// Connects to one of the backends.
async fn connect(
    choice: Choice<'_>,
    route: &Route,
    telemetry: &Telemetry,
) -> Result<(TcpStream, Picked), DialError> {
    let (mut tried, mut failure) = (Vec::new(), DialError::NoEndpoint);
    while tried.len() < ATTEMPTS {
        let Some(picked) = choice.pick(&tried, Instant::now()) else { break };
        match attempt(&picked, &route.timeouts, telemetry).await {
            Ok(stream) => return Ok((stream, picked)),
            Err(error) => failure = error,
        }
        tried.push(picked.address());
    }
    Err(failure)
}

/// Connects to one endpoint.
pub(crate) async fn attempt(
    picked: &Picked,
    timeouts: &Timeouts,
    telemetry: &Telemetry,
) -> Result<TcpStream, DialError> {
    let address = picked.address();
    let error = match limited(timeouts.connect, TcpStream::connect(address)).await {
        Some(Ok(stream)) => {
            picked.connected();
            socket::prepare(&stream);
            return Ok(stream);
        }
        Some(Err(error)) => match unreached(address, error) {
            error @ DialError::Refused(..) => error,
            ours => return Err(ours),
        },
        None => DialError::ConnectTimeout(address),
    };
    telemetry.connect_failed();
    if picked.connect_failed(Instant::now()) {
        telemetry.endpoint_ejected();
        tracing::warn!(endpoint = %address, upstream = %picked.upstream(), %error, "endpoint ejected");
    }
    Err(error)
}

/// Why a connection did not come about. Only what is refused is the endpoint's own doing.
fn unreached(address: SocketAddr, error: io::Error) -> DialError {
    match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => DialError::Exhausted(error),
        Some(Errno::ADDRNOTAVAIL) => DialError::Full(address),
        _ => DialError::Refused(address, error),
    }
}

/// Connects to one of the backends, chosen in this way, and carries out the handshake whose head is `request`.
pub async fn shake_hands(
    choice: Choice<'_>,
    route: &Route,
    telemetry: &Telemetry,
    (request, offer): (&[u8], &Offer),
) -> Result<Answered, DialError> {
    let (stream, picked) = connect(choice, route, telemetry).await?;
    let address = picked.address();
    let exchange = exchange(stream, address, request);
    let (stream, head, ahead) = limited(route.timeouts.handshake, exchange)
        .await
        .unwrap_or(Err(DialError::ResponseTimeout(address)))?;
    if head.status == 101 {
        handshake::check(offer, &head)
            .map_err(|violation| DialError::Handshake(address, violation.to_string()))?;
    }
    Ok(Answered { stream, head, ahead, picked })
}

async fn exchange(
    mut stream: TcpStream,
    address: SocketAddr,
    request: &[u8],
) -> Result<(TcpStream, ResponseHead, BytesMut), DialError> {
    stream.write_all(request).await.map_err(|_| DialError::Terminated(address))?;
    let mut received = BytesMut::new();
    loop {
        let mut parser = ResponseParser::default();
        let (head, length) = loop {
            let parsed = parser.parse(&received, false);
            match parsed.map_err(|error| DialError::Protocol(address, error.to_string()))? {
                Some(parsed) => break parsed,
                None => match stream.read_buf(&mut received).await {
                    Ok(0) | Err(_) => return Err(DialError::Terminated(address)),
                    Ok(_) => {}
                },
            }
        };
        received.advance(length);
        // Interim responses say nothing about the handshake (RFC 9110 §15.2).
        if head.status == 101 || head.status >= 200 {
            return Ok((stream, head, received));
        }
    }
}

/// `None`: it took longer than the limit.
pub(crate) async fn limited<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_endpoint_does_is_its_fault() {
        let address = ([10, 0, 0, 1], 80).into();
        for (errno, refusal) in [
            (Errno::MFILE, (503, "connection_limit_reached")),
            (Errno::NFILE, (503, "connection_limit_reached")),
            (Errno::NOBUFS, (503, "connection_limit_reached")),
            (Errno::NOMEM, (503, "connection_limit_reached")),
            (Errno::ADDRNOTAVAIL, (503, "connection_limit_reached")),
            (Errno::CONNREFUSED, (502, "connection_refused")),
            (Errno::HOSTUNREACH, (502, "connection_refused")),
            (Errno::CONNRESET, (502, "connection_refused")),
        ] {
            let error = unreached(address, errno.into());
            assert_eq!(error.refusal(), refusal, "{errno}");
            assert_eq!(matches!(error, DialError::Refused(..)), refusal.0 == 502, "{errno}");
        }
    }
}
