//! Durations as people write them in config files: `500ms`, `30s`, `10m`, `1h`.
//!
//! ```
//! # use std::time::Duration;
//! #[derive(serde::Deserialize)]
//! struct Timing {
//!     #[serde(deserialize_with = "cupola_component::duration::deserialize")]
//!     heartbeat_every: Duration,
//! }
//! # let timing: Timing = toml::from_str("heartbeat_every = '10s'").unwrap();
//! # assert_eq!(timing.heartbeat_every, Duration::from_secs(10));
//! ```

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, de};

/// For `#[serde(deserialize_with = …)]` on a [`Duration`].
///
/// # Errors
/// When the text is not a whole number with a unit.
pub fn deserialize<'de, D: Deserializer<'de>>(text: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(text)?;
    parse(&text).ok_or_else(|| {
        de::Error::custom(format!(
            "{text:?} is not a time: write a whole number with ms, s, m or h, such as 500ms or 30s"
        ))
    })
}

fn parse(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().ok()?;
    let seconds = |factor: u64| number.checked_mul(factor).map(Duration::from_secs);
    match unit.trim() {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3_600),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_write_them() {
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse("10m"), Some(Duration::from_secs(600)));
        assert_eq!(parse("1 h"), Some(Duration::from_secs(3_600)));
        for bad in ["", "30", "s", "1.5s", "-1s", "1d", "99999999999999999999s"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
