//! A simulated installation: orders are obeyed after a while, heartbeats come every ten seconds,
//! and a day passes in a moment.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use cupola_messages::dea::{Heartbeat, InstanceHeartbeat};
use cupola_types::{AppVersion, DeaId};
use proptest::prelude::*;

use super::*;

const APP: &str = "app";

fn s(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

struct World {
    desired: Desired,
    actual: Actual,
    crashes: Crashes,
    ledger: Ledger,
    timing: Timing,
    now: Moment,
    instances: Vec<InstanceHeartbeat>,
    born: u32,
}

impl World {
    fn new() -> Self {
        let mut actual = Actual::default();
        actual.set_connected(true, Moment::ZERO);
        Self {
            desired: Desired::default(),
            actual,
            crashes: Crashes::default(),
            ledger: Ledger::default(),
            timing: Timing::default(),
            now: Moment::ZERO,
            instances: Vec::new(),
            born: 0,
        }
    }

    fn want(&mut self, instances: u32, version: &str) {
        self.want_state(instances, version, AppState::Started, PackageState::Staged);
    }

    fn want_state(
        &mut self,
        instances: u32,
        version: &str,
        state: AppState,
        package: PackageState,
    ) {
        let app = DesiredApp {
            version: AppVersion::new(version),
            instances,
            state,
            package,
        };
        self.desired
            .replace([(AppGuid::new(APP), app)].into(), self.now);
    }

    fn run(&mut self, index: u32, version: &str, state: InstanceState) -> InstanceGuid {
        self.born += 1;
        let instance = InstanceGuid::new(format!("i{}", self.born));
        self.instances.push(InstanceHeartbeat {
            cc_partition: "default".to_owned(),
            droplet: AppGuid::new(APP),
            version: AppVersion::new(version),
            instance: instance.clone(),
            index: InstanceIndex(index),
            state,
            state_timestamp: 0.0,
        });
        instance
    }

    fn heartbeat(&mut self) {
        let heartbeat = Heartbeat {
            dea: DeaId::new("d1"),
            droplets: self.instances.clone(),
            part: None,
            parts: None,
        };
        self.actual.heartbeat(heartbeat, self.now);
    }

    fn crash(&mut self, instance: &InstanceGuid) {
        let found = self
            .instances
            .iter_mut()
            .find(|i| i.instance == *instance)
            .unwrap();
        found.state = InstanceState::Crashed;
        let key = (found.droplet.clone(), found.version.clone(), found.index);
        self.crashes.note(key, self.now, 0);
        self.actual.ended(instance, true);
    }

    fn decide(&mut self) -> Decision {
        let knowledge = Knowledge {
            desired: &self.desired,
            actual: &self.actual,
            crashes: &self.crashes,
            ledger: &self.ledger,
            timing: &self.timing,
        };
        let decision = decide(knowledge, self.now);
        self.ledger.note(&decision, self.now);
        decision
    }

    /// Lets time pass, deciding and heartbeating each second; gives all proposals with their time.
    fn watch(&mut self, seconds: u64) -> Vec<(u64, Proposal)> {
        let mut proposals = Vec::new();
        for _ in 0..seconds {
            self.now += s(1);
            self.heartbeat();
            // The bulk fetch goes on beside it.
            if let Some(app) = self.desired.get(&AppGuid::new(APP)).cloned() {
                self.desired
                    .replace([(AppGuid::new(APP), app)].into(), self.now);
            }
            let at = self.now.as_secs();
            proposals.extend(self.decide().proposals.into_iter().map(|p| (at, p)));
        }
        proposals
    }
}

fn started(proposals: &[(u64, Proposal)]) -> Vec<(u64, u32)> {
    proposals
        .iter()
        .filter_map(|(at, proposal)| match proposal {
            Proposal::Start { key } => Some((*at, key.2.0)),
            Proposal::Stop { .. } => None,
        })
        .collect()
}

fn stopped(proposals: &[(u64, Proposal)]) -> Vec<&str> {
    proposals
        .iter()
        .filter_map(|(_, proposal)| match proposal {
            Proposal::Stop { instance, .. } => Some(instance.instance.as_str()),
            Proposal::Start { .. } => None,
        })
        .collect()
}

#[test]
fn proposes_nothing_while_everything_is_as_wanted() {
    let mut world = World::new();
    world.want(2, "v1");
    world.run(0, "v1", InstanceState::Running);
    world.run(1, "v1", InstanceState::Running);
    assert_eq!(world.watch(3_600), []);
}

#[test]
fn starts_a_missing_instance_after_the_grace_and_repeats_without_effect() {
    let mut world = World::new();
    world.want(1, "v1");
    let starts = started(&world.watch(30));
    assert_eq!(starts[0].1, 0);
    assert!((5..=10).contains(&starts[0].0), "{starts:?}");
    assert_eq!(starts[1].0 - starts[0].0, 10);
}

#[test]
fn a_crash_is_answered_at_once_and_flapping_ever_later() {
    let mut world = World::new();
    world.want(1, "v1");
    world.watch(60);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        world.instances.clear();
        let instance = world.run(0, "v1", InstanceState::Running);
        world.heartbeat();
        world.decide();
        world.crash(&instance);
        let crashed_at = world.now;
        let restarted_at = loop {
            if world
                .decide()
                .proposals
                .iter()
                .any(|p| matches!(p, Proposal::Start { .. }))
            {
                break world.now;
            }
            world.now += s(1);
            let app = world.desired.get(&AppGuid::new(APP)).cloned().unwrap();
            world
                .desired
                .replace([(AppGuid::new(APP), app)].into(), world.now);
            world.heartbeat();
        };
        pauses.push((restarted_at - crashed_at).as_secs());
    }
    assert_eq!(pauses, [0, 0, 0, 30, 60, 120, 240]);
}

