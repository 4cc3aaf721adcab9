//! Times of the day at which a user may be connected.

use std::time::Duration;

use chrono::{DateTime, Local, NaiveTime, Timelike as _, Utc};

use super::claims::TimeRange;

const DAY: u64 = 24 * 3600;

/// Whether a user may be connected now, and for how long; `Some(None)` is without end.
///
/// Zones are UTC and this machine's own; a user with another one is refused, as its hours are not known.
pub(super) fn allowed(
    ranges: &[TimeRange],
    zone: &str,
    now: DateTime<Utc>,
) -> Option<Option<Duration>> {
    if ranges.is_empty() {
        return Some(None);
    }
    let clock = match zone {
        "" | "Local" => now.with_timezone(&Local).time(),
        "UTC" | "Etc/UTC" => now.time(),
        _ => return None,
    };
    let now = seconds(clock);
    let mut best = None;
    for range in ranges {
        let time = |text: &str| {
            NaiveTime::parse_from_str(text, "%H:%M:%S")
                .ok()
                .map(seconds)
        };
        let (start, end) = (time(&range.start)?, time(&range.end)?);
        if let Some(left) = left(start, end, now) {
            best = best.max(Some(Duration::from_secs(left)));
        }
    }
    best.map(Some)
}

/// How much of a range is left, if now is within it; one that ends before it starts crosses midnight.
fn left(start: u64, end: u64, now: u64) -> Option<u64> {
    if start < end {
        (start <= now && now < end).then(|| end - now)
    } else if now >= start {
        Some(DAY - now + end)
    } else {
        (now < end).then(|| end - now)
    }
}

fn seconds(time: NaiveTime) -> u64 {
    u64::from(time.num_seconds_from_midnight())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn ranges_end_when_they_say() {
        let at = |text: &str| {
            format!("2026-03-01T{text}Z")
                .parse::<DateTime<Utc>>()
                .unwrap()
        };
        let range = |start: &str, end: &str| TimeRange {
            start: start.to_owned(),
            end: end.to_owned(),
        };
        let day = [range("09:00:00", "17:00:00"), range("16:00:00", "18:00:00")];
        let night = [range("22:00:00", "06:00:00")];
        let hour = |hours: u64| Some(Some(Duration::from_secs(hours * 3600)));
        assert_eq!(allowed(&day, "UTC", at("12:00:00")), hour(5));
        assert_eq!(
            allowed(&day, "UTC", at("16:30:00")),
            Some(Some(Duration::from_secs(5400)))
        );
        assert_eq!(allowed(&day, "UTC", at("18:00:00")), None);
        assert_eq!(allowed(&night, "UTC", at("23:00:00")), hour(7));
        assert_eq!(allowed(&night, "UTC", at("05:00:00")), hour(1));
        assert_eq!(allowed(&night, "UTC", at("12:00:00")), None);
        assert_eq!(allowed(&[], "Mars/Olympus", at("12:00:00")), Some(None));
        assert_eq!(allowed(&day, "Mars/Olympus", at("12:00:00")), None);
        assert_eq!(allowed(&[range("9", "10")], "UTC", at("09:30:00")), None);
    }
}
