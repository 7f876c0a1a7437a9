//! The tunnels of one worker, and the one sweep a second that stands in for all their timers.
//!
//! The registry belongs to the worker's thread, and so do its tunnels: a tunnel says what moved, the sweep says what
//! is due. An entry costs a few dozen bytes; nothing is armed for a message.
//!
//! Time is counted in sweeps. A process that stood still for a while thus ages no tunnel: whoever could not send
//! because nobody read is not called idle.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use crate::close::{CloseReason, Side};
use crate::table::Live;

/// How often tunnels are looked at.
pub(crate) const SWEEP: Duration = Duration::from_secs(1);

thread_local! {
    static REGISTRY: RefCell<Registry> =
        const { RefCell::new(Registry { entries: Slab::new(), sweeps: 0, closing: None }) };
}

struct Registry {
    entries: Slab<Entry>,
    sweeps: u32,
    /// Everything was ordered to close: so is what opens from then on.
    closing: Option<CloseReason>,
}

struct Entry {
    waker: Waker,
    live: Arc<Live>,
    /// The sweep that last found bytes moved.
    quiet_since: u32,
    /// Sweeps in a row that found a write towards the side waiting without progress.
    stuck: [u16; 2],
    order: Option<CloseReason>,
    flags: u8,
}

const MOVED: u8 = 1;
const CLOSING: u8 = 2;
const WAITING: [u8; 2] = [4, 8];
const PROGRESS: [u8; 2] = [16, 32];

/// What a tunnel is told when it looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Sweeps so far.
    pub(crate) sweeps: u32,
    /// The tunnel is to close.
    pub(crate) order: Option<CloseReason>,
}

/// What a tunnel says when it has done what it could.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    /// Bytes were read or written.
    pub(crate) moved: bool,
    /// By side: a write towards it waits for the kernel.
    pub(crate) waiting: [bool; 2],
    /// By side: bytes towards it were taken.
    pub(crate) progress: [bool; 2],
    /// Closing has begun: the tunnel wants to be woken by every sweep.
    pub(crate) closing: bool,
}

/// An entry's place. It leaves the registry when this is dropped, on whichever thread of ours that is.
#[derive(Debug)]
pub(crate) struct Place(u32);

/// Enters a tunnel, before it is polled for the first time.
pub(crate) fn enter(live: Arc<Live>) -> Place {
    REGISTRY.with_borrow_mut(|registry| {
        let (waker, quiet_since) = (Waker::noop().clone(), registry.sweeps);
        // As if bytes had just moved: a second that began before the tunnel is not one of its own.
        let (order, flags) = (registry.closing, MOVED);
        let entry = Entry { waker, live, quiet_since, stuck: [0; 2], order, flags };
        Place(registry.entries.insert(entry) as u32)
    })
}

/// What is due for this tunnel, which will be woken by this waker from now on.
pub(crate) fn look(place: &Place, waker: &Waker) -> Look {
    REGISTRY.with_borrow_mut(|registry| {
        let entry = registry.entries.get_mut(place.0 as usize);
        let order = entry.and_then(|entry| {
            entry.waker.clone_from(waker);
            entry.order
        });
        Look { sweeps: registry.sweeps, order }
    })
}

/// The settings that this tunnel follows.
pub(crate) fn live(place: &Place) -> Option<Arc<Live>> {
    REGISTRY.with_borrow(|registry| registry.entries.get(place.0 as usize).map(|entry| entry.live.clone()))
}

/// What this tunnel did.
pub(crate) fn say(place: &Place, said: Said) {
    REGISTRY.with_borrow_mut(|registry| {
        let Some(entry) = registry.entries.get_mut(place.0 as usize) else { return };
        entry.flags |= if said.moved { MOVED } else { 0 } | if said.closing { CLOSING } else { 0 };
        for side in 0..2 {
            entry.flags &= !WAITING[side];
            entry.flags |= if said.waiting[side] { WAITING[side] } else { 0 };
            entry.flags |= if said.progress[side] { PROGRESS[side] } else { 0 };
        }
    });
}

