//! nats-server's configuration language: a relaxed JSON with comments, units, variables and includes.
//!
//! [`parse`] gives a tree of [`Value`]s that know where they stood, so that whoever reads it can say
//! `file:line:column` about anything. Files and the environment are reached through a [`Source`] only.
//!
//! ```text
//! file    = [ "{" ] entries [ "}" ]
//! entries = { ( "include" string | key [ ":" | "=" ] value ) ( newline | "," | ";" ) }
//! value   = map | array | 'raw' | "escaped" | ( block ) | word | $variable
//! ```
//! A word is a boolean, a number (with a unit), a date, or else a string. A variable is looked up among
//! the keys before it, from the inside out, then in the environment, and read as a value again.

mod parser;
mod scalar;
mod value;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use value::{Entry, Kind, Map, Position, Value};

/// How deep maps and arrays may nest, includes and variables included.
const DEPTH: usize = 64;
/// Includes within includes.
const INCLUDES: usize = 10;
/// Variables that name variables.
const VARIABLES: usize = 16;
/// Values of all files together, those counted that a variable repeats: a few lines that repeat each other
/// would else fill the memory.
const VALUES: usize = 1 << 20;
/// Longest file, in bytes.
const LONGEST: u64 = 16 << 20;

/// Where files and variables come from.
pub trait Source {
    /// The text of a file.
    ///
    /// # Errors
    /// It cannot be read.
    fn file(&self, path: &Path) -> io::Result<String>;

    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The machine's own files and environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

/// What is wrong with a configuration file, and where.
#[derive(Debug, thiserror::Error)]
#[error("{at}{}{problem}", problem.after(at))]
pub struct ConfError {
    /// Where.
    pub at: Position,
    /// What.
    pub problem: Problem,
}

/// All that is wrong with a configuration file, in the order of the file.
#[derive(Debug)]
pub struct ConfErrors(pub Vec<ConfError>);

/// What can be wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The text ended too early.
    #[error("unexpected end of file in {0}")]
    End(&'static str),
    /// Something else should stand here.
    #[error("expected {wanted}, found {found}")]
    Unexpected {
        /// What should.
        wanted: &'static str,
        /// What does.
        found: String,
    },
    /// An escape that does not exist.
    #[error("unknown escape \\{0}")]
    Escape(char),
    /// A number that does not fit.
    #[error("number {0} is too large")]
    Number(String),
    /// Something like a number or date that is none.
    #[error("{0:?} begins like a number or a date, but is none; put text into quotes")]
    NoNumber(String),
    /// A key whose value is missing.
    #[error("expected a value, found the end of the line")]
    EndOfLine,
    /// A variable nobody defines.
    #[error("variable ${0} is not defined")]
    Variable(String),
    /// A variable that leads to itself.
    #[error("variable ${0} leads to itself")]
    VariableCycle(String),
    /// Too many values.
    #[error("more values than anybody writes: do variables repeat each other?")]
    Size,
    /// Too many levels.
    #[error("nested too deep")]
    Depth,
    /// An include that cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Includes that lead to themselves, or too many levels of them.
    #[error("too many levels of include")]
    Includes,
    /// A key that means nothing.
    #[error("unknown field {field:?}{}", nearest.map(|known| format!(" (did you mean {known:?}?)")).unwrap_or_default())]
    UnknownField {
        /// The key.
        field: String,
        /// One that means something here and is written much like it.
        nearest: Option<&'static str>,
    },
    /// A number where nobody knows of what.
    #[error("invalid use of field {0:?}: {0} should be converted to a duration")]
    BareDuration(String),
    /// More seconds than anybody wants to wait for a client's first words.
    #[error(
        "invalid use of field {0:?}: more than 60 seconds are long; write a duration in quotes (\"1m\")"
    )]
    LongTimeout(String),
    /// A value of another kind than its key needs.
    #[error("{field}: expected {wanted}, found {found}")]
    Kind {
        /// The key.
        field: String,
        /// What it needs.
        wanted: &'static str,
        /// What it got.
        found: &'static str,
    },
    /// A value that makes no sense for its key.
    #[error("{field}: {reason}")]
    Value {
        /// The key.
        field: String,
        /// Why it makes no sense.
        reason: String,
    },
    /// Something nats-server has and this broker has not.
    #[error("{0:?} is not supported")]
    Unsupported(String),
}

/// Reads a configuration file.
///
/// # Errors
/// The file, or one it includes, cannot be read or is not in order.
pub fn read(path: &Path, source: &dyn Source) -> Result<Map, ConfError> {
    let at = Position {
        file: Arc::from(path),
        line: 0,
        column: 0,
    };
    let text = source.file(path).map_err(|source| ConfError {
        at,
        problem: Problem::File {
            path: path.to_owned(),
            source,
        },
    })?;
    parse(&text, path, source)
}

/// Parses the text of a configuration file; `path` is for messages and for what it includes.
///
/// # Errors
/// It is not in order.
pub fn parse(text: &str, path: &Path, source: &dyn Source) -> Result<Map, ConfError> {
    parser::Parser::new(text, path, source).file()
}

impl fmt::Display for ConfErrors {
    /// One line each.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            if number > 0 {
                writeln!(to)?;
            }
            write!(to, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfErrors {}

impl From<ConfError> for ConfErrors {
    fn from(error: ConfError) -> Self {
        ConfErrors(vec![error])
    }
}

// === impl Problem ===

impl Problem {
    /// What stands between the place and the problem. That a text is no configuration at all is said in words
    /// that test suites look for in nats-server's.
    fn after(&self, at: &Position) -> String {
        match self {
            _ if at.line == 0 => String::new(),
            Problem::End(_)
            | Problem::Unexpected { .. }
            | Problem::Escape(_)
            | Problem::EndOfLine => format!(": Parse error on line {}: ", at.line),
            _ => ": ".to_owned(),
        }
    }
}

impl Source for System {
    fn file(&self, path: &Path) -> io::Result<String> {
        if std::fs::metadata(path)?.len() > LONGEST {
            return Err(io::Error::other("the file is too long"));
        }
        std::fs::read_to_string(path)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

#[cfg(test)]
mod tests;
