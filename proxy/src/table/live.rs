//! What an open tunnel holds of its route: a cell of settings that follows the tables.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use imbl::HashMap;
use snapshot::{Millis, RouteId, Timeouts};

/// The settings of a route that open tunnels follow. There is one cell for each [`RouteId`] as long as any
/// table or tunnel holds it, so a route that goes and comes back finds its tunnels again.
pub struct Live {
    id: Arc<RouteId>,
    idle: AtomicU64,
    send: AtomicU64,
}

impl Live {
    /// A cell that belongs to no table yet.
    pub fn new(id: Arc<RouteId>, timeouts: &Timeouts) -> Self {
        Self { id, idle: AtomicU64::new(timeouts.idle.0), send: AtomicU64::new(timeouts.send.0) }
    }

    /// The route.
    pub fn id(&self) -> &RouteId {
        &self.id
    }

    pub(super) fn shared_id(&self) -> &Arc<RouteId> {
        &self.id
    }

    /// No bytes either way for so long end the tunnel. `None`: never.
    pub fn idle(&self) -> Option<Duration> {
        read(&self.idle)
    }

    /// A write that makes no progress for so long ends the tunnel. `None`: never.
    pub fn send(&self) -> Option<Duration> {
        read(&self.send)
    }

    /// Each value stands for itself, so no reader minds seeing one before another.
    pub(super) fn update(&self, timeouts: &Timeouts) {
        self.idle.store(timeouts.idle.0, Ordering::Relaxed);
        self.send.store(timeouts.send.0, Ordering::Relaxed);
    }
}

fn read(cell: &AtomicU64) -> Option<Duration> {
    let Millis(millis) = Millis(cell.load(Ordering::Relaxed));
    (millis > 0).then(|| Duration::from_millis(millis))
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({}, idle {:?}, send {:?})", self.id, self.idle(), self.send())
    }
}

/// Finds the cell of a route, whoever holds it: this table, one before it, or a tunnel alone.
#[derive(Clone, Default)]
pub(super) struct Registry {
    cells: HashMap<Arc<RouteId>, Weak<Live>>,
    /// Dead entries are swept out when there are this many, so that a sweep costs each insertion a constant.
    sweep_at: usize,
}

impl Registry {
    /// The cell that exists, with `true`, or a new one.
    pub(super) fn cell(&mut self, id: RouteId, timeouts: &Timeouts) -> (Arc<Live>, bool) {
        if let Some(cell) = self.cells.get(&id).and_then(Weak::upgrade) {
            return (cell, true);
        }
        let id = Arc::new(id);
        let cell = Arc::new(Live::new(id.clone(), timeouts));
        self.cells.insert(id, Arc::downgrade(&cell));
        if self.cells.len() >= self.sweep_at {
            self.cells.retain(|_, cell| cell.strong_count() > 0);
            self.sweep_at = 2 * self.cells.len() + 64;
        }
        (cell, false)
    }
}
