//! What DEAs and stagers said of themselves last, less what has been promised since.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use cupola_messages::{dea, staging};
use cupola_types::{AppGuid, DeaId, DiskMb, MemoryMb, StagerId, StagingTaskId};
use rand::Rng;
use rand::seq::IndexedRandom as _;

use super::placement::{Candidate, Need, place};

/// An advertisement holds for two periods and some slack, so that one lost message and a busy
/// moment take nobody out.
const EXPIRES: Duration = Duration::from_secs(13);
/// Stagers with the most free memory, among which one is drawn.
const TOP_STAGERS: usize = 5;

/// The DEAs.
#[derive(Debug, Default)]
pub(crate) struct DeaPool {
    heard: HashMap<DeaId, HeardDea>,
}

#[derive(Debug)]
struct HeardDea {
    said: dea::Advertise,
    at: Instant,
}

/// The stagers.
#[derive(Debug, Default)]
pub(crate) struct StagerPool {
    heard: HashMap<StagerId, HeardStager>,
}

#[derive(Debug)]
struct HeardStager {
    said: staging::Advertise,
    at: Instant,
}

// === impl DeaPool ===

impl DeaPool {
    /// A DEA advertises.
    pub(crate) fn hear(&mut self, said: dea::Advertise, at: Instant) {
        self.forget_silent(at);
        self.heard.insert(said.id.clone(), HeardDea { said, at });
    }

    /// A DEA goes away.
    pub(crate) fn remove(&mut self, id: &DeaId) {
        self.heard.remove(id);
    }

    pub(crate) fn len(&self) -> usize {
        self.heard.len()
    }

    /// Picks a DEA for an instance of `app` and takes what it needs off the DEA's room, until its
    /// next advertisement tells how it is.
    pub(crate) fn pick(
        &mut self,
        app: &AppGuid,
        need: Need,
        stack: &str,
        except: &HashSet<DeaId>,
        at: Instant,
        random: &mut impl Rng,
    ) -> Option<DeaId> {
        self.forget_silent(at);
        let candidates: Vec<Candidate> = self
            .heard
            .values()
            .map(|heard| Candidate {
                id: heard.said.id.clone(),
                zone: heard.said.placement_properties.zone.clone(),
                offers_stack: heard.said.stacks.iter().any(|offered| offered == stack)
                    && !except.contains(&heard.said.id),
                memory: heard.said.available_memory,
                disk: heard.said.available_disk,
                instances: heard
                    .said
                    .app_id_to_count
                    .get(app)
                    .copied()
                    .unwrap_or_default(),
            })
            .collect();
        let picked = place(&candidates, need, random)?.id.clone();
        if let Some(heard) = self.heard.get_mut(&picked) {
            let said = &mut heard.said;
            said.available_memory = MemoryMb(said.available_memory.0.saturating_sub(need.memory.0));
            said.available_disk = said
                .available_disk
                .map(|disk| DiskMb(disk.0.saturating_sub(need.disk.0)));
            *said.app_id_to_count.entry(app.clone()).or_default() += 1;
        }
        Some(picked)
    }

    fn forget_silent(&mut self, at: Instant) {
        self.heard
            .retain(|_, heard| at.saturating_duration_since(heard.at) < EXPIRES);
    }
}

// === impl StagerPool ===

impl StagerPool {
    /// A stager advertises.
    pub(crate) fn hear(&mut self, said: staging::Advertise, at: Instant) {
        self.forget_silent(at);
        self.heard.insert(said.id.clone(), HeardStager { said, at });
    }

    pub(crate) fn len(&self) -> usize {
        self.heard.len()
    }

    /// Picks a stager and takes what the build needs off its room.
    pub(crate) fn pick(
        &mut self,
        need: Need,
        stack: &str,
        except: &HashSet<StagerId>,
        at: Instant,
        random: &mut impl Rng,
    ) -> Option<StagerId> {
        self.forget_silent(at);
        let fits = |said: &staging::Advertise| {
            said.stacks.iter().any(|offered| offered == stack)
                && !except.contains(&said.id)
                && said.available_memory >= need.memory
                && said.available_disk.is_none_or(|disk| disk >= need.disk)
        };
        let mut eligible: Vec<&mut HeardStager> = self
            .heard
            .values_mut()
            .filter(|heard| fits(&heard.said))
            .collect();
        eligible.sort_by_key(|heard| std::cmp::Reverse(heard.said.available_memory));
        eligible.truncate(TOP_STAGERS);
        let indices: Vec<usize> = (0..eligible.len()).collect();
        let said = &mut eligible[*indices.choose(random)?].said;
        said.available_memory = MemoryMb(said.available_memory.0.saturating_sub(need.memory.0));
        said.available_disk = said
            .available_disk
            .map(|disk| DiskMb(disk.0.saturating_sub(need.disk.0)));
        Some(said.id.clone())
    }

