//! Values of settings, with errors that say where they stand.

use std::time::Duration;

use crate::conf::{ConfError, Entry, Kind, Map, Problem, Value};
use crate::config::{parse_duration, parse_size};

/// A setting that is being read.
#[derive(Clone, Copy)]
pub(super) struct Field<'a>(pub(super) &'a Entry);

// === impl Field ===

impl<'a> Field<'a> {
    pub(super) fn value(self) -> &'a Value {
        &self.0.value
    }

    fn kind(self, wanted: &'static str) -> ConfError {
        let found = self.value().kind.name();
        self.value().at.error(Problem::Kind {
            field: self.0.key.clone(),
            wanted,
            found,
        })
    }

    pub(super) fn wrong(self, reason: impl Into<String>) -> ConfError {
        let field = self.0.key.clone();
        self.value().at.error(Problem::Value {
            field,
            reason: reason.into(),
        })
    }

    pub(super) fn text(self) -> Result<String, ConfError> {
        match &self.value().kind {
            Kind::Text(text) | Kind::Date(text) => Ok(text.clone()),
            // A name may look like a number.
            Kind::Integer(number) => Ok(number.to_string()),
            _ => Err(self.kind("text")),
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

    pub(super) fn port(self) -> Result<u16, ConfError> {
        match self.integer()? {
            // The system chooses.
            -1 => Ok(0),
            port => u16::try_from(port).map_err(|_| self.wrong(format!("{port} is no port"))),
        }
    }

    /// `host:port`, or a port alone.
    pub(super) fn listen(self) -> Result<(Option<String>, u16), ConfError> {
        if matches!(self.value().kind, Kind::Integer(_)) {
            return Ok((None, self.port()?));
        }
        let text = self.text()?;
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| self.wrong("is not of the form host:port"))?;
        let port = match port {
            "-1" => 0,
            port => port
                .parse()
                .map_err(|_| self.wrong(format!("{port:?} is no port")))?,
        };
        Ok(((!host.is_empty()).then(|| host.to_owned()), port))
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

    pub(super) fn unknown<T>(self) -> Result<T, ConfError> {
        Err(self.0.at.error(Problem::UnknownField(self.0.key.clone())))
    }
}
