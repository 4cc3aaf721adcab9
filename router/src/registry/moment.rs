//! Time as the registry counts it, so that tests can make it.

use std::time::{Duration, Instant};

/// Milliseconds since the clock began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(u64);

/// A clock that counts from its making.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

// === impl Moment ===

impl Moment {
    /// `millis` after the clock began.
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the clock began.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier` it is; nothing when it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

// === impl Clock ===

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment::default().after(self.origin.elapsed())
    }
}
