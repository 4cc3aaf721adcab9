//! What a bare word means: a boolean, a number with a unit, a date, or just text.

use super::{Kind, Problem};
use crate::config::unit_power;

/// Reads a bare word.
pub(super) fn read(word: &str) -> Result<Kind, Problem> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => return Ok(Kind::Bool(true)),
        "false" | "no" | "off" => return Ok(Kind::Bool(false)),
        _ => {}
    }
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    if !unsigned.starts_with(|letter: char| letter.is_ascii_digit()) {
        return Ok(Kind::Text(word.to_owned()));
    }
    if is_date(word) {
        return Ok(Kind::Date(word.to_owned()));
    }
    let end = unsigned
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(unsigned.len());
    let (digits, unit) = unsigned.split_at(end);
    if let Some(fraction) = unit.strip_prefix('.')
        && !fraction.is_empty()
        && fraction.bytes().all(|letter| letter.is_ascii_digit())
    {
        return match word.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Kind::Float(number)),
            Ok(_) => Err(Problem::Number(word.to_owned())),
            Err(_) => Ok(Kind::Text(word.to_owned())),
        };
    }
    let Some(power) = unit_power(unit) else {
        return Ok(Kind::Text(word.to_owned()));
    };
    let sign = if word.starts_with('-') { -1 } else { 1 };
    digits
        .parse::<i64>()
        .ok()
        .zip(i64::try_from(power).ok())
        .and_then(|(number, power)| number.checked_mul(power))
        .map(|number| Kind::Integer(number * sign))
        .ok_or_else(|| Problem::Number(word.to_owned()))
}

/// `2026-11-20T15:04:05Z`
fn is_date(word: &str) -> bool {
    let pattern = b"dddd-dd-ddTdd:dd:ddZ";
    word.len() == pattern.len()
        && word
            .bytes()
            .zip(pattern)
            .all(|(letter, wanted)| match wanted {
                b'd' => letter.is_ascii_digit(),
                exact => letter == *exact,
            })
}
