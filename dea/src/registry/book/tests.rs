#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::UNIX_EPOCH;

use cupola_types::InstanceIndex;
use proptest::prelude::*;

use super::*;
use crate::instance::tests::instance;

fn capacity(memory: u32, disk: u32, max_instances: u32) -> Capacity {
    Capacity {
        memory: MemoryMb(memory),
        disk: DiskMb(disk),
        max_instances,
    }
}

fn running(book: &mut Book, app: &str, index: u32) -> InstanceGuid {
    let it = instance(app, index);
    let guid = it.guid.clone();
    book.admit(it).unwrap();
    for state in [InstanceState::Starting, InstanceState::Running] {
        book.get_mut(&guid)
            .unwrap()
            .advance(state, UNIX_EPOCH)
            .unwrap();
    }
    guid
}

#[test]
fn refuses_what_does_not_fit_and_says_which_room_is_missing() {
    let reason = |capacity| {
        let mut book = Book::new(capacity);
        book.admit(instance("a", 0)).unwrap();
        book.admit(instance("a", 1)).unwrap_err().reason
    };
    assert_eq!(reason(capacity(127, 1000, 10)), Refusal::NoMemory);
    assert_eq!(reason(capacity(1000, 255, 10)), Refusal::NoDisk);
    assert_eq!(reason(capacity(1000, 1000, 1)), Refusal::Full);
    let mut book = Book::new(capacity(1000, 1000, 10));
    book.close();
    assert_eq!(
        book.admit(instance("a", 0)).unwrap_err().reason,
        Refusal::ShuttingDown
    );
}

#[test]
fn an_evacuating_instance_still_holds_its_room() {
    let mut book = Book::new(capacity(64, 1000, 10));
    let guid = running(&mut book, "a", 0);
    book.get_mut(&guid)
        .unwrap()
        .advance(InstanceState::Evacuating, UNIX_EPOCH)
        .unwrap();
    assert_eq!(book.available().memory, MemoryMb(0));
    assert_eq!(
        book.admit(instance("b", 0)).unwrap_err().reason,
        Refusal::NoMemory
    );
}

#[test]
fn a_crash_gives_its_memory_back() {
    let mut book = Book::new(capacity(64, 1000, 10));
    let guid = running(&mut book, "a", 0);
    book.get_mut(&guid)
        .unwrap()
        .advance(InstanceState::Crashed, UNIX_EPOCH)
        .unwrap();
    assert_eq!(book.available().memory, MemoryMb(64));
    book.admit(instance("a", 0)).unwrap();
    assert_eq!(
        book.count_by_app()[&AppGuid::new("a")],
        2,
        "crashed ones are counted too"
    );
}

#[test]
fn a_list_that_is_present_and_empty_stops_nothing() {
    let mut book = Book::new(capacity(1000, 1000, 10));
    running(&mut book, "a", 0);
    let all = InstanceFilter::app(AppGuid::new("a"));
    let mut empty = all.clone();
    empty.instances = Some(Vec::new());
    assert!(book.stop(&empty, StopReason::Ordered).is_empty());
    assert_eq!(book.stop(&all, StopReason::Ordered).len(), 1);
}

#[test]
fn a_stop_reaches_an_instance_that_is_still_starting() {
    let mut book = Book::new(capacity(1000, 1000, 10));
    let mut stopped = book.admit(instance("a", 0)).unwrap();
    book.stop(&InstanceFilter::app(AppGuid::new("a")), StopReason::Ordered);
    assert_eq!(*stopped.borrow_and_update(), Some(StopReason::Ordered));
    book.stop_all(StopReason::Shutdown);
    assert_eq!(
        *stopped.borrow(),
        Some(StopReason::Ordered),
        "the first reason stays"
    );
}

#[test]
fn a_stop_forgets_the_crashes_that_it_selects() {
    let mut book = Book::new(capacity(1000, 1000, 10));
    let (gone, kept) = (running(&mut book, "a", 0), running(&mut book, "a", 1));
    for guid in [&gone, &kept] {
        book.get_mut(guid)
            .unwrap()
            .advance(InstanceState::Crashed, UNIX_EPOCH)
            .unwrap();
    }
    let mut filter = InstanceFilter::app(AppGuid::new("a"));
    filter.indices = Some(vec![InstanceIndex(0)]);
    assert!(book.stop(&filter, StopReason::Ordered).is_empty());
    assert!(book.get(&gone).is_none() && book.get(&kept).is_some());
}

#[derive(Debug, Clone)]
enum Step {
    Admit(u32, u32),
    Advance(usize, InstanceState),
    Remove(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1..200_u32, 1..400_u32).prop_map(|(mem, disk)| Step::Admit(mem, disk)),
        (0..32_usize, prop::sample::select(InstanceState::ALL))
            .prop_map(|(n, state)| Step::Advance(n, state)),
        (0..32_usize).prop_map(Step::Remove),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    /// Whatever happens in whatever order, the dea never gives away more than it has.
    #[test]
    fn reservations_never_exceed_the_capacity(steps in steps()) {
        let mut book = Book::new(capacity(500, 1000, 12));
        for step in steps {
            let nth = |book: &Book, n: usize| {
                let guids: Vec<_> = book.instances().map(|i| i.guid.clone()).collect();
                guids.get(n % guids.len().max(1)).cloned()
            };
            match step {
                Step::Admit(mem, disk) => {
                    let mut it = instance("a", 0);
                    it.limits.mem = MemoryMb(mem);
                    it.limits.disk = DiskMb(disk);
                    let fits = mem <= book.available().memory.0
                        && disk <= book.available().disk.0
                        && book.len() < 12;
                    prop_assert_eq!(book.admit(it).is_ok(), fits);
                }
                Step::Advance(n, state) => {
                    if let Some(guid) = nth(&book, n) {
                        let _ = book.get_mut(&guid).unwrap().advance(state, UNIX_EPOCH);
                    }
                }
                Step::Remove(n) => {
                    if let Some(guid) = nth(&book, n) {
                        book.remove(&guid);
                    }
                }
            }
            prop_assert!(book.reserved().memory.0 <= 500 && book.reserved().disk.0 <= 1000);
            prop_assert!(book.len() <= 12);
        }
    }
}
