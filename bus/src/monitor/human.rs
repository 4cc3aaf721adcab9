//! Times and durations in the forms that readers of nats-server's monitoring expect.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// A moment, as RFC 3339 with nanoseconds.
pub(crate) fn time(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// How long, in whole nanoseconds.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A number without a fraction when it has none: readers may expect whole ones to look like it.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands references out"
)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::float_cmp,
    reason = "whether it is the same number is just what is asked"
)]
pub(crate) fn number<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    let whole = *value as i64;
    if whole as f64 == *value {
        to.serialize_i64(whole)
    } else {
        to.serialize_f64(*value)
    }
}

/// How long, to the second and without leading zeros: `1y2d3h4m5s`.
pub(crate) fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let years = days / 365;
    let (s, m, h) = (seconds % 60, minutes % 60, hours % 24);
    if years > 0 {
        format!("{years}y{}d{h}h{m}m{s}s", days % 365)
    } else if days > 0 {
        format!("{days}d{h}h{m}m{s}s")
    } else if hours > 0 {
        format!("{h}h{m}m{s}s")
    } else if minutes > 0 {
        format!("{m}m{s}s")
    } else {
        format!("{s}s")
    }
}

/// How long, exactly, as Go writes a duration: `1h2m3.5s`, `1.25ms`, `310µs`, `0s`.
pub(crate) fn exact(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => fraction(nanos, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(nanos, 1_000_000, "ms"),
        _ => {
            let seconds = duration.as_secs();
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = fraction(nanos % 60_000_000_000, 1_000_000_000, "s");
            if hours > 0 {
                format!("{hours}h{minutes}m{rest}")
            } else if minutes > 0 {
                format!("{minutes}m{rest}")
            } else {
                rest
            }
        }
    }
}

/// `value / unit` without trailing zeros.
fn fraction(value: u128, unit: u128, name: &str) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return format!("{whole}{name}");
    }
    let digits = unit.ilog10() as usize;
    let rest = format!("{rest:0digits$}");
    format!("{whole}.{}{name}", rest.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptimes_read_like_the_original() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m1s"),
            (3600, "1h0m0s"),
            (90_061, "1d1h1m1s"),
            (86_400 * 365, "1y0d0h0m0s"),
            (86_400 * 800 + 5, "2y70d0h0m5s"),
        ] {
            assert_eq!(elapsed(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        #[derive(serde::Serialize)]
        struct One(#[serde(serialize_with = "number")] f64);
        for (value, text) in [
            (2.0, "2"),
            (0.0, "0"),
            (12.5, "12.5"),
            (-3.0, "-3"),
            (1e300, "1e+300"),
        ] {
            let written = serde_json::to_string(&One(value));
            assert_eq!(written.ok().as_deref(), Some(text));
        }
    }

    #[test]
    fn exact_durations_read_like_gos() {
        for (nanos, text) in [
            (0, "0s"),
            (999, "999ns"),
            (197_000, "197µs"),
            (1_500, "1.5µs"),
            (664_065_716, "664.065716ms"),
            (2_268_714_919, "2.268714919s"),
            (60_000_000_000, "1m0s"),
            (3_600_500_000_000, "1h0m0.5s"),
        ] {
            assert_eq!(exact(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn moments_carry_nanoseconds() {
        let at = SystemTime::UNIX_EPOCH + Duration::new(1_795_203_633, 163_636_694);
        assert_eq!(time(at), "2026-11-20T19:40:33.163636694Z");
    }
}
