//! Names of containers and of the processes in them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::WardenError;

/// The name of a container within its depot: 1 to 40 of `a-z 0-9 -`, beginning with a letter or digit.
///
/// It becomes a folder, a cgroup and part of a socket path, hence the short alphabet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// A process that was run in a container; numbered from 1 in the order of their start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(pub u32);

/// The longest container id, so that `ctl.sock` fits a socket address in any sensible depot.
pub(crate) const ID_MAX: usize = 40;

// === impl ContainerId ===

impl ContainerId {
    /// Parses an id.
    ///
    /// # Errors
    /// [`WardenError::BadSpec`] when it is empty, too long or has other characters.
    pub fn new(id: impl Into<String>) -> Result<Self, WardenError> {
        let id = id.into();
        let fits = !id.is_empty() && id.len() <= ID_MAX && !id.starts_with('-');
        let plain = id
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits && plain {
            Ok(Self(id))
        } else {
            Err(WardenError::bad_spec(
                "id",
                format!("{id:?} is not 1 to 40 of a-z 0-9 -"),
            ))
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContainerId {
    type Err = WardenError;
    fn from_str(text: &str) -> Result<Self, WardenError> {
        Self::new(text)
    }
}

impl TryFrom<String> for ContainerId {
    type Error = WardenError;
    fn try_from(text: String) -> Result<Self, WardenError> {
        Self::new(text)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ContainerId;

    #[test]
    fn accepts_short_plain_names_only() {
        for good in ["a", "0", "web-1", "0c5b9e2f4a"] {
            assert!(ContainerId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a/b", "..", "a b", "ä", &"a".repeat(41)] {
            assert!(ContainerId::new(bad).is_err(), "{bad}");
        }
    }
}
