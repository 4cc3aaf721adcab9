//! The rules of the registry, as plain data.

use std::collections::BTreeMap;

use cupola_messages::dea::{InstanceFilter, Refusal};
use cupola_types::{AppGuid, DiskMb, InstanceGuid, InstanceState, MemoryMb};
use tokio::sync::watch;

use crate::capacity::Capacity;
use crate::instance::Instance;

/// Why an instance has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The controller said so.
    Ordered,
    /// The dea goes away.
    Shutdown,
}

/// How an instance's task is told to stop. The first reason stays.
pub(crate) type StopSwitch = watch::Sender<Option<StopReason>>;

/// A start that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Refused {
    /// For a decision.
    pub(crate) reason: Refusal,
    /// For a person.
    pub(crate) detail: String,
}

/// What instances hold of the dea's room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub(crate) memory: MemoryMb,
    pub(crate) disk: DiskMb,
}

/// Every instance of this dea with its state, and the room they hold.
#[derive(Debug)]
pub(crate) struct Book {
    capacity: Capacity,
    /// Set once the dea begins to go away; nothing is admitted any more.
    closed: bool,
    entries: BTreeMap<InstanceGuid, Entry>,
}

#[derive(Debug)]
struct Entry {
    instance: Instance,
    stop: StopSwitch,
}

// === impl Book ===

impl Book {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            closed: false,
            entries: BTreeMap::new(),
        }
    }

    pub(crate) fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Takes a new instance in and reserves its room, or says why not.
    pub(crate) fn admit(
        &mut self,
        instance: Instance,
    ) -> Result<watch::Receiver<Option<StopReason>>, Refused> {
        self.check(&instance)?;
        Ok(self.insert(instance))
    }

    /// Takes in an instance that runs already: it holds its room whether or not there is any.
    pub(crate) fn readmit(&mut self, instance: Instance) -> watch::Receiver<Option<StopReason>> {
        self.insert(instance)
    }

    fn insert(&mut self, instance: Instance) -> watch::Receiver<Option<StopReason>> {
        let (stop, stopped) = watch::channel(None);
        self.entries
            .insert(instance.guid.clone(), Entry { instance, stop });
        stopped
    }

    fn check(&self, instance: &Instance) -> Result<(), Refused> {
        let refused = |reason, detail: String| Err(Refused { reason, detail });
        if self.closed {
            return refused(Refusal::ShuttingDown, "the dea is shutting down".to_owned());
        }
        if self.len() >= self.capacity.max_instances as usize {
            let max = self.capacity.max_instances;
            return refused(
                Refusal::Full,
                format!("the dea holds its maximum of {max} instances"),
            );
        }
        let (free, wanted) = (self.available(), instance.limits);
        if wanted.mem > free.memory {
            let text = format!("{} of memory wanted, {} free", wanted.mem, free.memory);
            return refused(Refusal::NoMemory, text);
        }
        if wanted.disk > free.disk {
            let text = format!("{} of disk wanted, {} free", wanted.disk, free.disk);
            return refused(Refusal::NoDisk, text);
        }
        Ok(())
    }

    /// Whether new instances are refused because the dea goes away.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Admits nothing from now on.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// What instances hold. One that is being evacuated still uses what it has, so it counts.
    pub(crate) fn reserved(&self) -> Reserved {
        let (mut memory, mut disk) = (0_u32, 0_u32);
        for instance in self.instances() {
            if instance.state().holds_memory() {
                memory = memory.saturating_add(instance.limits.mem.0);
            }
            if instance.state().holds_disk() {
                disk = disk.saturating_add(instance.limits.disk.0);
            }
        }
        Reserved {
            memory: MemoryMb(memory),
            disk: DiskMb(disk),
        }
    }

    /// What is left.
    pub(crate) fn available(&self) -> Reserved {
        let reserved = self.reserved();
        Reserved {
            memory: MemoryMb(self.capacity.memory.0.saturating_sub(reserved.memory.0)),
            disk: DiskMb(self.capacity.disk.0.saturating_sub(reserved.disk.0)),
        }
    }

    /// How many instances of each app there are, in whatever state.
    pub(crate) fn count_by_app(&self) -> BTreeMap<AppGuid, u32> {
        let mut counts = BTreeMap::new();
        for instance in self.instances() {
            *counts.entry(instance.app.clone()).or_insert(0) += 1;
        }
        counts
    }

    pub(crate) fn count_by_state(&self) -> BTreeMap<InstanceState, usize> {
        let mut counts = BTreeMap::new();
        for instance in self.instances() {
            *counts.entry(instance.state()).or_insert(0) += 1;
        }
        counts
    }

    pub(crate) fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.entries.values().map(|entry| &entry.instance)
    }

    pub(crate) fn instances_mut(&mut self) -> impl Iterator<Item = &mut Instance> {
        self.entries.values_mut().map(|entry| &mut entry.instance)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, guid: &InstanceGuid) -> Option<&Instance> {
        self.entries.get(guid).map(|entry| &entry.instance)
    }

    pub(crate) fn get_mut(&mut self, guid: &InstanceGuid) -> Option<&mut Instance> {
        self.entries.get_mut(guid).map(|entry| &mut entry.instance)
    }

    pub(crate) fn remove(&mut self, guid: &InstanceGuid) -> Option<Instance> {
        self.entries.remove(guid).map(|entry| entry.instance)
    }

    /// Tells what the filter selects to stop, and forgets selected crashes, which have nothing
    /// left to stop. Returns the instances that were told.
    pub(crate) fn stop(&mut self, filter: &InstanceFilter, reason: StopReason) -> Vec<Instance> {
        let selected = |entry: &Entry| entry.instance.selected_by(filter);
        self.entries
            .retain(|_, e| !(e.instance.state().is_final() && selected(e)));
        let told = self.entries.values().filter(|entry| selected(entry));
        told.inspect(|entry| flip(&entry.stop, reason))
            .map(|e| e.instance.clone())
            .collect()
    }

    /// Tells everything to stop.
    pub(crate) fn stop_all(&self, reason: StopReason) {
        self.entries
            .values()
            .for_each(|entry| flip(&entry.stop, reason));
    }
}

fn flip(switch: &StopSwitch, reason: StopReason) {
    switch.send_if_modified(|current| current.is_none() && current.replace(reason).is_none());
}

#[cfg(test)]
mod tests;
