//! One side of a tunnel: bytes in, bytes out, whatever carries them.
//!
//! A leg holds no buffer while nothing is under way. Reads go into a buffer that the caller lends; writes take what
//! the kernel takes (a TLS leg keeps the ciphertext of what it took until the kernel does).
//!
//! Invariant: no file descriptor, hyper type or TLS type is seen outside this module.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use rustls::client::UnbufferedClientConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::scratch;

mod tls;

pub use tls::{End, HandshakeError, TlsLeg};

/// One side of a tunnel.
#[derive(Debug)]
pub enum Leg {
    /// TCP in the clear.
    Plain(TcpStream),
    /// TLS of which we are the server.
    Tls(Box<TlsLeg>),
    /// TLS of which we are the client.
    ToServer(Box<TlsLeg<UnbufferedClientConnection>>),
    /// It was reset.
    Gone,
}

impl Leg {
    /// Reads once into `buffer`, which has room for a whole TLS read ([`scratch::CIPHERTEXT`]). 0 is the end of the stream.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => {
                // Not `try_read`: `poll_read` trusts a short read and so saves the one that would say WouldBlock.
                let mut buffer = ReadBuf::new(buffer);
                Pin::new(stream).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
            }
            Self::Tls(leg) => leg.poll_fill(cx, buffer),
            Self::ToServer(leg) => leg.poll_fill(cx, buffer),
            Self::Gone => Poll::Ready(Ok(0)),
        }
    }

    /// Writes some of `bytes`, which are not empty, and returns how many were taken.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(leg) => leg.poll_drain(cx, bytes),
            Self::ToServer(leg) => leg.poll_drain(cx, bytes),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Hands what was taken to the kernel. Ready at once where nothing is held.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) | Self::Gone => Poll::Ready(Ok(())),
            Self::Tls(leg) => leg.poll_flush(cx),
            Self::ToServer(leg) => leg.poll_flush(cx),
        }
    }

    /// Ends our direction (`close_notify` on TLS, then FIN). The other direction lives on.
    pub fn poll_close_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(leg) => leg.poll_close_write(cx),
            Self::ToServer(leg) => leg.poll_close_write(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }

    /// Resets the connection, which throws away whatever is under way.
    pub fn reset(&mut self) {
        let stream = match self {
            Self::Plain(stream) => &*stream,
            Self::Tls(leg) => leg.stream(),
            Self::ToServer(leg) => leg.stream(),
            Self::Gone => return,
        };
        // Fails only on a socket that has no connection any more, and so nothing to reset.
        let _ = stream.set_zero_linger();
        *self = Self::Gone;
    }

    /// Whether its bytes are encrypted on the wire.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::ToServer(_))
    }

    /// Bytes that were taken and are held until the kernel takes them.
    pub fn held(&self) -> usize {
        match self {
            Self::Plain(_) | Self::Gone => 0,
            Self::Tls(leg) => leg.held(),
            Self::ToServer(leg) => leg.held(),
        }
    }

    /// Whether [`poll_append`](Self::poll_append) may be called with this bound: TLS must have room for all that
    /// one read can hold.
    pub fn has_room(ahead: &BytesMut, most: usize) -> bool {
        ahead.len() + scratch::CIPHERTEXT <= most
    }

    /// Reads once and appends what came to `ahead`, which stays within `most` bytes where there was
    /// [room](Self::has_room). 0 is the end of the stream.
    pub fn poll_append(
        &mut self,
        cx: &mut Context<'_>,
        ahead: &mut BytesMut,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let room = most.saturating_sub(ahead.len()).clamp(scratch::CIPHERTEXT, scratch::SCRATCH);
        scratch::with_plaintext(|buffer| {
            let read = self.poll_fill(cx, &mut buffer[..room]);
            if let Poll::Ready(Ok(count)) = read {
                ahead.extend_from_slice(&buffer[..count]);
            }
            read
        })
    }

    /// [`poll_append`](Self::poll_append), awaited.
    pub async fn append(&mut self, ahead: &mut BytesMut, most: usize) -> io::Result<usize> {
        poll_fn(|cx| self.poll_append(cx, ahead, most)).await
    }

    /// Writes all of `bytes` and flushes.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = poll_fn(|cx| self.poll_drain(cx, bytes)).await?;
            bytes = &bytes[taken..];
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }
}