impl Drop for Place {
    fn drop(&mut self) {
        // The thread's end takes the registry away before the last tunnels: then there is nothing to leave.
        let _ = REGISTRY.try_with(|registry| {
            let entry = registry.borrow_mut().entries.try_remove(self.0 as usize);
            // Outside the borrow: a waker's drop may drop a task.
            drop(entry);
        });
    }
}

/// How many tunnels there are.
pub(crate) fn count() -> usize {
    REGISTRY.with_borrow(|registry| registry.entries.len())
}

/// Orders up to `most` tunnels that are not closing yet to close. Returns how many there were.
pub(crate) fn close(most: usize, reason: CloseReason) -> usize {
    let wakers: Vec<Waker> = REGISTRY.with_borrow_mut(|registry| {
        let open = registry.entries.iter_mut().map(|(_, entry)| entry);
        open.filter(|entry| entry.order.is_none() && entry.flags & CLOSING == 0)
            .take(most)
            .map(|entry| {
                entry.order = Some(reason);
                entry.waker.clone()
            })
            .collect()
    });
    let closed = wakers.len();
    wakers.into_iter().for_each(Waker::wake);
    closed
}

/// Orders every tunnel to close, and those that open later.
pub(crate) fn close_all(reason: CloseReason) -> usize {
    REGISTRY.with_borrow_mut(|registry| registry.closing = Some(reason));
    close(usize::MAX, reason)
}

/// Looks at every tunnel once: who is idle or stuck is ordered to close, who is closing is woken.
pub(crate) fn sweep() {
    let wakers: Vec<Waker> = REGISTRY.with_borrow_mut(|registry| {
        registry.sweeps += 1;
        let sweeps = registry.sweeps;
        let due = registry.entries.iter_mut().map(|(_, entry)| entry).filter_map(|entry| entry.sweep(sweeps));
        due.collect()
    });
    wakers.into_iter().for_each(Waker::wake);
}

impl Entry {
    fn sweep(&mut self, sweeps: u32) -> Option<Waker> {
        if self.flags & MOVED != 0 {
            self.quiet_since = sweeps;
        }
        for side in [Side::Client, Side::Upstream] {
            let index = side.index();
            let stuck = self.flags & WAITING[index] != 0 && self.flags & PROGRESS[index] == 0;
            self.stuck[index] = if stuck { self.stuck[index].saturating_add(1) } else { 0 };
        }
        self.flags &= !(MOVED | PROGRESS[0] | PROGRESS[1]);
        if self.flags & CLOSING != 0 {
            return Some(self.waker.clone());
        }
        if self.order.is_none() {
            self.order = self.due(sweeps);
            return self.order.map(|_| self.waker.clone());
        }
        None
    }

    fn due(&self, sweeps: u32) -> Option<CloseReason> {
        let send = self.live.send().map(in_sweeps);
        let stuck = |side: &Side| send.is_some_and(|send| u32::from(self.stuck[side.index()]) > send);
        if let Some(side) = [Side::Client, Side::Upstream].into_iter().find(stuck) {
            return Some(CloseReason::SendTimeout(side));
        }
        let idle = self.live.idle().map(in_sweeps);
        let quiet = sweeps.wrapping_sub(self.quiet_since);
        // A side that does not take what waits for it is stuck, not idle.
        let waiting = self.flags & (WAITING[0] | WAITING[1]) != 0;
        (!waiting && idle.is_some_and(|idle| quiet >= idle)).then_some(CloseReason::IdleTimeout)
    }
}

/// Never zero: what has begun since the last sweep has not lasted a sweep.
fn in_sweeps(duration: Duration) -> u32 {
    let sweeps = duration.as_millis().div_ceil(SWEEP.as_millis()).max(1);
    u32::try_from(sweeps).unwrap_or(u32::MAX)
}
