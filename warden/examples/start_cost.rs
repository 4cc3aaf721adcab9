//! What a container costs: `cargo run --release -p cupola-warden --example start_cost` (as root).
//!
//! Prints medians in microseconds beside the cost of an ordinary process, measured in turn so that
//! a busy machine slows all of them down alike, and what an idle supervisor holds in memory. The
//! processor time of everything that was started is the figure to trust on a shared machine.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program for developers"
)]

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use cupola_warden::{
    Container, ContainerId, ContainerSpec, Depot, DepotConfig, DiskMode, NetworkMode, ProcessSpec,
};
use nix::sys::resource::{UsageWho, getrusage};

const ROUNDS: usize = 60;

fn main() {
    let own = std::env::current_exe().unwrap();
    let beside: PathBuf = own
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("cupola-warden");
    let warden = std::env::args_os().nth(1).map_or(beside, PathBuf::from);
    let dir = std::env::temp_dir().join(format!("warden-cost-{}", std::process::id()));
    let depot = Depot::open(DepotConfig::new(dir.join("depot"), "cost", warden)).unwrap();
    let cases = [
        (
            "offline, counted disk",
            NetworkMode::Offline,
            DiskMode::SoftScan,
        ),
        (
            "isolated, counted disk",
            NetworkMode::Isolated,
            DiskMode::SoftScan,
        ),
        (
            "isolated, disk image",
            NetworkMode::Isolated,
            DiskMode::Image,
        ),
    ];
    let (mut spawns, mut spawn_cpus) = (Vec::new(), Vec::new());
    let mut times = vec![[const { Vec::new() }; 4]; cases.len()];
    for round in 0..ROUNDS {
        let before = cpu();
        let run = || assert!(Command::new("/bin/true").status().unwrap().success());
        spawns.push(timed(run).0);
        spawn_cpus.push(cpu() - before);
        for (number, (_, network, disk)) in cases.iter().enumerate() {
            let mut spec =
                ContainerSpec::new(ContainerId::new(format!("c{round}-{number}")).unwrap());
            spec.network = *network;
            spec.limits.disk_mode = *disk;
            let before = cpu();
            let (create, container) = timed(|| depot.create(spec).unwrap());
            let (run, ()) = timed(|| run_true(&container));
            let (destroy, ()) = timed(|| container.destroy().unwrap());
            for (column, time) in [create, run, destroy, cpu() - before]
                .into_iter()
                .enumerate()
            {
                times[number][column].push(time);
            }
        }
    }
    let (spawn, spawn_cpu) = (median(&mut spawns), median(&mut spawn_cpus));
    println!("spawn /bin/true and wait: {spawn} µs, processor {spawn_cpu} µs");
    for ((name, ..), columns) in cases.iter().zip(&mut times) {
        let [create, run, destroy, cpu] = columns.each_mut().map(|column| median(column));
        println!(
            "{name}: create {create} + run true {run} + destroy {destroy} µs; processor {cpu} µs \
             = {:.1} × spawn",
            cpu as f64 / spawn_cpu as f64
        );
    }
    idle_memory(&depot);
    assert!(depot.wait_for_trash(Duration::from_secs(30)));
    drop(depot);
    std::fs::remove_dir_all(dir).unwrap();
}

fn run_true(container: &Container) {
    let process = container.run(&ProcessSpec::new(["/bin/true"])).unwrap();
    assert!(process.wait(Duration::from_secs(10)).unwrap().success());
}

/// What supervisor and pid 1 hold for themselves while an app sleeps.
fn idle_memory(depot: &Depot) {
    let container = depot
        .create(ContainerSpec::new(ContainerId::new("idle").unwrap()))
        .unwrap();
    container
        .run(&ProcessSpec::new(["/bin/sleep", "1000"]))
        .unwrap();
    let info = container.info().unwrap();
    for (name, pid) in [
        ("supervisor", info.supervisor_pid),
        ("pid 1", info.init_pid),
    ] {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let field = |field: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(field));
            line.unwrap_or_default().trim().to_owned()
        };
        println!(
            "{name}: private {}, pss {}",
            field("Private_Dirty:"),
            field("Pss:")
        );
    }
    container.destroy().unwrap();
}

fn timed<T>(what: impl FnOnce() -> T) -> (u128, T) {
    let start = Instant::now();
    let value = what();
    (start.elapsed().as_micros(), value)
}

/// Processor time of all processes that were started and have ended.
fn cpu() -> u128 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let micros = |time: nix::sys::time::TimeVal| {
        time.tv_sec().unsigned_abs() * 1_000_000 + time.tv_usec().unsigned_abs()
    };
    (micros(usage.user_time()) + micros(usage.system_time())).into()
}

fn median(times: &mut [u128]) -> u128 {
    times.sort_unstable();
    times[times.len() / 2]
}
