//! What lies in a container's folder, and what the supervisor is told.
//!
//! ```text
//! <depot>/<id>/spec.json        Launch: written before the supervisor starts, mode 0600
//!              state.json       State: written by the supervisor when it is ready
//!              properties.json  the owner's notes
//!              exit.json        Ended: written when nothing runs inside any more
//!              ctl.sock         the supervisor's door
//!              upper, work      the writable layer (or image: a file with both in it)
//!              supervisor.log   what the supervisor had to say when something was wrong
//! ```

use std::{
    collections::BTreeMap,
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{ContainerSpec, Ended, Result, WardenError, cgroup::Hierarchies};

/// A container as decided by the depot: the wish and what was allotted to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) version: u32,
    pub(crate) spec: ContainerSpec,
    /// Which of the depot's places it has: decides uid and address.
    pub(crate) index: u32,
    pub(crate) uid: u32,
    pub(crate) cable: Option<Cable>,
    /// Its cgroup, below each hierarchy's mount point.
    pub(crate) cgroup: String,
    pub(crate) hierarchies: Hierarchies,
    pub(crate) created_at_ms: u64,
    /// The nameservers its `resolv.conf` shall have.
    pub(crate) nameservers: Vec<String>,
}

/// A point-to-point cable between host and container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cable {
    /// Name of the host's end.
    pub(crate) name: String,
    pub(crate) outside: Ipv4Addr,
    pub(crate) inside: Ipv4Addr,
}

/// A running supervisor, beyond doubt even when pids are re-used or the machine was rebooted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) supervisor: ProcessKey,
    pub(crate) init: ProcessKey,
}

/// A process for all time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessKey {
    pub(crate) pid: i32,
    /// Field 22 of `/proc/<pid>/stat`.
    pub(crate) started: u64,
    pub(crate) boot: String,
}

/// The supervisor's only word to its creator.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Birth {
    Ready,
    Failed {
        step: String,
        message: String,
        missing: Option<crate::Missing>,
    },
}

pub(crate) const VERSION: u32 = 1;
pub(crate) const SPEC: &str = "spec.json";
pub(crate) const STATE: &str = "state.json";
pub(crate) const PROPERTIES: &str = "properties.json";
pub(crate) const EXIT: &str = "exit.json";
/// No file of a container's folder is larger than this.
const FILE_MAX: u64 = 4 * 1024 * 1024;

// === impl ProcessKey ===

impl ProcessKey {
    /// The key of a process that lives now; an error when there is none.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        let started = stat_of(pid)?.1;
        Ok(Self {
            pid,
            started,
            boot: boot_id()?,
        })
    }

    /// Whether this very process still runs (a zombie does not).
    pub(crate) fn is_alive(&self) -> bool {
        let same_boot = boot_id().is_ok_and(|boot| boot == self.boot);
        same_boot
            && stat_of(self.pid).is_ok_and(|(state, started)| {
                started == self.started && state != b'Z' && state != b'X'
            })
    }
}

/// State letter and start time of a process.
fn stat_of(pid: i32) -> io::Result<(u8, u64)> {
    let text = fs::read(format!("/proc/{pid}/stat"))?;
    let text = String::from_utf8_lossy(&text);
    // The name in parentheses may contain anything, parentheses included.
    let after_name = text.rsplit_once(')').map(|(_, rest)| rest.trim_start());
    let mut fields = after_name.unwrap_or_default().split(' ');
    let state = fields.next().and_then(|s| s.bytes().next());
    let started = fields.nth(18).and_then(|s| s.parse().ok());
    state
        .zip(started)
        .ok_or_else(|| io::Error::other("unreadable /proc stat"))
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let read = || -> io::Result<T> {
        if fs::metadata(path)?.len() > FILE_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file is too large",
            ));
        }
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    };
    read().map_err(WardenError::io("read", path))
}

/// Whether the bytes must be on disk before the name is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    Yes,
    No,
}

/// Writes a file of mode 0600 so that a reader sees all of it or none.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T, durable: Durable) -> Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let write = || -> io::Result<()> {
        let mut fresh: PathBuf = path.to_owned();
        fresh.as_mut_os_string().push(".new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        if durable == Durable::Yes {
            file.sync_all()?;
        }
        fs::rename(&fresh, path)
    };
    write().map_err(WardenError::io("write", path))
}

pub(crate) fn write_properties(dir: &Path, properties: &BTreeMap<String, String>) -> Result<()> {
    write_json(&dir.join(PROPERTIES), properties, Durable::No)
}

/// The owner's notes; none when the file is not there.
pub(crate) fn read_properties(dir: &Path) -> BTreeMap<String, String> {
    read_json(&dir.join(PROPERTIES)).unwrap_or_default()
}

/// How a container ended, when its supervisor could still say.
pub(crate) fn read_ended(dir: &Path) -> Option<Ended> {
    read_json(&dir.join(EXIT)).ok()
}
