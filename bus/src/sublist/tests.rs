#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;

use proptest::prelude::*;

use super::*;

#[derive(Debug)]
struct Probe {
    id: usize,
    subject: Arc<[u8]>,
    queue: Option<Arc<[u8]>>,
    slot: AtomicU32,
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

fn probe(id: usize, subject: &str, queue: Option<&str>) -> Arc<Probe> {
    Arc::new(Probe {
        id,
        subject: subject.as_bytes().into(),
        queue: queue.map(|queue| queue.as_bytes().into()),
        slot: AtomicU32::new(0),
    })
}

/// What a match means, in a form that can be compared: sorted ids, groups by name.
type Plainly = (Vec<usize>, BTreeMap<Vec<u8>, Vec<usize>>);

fn plainly(matches: Option<&Matches<Probe>>) -> Plainly {
    let mut plain = Vec::new();
    let mut groups = BTreeMap::new();
    if let Some(matches) = matches {
        plain.extend(matches.plain().iter().map(|probe| probe.id));
        plain.sort_unstable();
        for group in matches.groups() {
            let mut ids: Vec<_> = group.members.iter().map(|probe| probe.id).collect();
            ids.sort_unstable();
            assert!(
                groups.insert(group.name.to_vec(), ids).is_none(),
                "a group occurs twice"
            );
        }
    }
    (plain, groups)
}

fn naive(all: &[Arc<Probe>], subject: &[u8]) -> Plainly {
    let mut plain = Vec::new();
    let mut groups: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    for probe in all {
        if subject::is_routable(subject) && subject::matches(&probe.subject, subject) {
            match &probe.queue {
                None => plain.push(probe.id),
                Some(queue) => groups.entry(queue.to_vec()).or_default().push(probe.id),
            }
        }
    }
    plain.sort_unstable();
    for ids in groups.values_mut() {
        ids.sort_unstable();
    }
    (plain, groups)
}

#[derive(Clone, Debug)]
enum Step {
    Add(String, Option<&'static str>),
    Remove(prop::sample::Index),
    Find(String),
    Sweep,
}

fn pattern() -> impl Strategy<Value = String> {
    let token = prop_oneof![4 => "[abc]", 2 => Just("*".to_owned()), 1 => Just("b*".to_owned())];
    (proptest::collection::vec(token, 0..4), any::<bool>())
        .prop_map(|(mut tokens, open)| {
            if open || tokens.is_empty() {
                tokens.push(">".to_owned());
            }
            tokens.join(".")
        })
        .boxed()
}

fn step() -> impl Strategy<Value = Step> {
    let published = proptest::collection::vec(
        prop_oneof![8 => "[abc]", 1 => Just("*".to_owned()), 1 => Just(String::new()), 1 => Just("b*".to_owned())],
        1..5,
    )
    .prop_map(|tokens| tokens.join("."));
    prop_oneof![
        3 => (pattern(), prop_oneof![3 => Just(None), 1 => Just(Some("q")), 1 => Just(Some("r"))])
            .prop_map(|(subject, queue)| Step::Add(subject, queue)),
        3 => "[abc](\\.[abc]){0,3}".prop_map(|subject| Step::Add(subject, None)),
        2 => any::<prop::sample::Index>().prop_map(Step::Remove),
        6 => published.prop_map(Step::Find),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    #[test]
    fn agrees_with_the_naive_matcher(steps in proptest::collection::vec(step(), 1..200)) {
        let list = Sublist::new();
        let mut cache = MatchCache::default();
        let mut all: Vec<Arc<Probe>> = Vec::new();
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Add(subject, queue) => {
                    let probe = probe(id, &subject, queue);
                    list.insert(&probe);
                    all.push(probe);
                }
                Step::Remove(which) if !all.is_empty() => {
                    let probe = all.swap_remove(which.index(all.len()));
                    prop_assert!(list.remove(&probe));
                    prop_assert!(!list.remove(&probe));
                }
                Step::Remove(_) => {}
                Step::Find(subject) => {
                    let wanted = naive(&all, subject.as_bytes());
                    // Three times: past the doorkeeper, into the cache, out of the cache.
                    for _ in 0..3 {
                        let found = cache.find(&list, subject.as_bytes(), &mut 0);
                        prop_assert_eq!(&plainly(found), &wanted);
                    }
                }
                Step::Sweep => cache.sweep(&list),
            }
            prop_assert_eq!(list.stats().len, all.len());
        }
        for probe in all {
            prop_assert!(list.remove(&probe));
        }
        for shard in list.rooted.iter().chain([&list.open]) {
            prop_assert!(shard.trie.read().is_blank());
        }
        for shard in &list.literals {
            prop_assert!(shard.table.read().is_empty());
        }
    }
}

#[test]
fn cache_outgrows_its_first_size_and_stays_right() {
    let list = Sublist::new();
    let mut cache = MatchCache::default();
    let probes: Vec<_> = (0..3000)
        .map(|id| probe(id, &format!("load.{id}.x"), None))
        .collect();
    for probe in &probes {
        list.insert(probe);
    }
    for _ in 0..6 {
        for (id, probe) in probes.iter().enumerate() {
            let found = cache.find(&list, probe.subject(), &mut 0);
            assert_eq!(plainly(found), (vec![id], BTreeMap::new()));
        }
    }
}

#[test]
fn a_cache_of_large_results_stays_small() {
    let list = Sublist::new();
    let mut cache = MatchCache::default();
    for id in 0..3000 {
        list.insert(&probe(id, if id % 2 == 0 { "a.*" } else { "a.>" }, None));
    }
    let mut work = 0;
    for n in 0..1500 {
        let subject = format!("a.{n}");
        for _ in 0..3 {
            let found = cache.find(&list, subject.as_bytes(), &mut work);
            assert_eq!(found.map(|found| found.plain().len()), Some(3000));
        }
    }
    let stats = cache.stats();
    assert!(stats.entries > 100 && stats.fanout <= 1 << 20, "{stats:?}");
    assert!(work > 1500 * 2 * 3000, "{work}");
    // One list that is as large need not be kept to be found at once.
    let crowd: Vec<_> = (0..5000).map(|id| probe(id, "crowd", None)).collect();
    crowd.iter().for_each(|probe| list.insert(probe));
    let before = cache.stats().entries;
    for _ in 0..3 {
        let found = cache.find(&list, b"crowd", &mut 0);
        assert_eq!(found.map(|found| found.plain().len()), Some(5000));
    }
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.max_fanout), (before, 5000));
}

