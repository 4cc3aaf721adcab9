//! The time to a few milliseconds, for what is noted in passing: a tenth of the price of the exact one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

/// A moment that somebody notes and others read; 1970 until it is noted.
#[derive(Debug, Default)]
pub(crate) struct Noted(AtomicU64);

/// Nanoseconds since 1970, as the system last counted them.
#[inline]
pub(crate) fn coarse() -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_REALTIME_COARSE) else {
        return 0;
    };
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// A moment from what [`coarse`] said.
pub(crate) fn moment(nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
}

impl Noted {
    /// Notes that it is now.
    #[inline]
    pub(crate) fn now(&self) {
        self.0.store(coarse(), Ordering::Relaxed);
    }

    /// The noted moment.
    pub(crate) fn get(&self) -> SystemTime {
        moment(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_about_right() {
        let noted = Noted::default();
        noted.now();
        let exact = SystemTime::now();
        let off = exact.duration_since(noted.get()).unwrap_or_default();
        assert!(off < Duration::from_secs(1), "{off:?}");
    }
}
