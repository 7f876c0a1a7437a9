//! How often something may be done, and how long to wait after it failed. No clock: `now` is passed in.

use std::time::Duration;

use tokio::time::Instant;

/// A length of time between 80 and 120 percent of this one, so that replicas do not act in step.
pub fn jittered(length: Duration) -> Duration {
    // Without a random number everything is as it would be without jitter.
    let part = getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX));
    length.mul_f64(0.8 + 0.4 * part)
}

/// Pauses that double from one failure to the next.
#[derive(Clone, Debug)]
pub struct Backoff {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Between these.
    pub fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, next: shortest }
    }

    /// The pause after one more failure.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        jittered(pause)
    }

    /// It succeeded.
    pub fn reset(&mut self) {
        self.next = self.shortest;
    }
}

/// Permits that come at a steady rate; those that are not used are kept, up to a number.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// The time in which one permit comes.
    each: Duration,
    most: u32,
    /// When the bucket would be full.
    full: Option<Instant>,
}

impl Bucket {
    /// Full, with `most` permits.
    pub fn new(each: Duration, most: u32) -> Self {
        Self { each, most, full: None }
    }

    /// Takes a permit, or says when there will be one.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.full = Some(self.after(now)?);
        Ok(())
    }

    /// Whether there is a permit, or when there will be one.
    pub fn peek(&self, now: Instant) -> Result<(), Instant> {
        self.after(now).map(drop)
    }

    /// When it would be full after one more is taken.
    fn after(&self, now: Instant) -> Result<Instant, Instant> {
        let full = self.full.map_or(now, |full| full.max(now)) + self.each;
        let latest = now + self.each * self.most;
        if full > latest { Err(now + (full - latest)) } else { Ok(full) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_the_rate() {
        let (start, each) = (Instant::now(), Duration::from_millis(50));
        let mut bucket = Bucket::new(each, 3);
        for _ in 0..3 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(start + each));
        assert_eq!(bucket.take(start + each), Ok(()));
        assert_eq!(bucket.take(start + each * 3 / 2), Err(start + each * 2));
        let much_later = start + each * 100;
        let at_once = (0..10).filter(|_| bucket.take(much_later).is_ok()).count();
        assert_eq!(at_once, 3, "what is kept has a bound");
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_again() {
        let (shortest, longest) = (Duration::from_secs(1), Duration::from_secs(5));
        let mut backoff = Backoff::new(shortest, longest);
        for expected in [1, 2, 4, 5, 5] {
            let (pause, expected) = (backoff.pause(), Duration::from_secs(expected));
            assert!(pause >= expected.mul_f64(0.8) && pause <= expected.mul_f64(1.2), "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= shortest.mul_f64(1.2));
    }
}
