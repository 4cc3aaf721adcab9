//! The decision: a pure function of what is wanted, what runs, what was noticed before, and now.

use std::collections::{BTreeMap, HashMap, HashSet};

use cupola_types::{AppGuid, AppState, InstanceGuid, InstanceIndex, InstanceState, PackageState};

use crate::Moment;
use crate::actual::{Actual, ActualInstance};
use crate::config::Timing;
use crate::crashes::{Crashes, Key};
use crate::desired::{Desired, DesiredApp};
use crate::ledger::Ledger;

/// Most indices of one app that are looked at; more than any quota allows.
const MAX_INDICES: u32 = 10_000;
/// Most proposals made at a time; what is left out comes in the next round, a moment later.
const MAX_PROPOSALS: usize = 500;
const NEXT_ROUND_AFTER: Moment = Moment::from_secs(1);

/// Something that the controller should do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Proposal {
    /// Start this index.
    Start { key: Key },
    /// Stop this instance.
    Stop {
        instance: ActualInstance,
        is_duplicate: bool,
    },
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Decision {
    /// What to propose now.
    pub(crate) proposals: Vec<Proposal>,
    /// Indices that nothing serves.
    pub(crate) missing: Vec<Key>,
    /// Instances that should not be.
    pub(crate) extra: Vec<InstanceGuid>,
    /// When to decide again if nothing is heard until then.
    pub(crate) again_at: Option<Moment>,
    /// Whether the knowledge was good enough to decide at all.
    pub(crate) fresh: bool,
}

/// What the function knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Knowledge<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) actual: &'a Actual,
    pub(crate) crashes: &'a Crashes,
    pub(crate) ledger: &'a Ledger,
    pub(crate) timing: &'a Timing,
}

/// Decides at `now`. Proposes nothing while the knowledge is stale.
pub(crate) fn decide(knowledge: Knowledge<'_>, now: Moment) -> Decision {
    let mut decision = Decision::default();
    let desired_age = knowledge.desired.read_at().map(|at| now.saturating_sub(at));
    if desired_age.is_none_or(|age| age > knowledge.timing.desired_fresh) {
        return decision;
    }
    if !knowledge.actual.is_fresh(knowledge.timing, now) {
        decision.again_at = knowledge
            .actual
            .fresh_at(knowledge.timing)
            .filter(|at| *at > now);
        return decision;
    }
    decision.fresh = true;

    let mut by_app: HashMap<&AppGuid, Vec<&ActualInstance>> = HashMap::new();
    for instance in knowledge.actual.instances() {
        by_app.entry(&instance.app).or_default().push(instance);
    }
    for (app, wanted) in knowledge.desired.iter() {
        let instances = by_app.remove(app).unwrap_or_default();
        if knowledge.desired.is_certain(app) {
            App {
                app,
                wanted,
                instances,
                knowledge,
                now,
            }
            .decide(&mut decision);
        }
    }
    // What is left belongs to apps that nobody wants.
    for (app, instances) in by_app {
        if knowledge.desired.is_certain(app) {
            for instance in instances.into_iter().filter(|i| !i.state.is_final()) {
                // An app that was made after the last look is not known yet.
                let looked_since = knowledge
                    .desired
                    .read_at()
                    .is_some_and(|at| at > instance.first_heard);
                if looked_since {
                    stop(knowledge, now, instance, false, &mut decision);
                }
            }
        }
    }
    if decision.proposals.len() > MAX_PROPOSALS {
        decision.proposals.truncate(MAX_PROPOSALS);
        decision.wake_at(now + NEXT_ROUND_AFTER);
    }
    decision
}

impl Decision {
    fn wake_at(&mut self, at: Moment) {
        self.again_at = Some(self.again_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Proposes when the time has come, and again after `repeat`, or makes sure that it is noticed
    /// when the time comes.
    fn propose_at(
        &mut self,
        due: Moment,
        now: Moment,
        repeat: Moment,
        proposal: impl FnOnce() -> Proposal,
    ) {
        if due <= now {
            self.proposals.push(proposal());
            self.wake_at(now + repeat);
        } else {
            self.wake_at(due);
        }
    }
}

struct App<'a> {
    app: &'a AppGuid,
    wanted: &'a DesiredApp,
    instances: Vec<&'a ActualInstance>,
    knowledge: Knowledge<'a>,
    now: Moment,
}

impl App<'_> {
    fn decide(&self, decision: &mut Decision) {
        if self.wanted.state == AppState::Started && self.wanted.package != PackageState::Staged {
            return; // being staged, or failed: neither started nor stopped
        }
        let wanted = match self.wanted.state {
            AppState::Started => self.wanted.instances,
            AppState::Stopped => 0,
        };
        let mut by_index: BTreeMap<InstanceIndex, Vec<&ActualInstance>> = BTreeMap::new();
        let mut unwanted = Vec::new();
        for instance in self
            .instances
            .iter()
            .copied()
            .filter(|i| i.state != InstanceState::Stopped)
        {
            if instance.version == self.wanted.version && instance.index.0 < wanted {
                by_index.entry(instance.index).or_default().push(instance);
            } else if !instance.state.is_final() {
                unwanted.push(instance);
            }
        }
        let mut any_missing = false;
        for index in (0..wanted.min(MAX_INDICES)).map(InstanceIndex) {
            any_missing |= self.index(index, by_index.remove(&index).unwrap_or_default(), decision);
        }
        // While something of the app is missing, what is too many may still be serving.
        if !any_missing || wanted == 0 {
            for instance in unwanted {
                stop(self.knowledge, self.now, instance, false, decision);
            }
        }
    }

