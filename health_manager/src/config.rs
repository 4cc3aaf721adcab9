//! Settings of the health manager.

use std::path::PathBuf;
use std::time::Duration;

use cupola_component::duration;
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

/// When to do what.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// A DEA that was silent this long is gone, and its instances with it: three heartbeats.
    #[serde(deserialize_with = "duration::deserialize")]
    pub dea_lost: Duration,
    /// After a connect, how long to listen before believing that everybody has spoken.
    #[serde(deserialize_with = "duration::deserialize")]
    pub settle: Duration,
    /// How long an instance is missed before another is proposed: an order that is under way
    /// must have had time to show.
    #[serde(deserialize_with = "duration::deserialize")]
    pub missing: Duration,
    /// How long two instances on one index, or one that is not wanted, are looked at before a stop
    /// is proposed.
    #[serde(deserialize_with = "duration::deserialize")]
    pub extra: Duration,
    /// A proposal that had no effect is repeated after this.
    #[serde(deserialize_with = "duration::deserialize")]
    pub repeat: Duration,
    /// What is wanted is read again this often, and after each change that is heard of.
    #[serde(deserialize_with = "duration::deserialize")]
    pub fetch_every: Duration,
    /// What is wanted is believed this long.
    #[serde(deserialize_with = "duration::deserialize")]
    pub desired_fresh: Duration,
    /// Crashes before restarts are delayed.
    pub free_crashes: u32,
    /// The first delay; each further crash doubles it.
    #[serde(deserialize_with = "duration::deserialize")]
    pub backoff_first: Duration,
    /// The longest delay.
    #[serde(deserialize_with = "duration::deserialize")]
    pub backoff_ceiling: Duration,
    /// Crashes are forgotten after this long without one.
    #[serde(deserialize_with = "duration::deserialize")]
    pub crash_memory: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            dea_lost: Duration::from_secs(30),
            settle: Duration::from_secs(3),
            missing: Duration::from_secs(5),
            extra: Duration::from_secs(10),
            repeat: Duration::from_secs(10),
            fetch_every: Duration::from_secs(30),
            desired_fresh: Duration::from_secs(120),
            free_crashes: 3,
            backoff_first: Duration::from_secs(30),
            backoff_ceiling: Duration::from_secs(960),
            crash_memory: Duration::from_secs(1_920),
        }
    }
}

impl Timing {
    /// How long to wait with the restart after the `crashes`-th crash in a row.
    pub(crate) fn backoff(&self, crashes: u32) -> Duration {
        match crashes.checked_sub(self.free_crashes + 1) {
            None => Duration::ZERO,
            Some(doublings) => self
                .backoff_first
                .saturating_mul(2u32.saturating_pow(doublings))
                .min(self.backoff_ceiling),
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
