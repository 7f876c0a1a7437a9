//! The polite close: each side is told at a message boundary, answers, and is let go.
//!
//! A Close frame goes to a side when the messages towards it are whole; when that takes too long, when a frame is;
//! when that takes too long too, FIN. Then the side has a while to answer. Everything is counted in sweeps, of which
//! there is one a second.

use std::task::{Context, Poll};

use crate::close::{CloseReason, Farewell, Side};
use crate::frames::{self, Boundary, Walker};
use crate::worker::registry::{Look, Said};

use super::Tunnel;

/// A side whose message is not whole after so long gets its Close at the end of a frame. A sweep more than the
/// five seconds promised, since the first may come at once.
const WHOLE_MESSAGE: u32 = 6;
/// A side whose frame is not whole after so long gets FIN.
const WHOLE_FRAME: u32 = WHOLE_MESSAGE + 1;
/// A side that was told has so long to answer, then gets FIN.
const ANSWER: u32 = 6;
/// After FIN a side has so long to end its direction, then is reset: what is under way to it must not be lost.
const END: u32 = 2;

/// A close that the proxy carries out.
#[derive(Debug)]
pub(super) struct Parting {
    reason: CloseReason,
    begun: u32,
    /// The sweep of this round.
    now: u32,
    /// Of the client, of the upstream.
    stages: [Stage; 2],
    /// The codes that were sent.
    said: [Option<u16>; 2],
}

/// How far one side is.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// What is under way towards it is made whole first.
    Relaying,
    /// Its Close frame is being written: the frame, and how much of it was taken.
    Saying(Vec<u8>, usize),
    /// It was told at this sweep, and may answer.
    Told(u32),
    /// Our direction ended at this sweep.
    Ended(u32),
    /// Nothing is expected of it any more.
    Over,
}

impl Parting {
    /// Both sides are to be told; `shut` says by side whether our direction towards it has ended already.
    pub(super) fn new(reason: CloseReason, sweeps: u32, shut: [bool; 2]) -> Self {
        let stage = |side: Side| match reason.farewell(side) {
            Farewell::Close(_) if shut[side.index()] => Stage::Told(sweeps),
            Farewell::Close(_) => Stage::Relaying,
            Farewell::Reset => Stage::Over,
        };
        Self {
            reason,
            begun: sweeps,
            now: sweeps,
            stages: [stage(Side::Client), stage(Side::Upstream)],
            said: [None; 2],
        }
    }

    /// Both sides have told each other.
    pub(super) fn both_told(reason: CloseReason, sweeps: u32) -> Self {
        let stages = [Stage::Told(sweeps), Stage::Told(sweeps)];
        Self { reason, begun: sweeps, now: sweeps, stages, said: [None; 2] }
    }

    /// One side has gone, and all that it sent has been passed on.
    pub(super) fn left(reason: CloseReason, gone: Side, sweeps: u32) -> Self {
        let mut parting = Self::both_told(reason, sweeps);
        parting.stages[gone.index()] = Stage::Over;
        parting
    }

    /// Where the side's Close frame may go, while it has not begun. `None`: nothing is passed to the side any more.
    pub(super) fn waits_for(&self, side: Side) -> Option<Boundary> {
        match &self.stages[side.index()] {
            Stage::Relaying => Some(self.boundary()),
            _ => None,
        }
    }

    /// The boundary has come: whatever comes next from the other side is not for this one any more.
    pub(super) fn begin_saying(&mut self, side: Side) {
        let Farewell::Close(code) = self.reason.farewell(side) else {
            self.stages[side.index()] = Stage::Over;
            return;
        };
        let mask = (side == Side::Upstream).then(|| fastrand::u32(..).to_be_bytes());
        let frame = frames::close_frame(code, self.reason.text(), mask);
        self.said[side.index()] = Some(code);
        self.stages[side.index()] = Stage::Saying(frame, 0);
    }

    /// The code that was sent to a side.
    pub(super) fn said(&self, side: Side) -> Option<u16> {
        self.said[side.index()]
    }

    fn waited(&self) -> u32 {
        self.now.wrapping_sub(self.begun)
    }

    fn boundary(&self) -> Boundary {
        if self.waited() < WHOLE_MESSAGE { Boundary::Message } else { Boundary::Frame }
    }

    fn over(&self) -> bool {
        self.stages.iter().all(|stage| *stage == Stage::Over)
    }
}