    /// Looks at one wanted index. Returns whether nothing serves it.
    fn index(
        &self,
        index: InstanceIndex,
        instances: Vec<&ActualInstance>,
        decision: &mut Decision,
    ) -> bool {
        let in_state = |states: &[InstanceState]| -> Vec<&ActualInstance> {
            instances
                .iter()
                .copied()
                .filter(|i| states.contains(&i.state))
                .collect()
        };
        let mut serving = in_state(&[InstanceState::Running, InstanceState::Starting]);
        let leaving = in_state(&[InstanceState::Evacuating]);
        if serving.is_empty() {
            self.start(index, &instances, !leaving.is_empty(), decision);
            return leaving.is_empty();
        }
        if serving.iter().any(|i| i.state == InstanceState::Running) {
            for instance in leaving {
                stop(self.knowledge, self.now, instance, true, decision);
            }
        }
        // The one that serves longest stays.
        serving.sort_by(|a, b| {
            let rank = |i: &ActualInstance| (i.state != InstanceState::Running, i.first_heard);
            rank(a)
                .cmp(&rank(b))
                .then(a.state_timestamp.total_cmp(&b.state_timestamp))
                .then(a.instance.cmp(&b.instance))
        });
        for instance in serving.into_iter().skip(1) {
            stop(self.knowledge, self.now, instance, true, decision);
        }
        false
    }

    fn start(
        &self,
        index: InstanceIndex,
        instances: &[&ActualInstance],
        evacuating: bool,
        decision: &mut Decision,
    ) {
        let Knowledge {
            crashes,
            ledger,
            timing,
            ..
        } = self.knowledge;
        let key: Key = (self.app.clone(), self.wanted.version.clone(), index);
        let since = ledger.missing.since(&key, self.now);
        let stopping = instances.iter().any(|i| i.state == InstanceState::Stopping);
        let crashed = instances.iter().any(|i| i.state == InstanceState::Crashed);
        let due = match crashes.get(&key) {
            _ if evacuating => self.now,
            Some(crash) if crashed || crash.last >= since => {
                crash.last + timing.backoff(crash.count)
            }
            // Its crash was not heard, only its being crashed: the count was lost.
            None if crashed => since,
            // Shortly after an exit that was asked for, whoever asked also orders the next start.
            _ if stopping => since + timing.missing * 2,
            _ => since + timing.missing,
        };
        let due = match ledger.missing.proposed(&key) {
            Some(proposed) => due.max(proposed + timing.repeat),
            None => due,
        };
        decision.propose_at(due, self.now, timing.repeat, || Proposal::Start {
            key: key.clone(),
        });
        decision.missing.push(key);
    }
}

fn stop(
    knowledge: Knowledge<'_>,
    now: Moment,
    instance: &ActualInstance,
    is_duplicate: bool,
    decision: &mut Decision,
) {
    let Knowledge { ledger, timing, .. } = knowledge;
    if instance.state == InstanceState::Stopping {
        return;
    }
    let since = ledger.extra.since(&instance.instance, now);
    let due = match ledger.extra.proposed(&instance.instance) {
        Some(proposed) => proposed + timing.repeat,
        None if instance.state == InstanceState::Evacuating => now,
        None => since + timing.extra,
    };
    decision.propose_at(due, now, timing.repeat, || Proposal::Stop {
        instance: instance.clone(),
        is_duplicate,
    });
    decision.extra.push(instance.instance.clone());
}

/// What a decision says of an installation, for operators.
pub(crate) fn summary(decision: &Decision) -> (usize, usize, usize) {
    let apps: HashSet<&AppGuid> = decision.missing.iter().map(|(app, _, _)| app).collect();
    (decision.missing.len(), decision.extra.len(), apps.len())
}

#[cfg(test)]
mod tests;
