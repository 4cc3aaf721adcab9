//! Counters: each core counts for itself, a scrape adds up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the latency buckets are 64 µs doubled this often; the last is open.
const LATENCY_BUCKETS: usize = 24;

/// What one core has counted. Only that core writes; the alignment keeps two cores' counters from
/// sharing a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct CoreStats {
    pub(crate) connections: Counter,
    pub(crate) connections_closed: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) requests: Counter,
    pub(crate) responses: [Counter; 6],
    /// Requests refused without asking an endpoint: no host, no route, bad instance header.
    pub(crate) rejected: Counter,
    pub(crate) bad_gateways: Counter,
    pub(crate) overloaded: Counter,
    pub(crate) retries: Counter,
    pub(crate) dials: Counter,
    pub(crate) dial_failures: Counter,
    pub(crate) clients_gone: Counter,
    pub(crate) upgrades: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) log_lines_dropped: Counter,
    latency: [Counter; LATENCY_BUCKETS],
    latency_micros: Counter,
}

/// A number that only its core adds to.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// The counters of all cores.
#[derive(Debug, Clone)]
pub(crate) struct Stats {
    cores: Arc<[Arc<CoreStats>]>,
}

/// A distribution of latencies, added up over cores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Latency {
    buckets: [u64; LATENCY_BUCKETS],
    micros: u64,
}

// === impl Counter ===

impl Counter {
    /// One more. A load and a store suffice, for nobody else writes.
    pub(crate) fn count(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

// === impl CoreStats ===

impl CoreStats {
    /// Notes an answer with `status` after `took`. Status 0 or anything odd counts as "xxx".
    pub(crate) fn answered(&self, status: u16, took: Duration) {
        let class = match status {
            100..=599 => usize::from(status / 100),
            _ => 0,
        };
        self.responses[class].count();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency[bucket(micros)].count();
        self.latency_micros.add(micros);
    }
}

// === impl Stats ===

impl Stats {
    pub(crate) fn new(cores: usize) -> Self {
        Self {
            cores: (0..cores).map(|_| Arc::default()).collect(),
        }
    }

    /// The counters of core `number`.
    pub(crate) fn core(&self, number: usize) -> Arc<CoreStats> {
        Arc::clone(&self.cores[number])
    }

    /// One counter, over all cores.
    pub(crate) fn sum(&self, counter: impl Fn(&CoreStats) -> &Counter) -> u64 {
        self.cores.iter().map(|core| counter(core).get()).sum()
    }

    /// Client connections now.
    pub(crate) fn open_connections(&self) -> u64 {
        self.sum(|c| &c.connections)
            .saturating_sub(self.sum(|c| &c.connections_closed))
    }

    /// The latencies of all answers so far.
    pub(crate) fn latency(&self) -> Latency {
        let mut sum = Latency {
            micros: self.sum(|c| &c.latency_micros),
            ..Latency::default()
        };
        for (number, bucket) in sum.buckets.iter_mut().enumerate() {
            *bucket = self.sum(|c| &c.latency[number]);
        }
        sum
    }
}

// === impl Latency ===

impl Latency {
    /// How many answers it is made of.
    pub(crate) fn samples(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All latencies together.
    pub(crate) fn total(&self) -> Duration {
        Duration::from_micros(self.micros)
    }

    /// The latency that `share` of the answers stayed below, up to the width of a bucket.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let samples = self.samples();
        if samples == 0 {
            return Duration::ZERO;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank among samples: between 0 and their number"
        )]
        let rank = (samples as f64 * share.clamp(0.0, 1.0)).ceil() as u64;
        let mut seen = 0;
        for (number, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                return upper_bound(number);
            }
        }
        upper_bound(LATENCY_BUCKETS - 1)
    }

    /// Each bucket's upper bound with the number of answers up to it.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        let mut seen = 0;
        self.buckets.iter().enumerate().map(move |(number, count)| {
            seen += count;
            (upper_bound(number), seen)
        })
    }
}

fn bucket(micros: u64) -> usize {
    let doublings = u64::BITS - (micros >> 6).leading_zeros();
    usize::try_from(doublings)
        .unwrap_or(usize::MAX)
        .min(LATENCY_BUCKETS - 1)
}

fn upper_bound(bucket: usize) -> Duration {
    Duration::from_micros(64 << bucket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_fall_into_doubling_buckets() {
        let stats = Stats::new(2);
        for (core, micros) in [(0, 10), (0, 100), (1, 100), (1, 1_000_000)] {
            stats
                .core(core)
                .answered(200, Duration::from_micros(micros));
        }
        let latency = stats.latency();
        assert_eq!(latency.samples(), 4);
        assert_eq!(latency.quantile(0.25), Duration::from_micros(64));
        assert_eq!(latency.quantile(0.75), Duration::from_micros(128));
        assert_eq!(latency.quantile(1.0), Duration::from_micros(64 << 14));
        assert_eq!(stats.sum(|c| &c.responses[2]), 4);
    }

    #[test]
    fn odd_statuses_count_as_unknown() {
        let stats = Stats::new(1);
        stats.core(0).answered(0, Duration::ZERO);
        stats.core(0).answered(999, Duration::MAX);
        assert_eq!(stats.sum(|c| &c.responses[0]), 2);
    }
}
