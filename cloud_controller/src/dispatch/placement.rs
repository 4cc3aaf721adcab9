//! Where an instance goes: a pure function over what the DEAs said of themselves.

use std::collections::HashMap;

use cupola_types::{DeaId, DiskMb, MemoryMb};
use rand::Rng;

/// One DEA, as far as placing one app's instance is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: DeaId,
    pub(crate) zone: String,
    pub(crate) offers_stack: bool,
    pub(crate) memory: MemoryMb,
    /// `None` when it did not say; then it is taken to have enough.
    pub(crate) disk: Option<DiskMb>,
    /// Instances of the app there already.
    pub(crate) instances: u32,
}

/// What the instance needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) memory: MemoryMb,
    pub(crate) disk: DiskMb,
}

/// The DEA to ask, among those that have the room and the stack: in a zone with the fewest instances of
/// the app, there among those with the fewest, there among the better half by free memory, and
/// of these any.
pub(crate) fn place<'a>(
    candidates: &'a [Candidate],
    need: Need,
    random: &mut impl Rng,
) -> Option<&'a Candidate> {
    let fits = |c: &&Candidate| {
        c.offers_stack && c.memory >= need.memory && c.disk.is_none_or(|disk| disk >= need.disk)
    };
    let mut eligible: Vec<&Candidate> = candidates.iter().filter(fits).collect();
    // What runs in a zone counts wherever it runs, also where there is no room for more.
    let mut in_zone: HashMap<&str, u32> = HashMap::new();
    for candidate in candidates {
        let count = in_zone.entry(&candidate.zone).or_default();
        *count = count.saturating_add(candidate.instances);
    }
    let of_zone = |c: &Candidate| in_zone.get(c.zone.as_str()).copied().unwrap_or_default();
    keep_least(&mut eligible, |c| of_zone(c));
    keep_least(&mut eligible, |c| c.instances);
    eligible.sort_by_key(|c| c.memory);
    let better_half = eligible.split_off(eligible.len() / 2);
    if better_half.is_empty() {
        return None;
    }
    Some(better_half[random.random_range(0..better_half.len())])
}

fn keep_least(candidates: &mut Vec<&Candidate>, count: impl Fn(&Candidate) -> u32) {
    let least = candidates.iter().map(|c| count(c)).min();
    candidates.retain(|c| Some(count(c)) == least);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    fn candidate() -> impl Strategy<Value = Candidate> {
        (
            0..4_u32,
            any::<bool>(),
            0..2048_u32,
            proptest::option::of(0..4096_u32),
            0..4_u32,
        )
            .prop_map(|(zone, offers_stack, memory, disk, instances)| Candidate {
                id: DeaId::generate(),
                zone: format!("z{zone}"),
                offers_stack,
                memory: MemoryMb(memory),
                disk: disk.map(DiskMb),
                instances,
            })
    }

    fn need() -> impl Strategy<Value = Need> {
        (1..1024_u32, 1..2048_u32).prop_map(|(memory, disk)| Need {
            memory: MemoryMb(memory),
            disk: DiskMb(disk),
        })
    }

    fn fits(c: &Candidate, need: Need) -> bool {
        c.offers_stack && c.memory >= need.memory && c.disk.is_none_or(|disk| disk >= need.disk)
    }

    proptest! {
        #[test]
        fn picks_whenever_somebody_fits_and_only_who_fits(
            all in vec(candidate(), 0..12), need in need(), seed: u64,
        ) {
            let picked = place(&all, need, &mut StdRng::seed_from_u64(seed));
            prop_assert_eq!(picked.is_some(), all.iter().any(|c| fits(c, need)));
            prop_assert!(picked.is_none_or(|c| fits(c, need)));
        }

        #[test]
        fn spreads_over_zones_then_over_deas(
            all in vec(candidate(), 1..12), need in need(), seed: u64,
        ) {
            let Some(picked) = place(&all, need, &mut StdRng::seed_from_u64(seed)) else {
                return Ok(());
            };
            let in_zone = |zone: &str| -> u32 {
                all.iter().filter(|c| c.zone == zone).map(|c| c.instances).sum()
            };
            for other in all.iter().filter(|c| fits(c, need)) {
                prop_assert!(in_zone(&picked.zone) <= in_zone(&other.zone));
                if in_zone(&other.zone) == in_zone(&picked.zone) {
                    prop_assert!(picked.instances <= other.instances);
                }
            }
        }

        #[test]
        fn prefers_the_better_half_by_memory(
            memories in vec(64..2048_u32, 1..12), seed: u64,
        ) {
            let all: Vec<Candidate> = memories.iter().map(|memory| Candidate {
                id: DeaId::generate(), zone: "z".into(), offers_stack: true,
                memory: MemoryMb(*memory), disk: None, instances: 0,
            }).collect();
            let need = Need { memory: MemoryMb(64), disk: DiskMb(1) };
            let picked = place(&all, need, &mut StdRng::seed_from_u64(seed));
            let mut sorted = memories.clone();
            sorted.sort_unstable();
            let median = sorted[sorted.len() / 2];
            prop_assert!(picked.is_some_and(|c| c.memory.0 >= median));
        }

        #[test]
        fn every_fitting_equal_gets_its_turn(count in 1..6_usize) {
            let all: Vec<Candidate> = (0..count).map(|_| Candidate {
                id: DeaId::generate(), zone: "z".into(), offers_stack: true,
                memory: MemoryMb(512), disk: Some(DiskMb(512)), instances: 0,
            }).collect();
            let need = Need { memory: MemoryMb(64), disk: DiskMb(64) };
            let mut random = StdRng::seed_from_u64(7);
            let mut seen = std::collections::HashSet::new();
            for _ in 0..200 {
                seen.extend(place(&all, need, &mut random).map(|c| c.id.clone()));
            }
            prop_assert_eq!(seen.len(), count - count / 2);
        }
    }
}
