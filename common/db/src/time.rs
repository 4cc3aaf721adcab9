//! Times as the tables keep them: UTC, without zone, in whole microseconds.

use chrono::{NaiveDateTime, SubsecRound, Utc};

/// The present, cut to the microsecond because PostgreSQL keeps no more.
#[must_use]
pub fn now() -> NaiveDateTime {
    Utc::now().naive_utc().trunc_subsecs(6)
}

/// Seconds since 1970 of a stored time, with fraction.
#[must_use]
pub fn since_epoch(time: NaiveDateTime) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds of this century fit 53 bits"
    )]
    let micros = time.and_utc().timestamp_micros() as f64;
    micros / 1e6
}
