//! The in-memory wire between a client's leg and hyper, scoped to one request.
//!
//! In go the canonical head and the delimited body, then the end of the stream; out comes the response. All of it is
//! polled by one task: whoever adds bytes at one end polls the other end afterwards, so no wakers are kept.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Instant, Sleep, sleep};

use crate::body::{Delimiter, Output, Step, write_chunk, write_last_chunk};
use crate::connection::MOST_AHEAD;
use crate::forward::{self, Replaced};
use crate::head::{Framing, Head, Refusal};
use crate::leg::Leg;
use crate::table::Route;

use super::body::Account;
use super::{Served, TOO_LONG};

/// Held in each direction, at most.
const MOST_HELD: usize = 64 * 1024;

/// What ends a body of chunks, as hyper writes it.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Both directions of the wire.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    buffers: Arc<Mutex<Buffers>>,
    framing: Framing,
}

#[derive(Debug, Default)]
struct Buffers {
    /// Towards hyper.
    request: BytesMut,
    request_ended: bool,
    /// The request cannot be completed.
    request_broken: bool,
    /// From hyper.
    response: BytesMut,
    /// Field lines that go into the last chunk, which is held back for them.
    trailers: Option<Vec<u8>>,
    /// Hyper has written all that it had, since the trailers were put here.
    flushed: bool,
}

/// Where the trailers of a response go.
#[derive(Clone, Debug)]
pub(super) struct TrailerSlot(Arc<Mutex<Buffers>>);

impl TrailerSlot {
    /// Takes field lines, each ended by CRLF, before hyper is told that the body has ended.
    pub(super) fn put(&self, lines: Vec<u8>) {
        let mut buffers = lock(&self.0);
        buffers.trailers = Some(lines);
        buffers.flushed = false;
    }
}

impl Buffers {
    /// How much of the response may go out. The last chunk waits for its trailers until hyper has written it.
    fn writable(&mut self) -> usize {
        if self.trailers.is_none() {
            return self.response.len();
        }
        if !self.flushed {
            return self.response.len().saturating_sub(LAST_CHUNK.len());
        }
        let trailers = self.trailers.take().unwrap_or_default();
        if self.response.ends_with(LAST_CHUNK) {
            self.response.truncate(self.response.len() - 2);
            self.response.extend_from_slice(&trailers);
            self.response.extend_from_slice(b"\r\n");
        }
        self.response.len()
    }
}

/// Hyper's end.
#[derive(Debug)]
pub(super) struct HyperEnd(Arc<Mutex<Buffers>>);

/// How an exchange ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The response was written. The next request follows if the body was read to its end.
    Served {
        /// Nothing of the request's body is left.
        body_read: bool,
    },
    /// The response was not written whole, or none was.
    Cut,
    /// The request's body was not well-formed.
    Refused(Refusal),
    /// The client left.
    Gone,
}

/// One request and its response.
pub(super) struct Exchange<'a> {
    wire: Wire,
    head: &'a Head,
    delimiter: Delimiter,
    refused: Option<Refusal>,
    body_read: bool,
    /// How much longer the body may get.
    body_left: Option<u64>,
    served: Option<bool>,
    /// Runs while the client neither takes nor gives what it should.
    stalled: Option<Pin<Box<Sleep>>>,
    account: Account,
    patience: Option<Duration>,
    /// Fields that no client sets.
    replaced: Replaced<'a>,
}

impl Wire {
    pub(super) fn new(head: &[u8], framing: Framing) -> Self {
        let ended = framing == Framing::None;
        let buffers = Buffers { request: BytesMut::from(head), request_ended: ended, ..Buffers::default() };
        Self { buffers: Arc::new(Mutex::new(buffers)), framing }
    }

    pub(super) fn end(&self) -> HyperEnd {
        HyperEnd(self.buffers.clone())
    }

