//! One tunnel: a single poll function over two legs.
//!
//! There is no `select!`, no timer and no buffer while nothing moves. Bytes pass unchanged and in order, with at most
//! 64 KiB held for each direction; a half-close is passed on. The frame walker follows both directions, so that the
//! proxy can close politely ([`parting`]) between two messages.
//!
//! A tunnel holds its route's live cell and its place at the endpoint, never a table or a snapshot: a table that was
//! swapped out is freed while its tunnels live on.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};

use crate::close::{CloseReason, Side};
use crate::frames::{Walked, Walker};
use crate::leg::Leg;
use crate::scratch;
use crate::table::Live;
use crate::telemetry::{Telemetry, TunnelRecord, TunnelSummary};
use crate::upstream::Picked;
use crate::worker::registry::{self, Look, Place, Said};

mod parting;
#[cfg(test)]
mod tests;

use parting::Parting;

/// Read at once where a leg is TLS: with the ciphertext beside it still within 64 KiB.
const TLS_READ: usize = 40 * 1024;

/// An open tunnel. It is ready when both sides are done with, and has then been recorded.
pub struct Tunnel {
    /// The client's, the upstream's.
    legs: [Leg; 2],
    /// Over what came from the client, from the upstream.
    walkers: [Walker; 2],
    place: Place,
    /// Whose act ends the tunnel, once that is known.
    reason: Option<CloseReason>,
    state: Box<State>,
}

/// What is not needed to wait. It fits in 128 bytes, the size below the next.
struct State {
    /// From the client, from the upstream.
    lanes: [Lane; 2],
    ends: [Ends; 2],
    parting: Option<Box<Parting>>,
    picked: Picked,
    record: TunnelRecord,
    telemetry: Arc<Telemetry>,
    /// The client came over TLS.
    tls: bool,
}

/// One direction.
#[derive(Default)]
struct Lane {
    bytes: u64,
    messages: u64,
    /// Read and not taken by the other side yet.
    held: Option<Box<Bytes>>,
}

/// What has come to an end, by the side it came from.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    /// The code of the Close frame that came; 0 is none.
    code: u16,
    /// The end of the stream was read.
    read: bool,
    /// The end was passed on.
    passed: bool,
    /// It takes nothing any more, though it may not have said so.
    deaf: bool,
}

/// A leg that broke.
struct Broken {
    side: Side,
    error: io::Error,
}

/// What opens a tunnel.
pub struct Opening {
    /// The route's live cell.
    pub live: Arc<Live>,
    /// The place at the endpoint.
    pub picked: Picked,
    /// What the access record will say.
    pub record: TunnelRecord,
    /// Counters.
    pub telemetry: Arc<Telemetry>,
    /// Bytes that came behind the client's handshake, and behind the upstream's. They go first.
    pub ahead: [Bytes; 2],
}

impl Tunnel {
    /// A tunnel between a client and an upstream that have agreed on one.
    pub fn new(client: Leg, upstream: Leg, opening: Opening) -> Self {
        let Opening { live, picked, record, telemetry, ahead } = opening;
        telemetry.tunnel_opened();
        let lanes = ahead.map(|held| Lane { held: hold(held), ..Lane::default() });
        let (ends, tls) = (Default::default(), matches!(client, Leg::Tls(_)));
        let state = Box::new(State { lanes, ends, parting: None, picked, record, telemetry, tls });
        Self {
            legs: [client, upstream],
            walkers: Default::default(),
            place: registry::enter(live),
            reason: None,
            state,
        }
    }

    /// Moves what can be moved from one side to the other.
    fn pump(&mut self, cx: &mut Context<'_>, from: Side, said: &mut Said) -> Result<(), Broken> {
        loop {
            if !self.pass_held(cx, from, said)? || self.state.ends[from.index()].read {
                return Ok(());
            }
            match self.read(cx, from)? {
                None => return Ok(()),
                Some(0) => {
                    self.state.ends[from.index()].read = true;
                    self.blame(match from {
                        Side::Client => CloseReason::ClientClosed,
                        Side::Upstream => CloseReason::UpstreamClosed,
                    });
                }
                Some(_) => said.moved = true,
            }
        }
    }

