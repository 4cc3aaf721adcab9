//! Failed logins, and when they lock an account.

use chrono::{NaiveDateTime, TimeDelta};
use cupola_db::{Conn, sql};
use diesel::prelude::*;
use serde::Deserialize;

use crate::schema::login_failures;

/// When an account is locked and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lockout {
    /// Failures in a row that lock. Default 5; 0 never locks.
    pub failures: u32,
    /// Seconds within which they must happen. Default 1200.
    pub window_seconds: u32,
    /// Seconds for which the account stays locked after the last failure. Default 300.
    pub lock_seconds: u32,
}

/// The failures of one user since his last success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) count: i32,
    pub(crate) first_at: NaiveDateTime,
    pub(crate) last_at: NaiveDateTime,
}

// === impl Lockout ===

impl Default for Lockout {
    fn default() -> Self {
        Self {
            failures: 5,
            window_seconds: 1200,
            lock_seconds: 300,
        }
    }
}

impl Lockout {
    /// Whether somebody with these failures is refused, even with the right password.
    pub(crate) fn locks(&self, failures: Option<Failures>, now: NaiveDateTime) -> bool {
        failures.is_some_and(|failures| {
            self.failures > 0
                && i64::from(failures.count) >= i64::from(self.failures)
                && now - failures.last_at < TimeDelta::seconds(self.lock_seconds.into())
        })
    }

    /// The failures after one more.
    pub(crate) fn after_failure(&self, before: Option<Failures>, now: NaiveDateTime) -> Failures {
        let window = TimeDelta::seconds(self.window_seconds.into());
        match before {
            Some(before) if now - before.first_at < window && !self.served(before, now) => {
                Failures {
                    count: before.count.saturating_add(1),
                    last_at: now,
                    ..before
                }
            }
            _ => Failures {
                count: 1,
                first_at: now,
                last_at: now,
            },
        }
    }

    /// Whether the account was locked and the time is over: then counting begins anew.
    fn served(&self, failures: Failures, now: NaiveDateTime) -> bool {
        i64::from(failures.count) >= i64::from(self.failures) && !self.locks(Some(failures), now)
    }
}

pub(crate) fn of_user(c: &mut Conn, user_id: &str) -> QueryResult<Option<Failures>> {
    let row: QueryResult<(i32, NaiveDateTime, NaiveDateTime)> = sql!(c, c => login_failures::table
        .find(user_id)
        .select((login_failures::failures, login_failures::first_at, login_failures::last_at))
        .first(c));
    let row = row.optional()?;
    Ok(row.map(|(count, first_at, last_at)| Failures {
        count,
        first_at,
        last_at,
    }))
}

pub(crate) fn store(c: &mut Conn, user_id: &str, failures: Failures) -> QueryResult<()> {
    let columns = (
        login_failures::failures.eq(failures.count),
        login_failures::first_at.eq(failures.first_at),
        login_failures::last_at.eq(failures.last_at),
    );
    sql!(c, c => diesel::insert_into(login_failures::table)
        .values((login_failures::user_id.eq(user_id), columns))
        .on_conflict(login_failures::user_id)
        .do_update()
        .set(columns)
        .execute(c))
    .map(|_| ())
}

pub(crate) fn clear(c: &mut Conn, user_id: &str) -> QueryResult<()> {
    sql!(c, c => diesel::delete(login_failures::table.find(user_id)).execute(c)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use cupola_db::now;

    use super::*;

    #[test]
    fn locks_after_five_and_opens_after_the_lock_time() {
        let (policy, start) = (Lockout::default(), now());
        let at = |seconds| start + TimeDelta::seconds(seconds);
        let mut failures = None;
        for second in 0..4 {
            failures = Some(policy.after_failure(failures, at(second)));
            assert!(!policy.locks(failures, at(second)));
        }
        failures = Some(policy.after_failure(failures, at(4)));
        assert!(policy.locks(failures, at(303)));
        assert!(!policy.locks(failures, at(304)));
        let after = policy.after_failure(failures, at(304));
        assert_eq!(
            after.count, 1,
            "one failure after the lock does not lock again"
        );
    }

    #[test]
    fn failures_far_apart_do_not_add_up() {
        let (policy, start) = (Lockout::default(), now());
        let mut failures = None;
        for hour in 0..10 {
            failures = Some(policy.after_failure(failures, start + TimeDelta::hours(hour)));
        }
        assert_eq!(failures.map(|f| f.count), Some(1));
    }

    #[test]
    fn zero_never_locks() {
        let policy = Lockout {
            failures: 0,
            ..Lockout::default()
        };
        let mut failures = None;
        for _ in 0..10 {
            failures = Some(policy.after_failure(failures, now()));
        }
        assert!(!policy.locks(failures, now()));
    }
}
