//! Sizes and durations as people write them.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::AllowResponses;

/// Text that is neither size nor duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseUnitError {
    /// Not of the form `512KB`.
    #[error("{0:?} is not a size like 4096, 64KB or 1MB")]
    Size(String),
    /// Not of the form `2m30s`.
    #[error("{0:?} is not a duration like 500ms, 10s or 2m")]
    Duration(String),
}

/// Reads `4096`, `64KB`, `1MiB`: K, M, G, T, P, E count in thousands; with a B (or iB) in 1024s.
///
/// # Errors
/// The text is no such size, or too large.
pub fn parse_size(text: &str) -> Result<u64, ParseUnitError> {
    let text = text.trim();
    let split = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let power = unit_power(unit.trim());
    let value = digits
        .parse::<u64>()
        .ok()
        .zip(power)
        .and_then(|(n, power)| n.checked_mul(power));
    value.ok_or_else(|| ParseUnitError::Size(text.to_owned()))
}

/// What a unit of size multiplies by: `k` is a thousand, `kb` and `ki` are 1024.
pub(crate) fn unit_power(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" | "ki" | "kib" => 1 << 10,
        "m" => 1000 * 1000,
        "mb" | "mi" | "mib" => 1 << 20,
        "g" => 1000 * 1000 * 1000,
        "gb" | "gi" | "gib" => 1 << 30,
        "t" => 1_000_000_000_000,
        "tb" | "ti" | "tib" => 1 << 40,
        "p" => 1_000_000_000_000_000,
        "pb" | "pi" | "pib" => 1 << 50,
        "e" => 1_000_000_000_000_000_000,
        "eb" | "ei" | "eib" => 1 << 60,
        _ => return None,
    })
}

/// Reads `500ms`, `10s`, `2m`, `1h30m`, `1.5s`, as Go does.
///
/// # Errors
/// The text is no such duration.
pub fn parse_duration(text: &str) -> Result<Duration, ParseUnitError> {
    let wrong = || ParseUnitError::Duration(text.to_owned());
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(end);
        let end = tail
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    Ok(total)
}

pub(super) fn size<'de, D: Deserializer<'de>>(source: D) -> Result<usize, D::Error> {
    let bytes = source.deserialize_any(SizeVisitor)?;
    usize::try_from(bytes).map_err(de::Error::custom)
}

pub(super) fn duration<'de, D: Deserializer<'de>>(source: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(source)?).map_err(de::Error::custom)
}

pub(super) fn optional_duration<'de, D: Deserializer<'de>>(
    source: D,
) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(source)?;
    text.map(|text| parse_duration(&text).map_err(de::Error::custom))
        .transpose()
}

/// `true`, `false`, or the two numbers.
pub(super) fn responses<'de, D: Deserializer<'de>>(
    source: D,
) -> Result<Option<AllowResponses>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Plain(bool),
        Exact(AllowResponses),
    }
    Ok(match Option::<Either>::deserialize(source)? {
        None | Some(Either::Plain(false)) => None,
        Some(Either::Plain(true)) => Some(AllowResponses::default()),
        Some(Either::Exact(exact)) => Some(exact),
    })
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = u64;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a number of bytes, or text like \"1MB\"")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
        u64::try_from(value).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        parse_size(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1k", 1000),
            ("1KB", 1024),
            ("2MiB", 2 << 20),
            ("1g", 1_000_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "k", "1x", "-1", "99999999999999999999", "99999999999tb"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("1.5s", 1500),
            ("1h", 3_600_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in ["", "5", "s", "1x", "-1s", "1..2s", "1e400s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
