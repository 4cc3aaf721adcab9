//! What an app's processes are told: the variables that follow from the fields of an order, for a
//! build and for an instance alike (bus contract §3.2, §3.5).
//!
//! Values reach the process through `execve` exactly as they are: no shell ever expands them, so
//! `$HOME` or a backtick in a user's password stays what it is.

use std::collections::BTreeMap;

use cupola_types::MemoryMb;
use serde_json::{Map, Value, json};

use crate::dea::BoundService;

/// Longest `NAME=value` that the kernel takes: 32 pages with the terminating zero.
const MAX_STRING_BYTES: usize = 128 * 1024 - 1;
/// Longest environment in all, safely below what the kernel takes for arguments and environment.
const MAX_TOTAL_BYTES: usize = 1024 * 1024;
/// Most characters of a name that an error repeats.
const MAX_SHOWN: usize = 100;

/// An environment that no process can be given. Says names, never values: those are secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEnvironment {
    /// A user variable is not `NAME=value`.
    #[error("environment entry {number} has no name or no '='")]
    NotAPair {
        /// Which, from 1.
        number: usize,
    },
    /// A name or a value cannot be a C string.
    #[error("environment variable {name} holds a zero byte")]
    Zero {
        /// Which.
        name: String,
    },
    /// One variable is longer than the kernel takes.
    #[error("environment variable {name} is longer than {MAX_STRING_BYTES} bytes")]
    TooLong {
        /// Which.
        name: String,
    },
    /// All together are longer than the kernel takes.
    #[error("the environment is longer than {MAX_TOTAL_BYTES} bytes")]
    TooMuch,
}

/// An environment being put together: a later value of a name replaces an earlier one.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

// === impl Variables ===

impl Variables {
    /// What every process of an app has, whatever it does.
    #[must_use]
    pub fn of_app(memory: MemoryMb) -> Self {
        let mut all = Self::default();
        all.set("PATH", "/usr/local/bin:/usr/bin:/bin");
        all.set("USER", "vcap");
        all.set("LANG", "C.UTF-8");
        all.set("MEMORY_LIMIT", format!("{}m", memory.0));
        all
    }

    /// Gives `name` this value.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// `VCAP_SERVICES`, and `DATABASE_URL` when a database is bound.
    pub fn set_services(&mut self, bound: &[BoundService]) {
        self.set("VCAP_SERVICES", vcap_services(bound).to_string());
        if let Some(url) = database_url(bound) {
            self.set("DATABASE_URL", url);
        }
    }

    /// User variables, each `NAME=value`.
    ///
    /// # Errors
    /// When an entry has no name or no `=`.
    pub fn set_user(&mut self, entries: &[String]) -> Result<(), BadEnvironment> {
        for (at, entry) in entries.iter().enumerate() {
            match entry.split_once('=') {
                Some((name, value)) if !name.is_empty() => self.set(name, value),
                _ => return Err(BadEnvironment::NotAPair { number: at + 1 }),
            }
        }
        Ok(())
    }

    /// All of them, by name, if a process can be given them.
    ///
    /// # Errors
    /// When the kernel would refuse them.
    pub fn checked(self) -> Result<Vec<(String, String)>, BadEnvironment> {
        let mut total = 0;
        for (name, value) in &self.0 {
            if name.contains('\0') || value.contains('\0') {
                return Err(BadEnvironment::Zero { name: shown(name) });
            }
            let length = name.len() + 1 + value.len();
            if length > MAX_STRING_BYTES {
                return Err(BadEnvironment::TooLong { name: shown(name) });
            }
            total += length + 1;
        }
        if total > MAX_TOTAL_BYTES {
            return Err(BadEnvironment::TooMuch);
        }
        Ok(self.0.into_iter().collect())
    }
}

