//! The SCIM filter grammar: `attr op value`, joined by `and` and `or`, grouped by parentheses.
//!
//! ```text
//! or         = and *( "or" and )
//! and        = term *( "and" term )
//! term       = "(" or ")" / attribute "pr" / attribute op value
//! op         = "eq" / "co" / "sw" / "gt" / "ge" / "lt" / "le"     ; in any case
//! value      = JSON string / 'text' / true / false / number
//! ```
//!
//! Parsing is pure; a filter never becomes SQL text, only bound parameters.

use chrono::{DateTime, NaiveDateTime};

/// Longest filter that is read: two hundred ids in a disjunction have about twelve kilobytes.
const MAX_BYTES: usize = 32 * 1024;
/// Most comparisons in one filter.
const MAX_COMPARISONS: usize = 256;
/// Deepest nesting of parentheses.
const MAX_DEPTH: usize = 16;

/// A parsed filter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    /// No filter.
    Everything,
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Compare {
        /// Attribute in lower case.
        attribute: String,
        operator: Operator,
        value: Value,
    },
}

/// How an attribute is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    Contains,
    StartsWith,
    Present,
    Greater,
    AtLeast,
    Less,
    AtMost,
}

/// What an attribute is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Bool(bool),
    Number(f64),
    /// Behind `pr` there is no value.
    None,
}

/// A filter that cannot be read or asks for what is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid filter expression: [{filter}]: {reason}")]
pub(crate) struct FilterError {
    filter: String,
    reason: String,
}

// === impl Expression ===

impl Expression {
    /// Reads a filter whose attributes must be among `known` (in lower case).
    pub(crate) fn parse(text: &str, known: &[&str]) -> Result<Self, FilterError> {
        Parser::new(text, known)
            .parse()
            .map_err(|reason| FilterError {
                filter: text.chars().take(200).collect(),
                reason,
            })
    }

    /// Every comparison in the filter.
    pub(crate) fn comparisons(&self) -> Vec<(&str, Operator, &Value)> {
        match self {
            Self::Everything => Vec::new(),
            Self::And(left, right) | Self::Or(left, right) => {
                let mut all = left.comparisons();
                all.extend(right.comparisons());
                all
            }
            Self::Compare {
                attribute,
                operator,
                value,
            } => vec![(attribute, *operator, value)],
        }
    }
}

// === impl Operator ===

impl Operator {
    fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "eq" => Self::Equal,
            "co" => Self::Contains,
            "sw" => Self::StartsWith,
            "pr" => Self::Present,
            "gt" => Self::Greater,
            "ge" => Self::AtLeast,
            "lt" => Self::Less,
            "le" => Self::AtMost,
            _ => return None,
        })
    }
}

// === impl Value ===

