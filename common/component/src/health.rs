//! Whether the process can do its work: named checks that their owners set.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All checks of a process. Healthy when none fails.
#[derive(Debug, Clone, Default)]
pub struct Health {
    checks: Arc<Mutex<BTreeMap<String, Option<String>>>>,
}

/// One check; its owner says how it stands.
#[derive(Debug, Clone)]
pub struct Check {
    health: Health,
    name: String,
}

impl Health {
    /// Adds a check, failing with `until_first` until its owner says otherwise.
    #[must_use]
    pub fn check(&self, name: &str, until_first: &str) -> Check {
        let check = Check {
            health: self.clone(),
            name: name.to_owned(),
        };
        check.fail(until_first);
        check
    }

    /// The failing checks with their reasons; empty when the process is healthy.
    #[must_use]
    pub fn failures(&self) -> Vec<(String, String)> {
        let checks = self.lock();
        checks
            .iter()
            .filter_map(|(k, v)| Some((k.clone(), v.clone()?)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Check {
    /// All is well.
    pub fn pass(&self) {
        self.health.lock().insert(self.name.clone(), None);
    }

    /// Something is wrong, in a few words for an operator.
    pub fn fail(&self, reason: &str) {
        self.health
            .lock()
            .insert(self.name.clone(), Some(reason.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn healthy_only_when_every_check_passes() {
        let health = Health::default();
        let (bus, db) = (
            health.check("bus", "connecting"),
            health.check("db", "opening"),
        );
        bus.pass();
        assert_eq!(health.failures(), [("db".to_owned(), "opening".to_owned())]);
        db.pass();
        assert!(health.failures().is_empty());
        bus.fail("gone");
        assert_eq!(health.failures().len(), 1);
    }
}
