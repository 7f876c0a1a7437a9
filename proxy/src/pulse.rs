//! Whether the threads that carry traffic still turn.
//!
//! Every worker counts a beat with each of its sweeps, and the acceptor with each of its rounds: about one a second. The
//! [`Vigil`] ticks once a second on the main thread, and counts for how many of its own ticks each pulse has stood still.
//! So time is measured by what another thread of this process got done, not by a clock: a pod that was frozen, starved
//! or throttled for a minute, or a machine that slept, has missed nothing, as then the vigil did not tick either.
//!
//! Not here: what follows from it, which is for [`admin`](crate::admin) to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// How often the vigil ticks, and about how often pulses beat.
pub const TICK: Duration = Duration::from_secs(1);

/// What one thread has got done, counted by itself.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// The thread has come round again.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has.
    pub fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The thread that has stood still the longest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standstill {
    /// Its name.
    pub thread: Arc<str>,
    /// For how many ticks of the vigil. 0: all turn.
    pub ticks: u32,
}

/// Watches over pulses.
#[derive(Debug)]
pub struct Vigil {
    threads: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    name: Arc<str>,
    pulse: Pulse,
    seen: u64,
    still: u32,
}

impl Vigil {
    /// Over these threads, by name.
    pub fn over(threads: impl IntoIterator<Item = (String, Pulse)>) -> Self {
        let watched = |(name, pulse): (String, Pulse)| {
            let seen = pulse.beats();
            Watched { name: name.into(), pulse, seen, still: 0 }
        };
        Self { threads: threads.into_iter().map(watched).collect() }
    }

    /// Ticks until it is dropped.
    pub async fn keep(mut self, standstill: watch::Sender<Standstill>) {
        let mut ticks = interval(TICK);
        // After a pause one tick, not all that were missed: nobody else got to run either.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let longest = self.tick();
            standstill.send_if_modified(|before| std::mem::replace(before, longest.clone()) != longest);
        }
    }

    /// One tick.
    pub(crate) fn tick(&mut self) -> Standstill {
        for watched in &mut self.threads {
            let beats = watched.pulse.beats();
            watched.still = if beats == watched.seen { watched.still.saturating_add(1) } else { 0 };
            watched.seen = beats;
        }
        let longest = self.threads.iter().max_by_key(|watched| watched.still);
        let standing = longest.filter(|watched| watched.still > 0);
        standing
            .map(|watched| Standstill { thread: watched.name.clone(), ticks: watched.still })
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standing_still_is_counted_in_ticks_and_forgotten_with_the_next_beat() {
        let [one, other] = [Pulse::default(), Pulse::default()];
        let mut vigil = Vigil::over([("one".into(), one.clone()), ("other".into(), other.clone())]);
        for ticks in 1..=90 {
            other.beat();
            assert_eq!(vigil.tick(), Standstill { thread: "one".into(), ticks });
        }
        one.beat();
        other.beat();
        assert_eq!(vigil.tick(), Standstill::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_one_tick_however_long() {
        let (said, heard) = watch::channel(Standstill::default());
        let vigil = Vigil::over([("one".to_owned(), Pulse::default())]);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(vigil.keep(said));
        tokio::task::yield_now().await;
        assert_eq!(heard.borrow().ticks, 1);
        tokio::time::advance(Duration::from_mins(5)).await;
        tokio::task::yield_now().await;
        assert_eq!(heard.borrow().ticks, 2);
        tokio::time::sleep(3 * TICK + TICK / 2).await;
        assert_eq!(heard.borrow().ticks, 5);
    }
}
