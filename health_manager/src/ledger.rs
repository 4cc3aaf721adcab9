//! What was noticed and proposed before, so that nothing is proposed too early or too often.

use std::collections::HashMap;
use std::hash::Hash;

use cupola_types::InstanceGuid;

use crate::Moment;
use crate::crashes::Key;
use crate::decide::{Decision, Proposal};

/// Memory of earlier decisions.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) missing: Track<Key>,
    pub(crate) extra: Track<InstanceGuid>,
}

/// Since when things are as they should not be, and when something was proposed about it.
#[derive(Debug)]
pub(crate) struct Track<K> {
    entries: HashMap<K, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    since: Moment,
    proposed: Option<Moment>,
}

impl<K> Default for Track<K> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash + Clone> Track<K> {
    /// Since when; `now` when it was not noticed before.
    pub(crate) fn since(&self, key: &K, now: Moment) -> Moment {
        self.entries.get(key).map_or(now, |entry| entry.since)
    }

    /// When something was last proposed about it.
    pub(crate) fn proposed(&self, key: &K) -> Option<Moment> {
        self.entries.get(key).and_then(|entry| entry.proposed)
    }

    /// Exactly these are as they should not be now.
    fn observe(&mut self, observed: &[K], now: Moment) {
        let mut entries = HashMap::with_capacity(observed.len());
        for key in observed {
            let entry = self.entries.get(key).copied();
            entries.insert(
                key.clone(),
                entry.unwrap_or(Entry {
                    since: now,
                    proposed: None,
                }),
            );
        }
        self.entries = entries;
    }

    fn propose(&mut self, key: &K, now: Moment) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.proposed = Some(now);
        }
    }
}

impl Ledger {
    /// Remembers a decision that was made at `now`.
    pub(crate) fn note(&mut self, decision: &Decision, now: Moment) {
        self.missing.observe(&decision.missing, now);
        self.extra.observe(&decision.extra, now);
        for proposal in &decision.proposals {
            match proposal {
                Proposal::Start { key } => self.missing.propose(key, now),
                Proposal::Stop { instance, .. } => self.extra.propose(&instance.instance, now),
            }
        }
    }
}
