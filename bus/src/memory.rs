//! What all connections together make the broker keep, and how much that may be.
//!
//! Two things grow with what outsiders do. What *waits* (messages for those who read slowly, beginnings of
//! frames of those who send slowly) is counted in steps: a queue in its large chunks, the rest in pages, so
//! that the traffic of those who keep up costs two additions in 64 KiB. *Subscriptions* are counted one by one.
//!
//! Waiting has what subscriptions leave of the limit, and at least half of it. When it is used up, those go
//! who hold most, until an eighth is free: see [`crate::hub::Hub::relieve`]. Subscriptions that would take
//! more than the other half are refused.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::subject;
use crate::sublist::Member as _;
use crate::subscription::Subscription;

/// Smaller amounts of what is not queued are part of what any connection takes.
pub(crate) const PAGE: usize = 4 << 10;
/// What a subscription takes besides its names: itself, its places in two tables.
const SUBSCRIPTION: usize = 128;
/// What a token of a wildcard subscription takes: a node of a trie, and the way to it.
const NODE: usize = 96;

/// The count and its limit.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: AtomicUsize,
    waiting: AtomicUsize,
    subscriptions: AtomicUsize,
    /// Connections that were cut off to make room.
    cut: AtomicU64,
}

/// What is counted for one connection; given back when that is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<Memory>,
    bytes: usize,
}

// === impl Memory ===

impl Memory {
    /// Nothing is kept yet. A `limit` of 0 means half of the memory there is.
    pub(crate) fn new(limit: usize) -> Self {
        let memory = Memory {
            limit: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            subscriptions: AtomicUsize::new(0),
            cut: AtomicU64::new(0),
        };
        memory.set_limit(limit);
        memory
    }

    /// Changes the limit; 0 means half of the memory there is.
    pub(crate) fn set_limit(&self, limit: usize) {
        let limit = match limit {
            0 => available() / 2,
            limit => limit,
        };
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Bytes that may be kept.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Bytes that wait, for or from connections.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Bytes that subscriptions take.
    pub(crate) fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }

    /// Connections that were cut off to make room.
    pub(crate) fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Counts connections that are being cut off.
    pub(crate) fn note_cut(&self, count: u64) {
        self.cut.fetch_add(count, Ordering::Relaxed);
    }

    /// Bytes that have to be given back; 0 when there is room.
    pub(crate) fn excess(&self) -> usize {
        let (room, waiting) = (self.room(), self.waiting());
        if waiting <= room {
            return 0;
        }
        waiting - (room - room / 8)
    }

    /// What may wait.
    fn room(&self) -> usize {
        let limit = self.limit();
        limit - self.subscriptions().min(limit / 2)
    }

    /// Whether there may be more subscriptions.
    pub(crate) fn takes_subscriptions(&self) -> bool {
        self.subscriptions() < self.limit() / 2
    }

    /// A subscription is listed.
    pub(crate) fn listed(&self, sub: &Subscription) {
        self.subscriptions.fetch_add(size(sub), Ordering::Relaxed);
    }

    /// A subscription is no longer listed.
    pub(crate) fn unlisted(&self, sub: &Subscription) {
        self.subscriptions.fetch_sub(size(sub), Ordering::Relaxed);
    }
}

// === impl Share ===

impl Share {
    /// Nothing.
    pub(crate) fn new(memory: &Arc<Memory>) -> Self {
        Share {
            memory: Arc::clone(memory),
            bytes: 0,
        }
    }

    /// What is counted.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts more; `true` when that is too much for all together.
    pub(crate) fn add(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        let before = self.memory.waiting.fetch_add(bytes, Ordering::Relaxed);
        before + bytes > self.memory.room()
    }

    /// Counts less.
    pub(crate) fn sub(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.memory.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts `bytes` in whole pages, of which `counted` have been so far; `true` when that is too much for
    /// all together.
    pub(crate) fn recount(&mut self, counted: &mut usize, bytes: usize) -> bool {
        let pages = bytes / PAGE * PAGE;
        let before = std::mem::replace(counted, pages);
        if pages > before {
            return self.add(pages - before);
        }
        self.sub(before - pages);
        false
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.sub(self.bytes);
    }
}

/// What a subscription takes, about.
fn size(sub: &Subscription) -> usize {
    let subject = sub.subject();
    let nodes = if subject::has_wildcard(subject) {
        NODE * subject::tokens(subject).count()
    } else {
        0
    };
    let queue = sub.queue().map_or(0, |queue| queue.len() + NODE);
    SUBSCRIPTION + subject.len() + sub.sid().len() + nodes + queue
}

/// The memory of this machine, or what the control group leaves us of it.
fn available() -> usize {
    let number = |path| fs::read_to_string(path).ok()?.trim().parse().ok();
    let group = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let group = group.into_iter().find_map(number).unwrap_or(usize::MAX);
    machine().unwrap_or(4 << 30).min(group)
}

fn machine() -> Option<usize> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_given_back() {
        let memory = Arc::new(Memory::new(1 << 20));
        let mut share = Share::new(&memory);
        let mut unfinished = 0;
        assert!(!share.add(64 << 10));
        assert!(!share.recount(&mut unfinished, PAGE - 1));
        assert_eq!((share.bytes(), unfinished), (64 << 10, 0));
        assert!(!share.recount(&mut unfinished, 3 * PAGE + 1));
        assert_eq!(memory.waiting(), (64 << 10) + 3 * PAGE);
        share.sub(64 << 10);
        assert!(!share.recount(&mut unfinished, PAGE));
        assert_eq!((share.bytes(), memory.waiting()), (PAGE, PAGE));
        drop(share);
        assert_eq!(memory.waiting(), 0);
    }

    #[test]
    fn an_eighth_is_to_be_free_when_all_is_used_up() {
        let memory = Arc::new(Memory::new(800));
        let mut share = Share::new(&memory);
        assert!(!share.add(800));
        assert_eq!(memory.excess(), 0);
        assert!(share.add(1));
        assert_eq!(memory.excess(), 101);
        // Subscriptions may take half of it, and what waits has the rest.
        memory.subscriptions.store(300, Ordering::Relaxed);
        assert!(memory.takes_subscriptions());
        memory.subscriptions.store(500, Ordering::Relaxed);
        assert!(!memory.takes_subscriptions());
        share.sub(401);
        assert_eq!(memory.excess(), 0);
    }

    #[test]
    fn the_machine_says_how_much_there_is() {
        assert!(available() > 16 << 20);
        assert_eq!(Memory::new(0).limit(), available() / 2);
    }
}
