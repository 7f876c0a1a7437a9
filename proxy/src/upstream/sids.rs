//! Which endpoint a session of Engine.IO is at: what was learned of an upstream's answers.
//!
//! Bounded in number and in time. Entries are kept in two halves: what is used moves to the younger one, and the elder
//! one goes as a whole when the younger is full or has had its time. Each upstream has its own, so that no other one's
//! answers can push its sessions out or lead them elsewhere.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// So many in each half.
const MOST: usize = 16_384;

/// A session is forgotten that was not heard of for this long, at the latest after twice this. Clients that poll are
/// heard of every minute or so.
const LIFE: Duration = Duration::from_mins(5);

/// The longest sid that is known.
pub(crate) const LONGEST: usize = 128;

/// Sessions by their sids. Nothing is allocated before the first is learned.
#[derive(Default)]
pub(super) struct Sids(Mutex<Halves>);

#[derive(Default)]
struct Halves {
    young: HashMap<u64, SocketAddr>,
    old: HashMap<u64, SocketAddr>,
    /// When the younger half began.
    since: Option<Instant>,
}

impl Sids {
    /// A session began at this endpoint.
    pub(super) fn learn(&self, sid: &[u8], endpoint: SocketAddr, now: Instant) {
        self.halves().put(xxh3_64(sid), endpoint, now);
    }

    /// Where a session is. It is heard of by this.
    pub(super) fn find(&self, sid: &[u8], now: Instant) -> Option<SocketAddr> {
        let (key, mut halves) = (xxh3_64(sid), self.halves());
        halves.turn(now);
        if let Some(endpoint) = halves.young.get(&key) {
            return Some(*endpoint);
        }
        let endpoint = halves.old.remove(&key)?;
        halves.put(key, endpoint, now);
        Some(endpoint)
    }

    fn halves(&self) -> MutexGuard<'_, Halves> {
        // Plain data, whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Halves {
    fn put(&mut self, key: u64, endpoint: SocketAddr, now: Instant) {
        self.turn(now);
        self.young.insert(key, endpoint);
    }

    /// Lets the elder half go where it is time.
    fn turn(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if self.young.len() >= MOST || age >= LIFE {
            self.old = std::mem::take(&mut self.young);
            if age >= 2 * LIFE {
                self.old = HashMap::new();
            }
            self.since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    #[test]
    fn sessions_are_known_as_long_as_they_are_heard_of() {
        let (sids, start) = (Sids::default(), Instant::now());
        sids.learn(b"a", at(1), start);
        sids.learn(b"b", at(2), start);
        for minutes in (4..40).step_by(4) {
            assert_eq!(sids.find(b"a", start + Duration::from_mins(minutes)), Some(at(1)), "{minutes}");
        }
        assert_eq!(sids.find(b"b", start + Duration::from_mins(40)), None);
        assert_eq!(sids.find(b"a", start + Duration::from_hours(1)), None, "nobody was heard of for long");
        assert_eq!(sids.find(b"c", start), None);
    }

    #[test]
    fn no_number_of_sessions_takes_more_than_its_room() {
        let (sids, now) = (Sids::default(), Instant::now());
        for number in 0..5 * MOST {
            sids.learn(&number.to_be_bytes(), at(1), now);
            // One that is used stays.
            assert!(number < MOST || sids.find(&0_usize.to_be_bytes(), now).is_some());
        }
        let halves = sids.halves();
        assert!(halves.young.len() + halves.old.len() <= 2 * MOST);
    }
}
