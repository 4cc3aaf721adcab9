//! The list of subscriptions against a naive matcher, while several threads change it.
//!
//! Every member comes and goes once, and a clock that all threads share says when: a match that began
//! after an insertion was over must find the member, and one that began after a removal was over must not.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

use cupola_bus::subject;
use cupola_bus::sublist::{MatchCache, Matches, Member, Sublist};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const WRITERS: usize = 3;
const MATCHERS: usize = 3;
/// Members of each writer; every tenth one stays.
const MEMBERS: usize = 250;
const SUBJECTS: usize = 40;
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
struct Probe {
    id: usize,
    subject: Arc<[u8]>,
    queue: Option<Arc<[u8]>>,
    slot: AtomicU32,
    /// When its insertion was over.
    entered: AtomicU64,
    /// When its removal began.
    leaving: AtomicU64,
    /// When its removal was over.
    left: AtomicU64,
}

impl Member for Probe {
    fn subject(&self) -> &[u8] {
        &self.subject
    }
    fn queue(&self) -> Option<&Arc<[u8]>> {
        self.queue.as_ref()
    }
    fn slot(&self) -> &AtomicU32 {
        &self.slot
    }
}

/// One run's list, members and subjects.
struct Arena {
    list: Sublist<Probe>,
    clock: AtomicU64,
    probes: Vec<Arc<Probe>>,
    /// Published subjects, each with the members whose subject matches it.
    subjects: Vec<(Vec<u8>, Vec<usize>)>,
    over: AtomicBool,
}

#[test]
fn matches_are_exact_while_members_come_and_go() {
    for seed in super::seeds(12) {
        let arena = Arc::new(Arena::new(seed));
        let matchers: Vec<_> = (0..MATCHERS)
            .map(|n| {
                let arena = Arc::clone(&arena);
                std::thread::spawn(move || arena.keep_matching(seed ^ (1000 + n as u64)))
            })
            .collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                let arena = Arc::clone(&arena);
                std::thread::spawn(move || arena.change(n, seed ^ (2000 + n as u64)))
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        arena.over.store(true, SeqCst);
        for matcher in matchers {
            let mut cache = matcher.join().unwrap();
            // In quiet, exactly: through a cache that has seen it all, and without one.
            for which in 0..SUBJECTS {
                let subject = &arena.subjects[which].0;
                arena.check(
                    which,
                    cache.find(&arena.list, subject, &mut 0),
                    arena.tick(),
                    true,
                );
                arena.check(which, arena.list.find(subject).as_ref(), arena.tick(), true);
            }
        }
        let stay = arena.probes.iter().filter(|probe| stays(probe)).count();
        assert_eq!(arena.list.stats().len, stay);
    }
}

fn stays(probe: &Probe) -> bool {
    probe.id.is_multiple_of(10)
}

// === impl Arena ===