    /// Whether a stager was heard of lately, and if so, when and whether it lists the task.
    pub(crate) fn lists(
        &self,
        stager: &StagerId,
        task: &StagingTaskId,
        at: Instant,
    ) -> Option<(Instant, bool)> {
        let heard = self.heard.get(stager)?;
        let is_silent = at.saturating_duration_since(heard.at) >= EXPIRES;
        (!is_silent).then(|| (heard.at, heard.said.tasks.contains(task)))
    }

    fn forget_silent(&mut self, at: Instant) {
        self.heard
            .retain(|_, heard| at.saturating_duration_since(heard.at) < EXPIRES);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    fn advertise(id: &str, memory: u32, disk: u32) -> dea::Advertise {
        dea::Advertise {
            id: DeaId::new(id),
            stacks: vec!["s".into()],
            available_memory: MemoryMb(memory),
            available_disk: Some(DiskMb(disk)),
            app_id_to_count: Default::default(),
            placement_properties: Default::default(),
        }
    }

    fn pick(pool: &mut DeaPool, memory: u32, disk: u32, at: Instant) -> Option<DeaId> {
        let need = Need {
            memory: MemoryMb(memory),
            disk: DiskMb(disk),
        };
        let mut random = StdRng::seed_from_u64(1);
        pool.pick(
            &AppGuid::new("app"),
            need,
            "s",
            &HashSet::new(),
            at,
            &mut random,
        )
    }

    #[test]
    fn promises_no_memory_or_disk_twice() {
        let at = Instant::now();
        let mut pool = DeaPool::default();
        pool.hear(advertise("a", 300, 1000), at);
        assert!(pick(&mut pool, 128, 100, at).is_some());
        assert!(pick(&mut pool, 128, 100, at).is_some());
        assert!(pick(&mut pool, 128, 100, at).is_none());
        pool.hear(advertise("a", 1000, 150), at);
        assert!(pick(&mut pool, 128, 100, at).is_some());
        assert!(pick(&mut pool, 128, 100, at).is_none());
    }

    #[test]
    fn spreads_the_instances_of_an_app() {
        let at = Instant::now();
        let mut pool = DeaPool::default();
        for id in ["a", "b", "c"] {
            pool.hear(advertise(id, 1000, 1000), at);
        }
        let picked: HashSet<DeaId> = (0..3)
            .map(|_| pick(&mut pool, 64, 64, at).unwrap())
            .collect();
        assert_eq!(picked.len(), 3);
    }

    #[test]
    fn forgets_the_silent_after_two_periods_and_slack() {
        let at = Instant::now();
        let mut pool = DeaPool::default();
        pool.hear(advertise("a", 1000, 1000), at);
        assert!(pick(&mut pool, 64, 64, at + Duration::from_secs(11)).is_some());
        assert!(pick(&mut pool, 64, 64, at + EXPIRES).is_none());
        pool.remove(&DeaId::new("gone already"));
    }

    #[test]
    fn skips_stacks_that_are_not_offered_and_deas_that_refused() {
        let at = Instant::now();
        let mut pool = DeaPool::default();
        pool.hear(advertise("a", 1000, 1000), at);
        let need = Need {
            memory: MemoryMb(1),
            disk: DiskMb(1),
        };
        let mut random = StdRng::seed_from_u64(1);
        let (app, none) = (AppGuid::new("app"), HashSet::new());
        assert!(
            pool.pick(&app, need, "other", &none, at, &mut random)
                .is_none()
        );
        let refused = HashSet::from([DeaId::new("a")]);
        assert!(
            pool.pick(&app, need, "s", &refused, at, &mut random)
                .is_none()
        );
    }

    #[test]
    fn knows_which_tasks_a_stager_has() {
        let at = Instant::now();
        let mut pool = StagerPool::default();
        let (stager, task) = (StagerId::new("st"), StagingTaskId::new("t1"));
        assert_eq!(pool.lists(&stager, &task, at), None);
        let said = staging::Advertise {
            id: stager.clone(),
            stacks: vec!["s".into()],
            available_memory: MemoryMb(2048),
            available_disk: None,
            tasks: vec![task.clone()],
        };
        pool.hear(said, at);
        assert_eq!(pool.lists(&stager, &task, at), Some((at, true)));
        assert_eq!(
            pool.lists(&stager, &StagingTaskId::new("t2"), at),
            Some((at, false))
        );
        assert_eq!(pool.lists(&stager, &task, at + EXPIRES), None);
    }
}