impl std::fmt::Debug for Variables {
    /// Names only: values are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The value of `VCAP_SERVICES`: label → services of that label, without what is absent.
#[must_use]
pub fn vcap_services(bound: &[BoundService]) -> Value {
    let mut by_label: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for service in bound {
        let fields = [
            ("name", json!(service.name)),
            ("label", json!(service.label)),
            ("tags", json!(service.tags)),
            ("plan", json!(service.plan)),
            ("credentials", service.credentials.clone()),
            ("syslog_drain_url", json!(service.syslog_drain_url)),
        ];
        let present = fields.into_iter().filter(|(_, value)| !value.is_null());
        let entry: Map<String, Value> = present
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let same_label = by_label.entry(&service.label).or_default();
        same_label.push(Value::Object(entry));
    }
    json!(by_label)
}

/// The address of the first bound database, with the scheme that database libraries expect.
#[must_use]
pub fn database_url(bound: &[BoundService]) -> Option<String> {
    bound.iter().find_map(|service| {
        let uri = service.credentials.get("uri")?.as_str()?;
        let (scheme, rest) = uri.split_once("://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "mysql" | "mysql2" => "mysql2",
            "postgres" | "postgresql" => "postgres",
            "db2" | "informix" => "ibmdb",
            _ => return None,
        };
        Some(format!("{scheme}://{rest}"))
    })
}

/// A name that may be anything, for a message.
fn shown(name: &str) -> String {
    let start: String = name.chars().take(MAX_SHOWN).collect();
    start.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn service(label: &str, credentials: Value) -> BoundService {
        serde_json::from_value(json!({
            "name": format!("my-{label}"), "label": label, "plan": "free", "tags": ["db"],
            "credentials": credentials,
        }))
        .unwrap()
    }

    fn user(entries: &[&str]) -> Result<BTreeMap<String, String>, BadEnvironment> {
        let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
        let mut all = Variables::of_app(MemoryMb(64));
        all.set_user(&entries)?;
        Ok(all.checked()?.into_iter().collect())
    }

    #[test]
    fn user_values_are_taken_as_they_are_and_override() {
        let secret = "SECRET=$HOME `id` \"quoted\" 'single' \\ $(id)\nnext";
        let all = user(&[secret, "LANG=de_DE.UTF-8", "EQUALS=a=b=c", "EMPTY="]).unwrap();
        assert_eq!(
            all["SECRET"],
            "$HOME `id` \"quoted\" 'single' \\ $(id)\nnext"
        );
        assert_eq!(all["LANG"], "de_DE.UTF-8");
        assert_eq!(all["EQUALS"], "a=b=c");
        assert_eq!(all["EMPTY"], "");
        assert_eq!(all["MEMORY_LIMIT"], "64m");
    }

    #[test]
    fn impossible_variables_are_named_without_their_value() {
        let refused = |entry: &str| user(&["GOOD=1", entry]).unwrap_err();
        for entry in ["nothing", "=x", ""] {
            assert_eq!(refused(entry), BadEnvironment::NotAPair { number: 2 });
        }
        let name = || "A".to_owned();
        assert_eq!(refused("A=\0"), BadEnvironment::Zero { name: name() });
        let long = format!("A={}", "x".repeat(MAX_STRING_BYTES));
        assert_eq!(refused(&long), BadEnvironment::TooLong { name: name() });
        let many: Vec<_> = (0..11)
            .map(|n| format!("A{n}={}", "x".repeat(100_000)))
            .collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(user(&many), Err(BadEnvironment::TooMuch));
    }

    #[test]
    fn values_are_not_printed() {
        let mut all = Variables::default();
        all.set("PASSWORD", "secret");
        assert_eq!(format!("{all:?}"), r#"{"PASSWORD"}"#);
    }

    #[test]
    fn services_are_grouped_by_label_without_absent_keys() {
        let bound = [
            service("mysql", json!({"uri": "x"})),
            service("mysql", Value::Null),
        ];
        let expected = json!({"mysql": [
            {"name": "my-mysql", "label": "mysql", "tags": ["db"], "plan": "free",
             "credentials": {"uri": "x"}},
            {"name": "my-mysql", "label": "mysql", "tags": ["db"], "plan": "free"},
        ]});
        assert_eq!(vcap_services(&bound), expected);
        assert_eq!(vcap_services(&[]), json!({}));
    }

    #[test]
    fn the_first_database_gives_the_database_url() {
        let url = |uris: &[&str]| {
            let bound = uris.iter().map(|uri| service("s", json!({ "uri": uri })));
            database_url(&bound.collect::<Vec<_>>())
        };
        for (uris, expected) in [
            (&["redis://h/", "mysql://u:p@h/d"][..], "mysql2://u:p@h/d"),
            (&["postgresql://h/d"], "postgres://h/d"),
            (&["MySQL://h/d"], "mysql2://h/d"),
            (&["db2://h/d"], "ibmdb://h/d"),
            (&["postgres://h/1", "mysql://h/2"], "postgres://h/1"),
        ] {
            assert_eq!(url(uris).as_deref(), Some(expected));
        }
        assert_eq!(url(&["amqp://h", "not a url", "mysql"]), None);
        assert_eq!(database_url(&[service("s", Value::Null)]), None);
    }
}
