//! The cgroup of one container, in every hierarchy at once.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{Controller, Hierarchies, Place};
use crate::{Limits, Stats};

/// A container's folders, one per hierarchy.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    hierarchies: Hierarchies,
    path: String,
}

/// The ways into a group.
#[derive(Debug)]
pub(crate) struct Doors {
    /// To be entered before anything else, so that everything is accounted for.
    pub(crate) first: Vec<File>,
    /// To be entered once the house stands: beyond it, no device can be mounted.
    pub(crate) last: Vec<File>,
}

/// A step that failed, and on which file.
#[derive(Debug)]
pub(crate) struct GroupError {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// What an app may open under `/dev`: null, zero, full, random, urandom, tty, ptmx and its terminals.
const DEVICES: [&str; 8] = [
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];
/// Pid 1 of the container counts as a process too.
const PIDS_OF_OURS: u32 = 1;
/// How long the kernel may take to let go of an empty cgroup.
const REMOVED_WITHIN: Duration = Duration::from_secs(3);

// === impl Group ===

impl Group {
    pub(crate) fn new(hierarchies: Hierarchies, path: impl Into<String>) -> Self {
        Self {
            hierarchies,
            path: path.into(),
        }
    }

    /// Every folder of it.
    pub(crate) fn dirs(&self) -> impl Iterator<Item = PathBuf> {
        self.hierarchies
            .mounts()
            .map(|mount| mount.join(&self.path))
    }

