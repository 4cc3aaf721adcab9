//! The parameters of a monitoring request.

use std::num::ParseIntError;

use percent_encoding::percent_decode_str;

/// Parameters that are looked at; what follows is ignored.
const MOST: usize = 64;

/// The parameters of a URL. Of several with one name the first counts.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

/// Why a monitoring request cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRequest {
    /// A parameter that is no boolean. Scripts know the text, down to the function of another language.
    #[error(
        "Error decoding boolean for '{name}': strconv.ParseBool: parsing {value:?}: invalid syntax"
    )]
    Boolean {
        /// The parameter.
        name: &'static str,
        /// What it said.
        value: String,
    },
    /// A parameter that is no number.
    #[error("Error decoding {kind} for '{name}': strconv.{parser}: parsing {value:?}: {why}")]
    Number {
        /// The parameter.
        name: &'static str,
        /// What it should be.
        kind: &'static str,
        /// Who could not read it.
        parser: &'static str,
        /// What it said.
        value: String,
        /// Why that is none.
        why: &'static str,
    },
    /// A state of connections that does not exist.
    #[error("Error decoding state for {0}")]
    State(String),
    /// A filter by subjects that would go across accounts.
    #[error("filter by subject only valid with account filtering")]
    FilterNeedsAccount,
    /// Something only the leader of JetStream's servers could answer.
    #[error("filtered response: not leader")]
    NotLeader,
    /// An order that does not exist.
    #[error("invalid sorting option: {0}")]
    Sort(String),
    /// An order that only closed connections have.
    #[error("sort by {0} only valid on closed connections")]
    SortClosed(&'static str),
    /// A subject nobody can publish to.
    #[error("invalid test subject, must be valid publish subject: {0}")]
    TestSubject(String),
    /// An account that does not exist.
    #[error("Account {0} does not exist")]
    NoAccount(String),
    /// A name no function can have.
    #[error("invalid callback: letters, digits, `_`, `$` and `.` only, at most 64")]
    Callback,
}

/// A number that may be asked for.
pub(crate) trait Number: std::str::FromStr<Err = ParseIntError> + Default {
    /// What it is called, and what is said to have tried to read it.
    const NAMES: (&'static str, &'static str);
}

impl Number for i64 {
    const NAMES: (&'static str, &'static str) = ("int", "Atoi");
}

impl Number for u64 {
    const NAMES: (&'static str, &'static str) = ("uint64", "ParseUint");
}

impl Query {
    /// Takes a query string apart. Never fails: what makes no sense is as if it were not there.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(MOST);
        Query(
            pairs
                .filter_map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    Some((decode(name)?, decode(value)?))
                })
                .collect(),
        )
    }

    /// The parameter's text; absent and empty are the same.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// The parameter as a boolean, `false` when absent.
    ///
    /// # Errors
    /// It says something else.
    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, BadRequest> {
        match self.text(name) {
            "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
            value => Err(BadRequest::Boolean {
                name,
                value: shorten(value),
            }),
        }
    }

    /// The parameter as a number, 0 when absent.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn number<N: Number>(&self, name: &'static str) -> Result<N, BadRequest> {
        let value = self.text(name);
        if value.is_empty() {
            return Ok(N::default());
        }
        let (kind, parser) = N::NAMES;
        value.parse().map_err(|error: ParseIntError| {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            BadRequest::Number {
                name,
                kind,
                parser,
                value: shorten(value),
                why: match error.kind() {
                    PosOverflow | NegOverflow => "value out of range",
                    _ => "invalid syntax",
                },
            }
        })
    }

    /// Whether all of these are booleans, as far as they are there.
    ///
    /// # Errors
    /// One of them is none.
    pub(crate) fn check_flags(&self, names: &[&'static str]) -> Result<(), BadRequest> {
        names.iter().try_for_each(|name| self.flag(name).map(drop))
    }
}

/// What a part of a query says; `None` when it is not written as one.
fn decode(text: &str) -> Option<String> {
    let escapes = text.split('%').skip(1);
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    };
    if text.contains(';') || !escapes.clone().all(is_escape) {
        return None;
    }
    let spaced = text.replace('+', " ");
    Some(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// What somebody sent, short enough to be sent back.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(128).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_are_decoded_and_the_first_counts() {
        let query = Query::parse("a=1&a=2&b=x%20y+z&c&&=&filter_subject=%3E");
        assert_eq!(query.text("a"), "1");
        assert_eq!(query.text("b"), "x y z");
        assert_eq!(query.text("c"), "");
        assert_eq!(query.text("nobody"), "");
        assert_eq!(query.text("filter_subject"), ">");
        let odd = Query::parse("a=%zz&b=1;c=2&d=%2&e=1");
        assert_eq!(odd.0, [("e".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn flags_and_numbers_say_what_is_wrong() {
        let query = Query::parse("auth=yes&subs=True&limit=abc&offset=-3&cid=-1");
        assert_eq!(
            query.flag("auth").unwrap_err().to_string(),
            "Error decoding boolean for 'auth': strconv.ParseBool: parsing \"yes\": invalid syntax"
        );
        assert!(query.flag("subs").unwrap());
        assert!(!query.flag("absent").unwrap());
        assert_eq!(
            query.number::<i64>("limit").unwrap_err().to_string(),
            "Error decoding int for 'limit': strconv.Atoi: parsing \"abc\": invalid syntax"
        );
        assert_eq!(query.number::<i64>("offset").unwrap(), -3);
        assert_eq!(
            query.number::<u64>("cid").unwrap_err().to_string(),
            "Error decoding uint64 for 'cid': strconv.ParseUint: parsing \"-1\": invalid syntax"
        );
        let big = Query::parse("limit=99999999999999999999");
        assert!(
            big.number::<i64>("limit")
                .unwrap_err()
                .to_string()
                .ends_with("value out of range")
        );
        assert_eq!(query.number::<u64>("absent").unwrap(), 0);
    }

    proptest! {
        #[test]
        fn any_text_is_a_query(text in ".{0,200}", name in "[a-z]{1,5}") {
            let query = Query::parse(&text);
            prop_assert!(query.0.len() <= MOST);
            query.text(&name);
        }

        #[test]
        fn encoded_values_come_back(value in "\\PC{0,40}") {
            let encoded = percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC);
            let query = Query::parse(&format!("v={encoded}"));
            prop_assert_eq!(query.text("v"), value);
        }
    }
}
