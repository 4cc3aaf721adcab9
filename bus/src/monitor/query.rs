//! The parameters of a monitoring request.

use percent_encoding::percent_decode_str;

/// Parameters that are looked at; what follows is ignored.
const MOST: usize = 64;

/// The parameters of a URL. Of several with one name the first counts.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

/// Why a monitoring request cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRequest {
    /// A parameter that is no boolean.
    #[error("Error decoding boolean for '{name}': \"{value}\" is neither true nor false")]
    Boolean {
        /// The parameter.
        name: &'static str,
        /// What it said.
        value: String,
    },
    /// A parameter that is no number.
    #[error("Error decoding number for '{name}': \"{value}\" is none")]
    Number {
        /// The parameter.
        name: &'static str,
        /// What it said.
        value: String,
    },
    /// A state of connections that does not exist.
    #[error("Error decoding state for {0}: one of open, closed, any")]
    State(String),
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

impl Query {
    /// Takes a query string apart. Never fails: what makes no sense is a parameter nobody asks for.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(MOST);
        Query(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
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
    pub(crate) fn number<N: std::str::FromStr + Default>(
        &self,
        name: &'static str,
    ) -> Result<N, BadRequest> {
        match self.text(name) {
            "" => Ok(N::default()),
            value => value.parse().map_err(|_| BadRequest::Number {
                name,
                value: shorten(value),
            }),
        }
    }
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
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
    }

    #[test]
    fn flags_and_numbers_say_what_is_wrong() {
        let query = Query::parse("auth=yes&subs=True&limit=abc&offset=-3&cid=-1");
        assert_eq!(
            query.flag("auth").unwrap_err().to_string(),
            "Error decoding boolean for 'auth': \"yes\" is neither true nor false"
        );
        assert!(query.flag("subs").unwrap());
        assert!(!query.flag("absent").unwrap());
        assert_eq!(
            query.number::<i64>("limit").unwrap_err().to_string(),
            "Error decoding number for 'limit': \"abc\" is none"
        );
        assert_eq!(query.number::<i64>("offset").unwrap(), -3);
        assert!(query.number::<u64>("cid").is_err());
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
