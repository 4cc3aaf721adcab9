//! What a container tells about itself.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::{ContainerId, DiskMode, NetworkMode, ProcessId};

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// Processes can be run.
    Active,
    /// Asked to end; TERM was sent, KILL follows after the grace.
    Stopping,
    /// Nothing runs inside any more; the last output can still be read.
    Ended,
}

/// How a process went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code, when it exited by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the container ran out of memory while it lived.
    pub oom: bool,
}

/// Why a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Its main process exited.
    Exited,
    /// It was asked to stop.
    Stopped,
    /// It used more memory than allowed.
    OutOfMemory,
    /// It used more disk than allowed.
    OutOfDisk,
    /// Its pid 1 was killed from outside.
    Killed,
}

/// The end of a container; also the content of `exit.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Why.
    pub reason: EndReason,
    /// How the main process went, if there was one.
    pub main: Option<Exit>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// Which of its two outputs a process wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What an attached client hears about a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Some output. The next piece begins at `seq + bytes.len()`.
    Output {
        /// Position of the first byte among all bytes the process ever wrote, both streams together.
        seq: u64,
        /// Which stream.
        stream: Stream,
        /// What was written; cut anywhere.
        bytes: Vec<u8>,
    },
    /// Output from `from` up to, not including, `to` was lost: it came faster than it was fetched.
    Gap {
        /// First byte lost.
        from: u64,
        /// First byte not lost.
        to: u64,
    },
    /// The container hit its memory limit; it is being ended.
    Oom,
    /// The container is over its disk limit; it is being ended.
    OverDisk {
        /// Bytes used.
        used: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The process is gone; all its output came before. Always the last event.
    Exited(Exit),
}

/// What a container uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Processor time used so far, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory in use without reclaimable page cache, in bytes.
    pub memory_bytes: u64,
    /// Writable layer, in bytes.
    pub disk_bytes: u64,
    /// Files and folders in the writable layer.
    pub disk_inodes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes the container received; zero without a network of its own.
    pub net_rx_bytes: u64,
    /// Bytes the container sent.
    pub net_tx_bytes: u64,
}

/// A process in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Its number.
    pub id: ProcessId,
    /// Its name from the spec.
    pub name: String,
    /// Whether the container ends with it.
    pub main: bool,
    /// How it went, once it has.
    pub exit: Option<Exit>,
    /// How many bytes it has written so far.
    pub written: u64,
}

/// Everything about a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Its name.
    pub id: ContainerId,
    /// Where it is in its life.
    pub state: ContainerState,
    /// How it ended, once it has.
    pub ended: Option<Ended>,
    /// Its processes, oldest first; finished jobs are kept up to a bound.
    pub processes: Vec<ProcessInfo>,
    /// The uid and gid of its processes, as the host sees it.
    pub uid: u32,
    /// How it is connected.
    pub network: NetworkMode,
    /// Its address, when isolated.
    pub address: Option<Ipv4Addr>,
    /// The host's end of the cable.
    pub host_address: Option<Ipv4Addr>,
    /// How the disk limit is held.
    pub disk_mode: DiskMode,
    /// Open files per process after clamping.
    pub nofile: u64,
    /// The supervisor's pid.
    pub supervisor_pid: u32,
    /// Pid 1 of the container, as the host sees it.
    pub init_pid: u32,
    /// When it was made, in milliseconds since 1970.
    pub created_at_ms: u64,
    /// Output bytes lost so far because nobody fetched them.
    pub dropped_bytes: u64,
    /// The owner's notes.
    pub properties: BTreeMap<String, String>,
    /// What it uses now.
    pub stats: Stats,
}

/// What came out of an unpack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackReport {
    /// Entries placed.
    pub entries: u64,
    /// Bytes of file contents written.
    pub bytes: u64,
}

/// What went into an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackReport {
    /// Entries read.
    pub entries: u64,
    /// Bytes of file contents before compression.
    pub bytes: u64,
    /// Sockets, fifos and devices left out.
    pub skipped: u64,
}

// === impl ContainerState ===

impl ContainerState {
    /// Whether a container may go from here to `next`.
    #[must_use]
    pub fn allows(self, next: Self) -> bool {
        use ContainerState::{Active, Ended, Stopping};
        matches!((self, next), (Active, Stopping | Ended) | (Stopping, Ended))
    }

    /// Whether a process may be started in it.
    #[must_use]
    pub fn can_run(self) -> bool {
        self == Self::Active
    }
}

impl Exit {
    /// Whether it exited by itself with code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}")?,
            (None, Some(signal)) => write!(f, "killed by signal {signal}")?,
            (None, None) => f.write_str("ended")?,
        }
        if self.oom {
            f.write_str(" (out of memory)")
        } else {
            Ok(())
        }
    }
}

impl std::fmt::Display for EndReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Exited => "exited",
            Self::Stopped => "stopped",
            Self::OutOfMemory => "out of memory",
            Self::OutOfDisk => "out of disk",
            Self::Killed => "killed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ContainerState::{Active, Ended, Stopping};

    #[test]
    fn a_life_only_goes_forward() {
        let all = [Active, Stopping, Ended];
        let edges: Vec<_> = all
            .iter()
            .flat_map(|from| all.iter().map(move |to| (*from, *to)))
            .filter(|(from, to)| from.allows(*to))
            .collect();
        assert_eq!(
            edges,
            [(Active, Stopping), (Active, Ended), (Stopping, Ended)]
        );
    }
}
