//! What the tests with real containers share.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test may panic; not every test uses all"
)]

pub(crate) mod attack;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use cupola_warden::{
    Container, ContainerId, ContainerSpec, Depot, DepotConfig, DiskMode, Exit, Limits, NetworkMode,
    ProcessRole, ProcessSpec,
};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A depot of its own that leaves nothing behind.
pub(crate) struct House {
    pub(crate) depot: Depot,
    pub(crate) dir: TempDir,
}

impl House {
    pub(crate) fn new() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests make containers and need root"
        );
        let dir = tempfile::tempdir().unwrap();
        let depot = Depot::open(config(dir.path())).unwrap();
        Self { depot, dir }
    }

    pub(crate) fn spec(&self, id: &str) -> ContainerSpec {
        let mut spec = ContainerSpec::new(ContainerId::new(id).unwrap());
        spec.network = NetworkMode::Offline;
        spec.limits = Limits {
            memory_bytes: Some(64 << 20),
            pids: 64,
            ..Limits::default()
        };
        spec
    }

    pub(crate) fn create(&self, id: &str) -> Container {
        self.depot.create(self.spec(id)).unwrap()
    }

    pub(crate) fn with(&self, id: &str, change: impl FnOnce(&mut ContainerSpec)) -> Container {
        let mut spec = self.spec(id);
        change(&mut spec);
        self.depot.create(spec).unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        for id in self.depot.ids().unwrap_or_default() {
            if let Ok(container) = self.depot.container(&id) {
                let _ = container.destroy();
            }
        }
        let _ = self.depot.sweep();
        let _ = self.depot.wait_for_trash(LONG);
    }
}

pub(crate) fn config(dir: &Path) -> DepotConfig {
    DepotConfig::new(dir.join("depot"), "wt", env!("CARGO_BIN_EXE_cupola-warden"))
}

pub(crate) fn shell(script: &str) -> ProcessSpec {
    ProcessSpec::new(["/bin/sh", "-c", script])
}

pub(crate) fn main_shell(script: &str) -> ProcessSpec {
    ProcessSpec {
        role: ProcessRole::Main,
        ..shell(script)
    }
}

/// Runs a script to its end: what it said and how it went.
pub(crate) fn run(container: &Container, script: &str) -> (String, Exit) {
    let process = container.run(&shell(script)).unwrap();
    let (said, exit) = process.attach(0).unwrap().collect(1 << 20, LONG).unwrap();
    (String::from_utf8_lossy(&said).into_owned(), exit)
}

/// Runs a script that must succeed.
pub(crate) fn ok(container: &Container, script: &str) -> String {
    let (said, exit) = run(container, script);
    assert!(exit.success(), "{script}\n{said}\n{exit}");
    said
}

/// Waits for a condition.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        pause(Duration::from_millis(5));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "polling what offers nothing to wait for"
)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

pub(crate) fn image(bytes: u64) -> impl FnOnce(&mut ContainerSpec) {
    move |spec| {
        spec.limits.disk_mode = DiskMode::Image;
        spec.limits.disk_bytes = Some(bytes);
        spec.limits.disk_inodes = 1000;
    }
}

/// What a machine has of ours, to be compared before and after.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) cgroups: usize,
    pub(crate) mounts: usize,
    pub(crate) interfaces: usize,
    pub(crate) supervisors: usize,
}

impl Census {
    /// Counts what belongs to the depot in `dir` (mounts: all of the machine's own namespace).
    pub(crate) fn take(dir: &Path) -> Self {
        let prefix = claim_prefix(dir);
        let lines = |path: &str| std::fs::read_to_string(path).unwrap();
        let cgroups = std::fs::read_dir("/sys/fs/cgroup")
            .unwrap()
            .flatten()
            .filter_map(|mount| std::fs::read_dir(mount.path().join("cupola").join(&prefix)).ok())
            .flat_map(|entries| entries.flatten())
            .filter(|entry| entry.path().is_dir())
            .count();
        let depot = dir.to_string_lossy().into_owned();
        let supervisors = std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| std::fs::read_link(entry.path().join("cwd")).ok())
            .filter(|cwd| cwd.starts_with(&depot))
            .count();
        Self {
            cgroups,
            mounts: lines("/proc/self/mountinfo")
                .lines()
                .filter(|l| l.contains(&depot))
                .count(),
            interfaces: lines("/proc/self/net/dev")
                .lines()
                .filter(|line| line.trim_start().starts_with(&format!("{prefix}-")))
                .count(),
            supervisors,
        }
    }
}

/// The name of the depot's cgroup, and the beginning of its cables' names.
pub(crate) fn claim_prefix(dir: &Path) -> String {
    let depot = dir.join("depot").to_string_lossy().into_owned();
    let claims = std::fs::read_dir("/run/cupola").unwrap();
    for claim in claims.flatten() {
        let text = std::fs::read_to_string(claim.path()).unwrap_or_default();
        if text.contains(&format!("{depot:?}")) {
            let slot = claim.file_name().to_string_lossy().replace("slot-", "");
            return format!("wt{slot}");
        }
    }
    panic!("no claim for {depot}");
}