#[test]
fn thousands_of_tokens_are_no_problem() {
    let list = Sublist::new();
    let deep = vec!["a"; 2000].join(".") + ".*";
    let member = probe(1, &deep, None);
    list.insert(&member);
    let found = list.find((vec!["a"; 2001].join(".")).as_bytes());
    assert_eq!(plainly(found.as_ref()).0, vec![1]);
    assert!(list.remove(&member));
}

#[test]
fn a_change_under_way_never_shows_a_stale_result_afterwards() {
    // A subscriber that has been told "you are in" must be found by every later publish, on any thread.
    let list = Arc::new(Sublist::new());
    let rounds = 2000;
    let (to, from) = std::sync::mpsc::sync_channel::<(&str, usize)>(0);
    let (done, checked) = std::sync::mpsc::sync_channel(0);
    let other = {
        let list = Arc::clone(&list);
        std::thread::spawn(move || {
            let mut cache = MatchCache::default();
            while let Ok((subject, wanted)) = from.recv() {
                let found = cache.find(&list, subject.as_bytes(), &mut 0);
                assert_eq!(plainly(found).0.len(), wanted);
                done.send(()).unwrap();
            }
        })
    };
    let check = |wanted| {
        to.send(("hot.spot", wanted)).unwrap();
        checked.recv().unwrap();
    };
    for n in 0..rounds {
        let member = probe(n, if n % 2 == 0 { "hot.spot" } else { "hot.*" }, None);
        check(0);
        list.insert(&member);
        check(1);
        check(1);
        list.remove(&member);
    }
    drop(to);
    other.join().unwrap();
}