impl Value {
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::None => String::new(),
        }
    }

    pub(crate) fn to_bool(&self) -> bool {
        match self {
            Self::Bool(value) => *value,
            Self::Text(text) => text.eq_ignore_ascii_case("true"),
            Self::Number(_) => false,
            Self::None => true,
        }
    }

    pub(crate) fn to_time(&self) -> Option<NaiveDateTime> {
        match self {
            Self::Text(text) => DateTime::parse_from_rfc3339(text)
                .ok()
                .map(|t| t.naive_utc()),
            _ => None,
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    known: &'a [&'a str],
    comparisons: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, known: &'a [&'a str]) -> Self {
        Self {
            rest: text,
            known,
            comparisons: 0,
        }
    }

    fn parse(mut self) -> Result<Expression, String> {
        if self.rest.len() > MAX_BYTES {
            return Err(format!("longer than {MAX_BYTES} bytes"));
        }
        if self.rest.trim().is_empty() {
            return Ok(Expression::Everything);
        }
        let expression = self.disjunction(0)?;
        match self.peek() {
            None => Ok(expression),
            Some(_) => Err(format!("unexpected '{}'", self.rest.trim_start())),
        }
    }

    fn disjunction(&mut self, depth: usize) -> Result<Expression, String> {
        let mut left = self.conjunction(depth)?;
        while self.take_word("or") {
            let right = self.conjunction(depth)?;
            left = Expression::Or(Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn conjunction(&mut self, depth: usize) -> Result<Expression, String> {
        let mut left = self.term(depth)?;
        while self.take_word("and") {
            let right = self.term(depth)?;
            left = Expression::And(Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn term(&mut self, depth: usize) -> Result<Expression, String> {
        if self.peek() != Some('(') {
            return self.comparison();
        }
        if depth >= MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} parentheses deep"));
        }
        self.advance(1);
        let inner = self.disjunction(depth + 1)?;
        match self.peek() {
            Some(')') => {
                self.advance(1);
                Ok(inner)
            }
            _ => Err("a parenthesis is not closed".to_owned()),
        }
    }

    fn comparison(&mut self) -> Result<Expression, String> {
        self.comparisons += 1;
        if self.comparisons > MAX_COMPARISONS {
            return Err(format!("more than {MAX_COMPARISONS} comparisons"));
        }
        let attribute = self.word().to_ascii_lowercase();
        if !self.known.contains(&attribute.as_str()) {
            return Err(format!("unknown attribute '{attribute}'"));
        }
        let word = self.word();
        let operator = Operator::parse(word).ok_or(format!("unknown operator '{word}'"))?;
        let value = match operator {
            Operator::Present => Value::None,
            _ => self.value()?,
        };
        Ok(Expression::Compare {
            attribute,
            operator,
            value,
        })
    }

    fn value(&mut self) -> Result<Value, String> {
        match self.peek() {
            Some('"') => self.json_string(),
            Some('\'') => {
                let (text, after) = self.rest[1..].split_once('\'').ok_or("a quote is open")?;
                self.rest = after;
                Ok(Value::Text(text.to_owned()))
            }
            _ => match self.word() {
                "" => Err("a value is missing".to_owned()),
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                word => word
                    .parse()
                    .map(Value::Number)
                    .map_err(|_| format!("'{word}' is not a value; text goes in double quotes")),
            },
        }
    }

    fn json_string(&mut self) -> Result<Value, String> {
        let mut stream = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        match stream.next() {
            Some(Ok(text)) => {
                let read = stream.byte_offset();
                self.rest = &self.rest[read..];
                Ok(Value::Text(text))
            }
            _ => Err("a quoted text is not closed or has a bad escape".to_owned()),
        }
    }

    /// The next character that is not white space, which is skipped.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn advance(&mut self, ascii_characters: usize) {
        self.rest = &self.rest[ascii_characters..];
    }

    /// The next run of letters, digits and the like; empty when something else comes.
    fn word(&mut self) -> &'a str {
        self.peek();
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-' | '+');
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Takes the next word if it is this one, in any case.
    fn take_word(&mut self, wanted: &str) -> bool {
        let before = self.rest;
        if self.word().eq_ignore_ascii_case(wanted) {
            return true;
        }
        self.rest = before;
        false
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::*;

    const KNOWN: &[&str] = &["id", "username", "origin", "active"];

    fn parse(text: &str) -> Result<Expression, FilterError> {
        Expression::parse(text, KNOWN)
    }

    fn eq(attribute: &str, text: &str) -> Expression {
        Expression::Compare {
            attribute: attribute.to_owned(),
            operator: Operator::Equal,
            value: Value::Text(text.to_owned()),
        }
    }

    #[test]
    fn reads_what_the_clients_send() {
        assert_eq!(
            parse(r#"userName eq "bob""#).unwrap(),
            eq("username", "bob")
        );
        assert_eq!(
            parse(r#"userName Eq "bob""#).unwrap(),
            eq("username", "bob")
        );
        assert_eq!(parse(r#"Id eq "x-1""#).unwrap(), eq("id", "x-1"));
        assert_eq!(parse("userName eq 'bob'").unwrap(), eq("username", "bob"));
        assert_eq!(parse("").unwrap(), Expression::Everything);
        assert!(parse("id pr").is_ok());
        assert!(parse("active eq true").is_ok());
    }

    #[test]
    fn and_binds_tighter_than_or() {
        let parsed = parse(r#"id eq "a" or id eq "b" and origin eq "c""#).unwrap();
        let tighter = Expression::And(Box::new(eq("id", "b")), Box::new(eq("origin", "c")));
        assert_eq!(
            parsed,
            Expression::Or(Box::new(eq("id", "a")), Box::new(tighter))
        );
        let grouped = parse(r#"(id eq "a" or id eq "b") and (origin eq "c")"#).unwrap();
        assert!(matches!(grouped, Expression::And(..)));
        assert_eq!(grouped.comparisons().len(), 3);
    }

    #[test]
    fn a_value_may_hold_anything_when_escaped() {
        let text = r#"o'brien" or id pr and ("#;
        let quoted = serde_json::to_string(text).unwrap();
        assert_eq!(
            parse(&format!("userName eq {quoted}")).unwrap(),
            eq("username", text)
        );
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for text in [
            "userName",
            "userName eq",
            r#"userName eq "bob"#,
            "userName eq bob",
            "userName is \"bob\"",
            "password eq \"x\"",
            "(id pr",
            "id pr)",
            "id pr id pr",
            "eq eq eq",
            "1=1; drop table users",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"(".repeat(100)).is_err());
        assert!(parse(&vec!["id pr"; 300].join(" or ")).is_err());
        assert!(parse(&" ".repeat(40_000)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_answered_without_panic(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn text_near_the_grammar_is_answered_without_panic(
            text in r#"((id|userName|eq|pr|or|and|"a"|\(|\)|'|"|\\|é| ){1,2}){0,12}"#
        ) {
            let _ = parse(&text);
        }

        #[test]
        fn a_quoted_text_is_read_back(text in any::<String>()) {
            let quoted = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(parse(&format!("id eq {quoted}")).unwrap(), eq("id", &text));
        }
    }
}