    /// For the trailers of a response in chunks.
    pub(super) fn trailers(&self) -> TrailerSlot {
        TrailerSlot(self.buffers.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Buffers> {
        lock(&self.buffers)
    }
}

fn lock(buffers: &Mutex<Buffers>) -> MutexGuard<'_, Buffers> {
    buffers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Exchange<'a> {
    pub(super) fn new(head: &'a Head, route: &'a Route, wire: Wire, account: Account) -> Self {
        Self {
            delimiter: Delimiter::new(wire.framing),
            body_read: wire.framing == Framing::None,
            body_left: route.max_body,
            wire,
            head,
            refused: None,
            served: None,
            stalled: None,
            account,
            patience: route.timeouts.send,
            replaced: Replaced::of(route),
        }
    }

    /// Moves the exchange on: the request in, hyper, the response out.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        leg: &mut Leg,
        ahead: &mut BytesMut,
        mut hyper: impl FnMut(&mut Context<'_>) -> Served,
    ) -> Poll<Ending> {
        let mut moved = false;
        loop {
            let pulled = match self.pull(cx, leg, ahead) {
                Ok(pulled) => pulled,
                Err(ending) => return Poll::Ready(ending),
            };
            if self.served.is_none()
                && let Poll::Ready(served) = hyper(cx)
            {
                self.served = Some(served);
            }
            let Ok(pushed) = self.push(cx, leg) else { return Poll::Ready(Ending::Gone) };
            if self.served.is_some() && self.wire.lock().response.is_empty() && leg.held() == 0 {
                return Poll::Ready(self.ending());
            }
            if !pulled && !pushed {
                break;
            }
            moved = true;
        }
        self.poll_stalled(cx, moved, leg)
    }

    fn ending(&mut self) -> Ending {
        match (self.refused.take(), self.served) {
            (Some(refusal), _) => Ending::Refused(refusal),
            (None, Some(true)) => Ending::Served { body_read: self.body_read },
            (None, _) => Ending::Cut,
        }
    }

    /// Reads what hyper has room for; behind the body, reads ahead to notice that the client leaves.
    fn pull(&mut self, cx: &mut Context<'_>, leg: &mut Leg, ahead: &mut BytesMut) -> Result<bool, Ending> {
        let mut pulled = false;
        while !self.body_read && self.refused.is_none() && self.wire.lock().request.len() < MOST_HELD / 2 {
            if self.delimit(ahead) {
                pulled = true;
                continue;
            }
            // What is delimited moves on to the wire, which so holds no more than twice this.
            match leg.poll_append(cx, ahead, MOST_HELD / 2) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Err(Ending::Gone),
                Poll::Pending => break,
            }
        }
        while self.body_read && self.served.is_none() && Leg::has_room(ahead, MOST_AHEAD) {
            match leg.poll_append(cx, ahead, MOST_AHEAD) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Err(Ending::Gone),
                Poll::Pending => break,
            }
        }
        Ok(pulled)
    }

    /// One step of the delimiter, as far as the route's limit goes.
    fn next_step(&mut self, ahead: &[u8]) -> Result<Step, Refusal> {
        let step = self.delimiter.next(ahead)?;
        if let (Output::Data(range), Some(left)) = (&step.output, &mut self.body_left) {
            *left = left.checked_sub(range.len() as u64).ok_or(TOO_LONG)?;
        }
        Ok(step)
    }

    /// Takes one step through what was read. False: more must be read first.
    fn delimit(&mut self, ahead: &mut BytesMut) -> bool {
        let step = self.next_step(ahead);
        let mut buffers = lock(&self.wire.buffers);
        let step = match step {
            Ok(step) => step,
            Err(refusal) => {
                self.refused = Some(refusal);
                buffers.request_broken = true;
                return true;
            }
        };
        let chunked = self.wire.framing == Framing::Chunked;
        let mut out = Vec::new();
        match step.output {
            Output::NeedMore => {
                ahead.advance(step.consumed);
                return false;
            }
            Output::Data(range) if chunked => write_chunk(&ahead[range], &mut out),
            Output::Data(range) => out.extend_from_slice(&ahead[range]),
            Output::Trailers(fields) => {
                let mut trailers = Vec::new();
                let fields = fields.filtered(|name| !self.replaced.names(name));
                forward::trailer_fields(self.head, &fields, &mut trailers);
                write_last_chunk(&trailers, &mut out);
                buffers.request_ended = true;
            }
            Output::End => {
                if chunked && !buffers.request_ended {
                    write_last_chunk(&[], &mut out);
                }
                buffers.request_ended = true;
                self.body_read = true;
            }
        }
        buffers.request.extend_from_slice(&out);
        ahead.advance(step.consumed);
        true
    }

    fn push(&mut self, cx: &mut Context<'_>, leg: &mut Leg) -> io::Result<bool> {
        let mut buffers = lock(&self.wire.buffers);
        let mut pushed = false;
        loop {
            let writable = buffers.writable();
            if writable == 0 {
                break;
            }
            match leg.poll_drain(cx, &buffers.response[..writable]) {
                Poll::Ready(taken) => {
                    buffers.response.advance(taken?);
                    pushed = true;
                }
                Poll::Pending => return Ok(pushed),
            }
        }
        if let Poll::Ready(flushed) = leg.poll_flush(cx) {
            flushed?;
        }
        Ok(pushed)
    }

    /// Ends an exchange whose client neither reads its response nor sends its body.
    fn poll_stalled(&mut self, cx: &mut Context<'_>, moved: bool, leg: &Leg) -> Poll<Ending> {
        let waits = !self.body_read || leg.held() > 0 || !self.wire.lock().response.is_empty();
        let Some(patience) = self.patience.filter(|_| waits) else {
            self.stalled = None;
            return Poll::Pending;
        };
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        if moved {
            stalled.as_mut().reset(Instant::now() + patience);
        }
        let answered = self.account.finished() && self.wire.lock().response.is_empty() && leg.held() == 0;
        // An upstream may answer without reading the request to its end; the answer is whole all the same.
        let ending = if answered { Ending::Served { body_read: false } } else { Ending::Cut };
        stalled.as_mut().poll(cx).map(|()| ending)
    }
}

