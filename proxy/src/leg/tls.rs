//! TLS over rustls' unbuffered connection: no buffer is kept while the leg is idle.
//!
//! Ciphertext is read into a buffer of the thread; what is left of a record that is not there whole is kept, and so
//! is ciphertext that the kernel does not take yet. Everything else passes through.

use std::future::poll_fn;
use std::io;
use std::ops::DerefMut;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedConnectionCommon, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::scratch;

/// The most plaintext of one record (RFC 8446 §5.1).
const RECORD_PLAINTEXT: usize = 16 * 1024;

/// What is held of a message that its peer cuts into small records. A flight of the client has 100 bytes, and with a
/// certificate a few KiB, as one of a server has.
const MAX_FLIGHT: usize = 64 * 1024;

/// Our end of one TLS connection: the server's, unless it says otherwise.
pub struct TlsLeg<E = UnbufferedServerConnection> {
    stream: TcpStream,
    tls: E,
    /// Ciphertext that rustls has not used yet: the beginning of a record. Empty and unallocated otherwise.
    incoming: Vec<u8>,
    /// Ciphertext that the kernel has not taken yet. Empty and unallocated otherwise.
    outgoing: Vec<u8>,
    ended: Ended,
}

/// An end of a TLS connection, as the library has it: its two have all but their names in common.
pub trait End: DerefMut<Target = UnbufferedConnectionCommon<Self::Data>> {
    /// What the library keeps for this end.
    type Data;

    /// Looks at the connection, with what came in.
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl End for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl End for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

/// Which directions are over.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    read: bool,
    close_notify_queued: bool,
    /// The TLS library refused what came. It is not asked again: it may remember a place in bytes that are gone.
    failed: bool,
}

