//! Limits hold, and only for the container they are for.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::{Duration, Instant};

use common::{
    House, LONG,
    attack::{arm, attack_process, inside, outside},
    eventually, image, main_shell, ok, run, shell,
};
use cupola_warden::{DiskMode, EndReason, Event, ProcessRole, ProcessSpec};
use nix::libc;

#[test]
fn attacker() {
    common::attack::attacker();
}

#[test]
fn privileged_a_memory_eater_dies_alone() {
    let house = House::new();
    let neighbour = house.create("neighbour");
    let sleeper = neighbour.run(&main_shell("sleep 1000")).unwrap();
    let container = house.with("eater", arm);
    // What fits is fine.
    assert_eq!(inside(&container, "eat 20"), 0);
    let spec = ProcessSpec {
        role: ProcessRole::Main,
        ..attack_process("eat 200")
    };
    let process = container.run(&spec).unwrap();
    let mut events = process.attach(0).unwrap();
    let mut oom = false;
    let exit = loop {
        match events.next(LONG).unwrap().unwrap() {
            Event::Oom => oom = true,
            Event::Exited(exit) => break exit,
            Event::Output { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(oom && exit.oom, "{exit:?}");
    assert_eq!(exit.signal, Some(libc::SIGKILL));
    assert_eq!(
        container.info().unwrap().ended.unwrap().reason,
        EndReason::OutOfMemory
    );
    assert_eq!(outside("eat 200"), 0);
    assert!(
        sleeper.wait(Duration::from_millis(50)).is_err(),
        "the neighbour lives"
    );
    ok(&neighbour, "true");
}

#[test]
fn privileged_files_in_memory_count_as_memory() {
    let house = House::new();
    let container = house.create("shm");
    let (_, exit) = run(&container, "head -c 100000000 /dev/zero > /dev/shm/x");
    assert!(!exit.success());
    eventually("it has ended", || container.info().unwrap().ended.is_some());
    let reason = container.info().unwrap().ended.unwrap().reason;
    assert_eq!(reason, EndReason::OutOfMemory);
}

#[test]
fn privileged_threads_and_processes_are_limited() {
    let house = House::new();
    let container = house.with("pids", |spec| {
        spec.limits.pids = 20;
        arm(spec);
    });
    assert_eq!(outside("threads 100"), 0);
    assert_eq!(inside(&container, "threads 100"), libc::EAGAIN);
    // A bomb of processes does no harm, and goes with the container.
    container
        .run(&shell("while :; do (sleep 100 &) done; sleep 100"))
        .unwrap();
    eventually("the bomb is at its limit", || {
        container.info().unwrap().stats.pids >= 18
    });
    let start = Instant::now();
    assert!(
        std::process::Command::new("/bin/true")
            .status()
            .unwrap()
            .success()
    );
    container.destroy().unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn privileged_a_full_disk_image_says_so_and_nothing_else_is_full() {
    let house = House::new();
    let container = house.with("image", image(16 << 20));
    let neighbour = house.with("image-two", image(16 << 20));
    ok(&container, "head -c 10000000 /dev/zero > kept");
    let (said, exit) = run(&container, "head -c 30000000 /dev/zero > more");
    assert!(!exit.success() && said.contains("No space left"), "{said}");
    // Nothing that was there is lost, and the container goes on.
    assert_eq!(ok(&container, "stat -c %s kept").trim(), "10000000");
    let used = container.info().unwrap().stats.disk_bytes;
    assert!((14 << 20..=18 << 20).contains(&used), "{used}");
    let (said, exit) = run(
        &container,
        "rm more; i=0; while true > f$i; do i=$((i+1)); done 2>&-; echo $i",
    );
    let files: u32 = said.lines().last().unwrap().parse().unwrap();
    assert!(exit.success() && (900..1300).contains(&files), "{said}");
    ok(&neighbour, "head -c 10000000 /dev/zero > fine");
    // Also where other files than its own are.
    let (_, exit) = run(&container, "head -c 30000000 /dev/zero > /tmp/x");
    assert!(!exit.success());
}

#[test]
fn privileged_a_counted_disk_ends_the_container_that_is_over() {
    let house = House::new();
    let container = house.with("soft", |spec| {
        spec.limits.disk_mode = DiskMode::SoftScan;
        spec.limits.disk_bytes = Some(8 << 20);
        // So that the page cache of what is written is not what ends it.
        spec.limits.memory_bytes = Some(256 << 20);
    });
    let script = "head -c 20000000 /dev/zero > more; sync; exec sleep 1000";
    let process = container.run(&main_shell(script)).unwrap();
    let mut events = process.attach(0).unwrap();
    let mut over = None;
    while let Some(event) = events.next(LONG).unwrap() {
        if let Event::OverDisk { used, limit } = event {
            over = Some((used, limit));
        }
    }
    let (used, limit) = over.unwrap();
    assert!(used >= 20_000_000 && limit == 8 << 20, "{used} {limit}");
    assert_eq!(
        container.info().unwrap().ended.unwrap().reason,
        EndReason::OutOfDisk
    );
}

#[test]
fn privileged_open_files_are_limited() {
    let house = House::new();
    let container = house.with("files", |spec| spec.limits.nofile = 128);
    assert_eq!(ok(&container, "ulimit -n; ulimit -Hn"), "128\n128\n");
    assert_eq!(container.info().unwrap().nofile, 128);
    let greedy = house.with("greedy", |spec| spec.limits.nofile = 1 << 40);
    let clamped = greedy.info().unwrap().nofile;
    assert_eq!(ok(&greedy, "ulimit -n").trim(), clamped.to_string());
}

#[test]
fn privileged_shares_decide_who_computes() {
    let house = House::new();
    let one = house.with("cpu-one", |spec| spec.limits.cpu_shares = 1024);
    let two = house.with("cpu-two", |spec| spec.limits.cpu_shares = 128);
    let spin = "for i in 1 2 3 4; do while :; do :; done & done; sleep 1000";
    for container in [&one, &two] {
        container.run(&shell(spin)).unwrap();
    }
    let used = |container: &cupola_warden::Container| container.info().unwrap().stats.cpu_ns;
    let before = (used(&one), used(&two));
    eventually("they have computed a while", || {
        used(&one) - before.0 > 1_500_000_000
    });
    let (first, second) = (used(&one) - before.0, used(&two) - before.1);
    // 8 to 1 by the shares; a busy machine blurs it.
    assert!(first > 3 * second, "{first} {second}");
}

#[test]
fn privileged_a_flood_of_output_is_bounded() {
    let house = House::new();
    let container = house.create("flood");
    let mut spec = shell("yes x | head -c 200000000; echo the end");
    spec.output_buffer = 64 * 1024;
    let process = container.run(&spec).unwrap();
    let exit = process.wait(LONG).unwrap();
    assert!(exit.success());
    let info = container.info().unwrap();
    let status = format!("/proc/{}/status", info.supervisor_pid);
    let status = std::fs::read_to_string(status).unwrap();
    let rss = status
        .lines()
        .find_map(|l| l.strip_prefix("RssAnon:"))
        .unwrap();
    let rss: u64 = rss.trim().trim_end_matches(" kB").trim().parse().unwrap();
    assert!(rss < 2048, "{rss} kB");
    // What was kept is the end; what was not is said.
    let mut events = process.attach(0).unwrap();
    let Some(Event::Gap { from: 0, to }) = events.next(LONG).unwrap() else {
        panic!("no gap")
    };
    assert!(to > 100_000_000);
    let (kept, _) = events.collect(1 << 20, LONG).unwrap();
    assert!(kept.ends_with(b"x\nthe end\n"));
    assert!(info.dropped_bytes >= to);
}

#[test]
fn privileged_a_client_that_keeps_up_misses_nothing() {
    let house = House::new();
    let container = house.create("lossless");
    let mut spec = shell("seq 1 200000");
    spec.output_buffer = 16 * 1024;
    let process = container.run(&spec).unwrap();
    let mut events = process.attach(0).unwrap();
    let (mut next, mut all) = (0, Vec::new());
    while let Some(event) = events.next(LONG).unwrap() {
        match event {
            // Some may be gone before the client is there, nothing after.
            Event::Gap { from: 0, to } => next = to,
            Event::Output { seq, bytes, .. } => {
                assert_eq!(seq, next);
                next += bytes.len() as u64;
                all.extend(bytes);
            }
            Event::Exited(exit) => assert!(exit.success()),
            other => panic!("{other:?}"),
        }
    }
    assert!(all.ends_with(b"199999\n200000\n"));
}
