//! How much room this dea has: as configured, else what the machine offers.

use std::fs;
use std::path::Path;

use cupola_types::{DiskMb, MemoryMb};

/// Part of the machine's memory that instances get when nothing is configured: the rest is for
/// the platform and the system.
const MEMORY_SHARE: f64 = 0.75;
/// Part of the free disk that instances get when nothing is configured.
const DISK_SHARE: f64 = 0.8;
/// What is assumed when the machine cannot be asked.
const MODEST: Capacity = Capacity {
    memory: MemoryMb(1024),
    disk: DiskMb(4096),
    max_instances: u32::MAX,
};

/// How much room a dea has for instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) memory: MemoryMb,
    pub(crate) disk: DiskMb,
    pub(crate) max_instances: u32,
}

/// What the operator set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) memory: Option<MemoryMb>,
    pub(crate) memory_overcommit: f64,
    pub(crate) disk: Option<DiskMb>,
    pub(crate) disk_overcommit: f64,
    pub(crate) max_instances: u32,
}

// === impl Capacity ===

impl Capacity {
    /// The room of this machine, with `data_dir` on the disk that instances will write to.
    pub(crate) fn of_machine(wanted: Wanted, data_dir: &Path) -> Self {
        let memory = wanted.memory.or_else(|| {
            let text = fs::read_to_string("/proc/meminfo").ok()?;
            Some(MemoryMb(scaled(total_memory_mb(&text)?, MEMORY_SHARE)))
        });
        let disk = wanted.disk.or_else(|| {
            let stat = nix::sys::statvfs::statvfs(data_dir).ok()?;
            let free = stat.blocks_available().saturating_mul(stat.fragment_size()) >> 20;
            Some(DiskMb(scaled(
                u32::try_from(free).unwrap_or(u32::MAX),
                DISK_SHARE,
            )))
        });
        let (memory, disk) = (memory.unwrap_or(MODEST.memory), disk.unwrap_or(MODEST.disk));
        Self {
            memory: MemoryMb(scaled(memory.0, wanted.memory_overcommit)),
            disk: DiskMb(scaled(disk.0, wanted.disk_overcommit)),
            max_instances: wanted.max_instances,
        }
    }
}

/// `MemTotal` of `/proc/meminfo`, in MiB.
fn total_memory_mb(meminfo: &str) -> Option<u32> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    u32::try_from(kib / 1024).ok()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes an integer by saturating, and factors are checked to be positive"
)]
fn scaled(amount: u32, factor: f64) -> u32 {
    (f64::from(amount) * factor) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted {
        memory: None,
        memory_overcommit: 1.0,
        disk: None,
        disk_overcommit: 1.0,
        max_instances: 9,
    };

    #[test]
    fn what_is_configured_is_taken_times_the_overcommit() {
        let wanted = Wanted {
            memory: Some(MemoryMb(1000)),
            memory_overcommit: 2.0,
            disk: Some(DiskMb(300)),
            disk_overcommit: 1.5,
            ..WANTED
        };
        let room = Capacity::of_machine(wanted, Path::new("/nowhere"));
        let expected = Capacity {
            memory: MemoryMb(2000),
            disk: DiskMb(450),
            max_instances: 9,
        };
        assert_eq!(room, expected);
    }

    #[test]
    fn an_unconfigured_dea_finds_room_on_this_machine() {
        let room = Capacity::of_machine(WANTED, Path::new("/"));
        assert!(room.memory > MemoryMb(0) && room.disk > DiskMb(0));
    }

    #[test]
    fn memory_is_read_from_meminfo() {
        let text = "MemFree: 1 kB\nMemTotal:       24684000 kB\n";
        assert_eq!(total_memory_mb(text), Some(24105));
        assert_eq!(total_memory_mb("MemTotal: many\n"), None);
    }
}
