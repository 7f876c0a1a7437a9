//! TLS towards clients: the ClientHello is looked at first, the policy chosen by server name, then the bytes are
//! replayed into the [configuration](policy) of that policy.
//!
//! Without a certificate for the name the handshake is refused with `unrecognized_name` (RFC 6066 §3). A request in
//! the clear is told apart by its first bytes and handed back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use rustls::server::Acceptor;
use rustls_pki_types::UnixTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::head;
use crate::leg::{HandshakeError, Leg, TlsLeg};
use crate::table::Table;
use crate::tls::clients::Session;

pub(crate) mod clients;
mod names;
pub(crate) mod policy;

/// A fatal alert, `unrecognized_name` (RFC 8446 §6, RFC 6066 §3), as a record of its own.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// A ClientHello that is longer than this is not one: with the largest key shares it has about 2 KiB.
const MAX_HELLO: usize = 64 * 1024;

/// No method that anybody registered is longer than this.
const LONGEST_METHOD: usize = 24;

/// How long an alert is given to be read before the connection is closed.
const LINGER: Duration = Duration::from_secs(2);

/// What a connection to the TLS port turned out to be.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// TLS, and the handshake is done.
    Tls(Leg, Session),
    /// A request in the clear, whose first bytes have been read.
    InTheClear(Leg),
}

/// A connection that did not become one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsRefusal {
    /// No certificate for this name.
    #[error("no certificate for {}", .0.as_deref().unwrap_or("a client without a server name"))]
    UnknownName(Option<String>),
    /// What came is no ClientHello.
    #[error("no ClientHello: {0}")]
    NoHello(rustls::Error),
    /// A session was taken up whose certificate is not good any more.
    #[error("the client's certificate: {0}")]
    Certificate(rustls::Error),
    /// The handshake did not work out.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

impl Accepted {
    /// The metric's label.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Tls(..) => "ok",
            Self::InTheClear(_) => "plain_http",
        }
    }
}

impl TlsRefusal {
    /// The metric's label.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::UnknownName(_) => "unrecognized_name",
            Self::NoHello(_) => "no_hello",
            Self::Certificate(_) | Self::Handshake(HandshakeError::Tls(_)) => "refused",
            Self::Handshake(_) => "broken",
        }
    }
}

impl From<io::Error> for TlsRefusal {
    fn from(error: io::Error) -> Self {
        Self::Handshake(HandshakeError::Io(error))
    }
}

/// Carries out the handshake as the table of the moment says. `ahead` has what was read before; then plaintext that came
/// with the last flight goes into it, and so does what was read of a request in the clear.
pub(crate) async fn accept(
    table: &ArcSwap<Table>,
    mut stream: TcpStream,
    ahead: &mut BytesMut,
) -> Result<Accepted, TlsRefusal> {
    let (received, name) = match read_first(&mut stream, ahead.split().to_vec()).await? {
        First::Hello(received, name) => (received, name),
        First::Request(received) => {
            ahead.extend_from_slice(&received);
            return Ok(Accepted::InTheClear(Leg::Plain(stream)));
        }
    };
    let terms = {
        let table = table.load();
        table.certificate(name.as_deref()).map(|_| Arc::clone(table.terms(name.as_deref())))
    };
    let Some(terms) = terms else {
        send_alert(&mut stream, &UNRECOGNIZED_NAME).await?;
        return Err(TlsRefusal::UnknownName(name));
    };
    let leg = TlsLeg::accept(stream, terms.config.clone(), received, ahead).await?;
    let session = Session::new(terms.verifier.as_ref(), leg.client_certificates(), UnixTime::now());
    Ok(Accepted::Tls(Leg::Tls(leg), session.map_err(TlsRefusal::Certificate)?))
}

/// What a client begins with, as far as it was read.
enum First {
    /// A whole ClientHello, and its server name.
    Hello(Vec<u8>, Option<String>),
    /// The beginning of a request in the clear.
    Request(Vec<u8>),
}

/// Reads until it is clear what the client wants. Some of it may have been received before.
async fn read_first(stream: &mut TcpStream, mut received: Vec<u8>) -> Result<First, TlsRefusal> {
    let (mut acceptor, mut seen) = (Acceptor::default(), 0);
    let mut unread = !received.is_empty();
    received.reserve(2048);
    loop {
        if received.len() > MAX_HELLO {
            return Err(HandshakeError::TooLong.into());
        }
        if !std::mem::take(&mut unread) && stream.read_buf(&mut received).await? == 0 {
            return Err(HandshakeError::Closed.into());
        }
        match begins_request(&received) {
            Some(true) => return Ok(First::Request(received)),
            None => continue,
            Some(false) => {}
        }
        while seen < received.len() {
            seen += acceptor.read_tls(&mut &received[seen..])?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(host_name);
                    return Ok(First::Hello(received, name));
                }
                Err((error, mut alert)) => {
                    let mut bytes = Vec::new();
                    alert.write_all(&mut bytes)?;
                    send_alert(stream, &bytes).await?;
                    return Err(TlsRefusal::NoHello(error));
                }
            }
        }
    }
}

/// Whether these bytes, of which there are some, begin a request: with a method and a blank. `None`: there are too few
/// of them to tell.
fn begins_request(received: &[u8]) -> Option<bool> {
    let method = received.iter().take_while(|byte| head::is_token_byte(**byte)).count();
    match received.get(method) {
        Some(b' ') => Some(method > 0),
        None if method <= LONGEST_METHOD => None,
        _ => Some(false),
    }
}

/// A server name as hosts are named in tables. (RFC 6066 §3 has it without the trailing dot; not every client does.)
fn host_name(server_name: &str) -> String {
    server_name.strip_suffix('.').unwrap_or(server_name).to_ascii_lowercase()
}

/// Sends an alert and gives the client time to read it: data that is unread when a socket is closed resets the
/// connection, and the reset may overtake the alert.
async fn send_alert(stream: &mut TcpStream, alert: &[u8]) -> io::Result<()> {
    stream.write_all(alert).await?;
    stream.shutdown().await?;
    let mut rest = Vec::with_capacity(2048);
    let drained = timeout(LINGER, async {
        while stream.read_buf(&mut rest).await? > 0 {
            rest.clear();
        }
        io::Result::Ok(())
    });
    // However it ended, the connection is over.
    let _ = drained.await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_in_the_clear_is_told_by_its_first_bytes() {
        for (bytes, is) in [
            (&b"GET / HTTP/1.1\r\n"[..], Some(true)),
            (b"get ", Some(true)),
            (b"VERSION-CONTROL ", Some(true)),
            (b"G", None),
            (b"OPTIONS", None),
            (b"GET\r\n", Some(false)),
            (b" GET /", Some(false)),
            (b"SSH-2.0-OpenSSH_9.7\r\n", Some(false)),
            (&[b'A'; LONGEST_METHOD], None),
            (&[b'A'; LONGEST_METHOD + 1], Some(false)),
            (&[0x16, 3, 1, 2, 0], Some(false)),
            (&[0x80, 0x2e, 1, 3, 1], Some(false)),
        ] {
            assert_eq!(begins_request(bytes), is, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_server_name_loses_its_case_and_one_dot() {
        for (sent, name) in [("a.b", "a.b"), ("A.b.", "a.b"), ("a..", "a."), (".", "")] {
            assert_eq!(host_name(sent), name);
        }
    }
}
