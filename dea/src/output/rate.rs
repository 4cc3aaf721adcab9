//! How much an instance may say: a bucket of lines that fills at a steady rate.

use std::time::{Duration, Instant};

/// How many seconds' worth of lines may come at once.
const BURST_SECONDS: f64 = 4.0;

/// Lets lines through at a bounded rate, in number and in bytes.
#[derive(Debug)]
pub(crate) struct RateLimit {
    lines: Bucket,
    bytes: Bucket,
    filled_at: Instant,
}

#[derive(Debug)]
struct Bucket {
    level: f64,
    per_second: f64,
}

/// Lines that were held back.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
}

// === impl RateLimit ===

impl RateLimit {
    pub(crate) fn new(lines_per_second: u32, bytes_per_second: u32, now: Instant) -> Self {
        Self {
            lines: Bucket::full(lines_per_second.into()),
            bytes: Bucket::full(bytes_per_second.into()),
            filled_at: now,
        }
    }

    /// Whether a line of `bytes` bytes may pass now.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a line is far shorter than 2^52 bytes"
    )]
    pub(crate) fn admits(&mut self, bytes: usize, now: Instant) -> bool {
        let passed = now.duration_since(self.filled_at);
        self.filled_at = now;
        self.lines.fill(passed);
        self.bytes.fill(passed);
        let fits = self.lines.level >= 1.0 && self.bytes.level >= bytes as f64;
        if fits {
            self.lines.level -= 1.0;
            self.bytes.level -= bytes as f64;
        }
        fits
    }
}

impl Bucket {
    fn full(per_second: f64) -> Self {
        Self {
            level: per_second * BURST_SECONDS,
            per_second,
        }
    }

    fn fill(&mut self, passed: Duration) {
        let full = self.per_second * BURST_SECONDS;
        self.level = (self.level + self.per_second * passed.as_secs_f64()).min(full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut limit = RateLimit::new(100, 1_000_000, start);
        let passed = (0..1000).filter(|_| limit.admits(10, start)).count();
        assert_eq!(passed, 400);
        let later = start + Duration::from_secs(1);
        let passed = (0..1000).filter(|_| limit.admits(10, later)).count();
        assert_eq!(passed, 100);
    }

    #[test]
    fn bytes_count_as_well_as_lines() {
        let start = Instant::now();
        let mut limit = RateLimit::new(1000, 1000, start);
        let passed = (0..100).filter(|_| limit.admits(500, start)).count();
        assert_eq!(passed, 8);
    }
}
