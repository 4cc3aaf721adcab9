//! What runs, as the DEAs tell it.

use std::collections::HashMap;

use cupola_messages::dea::{Heartbeat, InstanceHeartbeat};
use cupola_types::{AppGuid, AppVersion, DeaId, InstanceGuid, InstanceIndex, InstanceState};

use crate::Moment;
use crate::config::Timing;

/// Most DEAs and instances that are kept track of; more than any installation has.
const MAX_DEAS: usize = 10_000;
const MAX_INSTANCES_PER_DEA: usize = 20_000;
/// Most messages that one heartbeat comes in.
const MAX_PARTS: u32 = 256;

/// One instance as it was last heard of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ActualInstance {
    pub(crate) app: AppGuid,
    pub(crate) version: AppVersion,
    pub(crate) instance: InstanceGuid,
    pub(crate) index: InstanceIndex,
    pub(crate) state: InstanceState,
    /// Since when it is in that state, in seconds since 1970, by the DEA's clock.
    pub(crate) state_timestamp: f64,
    /// When it was first heard of here.
    pub(crate) first_heard: Moment,
}

#[derive(Debug, Default)]
struct Dea {
    /// When it last sent a complete heartbeat on this connection to the bus.
    heartbeat_at: Option<Moment>,
    /// Since when one is awaited, if none came yet.
    awaited_since: Moment,
    /// When it last showed any sign of life.
    seen_at: Moment,
    instances: HashMap<InstanceGuid, ActualInstance>,
    /// The first parts of a heartbeat that comes in several messages.
    parts: Vec<Vec<InstanceHeartbeat>>,
}

/// All DEAs and their instances.
#[derive(Debug, Default)]
pub(crate) struct Actual {
    deas: HashMap<DeaId, Dea>,
    /// Since when the bus is connected without a gap; absent while it is not.
    connected_at: Option<Moment>,
}

impl Actual {
    /// The bus connection stands, or does not. What was heard before a gap counts no more for
    /// freshness.
    pub(crate) fn set_connected(&mut self, connected: bool, now: Moment) {
        self.connected_at = connected.then_some(now);
        for dea in self.deas.values_mut() {
            dea.heartbeat_at = None;
            dea.parts.clear();
            dea.awaited_since = now; // its silence meanwhile proves nothing
            dea.seen_at = now;
        }
    }

    /// A DEA advertised: it lives, and must be heard before its instances are judged.
    pub(crate) fn advertised(&mut self, dea: DeaId, now: Moment) {
        if let Some(dea) = self.dea(dea, now) {
            dea.seen_at = now;
        }
    }

    /// A DEA goes away for good.
    pub(crate) fn shut_down(&mut self, dea: &DeaId) {
        self.deas.remove(dea);
    }

    /// A heartbeat came. Returns whether it changed anything.
    pub(crate) fn heartbeat(&mut self, heartbeat: Heartbeat, now: Moment) -> bool {
        let Some(dea) = self.dea(heartbeat.dea, now) else {
            return false;
        };
        dea.seen_at = now;
        let all = match (heartbeat.part, heartbeat.parts) {
            (Some(part), Some(parts)) if parts > 1 => {
                if part == 0 {
                    dea.parts.clear();
                }
                if part >= parts || parts > MAX_PARTS || dea.parts.len() != part as usize {
                    dea.parts.clear(); // one was lost: what came of this heartbeat is of no use
                    return false;
                }
                dea.parts.push(heartbeat.droplets);
                if dea.parts.len() < parts as usize {
                    return false;
                }
                std::mem::take(&mut dea.parts)
                    .into_iter()
                    .flatten()
                    .collect()
            }
            _ => heartbeat.droplets,
        };
        dea.heartbeat_at = Some(now);
        dea.take_over(all, now)
    }