/// A handshake that led to no connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection broke.
    #[error("connection broke: {0}")]
    Io(#[from] io::Error),
    /// The peer left.
    #[error("peer closed during the handshake")]
    Closed,
    /// The peer sends more than a handshake has.
    #[error("peer sent too much for a handshake")]
    TooLong,
    /// The server said something before it was asked.
    #[error("peer sent data before it was asked for any")]
    Unasked,
    /// The TLS library refused. Its alert was sent.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}

/// What one look at the connection's state led to.
enum Turn {
    /// Look again.
    Again,
    /// So many bytes of plaintext were put into the buffer.
    Read(usize),
    /// The peer sent `close_notify`.
    PeerClosed,
    /// Application data may be sent; nothing else to do before more comes in.
    Open,
    /// The handshake waits for more to come in.
    Handshaking,
}

/// What whole records held.
struct Taken {
    plaintext: usize,
    open: bool,
}

impl<E> std::fmt::Debug for TlsLeg<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsLeg")
            .field("stream", &self.stream)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl TlsLeg {
    /// Carries out the server's part of the handshake. `received` is what was read from the stream already;
    /// plaintext that comes with the client's last flight goes into `ahead`.
    pub async fn accept(
        stream: TcpStream,
        config: Arc<ServerConfig>,
        received: Vec<u8>,
        ahead: &mut BytesMut,
    ) -> Result<Box<Self>, HandshakeError> {
        let tls = UnbufferedServerConnection::new(config)?;
        let mut leg = Self::boxed(stream, tls);
        leg.shake_hands(received, ahead).await?;
        Ok(leg)
    }
}

impl TlsLeg<UnbufferedClientConnection> {
    /// Carries out the client's part of the handshake with a server of this name.
    pub async fn connect(
        stream: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Box<Self>, HandshakeError> {
        let tls = UnbufferedClientConnection::new(config, name)?;
        let (mut leg, mut ahead) = (Self::boxed(stream, tls), BytesMut::new());
        leg.shake_hands(Vec::new(), &mut ahead).await?;
        if ahead.is_empty() { Ok(leg) } else { Err(HandshakeError::Unasked) }
    }
}

impl<E: End> TlsLeg<E> {
    fn boxed(stream: TcpStream, tls: E) -> Box<Self> {
        let (incoming, outgoing, ended) = (Vec::new(), Vec::new(), Ended::default());
        Box::new(Self { stream, tls, incoming, outgoing, ended })
    }

    async fn shake_hands(
        &mut self,
        mut received: Vec<u8>,
        ahead: &mut BytesMut,
    ) -> Result<(), HandshakeError> {
        loop {
            let taken = scratch::with_plaintext(|plaintext| {
                let taken = self.take_in(&mut received, plaintext);
                if let Ok(taken) = &taken {
                    ahead.extend_from_slice(&plaintext[..taken.plaintext]);
                }
                taken
            });
            // Our flight, or the alert that says what was wrong.
            poll_fn(|cx| self.poll_flush(cx)).await?;
            if taken?.open {
                return Ok(());
            }
            received = std::mem::take(&mut self.incoming);
            if received.len() > MAX_FLIGHT {
                return Err(HandshakeError::TooLong);
            }
            if self.ended.read || poll_fn(|cx| self.poll_receive(cx, &mut received)).await? == 0 {
                return Err(HandshakeError::Closed);
            }
        }
    }

    /// The TCP connection below.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// See [`Leg::held`](super::Leg::held).
    pub(super) fn held(&self) -> usize {
        self.outgoing.len()
    }

    /// The TLS version, and whether the session was resumed.
    pub fn session(&self) -> (Option<rustls::ProtocolVersion>, bool) {
        (self.tls.protocol_version(), self.tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed))
    }

    /// The certificate that the client has shown, and those that it sent with it.
    pub fn client_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.peer_certificates()
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>, received: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        scratch::with_incoming(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            received.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// See [`Leg::poll_fill`](super::Leg::poll_fill).
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        plaintext: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        scratch::with_incoming(|buffer| {
            while !self.ended.read {
                let kept = self.incoming.len();
                let mut spare = ReadBuf::new(&mut buffer[kept..]);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut spare))?;
                let filled = kept + spare.filled().len();
                if filled == kept {
                    // An end without `close_notify`: WebSocket and HTTP/1 both tell by themselves what is whole.
                    self.ended.read = true;
                    break;
                }
                buffer[..kept].copy_from_slice(&self.incoming);
                self.incoming = Vec::new();
                let taken = self.take_in(&mut buffer[..filled], plaintext);
                // An answer to a key update, or an alert: what the kernel does not take goes with the next write.
                if let Poll::Ready(flushed) = self.poll_flush(cx) {
                    flushed?;
                }
                let taken = taken.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                if taken.plaintext > 0 {
                    return Poll::Ready(Ok(taken.plaintext));
                }
            }
            Poll::Ready(Ok(0))
        })
    }

    /// See [`Leg::poll_drain`](super::Leg::poll_drain). Nothing more is taken while ciphertext is held.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        let taken = &bytes[..bytes.len().min(2 * RECORD_PLAINTEXT)];
        scratch::with_outgoing(|buffer| {
            let length = self.encrypt(taken, buffer)?;
            if !self.outgoing.is_empty() {
                // A key update came before it.
                self.outgoing.extend_from_slice(&buffer[..length]);
                return Poll::Ready(Ok(taken.len()));
            }
            let written = match Pin::new(&mut self.stream).poll_write(cx, &buffer[..length]) {
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            self.outgoing = buffer[written..length].to_vec();
            Poll::Ready(Ok(taken.len()))
        })
    }

    /// See [`Leg::poll_flush`](super::Leg::poll_flush).
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outgoing))?;
            self.outgoing.drain(..written);
            if self.outgoing.is_empty() {
                self.outgoing = Vec::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// See [`Leg::poll_close_write`](super::Leg::poll_close_write).
    pub(super) fn poll_close_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended.close_notify_queued && !self.ended.failed {
            self.ended.close_notify_queued = true;
            scratch::with_outgoing(|buffer| {
                let length = self.with_traffic(|traffic| traffic.queue_close_notify(buffer))?;
                self.outgoing.extend_from_slice(&buffer[..length]);
                io::Result::Ok(())
            })?;
        }
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn encrypt(&mut self, plaintext: &[u8], ciphertext: &mut [u8]) -> io::Result<usize> {
        self.with_traffic(|traffic| traffic.encrypt(plaintext, ciphertext))
    }

    fn with_traffic(
        &mut self,
        body: impl FnOnce(&mut WriteTraffic<'_, E::Data>) -> Result<usize, EncryptError>,
    ) -> io::Result<usize> {
        if self.ended.failed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        loop {
            let UnbufferedStatus { discard, state } = self.tls.process(&mut self.incoming);
            match state.map_err(io::Error::other)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    return body(&mut traffic).map_err(io::Error::other);
                }
                ConnectionState::EncodeTlsData(mut data) => append(&mut self.outgoing, &mut data)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => return Err(io::Error::other("the TLS connection does not take application data")),
            }
            self.incoming.drain(..discard);
        }
    }

    /// Decrypts every whole record of `ciphertext` into `plaintext`, which is at least as long, and keeps the rest.
    fn take_in(&mut self, ciphertext: &mut [u8], plaintext: &mut [u8]) -> Result<Taken, rustls::Error> {
        let (mut used, mut count) = (0, 0);
        let open = loop {
            let turn = self.turn(&mut ciphertext[used..], &mut plaintext[count..]);
            let (step, turn) = match turn {
                Ok(turn) => turn,
                Err(error) => {
                    self.ended.read = true;
                    self.ended.failed = true;
                    // What was to be sent before it, and the alert that tells the peer: these it gives out before it
                    // looks at what came.
                    while self.tls.wants_write() && self.turn(&mut [], &mut []).is_ok() {}
                    return Err(error);
                }
            };
            used += step;
            match turn {
                Turn::Again => {}
                Turn::Read(read) => count += read,
                Turn::PeerClosed => {
                    self.ended.read = true;
                    break true;
                }
                Turn::Open => break true,
                Turn::Handshaking => break false,
            }
        };
        if !self.ended.read {
            self.incoming = ciphertext[used..].to_vec();
        }
        Ok(Taken { plaintext: count, open })
    }

    /// Looks at the connection once. Returns how much of `ciphertext` is used up.
    fn turn(&mut self, ciphertext: &mut [u8], plaintext: &mut [u8]) -> Result<(usize, Turn), rustls::Error> {
        let UnbufferedStatus { mut discard, state } = self.tls.process(ciphertext);
        let turn = match state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                let mut count = 0;
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    plaintext[count..count + record.payload.len()].copy_from_slice(record.payload);
                    count += record.payload.len();
                }
                Turn::Read(count)
            }
            ConnectionState::EncodeTlsData(mut data) => {
                append(&mut self.outgoing, &mut data)
                    .map_err(|error| rustls::Error::General(error.to_string()))?;
                Turn::Again
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                Turn::Again
            }
            ConnectionState::PeerClosed | ConnectionState::Closed => Turn::PeerClosed,
            ConnectionState::WriteTraffic(_) => Turn::Open,
            ConnectionState::BlockedHandshake => Turn::Handshaking,
            _ => return Err(rustls::Error::General("early data was not offered".into())),
        };
        Ok((discard, turn))
    }
}

/// Appends a record of the handshake layer to what goes out.
fn append<D>(outgoing: &mut Vec<u8>, data: &mut EncodeTlsData<'_, D>) -> io::Result<()> {
    let at = outgoing.len();
    if let Err(EncodeError::InsufficientSize(needed)) = data.encode(&mut []) {
        outgoing.resize(at + needed.required_size, 0);
    }
    let length = data.encode(&mut outgoing[at..]).map_err(io::Error::other)?;
    outgoing.truncate(at + length);
    Ok(())
}
