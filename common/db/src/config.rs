//! Where the database is and how much of it a room may use.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use crate::conn::Engine;
use crate::error::DbError;

/// The `[database]` section of a room that keeps one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `sqlite:///absolute/path` or `postgres://user:password@host:port/name`.
    pub url: DatabaseUrl,
    /// Threads, and so connections, that serve reads. Default 2.
    #[serde(default = "default_readers")]
    pub readers: usize,
    /// Threads, and so connections, that serve writes; SQLite always has one. Default 2.
    #[serde(default = "default_writers")]
    pub writers: usize,
    /// Calls that may wait for a thread before new ones are refused. Default 256: about what two
    /// readers work off within one deadline.
    #[serde(default = "default_queue")]
    pub queue: usize,
    /// Longest time from the call to its answer, in milliseconds. Default 10 000.
    #[serde(default = "default_deadline_ms")]
    pub deadline_ms: u64,
    /// PEM file of the authority that signed a PostgreSQL server's certificate; the system's
    /// authorities are used when absent.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// A database url whose secret is never shown.
#[derive(Clone)]
pub struct DatabaseUrl(SecretString);

/// What a url means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Sqlite(PathBuf),
    Postgres(String),
}

fn default_readers() -> usize {
    2
}
fn default_writers() -> usize {
    2
}
fn default_queue() -> usize {
    256
}
fn default_deadline_ms() -> u64 {
    10_000
}

// === impl DatabaseConfig ===

impl DatabaseConfig {
    /// The defaults for a database at `url`.
    #[must_use]
    pub fn at(url: impl Into<DatabaseUrl>) -> Self {
        Self {
            url: url.into(),
            readers: default_readers(),
            writers: default_writers(),
            queue: default_queue(),
            deadline_ms: default_deadline_ms(),
            ca_file: None,
        }
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms.max(1))
    }
}

// === impl DatabaseUrl ===

impl DatabaseUrl {
    /// The engine behind the url.
    ///
    /// # Errors
    /// When the scheme is neither `sqlite` nor `postgres`, or the path is not absolute.
    pub fn engine(&self) -> Result<Engine, DbError> {
        Ok(match self.target()? {
            Target::Sqlite(_) => Engine::Sqlite,
            Target::Postgres(_) => Engine::Postgres,
        })
    }

    pub(crate) fn target(&self) -> Result<Target, DbError> {
        let text = self.0.expose_secret();
        if let Some(path) = text.strip_prefix("sqlite://") {
            let path = PathBuf::from(path);
            if !path.is_absolute() {
                return Err(DbError::Url("sqlite:// needs an absolute path".into()));
            }
            return Ok(Target::Sqlite(path));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Target::Postgres(text.to_owned()));
        }
        Err(DbError::Url(
            "expected sqlite:///path or postgres://..".into(),
        ))
    }
}

impl From<&str> for DatabaseUrl {
    fn from(url: &str) -> Self {
        Self(SecretString::from(url.to_owned()))
    }
}

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        Self(SecretString::from(url))
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let url = Self::from(String::deserialize(deserializer)?);
        url.target().map_err(serde::de::Error::custom)?;
        Ok(url)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match url::Url::parse(self.0.expose_secret()) {
            Ok(mut url) => {
                if url.password().is_some() {
                    // A url that has a password can always have another one.
                    let _ = url.set_password(Some("***"));
                }
                // Parameters may carry a password too.
                if url.query().is_some() {
                    url.set_query(Some("..."));
                }
                f.write_str(url.as_str())
            }
            Err(_) => f.write_str("(unreadable database url)"),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_no_password() {
        let url = DatabaseUrl::from("postgres://cc:hunter2@db:5432/cc?password=hunter2");
        assert_eq!(url.to_string(), "postgres://cc:***@db:5432/cc?...");
        assert!(!format!("{:?}", DatabaseConfig::at(url)).contains("hunter2"));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(DatabaseUrl::from("sqlite://relative.db").target().is_err());
        assert!(DatabaseUrl::from("mysql://h/d").target().is_err());
        assert_eq!(
            DatabaseUrl::from("sqlite:///tmp/a.db").target().ok(),
            Some(Target::Sqlite("/tmp/a.db".into()))
        );
    }
}
