//! Which crashes are worth remembering: the newest of each app, and that for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_types::{AppGuid, InstanceGuid, InstanceState};

use crate::instance::Instance;

/// The crashes to forget at `now` (seconds since the epoch).
pub(crate) fn expired<'a>(
    instances: impl Iterator<Item = &'a Instance>,
    now: f64,
    keep: Duration,
) -> Vec<InstanceGuid> {
    let mut newest: BTreeMap<&AppGuid, &Instance> = BTreeMap::new();
    let mut gone = Vec::new();
    for crash in instances.filter(|i| i.state() == InstanceState::Crashed) {
        if now - crash.state_since() > keep.as_secs_f64() {
            gone.push(crash.guid.clone());
            continue;
        }
        match newest.get(&crash.app).copied() {
            Some(other) if other.state_since() >= crash.state_since() => {
                gone.push(crash.guid.clone());
            }
            Some(other) => {
                gone.push(other.guid.clone());
                newest.insert(&crash.app, crash);
            }
            None => {
                newest.insert(&crash.app, crash);
            }
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::time::{SystemTime, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;
    use crate::instance::tests::instance;

    fn crash(app: &str, at: u64) -> Instance {
        let mut it = instance(app, 0);
        it.advance(InstanceState::Crashed, after(at)).unwrap();
        it
    }

    fn after(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn only_the_newest_crash_of_an_app_stays_and_not_for_ever() {
        let crashes = [
            crash("a", 10),
            crash("a", 30),
            crash("a", 20),
            crash("b", 5),
        ];
        let kept = |now| {
            let gone = expired(crashes.iter(), now, HOUR);
            let kept = crashes.iter().filter(|c| !gone.contains(&c.guid));
            kept.map(|c| (c.app.as_str(), c.state_since()))
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(31.0), [("a", 30.0), ("b", 5.0)]);
        assert_eq!(kept(3607.0), [("a", 30.0)]);
        assert!(kept(4000.0).is_empty());
    }

    #[test]
    fn what_still_lives_is_never_reaped() {
        let mut running = instance("a", 0);
        running.advance(InstanceState::Starting, after(0)).unwrap();
        assert!(expired([running].iter(), 1e9, HOUR).is_empty());
    }

    proptest! {
        #[test]
        fn at_most_one_fresh_crash_per_app_is_left(
            times in prop::collection::vec((0..3_u8, 0..5000_u64), 0..30),
        ) {
            let crashes: Vec<_> =
                times.iter().map(|(app, at)| crash(&app.to_string(), *at)).collect();
            let gone = expired(crashes.iter(), 5000.0, HOUR);
            for app in ["0", "1", "2"] {
                let fresh = crashes.iter().filter(|c| {
                    c.app.as_str() == app && 5000.0 - c.state_since() <= HOUR.as_secs_f64()
                });
                let newest = fresh.map(Instance::state_since).fold(None, |a: Option<f64>, b| {
                    Some(a.map_or(b, |a| a.max(b)))
                });
                let left: Vec<_> = crashes
                    .iter()
                    .filter(|c| c.app.as_str() == app && !gone.contains(&c.guid))
                    .collect();
                prop_assert_eq!(left.len(), usize::from(newest.is_some()));
                prop_assert_eq!(left.first().map(|c| c.state_since()), newest);
            }
        }
    }
}