#[test]
fn stops_what_is_too_many_but_not_before_all_wanted_ones_serve() {
    let mut world = World::new();
    world.want(1, "v2");
    let old = world.run(0, "v1", InstanceState::Running);
    let proposals = world.watch(60);
    assert!(
        stopped(&proposals).is_empty(),
        "the old version still serves alone"
    );
    assert!(!started(&proposals).is_empty());
    world.run(0, "v2", InstanceState::Running);
    assert_eq!(stopped(&world.watch(15)), [old.as_str()]);
}

#[test]
fn stops_all_of_a_stopped_or_deleted_app() {
    let mut world = World::new();
    world.want_state(2, "v1", AppState::Stopped, PackageState::Staged);
    world.run(0, "v1", InstanceState::Running);
    world.run(1, "v1", InstanceState::Running);
    assert_eq!(stopped(&world.watch(15)).len(), 2);

    let mut world = World::new();
    world.run(0, "v1", InstanceState::Running);
    world.heartbeat();
    world.now += s(5);
    world.desired.replace(HashMap::new(), world.now);
    let mut stops = 0;
    for _ in 0..20 {
        world.now += s(1);
        world.heartbeat();
        stops += world.decide().proposals.len();
    }
    assert_eq!(stops, 1);
}

#[test]
fn of_two_on_one_index_the_one_that_serves_longest_stays() {
    let mut world = World::new();
    world.want(1, "v1");
    world.run(0, "v1", InstanceState::Running);
    world.watch(10);
    let second = world.run(0, "v1", InstanceState::Running);
    let stops = world.watch(12);
    assert_eq!(stopped(&stops), [second.as_str()]);
}

#[test]
fn an_evacuating_instance_is_replaced_first_and_stopped_then() {
    let mut world = World::new();
    world.want(1, "v1");
    let leaving = world.run(0, "v1", InstanceState::Evacuating);
    let proposals = world.watch(5);
    assert!(!started(&proposals).is_empty());
    assert!(stopped(&proposals).is_empty());
    world.run(0, "v1", InstanceState::Running);
    assert_eq!(stopped(&world.watch(2)), [leaving.as_str()]);
}

