//! Two depots on one machine must not share names, addresses or uids.
//!
//! Each takes a slot: a file `<claims>/slot-<n>` that says which folder it belongs to, locked for
//! as long as the depot is open. After a crash the file stays, and with it the claim, until either
//! the same folder is opened again or another depot finds that nothing of it lives any more.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::{DepotConfig, Subnet};
use crate::{Result, WardenError, cgroup::Hierarchies};

/// A slot that is ours as long as this value lives.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) slot: u32,
    /// The addresses that come with it.
    pub(super) block: Subnet,
    /// The first uid that comes with it.
    pub(super) uid: u32,
    _lock: Flock<File>,
}

/// What a claim file says.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    depot: String,
    cgroup: String,
    pid: u32,
}

/// What can be said about a slot.
enum Slot {
    /// It is this depot's from before.
    Ours(Flock<File>),
    /// Nobody has it; the cgroup of who had it last.
    Free(Option<String>),
    /// It is this depot's, and a process has it open.
    Busy(u32),
    Taken,
}

/// A daemon that was killed may leave its lock to a child for the moment between fork and exec.
const UNLOCKED_WITHIN: Duration = Duration::from_secs(5);
const TRY_EVERY: Duration = Duration::from_millis(5);

// === impl Claim ===

impl Claim {
    /// Finds the slot of this folder, or a free one, and makes the cgroups that go with it.
    pub(super) fn take(config: &DepotConfig, hierarchies: &Hierarchies) -> Result<Self> {
        super::make_private(&config.claims)?;
        let deadline = Instant::now() + UNLOCKED_WITHIN;
        loop {
            match Self::try_take(config, hierarchies)? {
                Ok(claim) => return Ok(claim),
                Err(pid) => {
                    let owner_lives = Path::new(&format!("/proc/{pid}")).exists();
                    if owner_lives || Instant::now() > deadline {
                        let (path, owner) = (config.path.clone(), format!("pid {pid}"));
                        return Err(WardenError::Busy { path, owner });
                    }
                    crate::sys::pause(TRY_EVERY);
                }
            }
        }
    }

    /// One attempt; the inner error is the pid that has the depot open.
    fn try_take(
        config: &DepotConfig,
        hierarchies: &Hierarchies,
    ) -> Result<std::result::Result<Self, u32>> {
        let _gate = shut_gate(&config.claims)?;
        let blocks = config.subnet.blocks(config.containers_max);
        let routes = host_routes();
        let mut free = None;
        for slot in 0..blocks {
            match look(config, hierarchies, slot)? {
                Slot::Ours(lock) => return Self::write(config, hierarchies, slot, lock).map(Ok),
                Slot::Busy(pid) => return Ok(Err(pid)),
                Slot::Free(before) if free.is_none() => {
                    let block = config.subnet.block(slot, config.containers_max);
                    let clash = routes
                        .iter()
                        .any(|(network, mask)| block.overlaps(*network, *mask));
                    free = (!clash).then_some((slot, before));
                }
                Slot::Free(_) | Slot::Taken => {}
            }
        }
        let Some((slot, before)) = free else {
            return Err(WardenError::NoBlock {
                subnet: config.subnet.to_string(),
                tried: blocks,
            });
        };
        if let Some(cgroup) = before {
            hierarchies.remove_parent(&cgroup);
        }
        let path = file_of(config, slot);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(WardenError::io("open the claim", &path))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| WardenError::io("lock the claim", &path)(errno.into()))?;
        Self::write(config, hierarchies, slot, lock).map(Ok)
    }

    fn write(
        config: &DepotConfig,
        hierarchies: &Hierarchies,
        slot: u32,
        mut lock: Flock<File>,
    ) -> Result<Self> {
        let note = Note {
            depot: config.path.to_string_lossy().into_owned(),
            cgroup: super::cgroup_of(config, slot),
            pid: std::process::id(),
        };
        let mut write = || -> io::Result<()> {
            lock.set_len(0)?;
            lock.rewind()?;
            lock.write_all(&serde_json::to_vec(&note)?)
        };
        write().map_err(WardenError::io("write the claim", file_of(config, slot)))?;
        hierarchies
            .make_parent(&note.cgroup)
            .map_err(|(path, source)| WardenError::io("make the cgroup", path)(source))?;
        Ok(Self {
            slot,
            block: config.subnet.block(slot, config.containers_max),
            uid: config.uid_base + slot * config.containers_max,
            _lock: lock,
        })
    }

    /// Gives the slot back, when the depot has no containers any more.
    pub(super) fn give_back(&self, config: &DepotConfig, hierarchies: &Hierarchies) -> Result<()> {
        let _gate = shut_gate(&config.claims)?;
        hierarchies.remove_parent(&super::cgroup_of(config, self.slot));
        let path = file_of(config, self.slot);
        fs::remove_file(&path).map_err(WardenError::io("remove the claim", path))
    }
}

