//! Values of settings, with errors that say where they stand.

use std::time::Duration;

use crate::conf::{ConfError, Entry, Kind, Map, Problem, Value};
use crate::config::{parse_duration, parse_size};

/// Where to listen, as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The host; absent where none was given.
    pub host: Option<String>,
    /// The port, 0 when the system chooses; absent where none was given.
    pub port: Option<u16>,
}

/// A setting that is being read.
#[derive(Clone, Copy)]
pub(super) struct Field<'a>(pub(super) &'a Entry);

// === impl Field ===

impl<'a> Field<'a> {
    pub(super) fn value(self) -> &'a Value {
        &self.0.value
    }

    pub(super) fn kind(self, wanted: &'static str) -> ConfError {
        let found = self.value().kind.name();
        self.0.at.error(Problem::Kind {
            field: self.0.key.clone(),
            wanted,
            found,
        })
    }

    pub(super) fn wrong(self, reason: impl Into<String>) -> ConfError {
        let field = self.0.key.clone();
        self.0.at.error(Problem::Value {
            field,
            reason: reason.into(),
        })
    }

    pub(super) fn text(self) -> Result<String, ConfError> {
        match &self.value().kind {
            Kind::Text(text) => Ok(text.clone()),
            // What looks like a number is none that was meant as text: a password would lose its zeros.
            _ => Err(self.kind("text")),
        }
    }

    /// Text that may look like a number, such as a version or `50%`.
    pub(super) fn number_text(self) -> Result<String, ConfError> {
        match &self.value().kind {
            Kind::Integer(number) => Ok(number.to_string()),
            Kind::Float(number) => Ok(number.to_string()),
            _ => self.text(),
        }
    }

    pub(super) fn boolean(self) -> Result<bool, ConfError> {
        match &self.value().kind {
            Kind::Bool(value) => Ok(*value),
            _ => Err(self.kind("a boolean")),
        }
    }

    pub(super) fn map(self) -> Result<&'a Map, ConfError> {
        match &self.value().kind {
            Kind::Map(map) => Ok(map),
            _ => Err(self.kind("a map")),
        }
    }

    pub(super) fn integer(self) -> Result<i64, ConfError> {
        match &self.value().kind {
            Kind::Integer(number) => Ok(*number),
            _ => Err(self.kind("an integer")),
        }
    }

    pub(super) fn count(self) -> Result<usize, ConfError> {
        usize::try_from(self.integer()?).map_err(|_| self.wrong("must not be negative"))
    }

    /// A count for which anything below 1 means without limit, which we write as 0.
    pub(super) fn count_or_any(self) -> Result<usize, ConfError> {
        Ok(usize::try_from(self.integer()?).unwrap_or(0))
    }

    /// A size for which 0 means the default, as 0 would make no sense.
    pub(super) fn size_or(self, default: usize) -> Result<usize, ConfError> {
        Ok(match self.size()? {
            0 => default,
            size => size,
        })
    }

    /// A duration for which 0 means the default.
    pub(super) fn duration_or(self, default: Duration) -> Result<Duration, ConfError> {
        Ok(match self.duration()? {
            Duration::ZERO => default,
            duration => duration,
        })
    }

    pub(super) fn size(self) -> Result<usize, ConfError> {
        let bytes = match &self.value().kind {
            Kind::Text(text) => parse_size(text).map_err(|error| self.wrong(error.to_string()))?,
            _ => u64::try_from(self.integer()?).map_err(|_| self.wrong("must not be negative"))?,
        };
        usize::try_from(bytes).map_err(|_| self.wrong("is too large"))
    }

    /// A duration; a bare number means seconds.
    pub(super) fn duration(self) -> Result<Duration, ConfError> {
        let seconds = |seconds: f64| {
            Duration::try_from_secs_f64(seconds).map_err(|_| self.wrong("is no duration"))
        };
        match &self.value().kind {
            Kind::Text(text) => parse_duration(text).map_err(|error| self.wrong(error.to_string())),
            Kind::Integer(number) => seconds(*number as f64),
            Kind::Float(number) => seconds(*number),
            _ => Err(self.kind("a duration")),
        }
    }

    /// A duration that must be written as one.
    pub(super) fn written_duration(self) -> Result<Duration, ConfError> {
        match &self.value().kind {
            Kind::Text(_) => self.duration(),
            _ => Err(self.kind("a duration like \"30s\"")),
        }
    }

    /// A port: -1 means that the system chooses, 0 that none was given.
    pub(super) fn port(self) -> Result<Option<u16>, ConfError> {
        match self.integer()? {
            -1 => Ok(Some(0)),
            0 => Ok(None),
            port => u16::try_from(port)
                .map(Some)
                .map_err(|_| self.wrong(format!("{port} is no port"))),
        }
    }

    /// `host:port`, or a port alone.
    pub(super) fn listen(self) -> Result<Address, ConfError> {
        if matches!(self.value().kind, Kind::Integer(_)) {
            let port = self.port()?;
            return Ok(Address { host: None, port });
        }
        Address::parse(&self.text()?).map_err(|reason| self.wrong(reason))
    }

    /// One text, or a list of them.
    pub(super) fn texts(self) -> Result<Vec<String>, ConfError> {
        match &self.value().kind {
            Kind::Array(items) => items
                .iter()
                .map(|item| match &item.kind {
                    Kind::Text(text) => Ok(text.clone()),
                    other => Err(item.at.error(Problem::Kind {
                        field: self.0.key.clone(),
                        wanted: "text",
                        found: other.name(),
                    })),
                })
                .collect(),
            _ => Ok(vec![self.text()?]),
        }
    }

    /// A list of maps.
    pub(super) fn maps(self) -> Result<Vec<&'a Map>, ConfError> {
        let Kind::Array(items) = &self.value().kind else {
            return Err(self.kind("an array"));
        };
        items
            .iter()
            .map(|item| match &item.kind {
                Kind::Map(map) => Ok(map),
                other => Err(item.at.error(Problem::Kind {
                    field: self.0.key.clone(),
                    wanted: "a map",
                    found: other.name(),
                })),
            })
            .collect()
    }

    /// A key that means nothing here is a mistake, unless a variable made use of it.
    pub(super) fn unknown(self, known: &[&'static str]) -> Result<(), ConfError> {
        if self.0.used {
            return Ok(());
        }
        Err(self.0.at.error(Problem::UnknownField {
            field: self.0.key.clone(),
            nearest: nearest(&self.0.key, known),
        }))
    }

    /// What only makes a difference when it is `true`, and is not supported then.
    pub(super) fn unsupported_if_true(self) -> Result<(), ConfError> {
        if self.boolean()? {
            return self.unsupported();
        }
        Ok(())
    }

    pub(super) fn unsupported<T>(self) -> Result<T, ConfError> {
        Err(self.0.at.error(Problem::Unsupported(self.0.key.clone())))
    }
}

// === impl Address ===

impl Address {
    /// Reads `host:port`; the host may be missing, the port may be -1.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| format!("{text:?} is not of the form host:port"))?;
        let port = match port {
            "-1" => Some(0),
            port => match port.parse() {
                Ok(0) => None,
                Ok(port) => Some(port),
                Err(_) => return Err(format!("{port:?} is no port")),
            },
        };
        let host = (!host.is_empty()).then(|| host.to_owned());
        Ok(Address { host, port })
    }
}

/// The key that is written most like this one, if one is.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let key = key.to_ascii_lowercase();
    known
        .iter()
        .map(|known| (distance(key.as_bytes(), known.as_bytes()), *known))
        .min()
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .map(|(_, known)| known)
}

/// How many letters must be changed, put in or taken out to get from one word to the other.
fn distance(one: &[u8], other: &[u8]) -> usize {
    // Keys are short; a longer word is no slip of the pen.
    if one.len() > 64 || other.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
