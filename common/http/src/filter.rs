//! The grammar of the `q` parameter: `key OP value`, joined by `;`.
//!
//! ```text
//! q         = condition *( ";" condition )
//! condition = key op value
//! op        = ":" / ">=" / "<=" / ">" / "<" / " IN "
//! value     = text, a literal ";" written ";;"; for IN a comma-separated list
//! ```

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};

/// Most conditions in one query, so that an outsider cannot make a statement of any size.
pub const MAX_CONDITIONS: usize = 32;
/// Most values behind one `IN`.
pub const MAX_VALUES: usize = 500;

/// How a condition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `:` – equal; with an empty value: null or empty.
    Equal,
    /// ` IN ` – equal to one of several.
    In,
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `<`
    Less,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The attribute, not yet checked against what the collection knows.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// What with: exactly one value, or for `IN` one or more.
    pub values: Vec<String>,
}

/// A `q` parameter that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No operator in the condition.
    #[error("'{condition}' has none of the operators : >= <= > < IN")]
    NoOperator {
        /// The condition as given.
        condition: String,
    },
    /// Nothing before the operator, or not a name.
    #[error("'{key}' is not the name of an attribute")]
    BadKey {
        /// The key as given.
        key: String,
    },
    /// Too many conditions.
    #[error("q holds more than {MAX_CONDITIONS} conditions")]
    TooManyConditions,
    /// Too many values.
    #[error("IN lists more than {MAX_VALUES} values")]
    TooManyValues,
    /// A value that is no timestamp where one is needed.
    #[error("'{value}' is not a time such as 2026-01-31T12:00:00Z")]
    NotATime {
        /// The value as given.
        value: String,
    },
}

// === impl Operator ===

impl Operator {
    /// In the order in which they are tried at one position: the longer ones first.
    const ALL: [(&'static str, Self); 6] = [
        (" IN ", Self::In),
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        (":", Self::Equal),
        (">", Self::Greater),
        ("<", Self::Less),
    ];

    /// As written in a query.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => ":",
            Self::In => " IN ",
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::Less => "<",
        }
    }
}

// === impl Filter ===

impl Filter {
    /// The single value; for `IN` the first.
    #[must_use]
    pub fn value(&self) -> &str {
        self.values.first().map_or("", String::as_str)
    }

    /// Whether the condition asks for null or empty (`path:`).
    #[must_use]
    pub fn wants_empty(&self) -> bool {
        self.operator == Operator::Equal && self.value().is_empty()
    }

    /// The value read as a boolean: `true`, `t` and `1` are true, all else is false.
    #[must_use]
    pub fn as_bool(&self) -> bool {
        matches!(
            self.value().to_ascii_lowercase().as_str(),
            "true" | "t" | "1"
        )
    }

    /// The value read as a time, with or without zone (then UTC).
    ///
    /// # Errors
    /// When it is not a time.
    pub fn as_time(&self) -> Result<DateTime<Utc>, FilterError> {
        let text = self.value();
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(time.with_timezone(&Utc));
        }
        for format in ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"] {
            if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
                return Ok(time.and_utc());
            }
        }
        Err(FilterError::NotATime {
            value: text.to_owned(),
        })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.values.join(",").replace(';', ";;");
        write!(f, "{}{}{}", self.key, self.operator.as_str(), value)
    }
}

/// Reads one `q` parameter (already percent-decoded).
///
/// # Errors
/// When a condition has no operator or no key, or there are too many.
pub fn parse(q: &str) -> Result<Vec<Filter>, FilterError> {
    let conditions = split(q)?;
    conditions
        .iter()
        .map(|condition| parse_condition(condition))
        .collect()
}

/// Splits at single semicolons; doubled ones become one in the text.
fn split(q: &str) -> Result<Vec<String>, FilterError> {
    let mut conditions = Vec::new();
    let mut current = String::new();
    let mut characters = q.chars().peekable();
    while let Some(character) = characters.next() {
        if character != ';' {
            current.push(character);
        } else if characters.next_if_eq(&';').is_some() {
            current.push(';');
        } else {
            conditions.push(std::mem::take(&mut current));
        }
        if conditions.len() >= MAX_CONDITIONS {
            return Err(FilterError::TooManyConditions);
        }
    }
    // A trailing semicolon ends the last condition; it does not begin another.
    if !current.is_empty() {
        conditions.push(current);
    }
    Ok(conditions)
}