    /// An instance ended.
    pub(crate) fn ended(&mut self, instance: &InstanceGuid, crashed: bool) {
        for dea in self.deas.values_mut() {
            match dea.instances.get_mut(instance) {
                Some(found) if crashed => found.state = InstanceState::Crashed,
                Some(_) => {
                    dea.instances.remove(instance);
                }
                None => {}
            }
        }
    }

    /// Forgets DEAs that were silent too long, and the instances of those that do not tell of them
    /// any more though they live. Returns which.
    pub(crate) fn expire(&mut self, timing: &Timing, now: Moment) -> Vec<DeaId> {
        if self.connected_at.is_none() {
            return Vec::new();
        }
        let mut lost = Vec::new();
        self.deas.retain(|id, dea| {
            let gone = now.saturating_sub(dea.seen_at) > timing.dea_lost;
            if gone || (dea.is_mute(timing, now) && !dea.instances.is_empty()) {
                dea.instances.clear();
                lost.push(id.clone());
            }
            !gone
        });
        lost
    }

    /// Whether enough was heard to judge what is missing.
    pub(crate) fn is_fresh(&self, timing: &Timing, now: Moment) -> bool {
        self.connected_at
            .is_some_and(|since| now.saturating_sub(since) >= timing.settle)
            && self
                .deas
                .values()
                .all(|dea| dea.heartbeat_at.is_some() || dea.is_mute(timing, now))
    }

    /// When it will be fresh if nothing is heard until then; absent while not connected.
    pub(crate) fn fresh_at(&self, timing: &Timing) -> Option<Moment> {
        let settled = self.connected_at? + timing.settle;
        let awaited = self.deas.values().filter(|dea| dea.heartbeat_at.is_none());
        let given_up = awaited.map(|dea| dea.awaited_since + timing.dea_lost);
        given_up.chain([settled]).max()
    }

    pub(crate) fn instances(&self) -> impl Iterator<Item = &ActualInstance> {
        self.deas.values().flat_map(|dea| dea.instances.values())
    }

    pub(crate) fn of_app<'a>(
        &'a self,
        app: &'a AppGuid,
    ) -> impl Iterator<Item = (&'a DeaId, &'a ActualInstance)> {
        self.deas.iter().flat_map(move |(id, dea)| {
            dea.instances
                .values()
                .filter(move |i| i.app == *app)
                .map(move |i| (id, i))
        })
    }

    fn dea(&mut self, id: DeaId, now: Moment) -> Option<&mut Dea> {
        if self.deas.len() >= MAX_DEAS && !self.deas.contains_key(&id) {
            return None;
        }
        Some(self.deas.entry(id).or_insert_with(|| Dea {
            awaited_since: now,
            ..Dea::default()
        }))
    }
}

impl Dea {
    /// Whether no heartbeat came for so long that nothing can be known of its instances. One such
    /// DEA must not keep all others from being looked after.
    fn is_mute(&self, timing: &Timing, now: Moment) -> bool {
        let last = self.heartbeat_at.unwrap_or(self.awaited_since);
        now.saturating_sub(last) >= timing.dea_lost
    }

    fn take_over(&mut self, heard: Vec<InstanceHeartbeat>, now: Moment) -> bool {
        let mut instances = HashMap::with_capacity(heard.len());
        let mut changed = heard.len().min(MAX_INSTANCES_PER_DEA) != self.instances.len();
        for heard in heard.into_iter().take(MAX_INSTANCES_PER_DEA) {
            let known = self.instances.get(&heard.instance);
            changed |= known.is_none_or(|k| k.state != heard.state || k.version != heard.version);
            let first_heard = known.map_or(now, |known| known.first_heard);
            let instance = ActualInstance {
                app: heard.droplet,
                version: heard.version,
                instance: heard.instance.clone(),
                index: heard.index,
                state: heard.state,
                state_timestamp: heard.state_timestamp,
                first_heard,
            };
            instances.insert(heard.instance, instance);
        }
        self.instances = instances;
        changed
    }
}
