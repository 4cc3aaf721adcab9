//! Times as people read them, in the zone of the machine.

use chrono::{DateTime, Local, TimeZone, Utc};

/// `2026-11-20T16:20:11.00+0000`, as `cf` writes events and log lines.
pub(crate) fn stamp(time: DateTime<Utc>) -> String {
    let local = time.with_timezone(&Local);
    let hundredths = local.timestamp_subsec_millis() / 10;
    format!(
        "{}.{hundredths:02}{}",
        local.format("%Y-%m-%dT%H:%M:%S"),
        local.format("%z")
    )
}

/// `Fri 20 Nov 16:20:11 UTC 2026`.
pub(crate) fn long(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local)
        .format("%a %d %b %H:%M:%S %z %Y")
        .to_string()
}

/// `2026-11-20T16:20:11Z`.
pub(crate) fn utc(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The time of an RFC 3339 text.
pub(crate) fn parse(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| time.with_timezone(&Utc))
}

/// The time that lies `nanoseconds` after the epoch.
pub(crate) fn from_nanoseconds(nanoseconds: i64) -> DateTime<Utc> {
    Utc.timestamp_nanos(nanoseconds)
}

/// The time that lies `seconds` after the epoch; the API counts in fractions of them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "milliseconds are exact enough to print"
)]
pub(crate) fn from_seconds(seconds: f64) -> Option<DateTime<Utc>> {
    if !seconds.is_finite() {
        return None;
    }
    DateTime::from_timestamp_millis((seconds * 1000.0) as i64)
}

pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn times_survive_their_formats() {
        let time = parse("2026-11-20T16:20:11Z").unwrap();
        assert_eq!(utc(time), "2026-11-20T16:20:11Z");
        assert_eq!(
            utc(from_seconds(1_795_191_611.5).unwrap()),
            "2026-11-20T16:20:11Z"
        );
        assert!(stamp(time).contains(":11.00"));
        assert!(parse("yesterday").is_none());
        assert!(from_seconds(f64::NAN).is_none());
    }
}