fn parse_condition(condition: &str) -> Result<Filter, FilterError> {
    let no_operator = || FilterError::NoOperator {
        condition: shorten(condition),
    };
    let (at, symbol, operator) = first_operator(condition).ok_or_else(no_operator)?;
    let key = condition[..at].trim();
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if key.is_empty() || !key.chars().all(name) {
        return Err(FilterError::BadKey { key: shorten(key) });
    }
    let rest = &condition[at + symbol.len()..];
    let values: Vec<String> = match operator {
        Operator::In => rest
            .split(',')
            .take(MAX_VALUES + 1)
            .map(str::to_owned)
            .collect(),
        _ => vec![rest.to_owned()],
    };
    if values.len() > MAX_VALUES {
        return Err(FilterError::TooManyValues);
    }
    Ok(Filter {
        key: key.to_owned(),
        operator,
        values,
    })
}

fn first_operator(condition: &str) -> Option<(usize, &'static str, Operator)> {
    condition.char_indices().find_map(|(at, _)| {
        let rest = &condition[at..];
        Operator::ALL
            .into_iter()
            .find(|(symbol, _)| rest.starts_with(symbol))
            .map(|(symbol, operator)| (at, symbol, operator))
    })
}

/// For messages: an outsider's text, cut to a readable length.
fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::*;

    fn one(q: &str) -> Filter {
        let mut filters = parse(q).unwrap();
        assert_eq!(filters.len(), 1, "{q}");
        filters.remove(0)
    }

    #[test]
    fn reads_each_operator() {
        for (q, operator, value) in [
            ("name:dora", Operator::Equal, "dora"),
            ("timestamp>=2014-06-01", Operator::AtLeast, "2014-06-01"),
            ("timestamp<=2014-06-01", Operator::AtMost, "2014-06-01"),
            ("n>5", Operator::Greater, "5"),
            ("n<5", Operator::Less, "5"),
        ] {
            let filter = one(q);
            assert_eq!((filter.operator, filter.value()), (operator, value), "{q}");
        }
    }

    #[test]
    fn reads_lists() {
        assert_eq!(one("guid IN a,b,c").values, ["a", "b", "c"]);
    }

    #[test]
    fn only_the_first_operator_counts() {
        assert_eq!(one("name:a:b>=c IN d").value(), "a:b>=c IN d");
    }

    #[test]
    fn joins_with_semicolons_and_unescapes_doubled_ones() {
        let filters = parse("host:h;domain_guid:D").unwrap();
        assert_eq!(filters.len(), 2);
        assert_eq!(one("name:a;;b").value(), "a;b");
        assert_eq!(one("name:a;").value(), "a");
    }

    #[test]
    fn an_empty_value_asks_for_empty() {
        assert!(one("path:").wants_empty());
        assert!(!one("path:/a").wants_empty());
    }

    #[test]
    fn reads_booleans_and_times() {
        assert!(one("active:t").as_bool());
        assert!(!one("active:yes").as_bool());
        let time = one("created_at:2026-01-31 12:00:00").as_time().unwrap();
        assert_eq!(
            time,
            one("created_at:2026-01-31T13:00:00+01:00")
                .as_time()
                .unwrap()
        );
        assert!(one("created_at:soon").as_time().is_err());
    }

    #[test]
    fn refuses_nonsense() {
        assert!(matches!(parse("name"), Err(FilterError::NoOperator { .. })));
        assert!(matches!(parse(":x"), Err(FilterError::BadKey { .. })));
        assert!(matches!(parse("a b:x"), Err(FilterError::BadKey { .. })));
        assert_eq!(
            parse(&"a:b;".repeat(40)),
            Err(FilterError::TooManyConditions)
        );
        let many = format!("guid IN {}", "x,".repeat(600));
        assert_eq!(parse(&many), Err(FilterError::TooManyValues));
    }

    fn filters() -> impl Strategy<Value = Filter> {
        let key = "[a-z][a-z_]{0,20}";
        let single = (
            key,
            prop::sample::select(vec![
                Operator::Equal,
                Operator::AtLeast,
                Operator::AtMost,
                Operator::Greater,
                Operator::Less,
            ]),
            // A value may not begin with '=' behind '<' or '>': the grammar reads that as '<='.
            "[^=;][^;]{0,20}(;[^;]{1,5})?",
        )
            .prop_map(|(key, operator, value)| Filter {
                key,
                operator,
                values: vec![value],
            });
        let list =
            (key, prop::collection::vec("[^,;]{1,10}", 1..5)).prop_map(|(key, values)| Filter {
                key,
                operator: Operator::In,
                values,
            });
        prop_oneof![single, list]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(filters in prop::collection::vec(filters(), 1..5)) {
            let text = filters.iter().map(Filter::to_string).collect::<Vec<_>>().join(";");
            prop_assert_eq!(parse(&text).unwrap(), filters);
        }

        #[test]
        fn any_text_is_answered_without_panic(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn text_near_the_grammar_is_answered_without_panic(text in "[a-c:;<>= IN,é]{0,40}") {
            if let Ok(filters) = parse(&text) {
                prop_assert!(filters.iter().all(|f| !f.key.is_empty() && !f.values.is_empty()));
            }
        }
    }
}
