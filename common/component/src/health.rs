//! Whether the process can do its work: named checks that their owners set.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All checks of a process. Healthy when none fails that it cannot work without.
#[derive(Debug, Clone, Default)]
pub struct Health {
    checks: Arc<Mutex<BTreeMap<String, State>>>,
}

#[derive(Debug, Clone)]
struct State {
    failure: Option<String>,
    vital: bool,
}

/// One check; its owner says how it stands.
#[derive(Debug, Clone)]
pub struct Check {
    health: Health,
    name: String,
    vital: bool,
}

impl Health {
    /// Adds a check, failing with `until_first` until its owner says otherwise.
    #[must_use]
    pub fn check(&self, name: &str, until_first: &str) -> Check {
        self.add(name, until_first, true)
    }

    /// Adds a check that is shown when it fails, but without which the process still does its
    /// work.
    #[must_use]
    pub fn advisory(&self, name: &str, until_first: &str) -> Check {
        self.add(name, until_first, false)
    }

    /// The failing checks that the process cannot work without, with their reasons; empty when it
    /// is healthy.
    #[must_use]
    pub fn failures(&self) -> Vec<(String, String)> {
        self.failing(true)
    }

    /// The other failing checks.
    #[must_use]
    pub fn advisories(&self) -> Vec<(String, String)> {
        self.failing(false)
    }

    fn add(&self, name: &str, until_first: &str, vital: bool) -> Check {
        let check = Check {
            health: self.clone(),
            name: name.to_owned(),
            vital,
        };
        check.fail(until_first);
        check
    }

    fn failing(&self, vital: bool) -> Vec<(String, String)> {
        let checks = self.lock();
        let wanted = checks.iter().filter(|(_, state)| state.vital == vital);
        wanted
            .filter_map(|(name, state)| Some((name.clone(), state.failure.clone()?)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Check {
    /// All is well.
    pub fn pass(&self) {
        self.set(None);
    }

    /// Something is wrong, in a few words for an operator.
    pub fn fail(&self, reason: &str) {
        self.set(Some(reason.to_owned()));
    }

    fn set(&self, failure: Option<String>) {
        let state = State {
            failure,
            vital: self.vital,
        };
        self.health.lock().insert(self.name.clone(), state);
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

    #[test]
    fn an_advisory_is_told_and_does_no_harm() {
        let health = Health::default();
        health.advisory("bus", "away").fail("away");
        assert!(health.failures().is_empty());
        assert_eq!(health.advisories(), [("bus".to_owned(), "away".to_owned())]);
    }
}
