//! How long to wait between two looks: often at first, so that a fast platform feels instant, then
//! seldom, so that a slow one is not pestered.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_secs(1);

/// Growing pauses up to a deadline.
#[derive(Debug)]
pub(crate) struct Patience {
    pause: Duration,
    until: Instant,
}

// === impl Patience ===

impl Patience {
    /// Patience that ends `within` from now.
    pub(crate) fn lasting(within: Duration) -> Self {
        Self {
            pause: FIRST,
            until: Instant::now() + within,
        }
    }

    /// Whether the deadline has passed.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// When to look again: never after the deadline.
    pub(crate) fn next_look(&mut self) -> Instant {
        let pause = self.pause;
        self.pause = (pause + pause / 2).min(LONGEST);
        (Instant::now() + pause).min(self.until)
    }

    /// Sleeps until the next look.
    pub(crate) async fn rest(&mut self) {
        tokio::time::sleep_until(self.next_look()).await;
    }
}

/// The pause before try number `attempt` (from 1) of a request that failed: doubling from 100 ms,
/// at most 5 s, and a random half of it, so that many clients do not come back at once.
pub(crate) fn before_retry(attempt: u32) -> Duration {
    let ceiling = Duration::from_secs(5);
    let full = Duration::from_millis(100)
        .saturating_mul(1 << attempt.min(10))
        .min(ceiling);
    full / 2 + full.mul_f64(rand::rng().random_range(0.0..0.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn looks_grow_rarer_and_end_at_the_deadline() {
        let mut patience = Patience::lasting(Duration::from_secs(10));
        let start = Instant::now();
        let mut looks = 0;
        while !patience.is_over() {
            patience.rest().await;
            looks += 1;
        }
        assert_eq!(start.elapsed(), Duration::from_secs(10));
        assert!((10..30).contains(&looks), "{looks} looks");
    }

    #[test]
    fn retries_wait_longer_each_time_but_never_over_the_ceiling() {
        for attempt in 1..40 {
            assert!(before_retry(attempt) <= Duration::from_secs(5));
        }
        assert!(before_retry(6) > before_retry(1));
    }
}
