//! What a bare word means: a boolean, a number with a unit, a date, or just text.
//!
//! A word that begins like a number or a date must be one, or go on in a way that no number does (`10s`,
//! `127.0.0.1:4222`): what is left of a mistake is better refused than taken for text.

use super::{Kind, Problem};
use crate::config::unit_power;

/// Letters that units begin with.
const UNITS: &str = "kmgtpe";

/// Reads a bare word.
pub(super) fn read(word: &str) -> Result<Kind, Problem> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => return Ok(Kind::Bool(true)),
        "false" | "no" | "off" => return Ok(Kind::Bool(false)),
        _ => {}
    }
    let none = || Err(Problem::NoNumber(word.to_owned()));
    let negative = word.starts_with('-');
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    if !unsigned.starts_with(|letter: char| letter.is_ascii_digit()) {
        let text = !negative && !word.starts_with('.');
        return if text {
            Ok(Kind::Text(word.to_owned()))
        } else {
            none()
        };
    }
    let end = unsigned
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(unsigned.len());
    let (digits, rest) = unsigned.split_at(end);
    match rest.chars().next() {
        Some('-') if !negative && is_date(word) => Ok(Kind::Date(word.to_owned())),
        Some('-') => none(),
        Some('.') => fraction(word, &rest[1..]),
        Some(letter) if UNITS.contains(letter.to_ascii_lowercase()) => {
            with_unit(word, digits, rest)
        }
        Some(_) if negative => none(),
        Some(_) => Ok(Kind::Text(word.to_owned())),
        None => integer(word, digits, 1),
    }
}

/// A number with a point, or an address with several.
fn fraction(word: &str, behind: &str) -> Result<Kind, Problem> {
    let end = behind
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(behind.len());
    let rest = &behind[end..];
    let address = rest.starts_with('.')
        && rest
            .bytes()
            .all(|letter| letter.is_ascii_digit() || b".:-".contains(&letter));
    match word.parse::<f64>() {
        _ if end == 0 => Err(Problem::NoNumber(word.to_owned())),
        _ if address => Ok(Kind::Text(word.to_owned())),
        Ok(number) if rest.is_empty() && number.is_finite() => Ok(Kind::Float(number)),
        Ok(_) if rest.is_empty() => Err(Problem::Number(word.to_owned())),
        _ => Err(Problem::NoNumber(word.to_owned())),
    }
}

/// A number with a unit of size, or text that goes on otherwise (`10ms`).
fn with_unit(word: &str, digits: &str, rest: &str) -> Result<Kind, Problem> {
    if let Some(power) = unit_power(rest) {
        return integer(word, digits, power);
    }
    let behind = rest[1..].trim_start_matches(['b', 'B', 'i', 'I']);
    if behind.is_empty() || behind.starts_with(|letter: char| letter.is_ascii_digit()) {
        return Err(Problem::NoNumber(word.to_owned()));
    }
    Ok(Kind::Text(word.to_owned()))
}

fn integer(word: &str, digits: &str, power: u64) -> Result<Kind, Problem> {
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
