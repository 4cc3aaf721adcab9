//! Ids. Every id has a kind of its own, so that an app's cannot be passed where a space's goes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// Longest id that is accepted from outside, in bytes.
const MAX_ID_LEN: usize = 200;

/// An id that came from outside is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("{kind} is empty")]
    Empty {
        /// Which kind of id was being read.
        kind: &'static str,
    },
    /// The text is longer than any id may be.
    #[error("{kind} has {length} bytes, more than the {MAX_ID_LEN} allowed")]
    TooLong {
        /// Which kind of id was being read.
        kind: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// The text holds a character that could change the meaning of a subject or a path.
    #[error("{kind} holds {character:?}; allowed are letters, digits, '-', '_' and '.'")]
    BadCharacter {
        /// Which kind of id was being read.
        kind: &'static str,
        /// The first offending character.
        character: char,
    },
}

/// Ids become bus subject tokens, file names and URL segments: only characters that are inert in
/// all three are let in.
fn check(kind: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { kind });
    }
    if text.len() > MAX_ID_LEN {
        return Err(IdError::TooLong {
            kind,
            length: text.len(),
        });
    }
    let inert = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match text.chars().find(|c| !inert(*c)) {
        Some(character) => Err(IdError::BadCharacter { kind, character }),
        None if text.starts_with('.') => Err(IdError::BadCharacter {
            kind,
            character: '.',
        }),
        None => Ok(()),
    }
}

fn random_guid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// 32 hex digits, the form of instance ids on the wire.
fn random_hex() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $generate:path;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps text that this process made itself or already trusts (a database row).
            /// Text from outside goes through [`str::parse`].
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// A new random id.
            #[must_use]
            pub fn generate() -> Self {
                Self($generate())
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The id as owned text.
            #[must_use]
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check(stringify!($name), text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                check(stringify!($name), &text).map_err(serde::de::Error::custom)?;
                Ok(Self(text))
            }
        }
    )+};
}

ids! {
    /// An application.
    AppGuid = random_guid;
    /// One revision of an application's runnable state: an instance of another version is not
    /// an instance of the app any more.
    AppVersion = random_guid;
    /// A space.
    SpaceGuid = random_guid;
    /// An organization.
    OrgGuid = random_guid;
    /// A route: host, domain and path.
    RouteGuid = random_guid;
    /// The tie between a route and an app.
    RouteMappingGuid = random_guid;
    /// A shared or private domain.
    DomainGuid = random_guid;
    /// A person or a client, as UAA names them.
    UserGuid = random_guid;
    /// A background job of the API.
    JobGuid = random_guid;
    /// An audit event.
    EventGuid = random_guid;
    /// A quota definition.
    QuotaGuid = random_guid;
    /// A stack: the root file system that apps see.
    StackGuid = random_guid;
    /// A buildpack.
    BuildpackGuid = random_guid;
    /// A DEA, stable over its restarts.
    DeaId = random_guid;
    /// A stager, stable over its restarts.
    StagerId = random_guid;
    /// One running copy of an app.
    InstanceGuid = random_hex;
    /// One attempt at staging an app.
    StagingTaskId = random_hex;
    /// A process of the platform, as announced on `vcap.component.*`.
    ComponentId = random_guid;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn ids_from_outside_cannot_carry_subject_or_path_syntax() {
        for bad in ["", "a.b/c", "a b", "*", ">", "..", ".hidden", "a\n", "ü"] {
            assert!(bad.parse::<AppGuid>().is_err(), "{bad:?} was accepted");
        }
        assert!("x".repeat(MAX_ID_LEN + 1).parse::<AppGuid>().is_err());
    }

    #[test]
    fn generated_ids_parse_and_survive_json() {
        let app = AppGuid::generate();
        assert_eq!(app.as_str().parse::<AppGuid>().unwrap(), app);
        let instance = InstanceGuid::generate();
        assert_eq!(instance.as_str().len(), 32);
    }
}
