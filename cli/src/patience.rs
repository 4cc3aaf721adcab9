//! How long to wait between two looks: often at first, so that a fast platform feels instant, then
//! seldom, so that a slow one is not pestered.

use std::time::Duration;

use tokio::time::Instant;

use crate::chance;
use crate::client::ApiError;

const FIRST: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_secs(1);
/// Trouble that lasts longer than this does not pass.
const BEARABLE: Duration = Duration::from_secs(60);

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

/// How much trouble is borne before it counts as a failure: a part of the platform may restart.
#[derive(Debug, Default)]
pub(crate) struct Tolerance {
    since: Option<Instant>,
}

// === impl Tolerance ===

impl Tolerance {
    /// What was seen; nothing where trouble may pass and has not lasted too long.
    pub(crate) fn bear<T>(&mut self, look: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
        match look {
            Ok(seen) => {
                self.since = None;
                Ok(Some(seen))
            }
            Err(error) if error.is_passing() => {
                let since = *self.since.get_or_insert_with(Instant::now);
                if since.elapsed() < BEARABLE {
                    Ok(None)
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// The pause before try number `attempt` (from 1) of a request that failed: doubling from 100 ms,
/// at most 5 s, and a random half of it, so that many clients do not come back at once.
pub(crate) fn before_retry(attempt: u32) -> Duration {
    let ceiling = Duration::from_secs(5);
    let full = Duration::from_millis(100)
        .saturating_mul(1 << attempt.min(10))
        .min(ceiling);
    full / 2 + (full / 2).mul_f64(fraction())
}

/// From 0 to nearly 1.
fn fraction() -> f64 {
    const STEPS: u32 = 1000;
    let step = u32::try_from(chance::below(STEPS.into())).unwrap_or(0);
    f64::from(step) / f64::from(STEPS)
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

    #[tokio::test(start_paused = true)]
    async fn trouble_is_borne_for_a_minute_and_starts_anew_after_a_success() {
        let trouble = || {
            let within = Duration::from_secs(1);
            let url = "http://api".parse().map_err(|_| ApiError::NoTarget)?;
            Err::<(), _>(ApiError::Timeout { url, within })
        };
        let mut tolerance = Tolerance::default();
        assert!(tolerance.bear(trouble()).is_ok());
        tokio::time::advance(BEARABLE - Duration::from_secs(1)).await;
        assert!(tolerance.bear(trouble()).is_ok());
        assert!(tolerance.bear(Ok(())).is_ok());
        assert!(tolerance.bear(trouble()).is_ok());
        tokio::time::advance(BEARABLE).await;
        assert!(tolerance.bear(trouble()).is_err());
        assert!(
            Tolerance::default()
                .bear::<()>(Err(ApiError::NoOrg))
                .is_err()
        );
    }

    #[test]
    fn retries_wait_longer_each_time_but_never_over_the_ceiling() {
        for attempt in 1..40 {
            assert!(before_retry(attempt) <= Duration::from_secs(5));
        }
        assert!(before_retry(6) > before_retry(1));
    }
}
