//! A container's life, from the outside.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::{Duration, Instant};

use common::{House, LONG, main_shell, ok, run, shell};
use cupola_warden::{ContainerState, EndReason, Event, Stream};

#[test]
fn privileged_runs_processes_one_after_the_other() {
    let house = House::new();
    let container = house.create("one");
    assert_eq!(ok(&container, "echo hello"), "hello\n");
    let (said, exit) = run(&container, "echo no >&2; exit 3");
    assert_eq!((said.as_str(), exit.code), ("no\n", Some(3)));
    ok(&container, "echo kept > /home/vcap/file");
    assert_eq!(ok(&container, "cat file"), "kept\n");
    let info = container.info().unwrap();
    assert_eq!(info.state, ContainerState::Active);
    assert_eq!(info.processes.len(), 4);
    container.destroy().unwrap();
    assert!(container.info().is_err());
}

#[test]
fn privileged_main_process_ends_the_container() {
    let house = House::new();
    let container = house.create("main");
    let process = container
        .run(&main_shell("echo out; echo err >&2; sleep 0.1; exit 7"))
        .unwrap();
    container.run(&shell("sleep 1000")).unwrap();
    let mut events = process.attach(0).unwrap();
    let mut seen = Vec::new();
    while let Some(event) = events.next(LONG).unwrap() {
        seen.push(event);
    }
    let Some(Event::Exited(exit)) = seen.pop() else {
        panic!("{seen:?}")
    };
    assert_eq!(exit.code, Some(7));
    let all: Vec<u8> = seen
        .iter()
        .flat_map(|event| match event {
            Event::Output { bytes, stream, .. } => {
                assert_eq!(*stream == Stream::Out, bytes.starts_with(b"out"));
                bytes.clone()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(all.len(), 8);
    let info = container.info().unwrap();
    assert_eq!(info.ended.unwrap().reason, EndReason::Exited);
}

#[test]
fn privileged_start_is_quick() {
    let house = House::new();
    let mut times = Vec::new();
    for turn in 0..20 {
        let start = Instant::now();
        let container = house.create(&format!("quick-{turn}"));
        let made = start.elapsed();
        ok(&container, "true");
        let ran = start.elapsed();
        container.destroy().unwrap();
        times.push((made, ran, start.elapsed()));
    }
    times.sort();
    assert!(times[10].0 < Duration::from_secs(1));
}
