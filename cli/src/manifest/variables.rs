//! `((name))` in a manifest stands for a value given on the command line or in a file.

use std::path::{Path, PathBuf};

use super::ManifestError;
use super::yaml::{self, Node, Value};

/// Values by name; the later of two wins.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Variables {
    values: Vec<(String, Value)>,
}

/// A variable that is used but has no value.
#[derive(Debug)]
pub(crate) struct MissingVariable {
    pub(crate) name: String,
    pub(crate) line: u64,
}

// === impl Variables ===

impl Variables {
    /// First the files in their order, then the single values, as `cf` ranks them.
    pub(crate) fn read(
        files: &[PathBuf],
        single: &[(String, String)],
    ) -> Result<Self, ManifestError> {
        let mut values = Vec::new();
        for path in files {
            values.extend(read_file(path)?);
        }
        values.extend(
            single
                .iter()
                .map(|(name, text)| (name.clone(), single_value(text))),
        );
        Ok(Self { values })
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.values
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// Puts the values in everywhere.
    pub(crate) fn fill(&self, node: &mut Node) -> Result<(), MissingVariable> {
        match &mut node.value {
            Value::List(items) => items.iter_mut().try_for_each(|item| self.fill(item)),
            Value::Map(entries) => entries
                .iter_mut()
                .try_for_each(|(_, entry)| self.fill(entry)),
            Value::Text(text) => {
                if let Some(value) = self.replace(text, node.line)? {
                    node.value = value;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A text that is nothing but one variable becomes its value, of whatever kind; within other
    /// text a variable becomes text. What was put in is not looked at again.
    fn replace(&self, text: &str, line: u64) -> Result<Option<Value>, MissingVariable> {
        let mut filled = String::new();
        let mut rest = text;
        let mut found = false;
        while let Some((before, name, after)) = next_variable(rest) {
            let missing = || MissingVariable {
                name: name.to_owned(),
                line,
            };
            let value = self.get(name).ok_or_else(missing)?;
            if name.len() + 4 == text.len() {
                return Ok(Some(value.clone()));
            }
            let value = Node {
                value: value.clone(),
                line,
            }
            .scalar()
            .ok_or_else(missing)?;
            filled.push_str(before);
            filled.push_str(&value);
            rest = after;
            found = true;
        }
        filled.push_str(rest);
        Ok(found.then_some(Value::Text(filled)))
    }
}

/// What stands before, in and behind the first `((name))`.
fn next_variable(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(open) = text[from..].find("((").map(|at| from + at) {
        let inner = &text[open + 2..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        let end = inner.find(|c| !is_name(c)).unwrap_or(inner.len());
        if end > 0 && inner[end..].starts_with("))") {
            return Some((&text[..open], &inner[..end], &inner[end + 2..]));
        }
        from = open + 1;
    }
    None
}

/// `--var x=4` gives a number, as it would in a file; what is no YAML scalar is text.
fn single_value(text: &str) -> Value {
    match yaml::parse(text) {
        Ok(Node {
            value: value @ (Value::Bool(_) | Value::Int(_)),
            ..
        }) => value,
        _ => Value::Text(text.to_owned()),
    }
}

fn read_file(path: &Path) -> Result<Vec<(String, Value)>, ManifestError> {
    let text = yaml::read_text(path).map_err(|source| ManifestError::Read {
        path: path.to_owned(),
        source,
    })?;
    let complain = |line, problem: &str| ManifestError::Syntax {
        path: path.to_owned(),
        line,
        problem: problem.to_owned(),
    };
    let root = yaml::parse(&text).map_err(|error| complain(error.line, &error.problem))?;
    match root.value {
        Value::Map(entries) => Ok(entries
            .into_iter()
            .map(|(key, node)| (key.text, node.value))
            .collect()),
        Value::Null => Ok(Vec::new()),
        _ => Err(complain(root.line, "expected a map of names and values")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn fill(text: &str) -> Result<Value, MissingVariable> {
        let variables = Variables::read(
            &[],
            &[("host".into(), "www".into()), ("count".into(), "3".into())],
        )
        .unwrap();
        let mut node = Node {
            value: Value::Text(text.into()),
            line: 7,
        };
        variables.fill(&mut node).map(|()| node.value)
    }

    #[test]
    fn a_variable_alone_keeps_its_kind_and_within_text_becomes_text() {
        assert_eq!(fill("((count))").unwrap(), Value::Int(3));
        assert_eq!(
            fill("((host)).example.com").unwrap(),
            Value::Text("www.example.com".into())
        );
        assert_eq!(
            fill("((host))-((count))").unwrap(),
            Value::Text("www-3".into())
        );
    }

    #[test]
    fn what_only_looks_like_a_variable_is_left_alone() {
        for text in ["", "((", "(())", "((a b))", "(host)", "))((", "$((1 + 2))"] {
            assert_eq!(fill(text).unwrap(), Value::Text(text.into()));
        }
    }

    #[test]
    fn a_missing_variable_is_named_with_its_line() {
        let missing = fill("x((nowhere))").unwrap_err();
        assert_eq!((missing.name.as_str(), missing.line), ("nowhere", 7));
    }
}
