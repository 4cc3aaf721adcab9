//! Root file systems by the names that apps ask for.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{Stack, WardenError};

/// The stacks of a host, as a config file says them: a name is followed by `host`, for a view of the
/// host's own `/usr`, or by the absolute path of a folder with a root file system. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Stacks(BTreeMap<String, Stack>);

// === impl Stacks ===

impl Stacks {
    /// The root file system behind a name; without a name, the first by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Stack> {
        match name {
            "" => self.0.values().next(),
            name => self.0.get(name),
        }
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// What every machine offers: the host's own `/usr`.
impl Default for Stacks {
    fn default() -> Self {
        Self([("cupola-host".to_owned(), Stack::Host)].into())
    }
}

impl TryFrom<BTreeMap<String, String>> for Stacks {
    type Error = WardenError;

    fn try_from(said: BTreeMap<String, String>) -> Result<Self, WardenError> {
        if said.is_empty() {
            return Err(WardenError::bad_spec("stacks", "name at least one"));
        }
        let parsed = said.into_iter().map(|(name, root)| match root.as_str() {
            "host" => Ok((name, Stack::Host)),
            path if Path::new(path).is_absolute() => Ok((name, Stack::Dir(PathBuf::from(path)))),
            _ => Err(WardenError::bad_spec(
                "stacks",
                format!("{name} must be `host` or an absolute path, not {root:?}"),
            )),
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn read(said: &str) -> Result<Stacks, serde_json::Error> {
        serde_json::from_str(said)
    }

    #[test]
    fn who_names_no_stack_gets_the_first() {
        let stacks = read(r#"{"other": "/stacks/other", "host": "host"}"#).unwrap();
        assert_eq!(stacks.get(""), Some(&Stack::Host));
        assert_eq!(
            stacks.get("other"),
            Some(&Stack::Dir("/stacks/other".into()))
        );
        assert_eq!(stacks.get("lucid64"), None);
        assert_eq!(stacks.names().collect::<Vec<_>>(), ["host", "other"]);
        assert_eq!(Stacks::default().get(""), Some(&Stack::Host));
    }

    #[test]
    fn nonsense_is_named() {
        let said = read(r#"{"x": "here"}"#).unwrap_err().to_string();
        assert!(said.contains("x must be"), "{said}");
        assert!(read("{}").unwrap_err().to_string().contains("at least one"));
    }
}