impl Read for HyperEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut buffers = lock(&self.0);
        let count = buffers.request.len().min(cursor.remaining());
        if count == 0 {
            return match (buffers.request_broken, buffers.request_ended) {
                (true, _) => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                (false, true) => Poll::Ready(Ok(())),
                (false, false) => Poll::Pending,
            };
        }
        cursor.put_slice(&buffers.request[..count]);
        buffers.request.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl Write for HyperEnd {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut buffers = lock(&self.0);
        let room = MOST_HELD.saturating_sub(buffers.response.len());
        if room == 0 {
            return Poll::Pending;
        }
        let count = room.min(bytes.len());
        buffers.response.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What may go out after hyper wrote so many pieces, of which the wire took one at a time.
    fn written(wire: &Wire, pieces: &[&[u8]]) -> usize {
        let (mut end, mut cx) = (wire.end(), Context::from_waker(std::task::Waker::noop()));
        for piece in pieces {
            let written = Pin::new(&mut end).poll_write(&mut cx, piece);
            assert!(matches!(written, Poll::Ready(Ok(count)) if count == piece.len()));
        }
        wire.lock().writable()
    }

    #[test]
    fn the_last_chunk_waits_until_it_is_whole_and_has_its_trailers() {
        let wire = Wire::new(b"", Framing::None);
        // A flush from before the end says nothing.
        assert_eq!(written(&wire, &[b"5\r\nhello\r\n"]), 10);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut wire.end()).poll_flush(&mut cx).is_ready());
        wire.trailers().put(b"x-sum: 1\r\n".to_vec());
        assert_eq!(written(&wire, &[b"5\r\n0\r\n\r\n\r\n"]), 15, "what only looks like the end of it");
        assert_eq!(written(&wire, &[b"0\r"]), 17);
        assert_eq!(written(&wire, &[b"\n\r\n"]), 20);
        assert!(Pin::new(&mut wire.end()).poll_flush(&mut cx).is_ready());
        let whole = b"5\r\nhello\r\n5\r\n0\r\n\r\n\r\n0\r\nx-sum: 1\r\n\r\n";
        assert_eq!(written(&wire, &[]), whole.len());
        assert_eq!(wire.lock().response, whole[..]);
    }
}
