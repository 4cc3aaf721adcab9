//! The tree a configuration file becomes.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::{ConfError, Problem};

/// A place in a file, as nats-server counts: lines from 1, columns in bytes since the end of the line
/// before, hence from 1, but from 0 in the first line. Line 0 is the file as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file.
    pub file: Arc<Path>,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A value and where it stood.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Where.
    pub at: Position,
    /// What.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Text.
    Text(String),
    /// A whole number, its unit multiplied in.
    Integer(i64),
    /// A number with a point.
    Float(f64),
    /// `true`, `yes`, `on`, or their opposites.
    Bool(bool),
    /// A date and time, as it was written.
    Date(String),
    /// A list.
    Array(Vec<Value>),
    /// Keys and values.
    Map(Map),
}

/// Keys and values in the order of the file. Of two equal keys the last one counts; those that differ in
/// case are two, as they may name accounts or subjects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map {
    entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key as it was written.
    pub key: String,
    /// Where the key stood.
    pub at: Position,
    /// Its value.
    pub value: Value,
    /// Whether a variable took its value from here. A key of no other meaning is no mistake then.
    pub used: bool,
}

impl fmt::Display for Position {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            // The file as such: who speaks of it names it.
            return Ok(());
        }
        write!(to, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

impl Position {
    /// An error about what stands here.
    pub fn error(&self, problem: Problem) -> ConfError {
        ConfError {
            at: self.clone(),
            problem,
        }
    }
}

impl Kind {
    /// A word for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Text(_) => "text",
            Kind::Integer(_) => "an integer",
            Kind::Float(_) => "a number",
            Kind::Bool(_) => "a boolean",
            Kind::Date(_) => "a date",
            Kind::Array(_) => "an array",
            Kind::Map(_) => "a map",
        }
    }

    /// How many values it holds, itself counted.
    pub(super) fn size(&self) -> usize {
        let inside: usize = match self {
            Kind::Array(items) => items.iter().map(|item| item.kind.size()).sum(),
            Kind::Map(map) => map
                .entries
                .iter()
                .map(|entry| entry.value.kind.size())
                .sum(),
            _ => 0,
        };
        1 + inside
    }
}

impl Map {
    /// The entries in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The value of a key, written in any case.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries
            .iter()
            .find(|entry| entry.key.eq_ignore_ascii_case(key))
            .map(|entry| &entry.value)
    }

    /// What a variable of this name stands for; notes that it was used.
    pub(super) fn variable(&mut self, name: &str) -> Option<&Value> {
        let entry = self.entries.iter_mut().find(|entry| entry.key == name)?;
        entry.used = true;
        Some(&entry.value)
    }

    /// Sets a key; an equal one before is replaced where it stood.
    pub fn insert(&mut self, entry: Entry) {
        match self.entries.iter_mut().find(|known| known.key == entry.key) {
            Some(known) => *known = entry,
            None => self.entries.push(entry),
        }
    }
}