#[test]
fn an_app_that_is_being_staged_is_left_alone() {
    let mut world = World::new();
    world.want_state(3, "v1", AppState::Started, PackageState::Pending);
    world.run(7, "v0", InstanceState::Running);
    assert_eq!(world.watch(120), []);
}

#[test]
fn does_nothing_on_stale_knowledge() {
    // What is wanted was never read.
    let mut world = World::new();
    world.now = s(100);
    world.heartbeat();
    assert!(!world.decide().fresh);

    // What is wanted is too old.
    world.want(1, "v1");
    world.now += s(121);
    world.heartbeat();
    assert_eq!(world.decide().proposals, []);

    // A DEA lives and has not said what it runs.
    let mut world = World::new();
    world.actual.advertised(DeaId::new("d1"), Moment::ZERO);
    world.now = s(29);
    world.want(1, "v1");
    assert!(!world.decide().fresh);

    // The bus was away.
    let mut world = World::new();
    world.want(1, "v1");
    world.run(0, "v1", InstanceState::Running);
    world.watch(60);
    world.actual.set_connected(false, world.now);
    world.instances.clear();
    assert_eq!(world.decide().proposals, []);
    world.actual.set_connected(true, world.now);
    assert_eq!(world.decide().proposals, []);
}

#[test]
fn an_app_that_just_changed_is_judged_only_after_it_was_read_again() {
    let mut world = World::new();
    world.want(1, "v1");
    world.watch(1);
    world.desired.mark_changed(AppGuid::new(APP), world.now);
    for _ in 0..60 {
        world.now += s(1);
        world.heartbeat();
        assert_eq!(world.decide().proposals, []);
    }
    world.want(1, "v1");
    assert!(!started(&world.watch(10)).is_empty());
}

#[test]
fn a_fetch_that_began_before_a_change_does_not_settle_it() {
    let mut world = World::new();
    world.want(1, "v1");
    let began = world.now;
    world.now += s(1);
    world.desired.mark_changed(AppGuid::new(APP), world.now);
    world.desired.replace(HashMap::new(), began);
    assert!(!world.desired.is_certain(&AppGuid::new(APP)));
    world.desired.replace(HashMap::new(), world.now + s(1));
    assert!(world.desired.is_certain(&AppGuid::new(APP)));
}

#[test]
fn a_silent_dea_is_lost_with_its_instances() {
    let mut world = World::new();
    world.want(1, "v1");
    world.run(0, "v1", InstanceState::Running);
    world.watch(10);
    let timing = world.timing;
    assert!(world.actual.expire(&timing, world.now + s(29)).is_empty());
    assert_eq!(
        world.actual.expire(&timing, world.now + s(31)),
        [DeaId::new("d1")]
    );
    assert_eq!(world.actual.instances().count(), 0);
}

#[test]
fn a_heartbeat_in_parts_counts_when_it_is_whole() {
    let mut world = World::new();
    world.run(0, "v1", InstanceState::Running);
    world.run(1, "v1", InstanceState::Running);
    let part = |n: u32, i: &InstanceHeartbeat| Heartbeat {
        dea: DeaId::new("d1"),
        droplets: vec![i.clone()],
        part: Some(n),
        parts: Some(2),
    };
    world.actual.heartbeat(part(0, &world.instances[0]), s(1));
    assert!(!world.actual.is_fresh(&world.timing, s(20)));
    world.actual.heartbeat(part(1, &world.instances[1]), s(1));
    assert_eq!(world.actual.instances().count(), 2);
}

