//! Settings of the health manager.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

/// Section `[health_manager]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The cloud controller, for its bulk API.
    pub cloud_controller_url: Url,
    /// User of the bulk API.
    pub bulk_user: String,
    /// Password of the bulk API.
    pub bulk_password: SecretString,
    /// Where crash counts are kept over restarts; absent: not at all.
    #[serde(default)]
    pub state_file: Option<PathBuf>,
    /// When to do what.
    #[serde(default)]
    pub timing: Timing,
}

/// When to do what, in milliseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// A DEA that was silent this long is gone, and its instances with it: three heartbeats.
    pub dea_lost_ms: u64,
    /// After a connect, how long to listen before believing that everybody has spoken.
    pub settle_ms: u64,
    /// How long an instance is missed before another is proposed: an order that is under way
    /// must have had time to show.
    pub missing_ms: u64,
    /// How long two instances on one index, or one that is not wanted, are looked at before a stop
    /// is proposed.
    pub extra_ms: u64,
    /// A proposal that had no effect is repeated after this.
    pub repeat_ms: u64,
    /// What is wanted is read again this often, and after each change that is heard of.
    pub fetch_ms: u64,
    /// What is wanted is believed this long.
    pub desired_fresh_ms: u64,
    /// Crashes before restarts are delayed.
    pub free_crashes: u32,
    /// The first delay; each further crash doubles it.
    pub backoff_first_ms: u64,
    /// The longest delay.
    pub backoff_ceiling_ms: u64,
    /// Crashes are forgotten after this long without one.
    pub crash_memory_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            dea_lost_ms: 30_000,
            settle_ms: 3_000,
            missing_ms: 5_000,
            extra_ms: 10_000,
            repeat_ms: 10_000,
            fetch_ms: 30_000,
            desired_fresh_ms: 120_000,
            free_crashes: 3,
            backoff_first_ms: 30_000,
            backoff_ceiling_ms: 960_000,
            crash_memory_ms: 1_920_000,
        }
    }
}

impl Timing {
    pub(crate) fn dea_lost(&self) -> Duration {
        Duration::from_millis(self.dea_lost_ms)
    }

    pub(crate) fn settle(&self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }

    pub(crate) fn missing(&self) -> Duration {
        Duration::from_millis(self.missing_ms)
    }

    pub(crate) fn extra(&self) -> Duration {
        Duration::from_millis(self.extra_ms)
    }

    pub(crate) fn repeat(&self) -> Duration {
        Duration::from_millis(self.repeat_ms)
    }

    pub(crate) fn fetch(&self) -> Duration {
        Duration::from_millis(self.fetch_ms)
    }

    pub(crate) fn desired_fresh(&self) -> Duration {
        Duration::from_millis(self.desired_fresh_ms)
    }

    pub(crate) fn crash_memory(&self) -> Duration {
        Duration::from_millis(self.crash_memory_ms)
    }

    /// How long to wait with the restart after the `crashes`-th crash in a row.
    pub(crate) fn backoff(&self, crashes: u32) -> Duration {
        match crashes.checked_sub(self.free_crashes + 1) {
            None => Duration::ZERO,
            Some(doublings) => Duration::from_millis(
                self.backoff_first_ms
                    .saturating_mul(2u64.saturating_pow(doublings))
                    .min(self.backoff_ceiling_ms),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restarts_are_at_once_and_the_later_ones_ever_later() {
        let timing = Timing::default();
        let seconds: Vec<u64> = (1..=11).map(|n| timing.backoff(n).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 0, 30, 60, 120, 240, 480, 960, 960, 960]);
    }
}
