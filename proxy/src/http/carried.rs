//! A leg as hyper's client reads and writes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};

use crate::leg::Leg;
use crate::scratch;

/// A leg, and what was read of it and not asked for yet: a TLS leg reads whole records.
#[derive(Debug)]
pub(super) struct Carried {
    leg: Leg,
    ahead: BytesMut,
}

impl Carried {
    pub(super) fn new(leg: Leg) -> Self {
        Self { leg, ahead: BytesMut::new() }
    }
}

impl Read for Carried {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { leg, ahead } = &mut *self;
        if ahead.is_empty() {
            ready!(leg.poll_append(cx, ahead, scratch::CIPHERTEXT))?;
        }
        let count = ahead.len().min(buffer.remaining());
        buffer.put_slice(&ahead[..count]);
        ahead.advance(count);
        if ahead.is_empty() {
            // An idle connection holds no buffer.
            *ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Carried {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.leg.poll_drain(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.leg.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.leg.poll_close_write(cx)
    }
}