impl Arena {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let probes: Vec<_> = (0..WRITERS * MEMBERS)
            .map(|id| {
                let queue = rng
                    .random_bool(0.3)
                    .then(|| ["q", "r", "s"][rng.random_range(0..3)].as_bytes().into());
                Arc::new(Probe {
                    id,
                    subject: pattern(&mut rng).into_bytes().into(),
                    queue,
                    slot: AtomicU32::new(0),
                    entered: AtomicU64::new(NEVER),
                    leaving: AtomicU64::new(NEVER),
                    left: AtomicU64::new(NEVER),
                })
            })
            .collect();
        let subjects = (0..SUBJECTS)
            .map(|_| {
                let subject = published(&mut rng).into_bytes();
                let ids = probes
                    .iter()
                    .filter(|probe| {
                        subject::is_routable(&subject) && subject::matches(&probe.subject, &subject)
                    })
                    .map(|probe| probe.id)
                    .collect();
                (subject, ids)
            })
            .collect();
        Arena {
            list: Sublist::new(),
            clock: AtomicU64::new(1),
            probes,
            subjects,
            over: AtomicBool::new(false),
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, SeqCst)
    }

    /// A writer's life: its members come and go in random order.
    fn change(&self, writer: usize, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut outside: Vec<usize> = (writer * MEMBERS..(writer + 1) * MEMBERS).collect();
        let mut inside: Vec<usize> = Vec::new();
        while !outside.is_empty() || !inside.is_empty() {
            // Grows first and shrinks later, with both all the time.
            if !outside.is_empty() && (inside.is_empty() || rng.random_bool(0.6)) {
                let id = outside.swap_remove(rng.random_range(0..outside.len()));
                let probe = &self.probes[id];
                self.list.insert(probe);
                probe.entered.store(self.tick(), SeqCst);
                if !stays(probe) {
                    inside.push(id);
                }
            } else {
                let id = inside.swap_remove(rng.random_range(0..inside.len()));
                let probe = &self.probes[id];
                probe.leaving.store(self.tick(), SeqCst);
                assert!(self.list.remove(probe), "a member was lost: {probe:?}");
                probe.left.store(self.tick(), SeqCst);
                assert!(
                    !self.list.remove(probe),
                    "a member was there twice: {probe:?}"
                );
            }
            if rng.random_bool(0.1) {
                std::thread::yield_now();
            }
        }
    }

    fn keep_matching(&self, seed: u64) -> MatchCache<Probe> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut cache = MatchCache::default();
        while !self.over.load(SeqCst) {
            let which = rng.random_range(0..SUBJECTS);
            let began = self.tick();
            let found = cache.find(&self.list, &self.subjects[which].0, &mut 0);
            self.check(which, found, began, false);
            if rng.random_bool(0.01) {
                cache.sweep(&self.list);
            }
        }
        cache
    }

    /// Compares one match, which began at `began`, with what was there for certain.
    fn check(&self, which: usize, found: Option<&Matches<Probe>>, began: u64, quiet: bool) {
        let ended = self.tick();
        let (subject, candidates) = &self.subjects[which];
        let what = || {
            format!(
                "on {} from {began} to {ended}",
                String::from_utf8_lossy(subject)
            )
        };
        let mut seen: HashMap<usize, ()> = HashMap::new();
        let mut note = |probe: &Arc<Probe>| {
            assert!(
                candidates.contains(&probe.id),
                "wrong: {probe:?} {}",
                what()
            );
            assert!(
                probe.left.load(SeqCst) >= began,
                "gone: {probe:?} {}",
                what()
            );
            assert!(
                seen.insert(probe.id, ()).is_none(),
                "twice: {probe:?} {}",
                what()
            );
        };
        if let Some(found) = found {
            for probe in found.plain() {
                assert_eq!(probe.queue, None, "{}", what());
                note(probe);
            }
            for (at, group) in found.groups().iter().enumerate() {
                assert!(!group.members.is_empty(), "an empty group {}", what());
                assert!(
                    found.groups()[..at]
                        .iter()
                        .all(|other| other.name != group.name),
                    "a group in two parts {}",
                    what()
                );
                for probe in &group.members {
                    assert_eq!(probe.queue.as_ref(), Some(&group.name), "{}", what());
                    note(probe);
                }
            }
        }
        for probe in candidates.iter().map(|id| &self.probes[*id]) {
            let there = probe.entered.load(SeqCst) < began && probe.leaving.load(SeqCst) > ended;
            assert!(
                !there || seen.contains_key(&probe.id),
                "missing: {probe:?} {}",
                what()
            );
            if quiet {
                assert_eq!(there, seen.contains_key(&probe.id), "{probe:?} {}", what());
            }
        }
    }
}

fn pattern(rng: &mut StdRng) -> String {
    let mut tokens: Vec<&str> = (0..rng.random_range(0..4))
        .map(|_| ["a", "b", "c", "*", "*", "b*"][rng.random_range(0..6)])
        .collect();
    if tokens.is_empty() || rng.random_bool(0.3) {
        tokens.push(">");
    }
    tokens.join(".")
}

fn published(rng: &mut StdRng) -> String {
    let tokens: Vec<&str> = (0..rng.random_range(1..5))
        .map(|_| ["a", "b", "c", "a", "b", "b*", "*", ""][rng.random_range(0..8)])
        .collect();
    tokens.join(".")
}
