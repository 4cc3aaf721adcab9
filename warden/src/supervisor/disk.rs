//! How much of the disk a container uses, and whether that is too much.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{fd::AsFd as _, unix::ffi::OsStrExt as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag},
    sys::{
        stat::{SFlag, fstatat},
        statvfs::fstatvfs,
    },
};

use crate::{DiskMode, Limits, sys};

/// Keeps an eye on the writable layer.
#[derive(Debug)]
pub(super) struct DiskWatch {
    upper: File,
    mode: DiskMode,
    bytes_max: Option<u64>,
    inodes_max: u64,
    /// Used by the file system itself when it was empty.
    empty: Usage,
    last: Usage,
    scan: Option<Scan>,
    next_at: Option<Instant>,
}

/// Bytes and inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    bytes: u64,
    inodes: u64,
}

/// A count that is under way, a little at a time so that nothing else waits for it.
#[derive(Debug)]
struct Scan {
    pending: Vec<PathBuf>,
    sum: Usage,
    spent: Duration,
}

/// How often it is counted, at most.
const EVERY: Duration = Duration::from_secs(5);
/// Counting takes at most this part of the time of one processor.
const SHARE: u32 = 100;
/// How long one turn of counting may take.
const TURN: Duration = Duration::from_millis(2);
/// Blocks are always counted in this unit.
const BLOCK: u64 = 512;

// === impl DiskWatch ===

impl DiskWatch {
    pub(super) fn new(upper: File, limits: &Limits) -> Self {
        let mode = limits.disk_mode;
        let empty = if mode == DiskMode::Image {
            filesystem_usage(&upper)
        } else {
            Usage::default()
        };
        let watched = mode == DiskMode::SoftScan && limits.disk_bytes.is_some();
        Self {
            upper,
            mode,
            bytes_max: limits.disk_bytes,
            inodes_max: limits.disk_inodes,
            empty,
            last: Usage::default(),
            scan: None,
            next_at: watched.then(|| Instant::now() + EVERY),
        }
    }

    /// When it wants to look again.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    pub(super) fn stop(&mut self) {
        self.last = self.usage();
        self.mode = DiskMode::SoftScan;
        self.next_at = None;
        self.scan = None;
    }

    /// What is used, as far as known: bytes and inodes.
    pub(super) fn used(&self) -> (u64, u64) {
        let usage = self.usage();
        (usage.bytes, usage.inodes)
    }

    fn usage(&self) -> Usage {
        match self.mode {
            DiskMode::SoftScan => self.last,
            DiskMode::Image => {
                let now = filesystem_usage(&self.upper);
                Usage {
                    bytes: now.bytes.saturating_sub(self.empty.bytes),
                    inodes: now.inodes.saturating_sub(self.empty.inodes),
                }
            }
        }
    }

    /// Counts a little, when it is time; what is used and the limit, when it is over.
    pub(super) fn look(&mut self, now: Instant) -> Option<(u64, u64)> {
        if self.next_at.is_none_or(|at| at > now) {
            return None;
        }
        let mut scan = self.scan.take().unwrap_or_else(Scan::new);
        let finished = scan.go_on(&self.upper);
        let limit = self.bytes_max.unwrap_or(u64::MAX);
        let over = scan.sum.bytes > limit || scan.sum.inodes > self.inodes_max;
        if finished || over {
            self.last = scan.sum;
            self.next_at = Some(Instant::now() + EVERY.max(scan.spent * SHARE));
        } else {
            self.scan = Some(scan);
        }
        over.then_some((self.last.bytes, limit))
    }
}

// === impl Scan ===

impl Scan {
    fn new() -> Self {
        Self {
            pending: vec![PathBuf::from(".")],
            sum: Usage::default(),
            spent: Duration::ZERO,
        }
    }

    /// Counts for one turn; whether that was all.
    fn go_on(&mut self, root: &File) -> bool {
        let start = Instant::now();
        while start.elapsed() < TURN {
            let Some(path) = self.pending.pop() else {
                self.spent += start.elapsed();
                return true;
            };
            match self.count(root, path) {
                // Names deeper than the kernel can follow are made only to hide something.
                Err(error) if error.raw_os_error() == Some(Errno::ENAMETOOLONG as i32) => {
                    self.sum.bytes = u64::MAX;
                    return true;
                }
                // It was removed, or replaced by a link, in the meantime.
                Err(_) | Ok(()) => {}
            }
        }
        self.spent += start.elapsed();
        false
    }

    fn count(&mut self, root: &File, path: PathBuf) -> io::Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let dir = sys::open_beneath(root.as_fd(), path.as_os_str(), flags, 0)?;
        let mut dir = Dir::from_fd(dir)?;
        let names: Vec<_> = dir
            .iter()
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_owned())
            .collect();
        for name in names {
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = fstatat(&dir, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) else {
                continue;
            };
            let links = if is_folder(stat.st_mode) {
                1
            } else {
                stat.st_nlink.max(1)
            };
            // A file with several names is counted once in all.
            self.sum.bytes = self
                .sum
                .bytes
                .saturating_add(stat.st_blocks.unsigned_abs() * BLOCK / links);
            self.sum.inodes += 1;
            if is_folder(stat.st_mode) {
                self.pending
                    .push(path.join(OsStr::from_bytes(name.to_bytes())));
            }
        }
        Ok(())
    }
}

fn is_folder(mode: u32) -> bool {
    SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR
}

fn filesystem_usage(file: &File) -> Usage {
    fstatvfs(file).map_or(Usage::default(), |stat| Usage {
        bytes: stat.blocks().saturating_sub(stat.blocks_free()) * stat.fragment_size(),
        inodes: stat.files().saturating_sub(stat.files_free()),
    })
}