#[test]
fn parts_of_different_heartbeats_are_never_put_together() {
    let mut world = World::new();
    let part = |n: u32| Heartbeat {
        dea: DeaId::new("d1"),
        droplets: Vec::new(),
        part: Some(n),
        parts: Some(3),
    };
    // The last part of the first heartbeat and the first of the second are lost.
    for n in [0, 1, 1, 2] {
        world.actual.heartbeat(part(n), s(1));
    }
    assert!(!world.actual.is_fresh(&world.timing, s(20)));
    // A reconnect falls between them.
    world.actual.heartbeat(part(0), s(2));
    world.actual.heartbeat(part(1), s(2));
    world.actual.set_connected(true, s(3));
    world.actual.heartbeat(part(2), s(3));
    assert!(!world.actual.is_fresh(&world.timing, s(20)));
    for n in 0..3 {
        world.actual.heartbeat(part(n), s(4));
    }
    assert!(world.actual.is_fresh(&world.timing, s(20)));
}

#[test]
fn a_dea_that_only_advertises_does_not_keep_the_others_from_being_looked_after() {
    let mut world = World::new();
    let (mute, timing) = (DeaId::new("mute"), world.timing);
    world.actual.advertised(mute.clone(), s(1));
    world.heartbeat();
    assert!(!world.actual.is_fresh(&timing, s(20)), "it may still speak");
    assert_eq!(world.actual.fresh_at(&timing), Some(s(31)));
    world.actual.advertised(mute.clone(), s(30));
    assert!(world.actual.is_fresh(&timing, s(31)));

    // One that fell mute: its instances count no more, though it lives.
    world.run(0, "v1", InstanceState::Running);
    world.now = s(40);
    world.heartbeat();
    world.actual.advertised(DeaId::new("d1"), s(70));
    assert!(
        world
            .actual
            .expire(&timing, s(71))
            .contains(&DeaId::new("d1"))
    );
    assert_eq!(world.actual.instances().count(), 0);
}

#[test]
fn wakes_by_itself_for_what_was_left_out_and_for_what_must_be_repeated() {
    let mut world = World::new();
    world.want(600, "v1");
    world.heartbeat();
    world.now = s(10);
    world.decide();
    world.now = s(15);
    let first = world.decide();
    assert_eq!(first.proposals.len(), 500);
    assert_eq!(first.again_at, Some(s(16)));
    world.now = s(16);
    let second = world.decide();
    assert_eq!(second.proposals.len(), 100);
    assert_eq!(second.again_at, Some(s(25)), "the first ones again");
}

#[test]
fn instances_beyond_what_is_looked_at_are_not_stopped() {
    let mut world = World::new();
    world.want(MAX_INDICES + 5, "v1");
    for index in 0..MAX_INDICES + 5 {
        world.run(index, "v1", InstanceState::Running);
    }
    assert_eq!(world.watch(20), []);
}

proptest! {
    /// From any state, obeyed proposals lead to exactly what is wanted, and stay there.
    #[test]
    fn obeyed_proposals_converge(
        wanted in 0u32..5,
        running in proptest::collection::vec((0u32..6, 0u32..2), 0..10),
    ) {
        let mut world = World::new();
        world.want(wanted, "v1");
        for (index, version) in running {
            world.run(index, if version == 0 { "v0" } else { "v1" }, InstanceState::Running);
        }
        for _ in 0..120 {
            for (_, proposal) in world.watch(1) {
                match proposal {
                    Proposal::Start { key } => {
                        world.run(key.2.0, key.1.as_str(), InstanceState::Running);
                    }
                    Proposal::Stop { instance, .. } => {
                        world.instances.retain(|i| i.instance != instance.instance);
                    }
                }
            }
        }
        let mut indices: Vec<u32> = world.instances.iter().map(|i| i.index.0).collect();
        indices.sort_unstable();
        prop_assert_eq!(indices, (0..wanted).collect::<Vec<_>>());
        prop_assert!(world.instances.iter().all(|i| i.version.as_str() == "v1"));
        prop_assert_eq!(world.watch(60), vec![]);
    }
}