    /// Makes the folders; those above must exist.
    pub(crate) fn create(&self) -> Result<(), GroupError> {
        self.dirs().try_for_each(|dir| match fs::create_dir(&dir) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                Err(GroupError { path: dir, source })
            }
            _ => Ok(()),
        })
    }

    /// Writes the limits. Call before anything is inside.
    pub(crate) fn limit(&self, limits: &Limits) -> Result<(), GroupError> {
        if let Some(bytes) = limits.memory_bytes {
            self.limit_memory(bytes)?;
        }
        match self.place(Controller::Cpu) {
            Some(Place::V1(dir)) => write(&dir.join("cpu.shares"), limits.cpu_shares)?,
            Some(Place::V2(dir)) => write(&dir.join("cpu.weight"), weight(limits.cpu_shares))?,
            None => {}
        }
        if let Some(Place::V1(dir) | Place::V2(dir)) = self.place(Controller::Pids) {
            write(
                &dir.join("pids.max"),
                limits.pids.saturating_add(PIDS_OF_OURS),
            )?;
        }
        if let Some(Place::V1(dir)) = self.place(Controller::Devices) {
            write(&dir.join("devices.deny"), "a")?;
            for rule in DEVICES {
                write(&dir.join("devices.allow"), rule)?;
            }
        }
        Ok(())
    }

    fn limit_memory(&self, bytes: u64) -> Result<(), GroupError> {
        match self.place(Controller::Memory) {
            Some(Place::V1(dir)) => {
                write(&dir.join("memory.limit_in_bytes"), bytes)?;
                let with_swap = dir.join("memory.memsw.limit_in_bytes");
                // Absent when the kernel does not account for swap at all.
                if with_swap.exists() {
                    write(&with_swap, bytes)
                } else {
                    Ok(())
                }
            }
            Some(Place::V2(dir)) => {
                write(&dir.join("memory.max"), bytes)?;
                write(&dir.join("memory.oom.group"), 1)?;
                let swap = dir.join("memory.swap.max");
                if swap.exists() {
                    write(&swap, 0)
                } else {
                    Ok(())
                }
            }
            None => Ok(()),
        }
    }

    /// The files through which a process joins: it writes "0" to each.
    pub(crate) fn doors(&self) -> Result<Doors, GroupError> {
        let devices = match self.place(Controller::Devices) {
            Some(Place::V1(dir)) => Some(dir),
            _ => None,
        };
        let mut doors = Doors {
            first: Vec::new(),
            last: Vec::new(),
        };
        for dir in self.dirs() {
            let late = devices.as_ref() == Some(&dir);
            let path = dir.join("cgroup.procs");
            let door = File::options().write(true).open(&path);
            let door = door.map_err(|source| GroupError { path, source })?;
            if late {
                doors.last.push(door)
            } else {
                doors.first.push(door)
            }
        }
        Ok(doors)
    }

    /// How often the kernel killed something inside for lack of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = match self.place(Controller::Memory) {
            Some(Place::V1(dir)) => dir.join("memory.oom_control"),
            Some(Place::V2(dir)) => dir.join("memory.events"),
            None => return 0,
        };
        keyed(&file, "oom_kill").unwrap_or(0)
    }

    /// Processor, memory and processes; the rest is left at zero.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        match self.place(Controller::Cpuacct) {
            Some(Place::V1(dir)) => stats.cpu_ns = number(&dir.join("cpuacct.usage")).unwrap_or(0),
            Some(Place::V2(dir)) => {
                stats.cpu_ns = keyed(&dir.join("cpu.stat"), "usage_usec").unwrap_or(0) * 1000;
            }
            None => {}
        }
        match self.place(Controller::Memory) {
            Some(Place::V1(dir)) => {
                let file = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
                let field = |name| keyed_in(&file, name).unwrap_or(0);
                stats.memory_bytes = (field("total_rss") + field("total_cache"))
                    .saturating_sub(field("total_inactive_file"));
            }
            Some(Place::V2(dir)) => {
                let all = number(&dir.join("memory.current")).unwrap_or(0);
                let idle = keyed(&dir.join("memory.stat"), "inactive_file").unwrap_or(0);
                stats.memory_bytes = all.saturating_sub(idle);
            }
            None => {}
        }
        if let Some(Place::V1(dir) | Place::V2(dir)) = self.place(Controller::Pids) {
            let all = number(&dir.join("pids.current")).unwrap_or(0);
            stats.pids = all.saturating_sub(u64::from(PIDS_OF_OURS));
        }
        stats
    }

    /// Every process inside, as the host sees it.
    pub(crate) fn members(&self) -> Vec<i32> {
        let mut pids: Vec<i32> = self
            .dirs()
            .filter_map(|dir| fs::read_to_string(dir.join("cgroup.procs")).ok())
            .flat_map(|text| {
                text.lines()
                    .filter_map(|l| l.parse().ok())
                    .collect::<Vec<i32>>()
            })
            .filter(|pid| *pid > 1)
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Kills what is inside and removes the folders, waiting a while for the kernel to let go.
    pub(crate) fn remove(&self) -> Result<(), GroupError> {
        let deadline = Instant::now() + REMOVED_WITHIN;
        let mut pause = Duration::from_micros(200);
        for dir in self.dirs() {
            loop {
                match fs::remove_dir(&dir) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(source) if Instant::now() > deadline => {
                        return Err(GroupError { path: dir, source });
                    }
                    Err(_) => {
                        for pid in self.members() {
                            crate::sys::kill(pid, nix::libc::SIGKILL);
                        }
                        crate::sys::pause(pause);
                        pause = (pause * 2).min(Duration::from_millis(20));
                    }
                }
            }
        }
        Ok(())
    }

    /// The container's own folder for a controller.
    pub(crate) fn dir_of(&self, controller: Controller) -> Option<PathBuf> {
        self.place(controller)
            .map(|(Place::V1(dir) | Place::V2(dir))| dir)
    }

    /// The same, and which version it is.
    pub(super) fn place(&self, controller: Controller) -> Option<Place> {
        self.hierarchies
            .place(controller)
            .map(|place| place.join(&self.path))
    }
}

/// Shares (2 to 262144, 1024 is one) as a version 2 weight (1 to 10000).
fn weight(shares: u32) -> u32 {
    let shares = u64::from(shares.clamp(2, 262_144));
    u32::try_from(1 + (shares - 2) * 9999 / 262_142).unwrap_or(10_000)
}

fn write(path: &Path, value: impl ToString) -> Result<(), GroupError> {
    fs::write(path, value.to_string()).map_err(|source| GroupError {
        path: path.to_owned(),
        source,
    })
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn keyed(path: &Path, key: &str) -> Option<u64> {
    keyed_in(&fs::read_to_string(path).ok()?, key)
}

fn keyed_in(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(key)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}
