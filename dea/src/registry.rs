//! The one list of what this dea runs, and the one place where room is given away.
//!
//! [`Book`] is plain data with every rule in it; [`Registry`] puts a lock around it and tells
//! everybody who cares when it changed. The lock is held for look-ups and edits only, never
//! across an await, and no other lock is taken inside it.

mod book;

use std::sync::Arc;
use std::time::SystemTime;

use cupola_messages::dea::InstanceFilter;
use cupola_types::{IllegalTransition, InstanceGuid, InstanceState};
use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) use book::{Book, Refused, StopReason};

use crate::capacity::Capacity;
use crate::instance::Instance;

/// The registry. Cheap to clone; all clones are the same list.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    book: Arc<Mutex<Book>>,
    /// Counts edits. Receivers see that something changed, not each single change.
    changed: Arc<watch::Sender<u64>>,
}

/// A state change that did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdvanced {
    /// It is not in the list any more.
    #[error("the instance is gone")]
    Gone,
    /// The lifecycle has no such edge.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
}

// === impl Registry ===

impl Registry {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self {
            book: Arc::new(Mutex::new(Book::new(capacity))),
            changed: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Wakes on every edit.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Reads something.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.book.lock())
    }

    /// Edits something and tells everybody.
    pub(crate) fn edit<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let result = change(&mut self.book.lock());
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
        result
    }

    /// Moves an instance to `next` and returns it as it is then.
    pub(crate) fn advance(
        &self,
        guid: &InstanceGuid,
        next: InstanceState,
    ) -> Result<Instance, NotAdvanced> {
        self.amend(guid, next, |_| {})
    }

    /// Changes an instance and moves it to `next` in one step, so that nobody sees half of it.
    pub(crate) fn amend(
        &self,
        guid: &InstanceGuid,
        next: InstanceState,
        change: impl FnOnce(&mut Instance),
    ) -> Result<Instance, NotAdvanced> {
        self.edit(|book| {
            let instance = book.get_mut(guid).ok_or(NotAdvanced::Gone)?;
            instance.advance(next, SystemTime::now())?;
            change(instance);
            Ok(instance.clone())
        })
    }

    pub(crate) fn get(&self, guid: &InstanceGuid) -> Option<Instance> {
        self.read(|book| book.get(guid).cloned())
    }

    pub(crate) fn select(&self, filter: &InstanceFilter) -> Vec<Instance> {
        self.read(|book| {
            book.instances()
                .filter(|i| i.selected_by(filter))
                .cloned()
                .collect()
        })
    }

    pub(crate) fn all(&self) -> Vec<Instance> {
        self.read(|book| book.instances().cloned().collect())
    }
}
