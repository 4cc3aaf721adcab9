//! Growing, jittered pauses between tries.

use std::time::Duration;

use rand::Rng as _;

/// Pauses that double from `first` up to `ceiling`, each shortened by up to half at random, so
/// that many who failed together do not try again together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    ceiling: Duration,
    tries: u32,
}

impl Backoff {
    /// Pauses from `first` to `ceiling`.
    #[must_use]
    pub fn new(first: Duration, ceiling: Duration) -> Self {
        Self {
            first,
            ceiling,
            tries: 0,
        }
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        let pause = Self::pause(self.first, self.ceiling, self.tries);
        self.tries = self.tries.saturating_add(1);
        pause
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    /// The pause after `tries` failures.
    #[must_use]
    pub fn pause(first: Duration, ceiling: Duration, tries: u32) -> Duration {
        let full = first
            .saturating_mul(2u32.saturating_pow(tries.min(31)))
            .min(ceiling);
        full.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_ceiling_and_start_over_after_a_success() {
        let (first, ceiling) = (Duration::from_millis(10), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, ceiling);
        let pauses: Vec<_> = (0..40).map(|_| backoff.next_pause()).collect();
        assert!(pauses.iter().all(|p| *p <= ceiling));
        assert!(pauses[39] >= ceiling / 2);
        assert!(pauses[0] <= first);
        backoff.reset();
        assert!(backoff.next_pause() <= first);
    }
}