impl Tunnel {
    /// Begins to close for a reason of the proxy's own.
    pub(super) fn begin_parting(&mut self, reason: CloseReason, look: Look) {
        if self.walkers.iter().any(Walker::close_seen) {
            // A peer had begun before: the close is its own.
            self.blame(reason);
        } else {
            self.reason = Some(reason);
        }
        let shut = [Side::Client, Side::Upstream].map(|side| self.state.ends[side.other().index()].passed);
        self.state.parting = Some(Box::new(Parting::new(reason, look.sweeps, shut)));
        for side in [Side::Client, Side::Upstream] {
            if reason.farewell(side) == Farewell::Reset {
                self.legs[side.index()].reset();
            }
        }
    }

    /// One round of a tunnel that is closing. Ready when both sides are done with.
    pub(super) fn poll_parting(&mut self, cx: &mut Context<'_>, look: Look, said: &mut Said) -> Poll<()> {
        self.parting().now = look.sweeps;
        // First what came in, so that a message whose end is here already is whole.
        for from in [Side::Client, Side::Upstream] {
            if self.parting().stages[from.index()] == Stage::Over {
                continue;
            }
            if let Err(broken) = self.pump(cx, from, said) {
                self.parting().stages[broken.side.index()] = Stage::Over;
            }
        }
        for side in [Side::Client, Side::Upstream] {
            while self.advance(cx, side, said) {}
        }
        if self.parting().over() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Moves one side on by one stage, if it is time. True: look at it again.
    fn advance(&mut self, cx: &mut Context<'_>, side: Side, said: &mut Said) -> bool {
        let now = self.parting().now;
        let next = match &mut self.parting().stages[side.index()] {
            Stage::Relaying => self.after_relaying(side),
            Stage::Saying(..) => self.after_saying(cx, side, said),
            Stage::Told(since) => {
                let late = now.wrapping_sub(*since) >= ANSWER;
                self.after_told(cx, side, late)
            }
            Stage::Ended(since) => {
                let late = now.wrapping_sub(*since) >= END;
                self.after_ended(side, late)
            }
            Stage::Over => None,
        };
        let Some(next) = next else { return false };
        self.parting().stages[side.index()] = next;
        true
    }

    fn after_relaying(&mut self, side: Side) -> Option<Stage> {
        let (from, boundary) = (side.other().index(), self.parting().boundary());
        let walker: Walker = self.walkers[from];
        let waited = self.parting().waited();
        if self.state.lanes[from].held.is_none() && (walker.close_seen() || walker.at(boundary)) {
            if walker.close_seen() {
                // The other peer's own Close has told it.
                return Some(Stage::Told(self.parting().now));
            }
            self.parting().begin_saying(side);
            return Some(std::mem::replace(&mut self.parting().stages[side.index()], Stage::Over));
        }
        (waited >= WHOLE_FRAME).then(|| Stage::Told(self.parting().now.wrapping_sub(ANSWER)))
    }

    fn after_saying(&mut self, cx: &mut Context<'_>, side: Side, said: &mut Said) -> Option<Stage> {
        let parting = self.state.parting.as_mut().expect("called while parting");
        let (now, late) = (parting.now, parting.waited() >= WHOLE_FRAME + ANSWER);
        let Stage::Saying(frame, taken) = &mut parting.stages[side.index()] else { return None };
        let leg = &mut self.legs[side.index()];
        let written = loop {
            let rest = &frame[*taken..];
            // Told is who has the frame on the way: TLS takes more than the kernel does.
            let step = if rest.is_empty() {
                leg.poll_flush(cx)
            } else {
                leg.poll_drain(cx, rest).map_ok(|count| *taken += count)
            };
            match step {
                Poll::Ready(Ok(())) if rest.is_empty() => break true,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Some(Stage::Over),
                Poll::Pending => break false,
            }
        };
        if !written {
            said.waiting[side.index()] = true;
            return late.then(|| {
                leg.reset();
                Stage::Over
            });
        }
        Some(Stage::Told(now))
    }

    fn after_told(&mut self, cx: &mut Context<'_>, side: Side, late: bool) -> Option<Stage> {
        let answered = self.walkers[side.index()].close_seen() || self.state.ends[side.index()].read;
        if !answered && !late {
            return None;
        }
        match self.legs[side.index()].poll_close_write(cx) {
            Poll::Ready(Ok(())) => Some(Stage::Ended(self.parting().now)),
            Poll::Ready(Err(_)) => Some(Stage::Over),
            Poll::Pending => late.then(|| {
                self.legs[side.index()].reset();
                Stage::Over
            }),
        }
    }

    fn after_ended(&mut self, side: Side, late: bool) -> Option<Stage> {
        if self.state.ends[side.index()].read {
            return Some(Stage::Over);
        }
        late.then(|| {
            self.legs[side.index()].reset();
            Stage::Over
        })
    }

    fn parting(&mut self) -> &mut Parting {
        self.state.parting.as_mut().expect("called while parting")
    }
}
