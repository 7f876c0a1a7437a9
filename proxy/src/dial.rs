//! Reaching an endpoint, and the handshake with it.
//!
//! A connect failure, of TLS too, tries the next endpoint, at most two more times where the route says nothing else, before
//! anything was sent. After that there is
//! no retry: the upstream may have acted on what it got.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::handshake::{self, Offer};
use crate::head::{ResponseHead, ResponseParser};
use crate::leg::{HandshakeError, Leg};
use crate::socket;
use crate::table::{Route, Timeouts};
use crate::telemetry::Telemetry;
use crate::upstream::{Choice, Picked};
use crate::upstream_tls::Secured;

/// Endpoints of an authentication service that are tried for one question.
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
    /// The last endpoint that was tried did not prove by its certificate whom it must be.
    #[error("{0} did not prove who it is: {1}")]
    Certificate(SocketAddr, String),
    /// It ended TLS with an alert, as one does who asks for a client certificate and gets none that it accepts.
    #[error("{0} refused TLS: {1}")]
    Alert(SocketAddr, String),
    /// What it speaks is no TLS that we speak, or it left in the middle of the handshake.
    #[error("no TLS with {0}: {1}")]
    Tls(SocketAddr, String),
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
            Self::Certificate(..) => (502, "tls_certificate_error"),
            Self::Alert(..) => (502, "tls_alert_received"),
            Self::Tls(..) => (502, "tls_protocol_error"),
            Self::ResponseTimeout(_) => (504, "http_response_timeout"),
            Self::Terminated(_) => (502, "connection_terminated"),
            Self::Protocol(..) => (502, "http_protocol_error"),
            Self::Handshake(..) => (502, "http_upgrade_failed"),
        }
    }

    /// A connection that stood has broken before an answer came. In TLS 1.3 a server says only then that it takes no
    /// client without a certificate.
    pub(crate) fn broken(address: SocketAddr, error: &io::Error) -> Self {
        let source = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
        source.map_or(Self::Terminated(address), |source| Self::of_tls(address, source))
    }

    fn of_tls(address: SocketAddr, error: &rustls::Error) -> Self {
        use rustls::Error::{AlertReceived, InvalidCertificate, NoCertificatesPresented};
        let why = error.to_string();
        match error {
            InvalidCertificate(_) | NoCertificatesPresented => Self::Certificate(address, why),
            AlertReceived(_) => Self::Alert(address, why),
            _ => Self::Tls(address, why),
        }
    }

    /// Whether the endpoint is to blame, and not what this route asks of it: other routes may ask for something else.
    fn is_of_endpoint(&self) -> bool {
        matches!(self, Self::Refused(..) | Self::ConnectTimeout(_))
    }

    /// Whether it is this proxy that has no room: no other endpoint would do better.
    fn is_of_us(&self) -> bool {
        matches!(self, Self::Exhausted(_) | Self::Full(_))
    }
}

/// An upstream that has answered a handshake.
#[derive(Debug)]
pub struct Answered {
    /// The connection.
    pub leg: Leg,
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
    client_tls: bool,
    telemetry: &Telemetry,
) -> Result<(Leg, Picked), DialError> {
    let (mut tried, mut failure, began) = (Vec::new(), DialError::NoEndpoint, Instant::now());
    while route.may_try(tried.len(), began) {
        let Some(picked) = choice.pick(&tried, Instant::now()) else { break };
        let secured = route.secured(picked.upstream(), client_tls);
        match attempt(&picked, secured.as_ref(), &route.timeouts, telemetry).await {
            Ok(leg) => return Ok((leg, picked)),
            Err(error) => failure = error,
        }
        tried.push(picked.address());
    }
    Err(failure)
}

/// Connects to one endpoint, and carries out the handshake where TLS is spoken to it.
pub(crate) async fn attempt(
    picked: &Picked,
    secured: Option<&Secured>,
    timeouts: &Timeouts,
    telemetry: &Telemetry,
) -> Result<Leg, DialError> {
    let address = picked.address();
    let error = match limited(timeouts.connect, reach(address, secured, telemetry)).await {
        Some(Ok(leg)) => {
            picked.connected();
            return Ok(leg);
        }
        Some(Err(ours)) if ours.is_of_us() => return Err(ours),
        Some(Err(error)) => error,
        None => DialError::ConnectTimeout(address),
    };
    telemetry.connect_failed();
    if error.is_of_endpoint() && picked.connect_failed(Instant::now()) {
        telemetry.endpoint_ejected();
        tracing::warn!(endpoint = %address, upstream = %picked.upstream(), %error, "endpoint ejected");
    }
    Err(error)
}

/// Connects to an address, and carries out the handshake where TLS is spoken to it. For the time that it takes the caller
/// cares.
pub(crate) async fn reach(
    address: SocketAddr,
    secured: Option<&Secured>,
    telemetry: &Telemetry,
) -> Result<Leg, DialError> {
    let stream = TcpStream::connect(address).await.map_err(|error| unreached(address, error))?;
    socket::prepare(&stream);
    let Some(secured) = secured else { return Ok(Leg::Plain(stream)) };
    let shaken = secured.connect(stream).await.map_err(|error| match &error {
        HandshakeError::Tls(why) => DialError::of_tls(address, why),
        HandshakeError::Io(_)
        | HandshakeError::Closed
        | HandshakeError::TooLong
        | HandshakeError::Unasked => DialError::Tls(address, error.to_string()),
    });
    telemetry.upstream_tls_handshake(match &shaken {
        Ok(_) => "ok",
        Err(error) => error.refusal().1,
    });
    if let Err(error) = &shaken {
        tracing::debug!(endpoint = %address, %error, "no TLS with an upstream");
    }
    shaken
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
    client_tls: bool,
    telemetry: &Telemetry,
    (request, offer): (&[u8], &Offer),
) -> Result<Answered, DialError> {
    let (leg, picked) = connect(choice, route, client_tls, telemetry).await?;
    let address = picked.address();
    let exchange = exchange(leg, address, request);
    let (leg, head, ahead) = limited(route.timeouts.handshake, exchange)
        .await
        .unwrap_or(Err(DialError::ResponseTimeout(address)))?;
    if head.status == 101 {
        handshake::check(offer, &head)
            .map_err(|violation| DialError::Handshake(address, violation.to_string()))?;
    }
    Ok(Answered { leg, head, ahead, picked })
}

async fn exchange(
    mut leg: Leg,
    address: SocketAddr,
    request: &[u8],
) -> Result<(Leg, ResponseHead, BytesMut), DialError> {
    leg.write_all(request).await.map_err(|error| DialError::broken(address, &error))?;
    let mut received = BytesMut::new();
    loop {
        let mut parser = ResponseParser::default();
        let (head, length) = loop {
            let parsed = parser.parse(&received, false);
            match parsed.map_err(|error| DialError::Protocol(address, error.to_string()))? {
                Some(parsed) => break parsed,
                None => match leg.append(&mut received, usize::MAX).await {
                    Ok(0) => return Err(DialError::Terminated(address)),
                    Err(error) => return Err(DialError::broken(address, &error)),
                    Ok(_) => {}
                },
            }
        };
        received.advance(length);
        // Interim responses say nothing about the handshake (RFC 9110 §15.2).
        if head.status == 101 || head.status >= 200 {
            return Ok((leg, head, received));
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