/// One at a time: looking for a slot and taking it must not be interleaved.
fn shut_gate(claims: &Path) -> Result<Flock<File>> {
    let path = claims.join("gate");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(WardenError::io("open", &path))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| WardenError::io("lock", &path)(errno.into()))
}

fn look(config: &DepotConfig, hierarchies: &Hierarchies, slot: u32) -> Result<Slot> {
    let path = file_of(config, slot);
    let mut file = match File::options().read(true).write(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Slot::Free(None)),
        result => result.map_err(WardenError::io("open the claim", &path))?,
    };
    let mut text = String::new();
    file.read_to_string(&mut text)
        .map_err(WardenError::io("read the claim", &path))?;
    // An unreadable note belongs to nobody: it was cut short while being written.
    let note: Note = serde_json::from_str(&text).unwrap_or_default();
    let ours = Path::new(&note.depot) == config.path;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) if ours => Ok(Slot::Ours(lock)),
        Ok(_) if is_alive(hierarchies, &note.cgroup) => Ok(Slot::Taken),
        Ok(_) => Ok(Slot::Free(
            Some(note.cgroup).filter(|cgroup| !cgroup.is_empty()),
        )),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) if ours => Ok(Slot::Busy(note.pid)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(Slot::Taken),
        Err((_, errno)) => Err(WardenError::io("lock the claim", &path)(errno.into())),
    }
}

/// Whether a process lives in any cgroup of a depot.
fn is_alive(hierarchies: &Hierarchies, cgroup: &str) -> bool {
    let populated = |dir: &Path| {
        fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|text| !text.trim().is_empty())
    };
    !cgroup.is_empty()
        && hierarchies.mounts().any(|mount| {
            fs::read_dir(mount.join(cgroup))
                .is_ok_and(|entries| entries.flatten().any(|entry| populated(&entry.path())))
        })
}

fn file_of(config: &DepotConfig, slot: u32) -> std::path::PathBuf {
    config.claims.join(format!("slot-{slot}"))
}

/// Networks the host knows a way to, default routes aside, as (network, mask) in host order.
fn host_routes() -> Vec<(u32, u32)> {
    let table = fs::read_to_string("/proc/net/route").unwrap_or_default();
    parse_routes(&table)
}

fn parse_routes(table: &str) -> Vec<(u32, u32)> {
    let hex = |text: Option<&str>| u32::from_str_radix(text?, 16).ok().map(u32::from_be);
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let network = hex(fields.next())?;
            let mask = hex(fields.nth(5))?;
            Some((network, mask))
        })
        // What is left of a cable of our own (/30) is swept later and is no reason to move away.
        .filter(|(_, mask)| *mask != 0 && *mask != 0xffff_fffc)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::parse_routes;

    #[test]
    fn routes_are_read_in_host_order() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n\
            eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t0000FE0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
            dea0-1\t0404FE0A\t00000000\t0001\t0\t0\t0\tFCFFFFFF\t0\t0\t0\n";
        assert_eq!(parse_routes(table), [(0x0afe_0000, 0xffff_0000)]);
    }
}