    /// Passes on what is held for a direction. False: the kernel has no room.
    fn pass_held(&mut self, cx: &mut Context<'_>, from: Side, said: &mut Said) -> Result<bool, Broken> {
        let to = from.other();
        if let Some(mut held) = self.state.lanes[from.index()].held.take() {
            while !held.is_empty() {
                let Some(taken) = self.pass(cx, from, &held)? else {
                    said.waiting[to.index()] = true;
                    self.state.lanes[from.index()].held = Some(held);
                    return Ok(false);
                };
                said.moved = true;
                said.progress[to.index()] = true;
                held.advance(taken);
            }
        }
        let leg = &mut self.legs[to.index()];
        if leg.held() > 0 {
            let before = leg.held();
            let flushed = leg.poll_flush(cx).map_err(|error| Broken { side: to, error })?;
            said.progress[to.index()] |= leg.held() < before;
            if flushed.is_pending() {
                said.waiting[to.index()] = true;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads once and passes on what the other side takes; the rest is held. `None`: nothing is there.
    fn read(&mut self, cx: &mut Context<'_>, from: Side) -> Result<Option<usize>, Broken> {
        let tls = self.legs.iter().any(Leg::is_tls);
        let most = if tls { TLS_READ } else { scratch::SCRATCH };
        scratch::with_plaintext(|buffer| {
            let read = self.legs[from.index()].poll_fill(cx, &mut buffer[..most]);
            let count = match read {
                Poll::Pending => return Ok(None),
                Poll::Ready(Ok(count)) => count,
                // What follows a goodbye is an end, however it comes.
                Poll::Ready(Err(_)) if self.walkers[from.index()].close_seen() => 0,
                Poll::Ready(Err(error)) => return Err(Broken { side: from, error }),
            };
            if count == 0 && self.state.ends[from.index()].deaf && !self.walkers[from.index()].close_seen() {
                // The write that failed was told of the reset, and reading is not told again.
                return Err(Broken { side: from, error: io::ErrorKind::ConnectionReset.into() });
            }
            let mut rest = &buffer[..count];
            while !rest.is_empty() {
                match self.pass(cx, from, rest)? {
                    Some(taken) => rest = &rest[taken..],
                    None => break,
                }
            }
            self.state.lanes[from.index()].held = hold(Bytes::copy_from_slice(rest));
            Ok(Some(count))
        })
    }

    /// Passes some bytes on, or drops them where the other side has been told goodbye. `None`: there is no room.
    fn pass(&mut self, cx: &mut Context<'_>, from: Side, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        let to = from.other();
        let allowed = match &mut self.state.parting {
            _ if self.state.ends[to.index()].deaf => 0,
            None => bytes.len(),
            Some(parting) => {
                if let Some(boundary) = parting.waits_for(to) {
                    match self.walkers[from.index()].bytes_to(boundary, bytes) {
                        Some(0) => {
                            parting.begin_saying(to);
                            0
                        }
                        Some(ahead) => ahead,
                        None => bytes.len(),
                    }
                } else {
                    0
                }
            }
        };
        let taken = if allowed == 0 {
            bytes.len()
        } else {
            match self.legs[to.index()].poll_drain(cx, &bytes[..allowed]) {
                Poll::Pending => return Ok(None),
                Poll::Ready(Ok(taken)) => taken,
                Poll::Ready(Err(error)) if has_left(&error) => {
                    // What it sent before must still arrive at the other side; how it ended, reading tells.
                    self.state.ends[to.index()].deaf = true;
                    return Ok(Some(0));
                }
                Poll::Ready(Err(error)) => return Err(Broken { side: to, error }),
            }
        };
        let mut walked = self.walkers[from.index()].walk(&bytes[..taken]);
        if allowed == 0 {
            walked.messages = 0;
        }
        self.account(from, if allowed == 0 { 0 } else { taken }, walked);
        Ok(Some(taken))
    }

    /// A side has sent its goodbye or its end.
    fn has_ended(&self, side: Side) -> bool {
        self.state.ends[side.index()].read || self.walkers[side.index()].close_seen()
    }

    fn account(&mut self, from: Side, bytes: usize, walked: Walked) {
        let lane = &mut self.state.lanes[from.index()];
        lane.bytes += bytes as u64;
        lane.messages += walked.messages;
        self.state.telemetry.relayed(from, bytes as u64, walked.messages);
        if let Some(code) = walked.close {
            self.state.ends[from.index()].code = code;
            self.blame(match from {
                Side::Client => CloseReason::ClientClosed,
                Side::Upstream => CloseReason::UpstreamClosed,
            });
        }
    }

    /// The first to act is whose close it is.
    fn blame(&mut self, reason: CloseReason) {
        self.reason.get_or_insert(reason);
    }

    /// Passes an end of stream on, once everything before it has been.
    fn pass_end(&mut self, cx: &mut Context<'_>, from: Side) -> Result<(), Broken> {
        let (ends, to) = (&mut self.state.ends[from.index()], from.other());
        if !ends.read || ends.passed || self.state.lanes[from.index()].held.is_some() {
            return Ok(());
        }
        match self.legs[to.index()].poll_close_write(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => ends.passed = true,
            Poll::Ready(Err(_)) if self.has_ended(to) => self.state.ends[from.index()].passed = true,
            Poll::Ready(Err(error)) => return Err(Broken { side: to, error }),
        }
        Ok(())
    }

    /// One round of an open tunnel. Ready when it is over.
    fn poll_open(&mut self, cx: &mut Context<'_>, look: Look, said: &mut Said) -> Poll<()> {
        for from in [Side::Client, Side::Upstream] {
            let result = self.pump(cx, from, said).and_then(|()| self.pass_end(cx, from));
            if let Err(broken) = result {
                self.pass_reset(&broken);
                return Poll::Ready(());
            }
        }
        if self.state.ends.iter().all(|ends| ends.passed) {
            return Poll::Ready(());
        }
        let gone = |side: &Side| self.state.ends[side.index()].deaf && self.state.ends[side.index()].passed;
        if let Some(gone) = [Side::Client, Side::Upstream].into_iter().find(gone) {
            let reason = self.reason.unwrap_or(CloseReason::Internal);
            self.state.parting = Some(Box::new(Parting::left(reason, gone, look.sweeps)));
            return self.poll_parting(cx, look, said);
        }
        if self.walkers.iter().all(Walker::close_seen) {
            // Both have said goodbye (RFC 6455 §7.1.1): what is left is to end the connections.
            let reason = self.reason.unwrap_or(CloseReason::ClientClosed);
            self.state.parting = Some(Box::new(Parting::both_told(reason, look.sweeps)));
            return self.poll_parting(cx, look, said);
        }
        Poll::Pending
    }

    /// A side that broke: the other is reset as well, unless the two had said goodbye before.
    fn pass_reset(&mut self, broken: &Broken) {
        tracing::debug!(side = ?broken.side, error = %broken.error, "connection of a tunnel broke");
        self.blame(match broken.side {
            Side::Client => CloseReason::ClientReset,
            Side::Upstream => CloseReason::UpstreamReset,
        });
        if !self.walkers.iter().all(Walker::close_seen) {
            self.legs[broken.side.other().index()].reset();
        }
    }

    fn poll_tunnel(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let look = registry::look(&self.place, cx.waker());
        if let (Some(reason), None) = (look.order, &self.state.parting) {
            self.begin_parting(reason, look);
        }
        let mut said = Said::default();
        let over = if self.state.parting.is_some() {
            self.poll_parting(cx, look, &mut said)
        } else {
            self.poll_open(cx, look, &mut said)
        };
        said.closing = self.state.parting.is_some();
        registry::say(&self.place, said);
        over
    }

    fn finish(&mut self) {
        let State { lanes, ends, record, telemetry, picked, parting, tls } = &*self.state;
        let live = registry::live(&self.place);
        let said = |side: Side| parting.as_ref().and_then(|parting| parting.said(side));
        // Of two goodbyes the first is the reason, the other its echo.
        let first = usize::from(self.reason == Some(CloseReason::UpstreamClosed));
        let code = [ends[first].code, ends[1 - first].code].into_iter().find(|code| *code != 0);
        telemetry.tunnel_closed(&TunnelSummary {
            record,
            tls: *tls,
            route: live.as_ref().map(|live| live.id()),
            endpoint: picked.address(),
            reason: self.reason.unwrap_or(CloseReason::Internal),
            code: said(Side::Client).or(code),
            bytes: [lanes[0].bytes, lanes[1].bytes],
            messages: [lanes[0].messages, lanes[1].messages],
            framing_broken: self.walkers.iter().any(Walker::broken),
        });
    }
}

/// The peer takes nothing more (tcp(7)), while what it sent may still be there to read.
fn has_left(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}

fn hold(bytes: Bytes) -> Option<Box<Bytes>> {
    (!bytes.is_empty()).then(|| Box::new(bytes))
}

impl Future for Tunnel {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_tunnel(cx));
        self.finish();
        Poll::Ready(())
    }
}
