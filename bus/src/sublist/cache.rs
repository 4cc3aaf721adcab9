//! The cache in front of a [`Sublist`]: one per worker thread, so it needs no lock.
//!
//! Direct-mapped with a doorkeeper: a subject must miss twice in a row on its slot before it is kept,
//! so the endless stream of one-time reply subjects does not push out what is published again and
//! again. A wrong guess costs one probe of the sublist, which is cheap by itself; there is no cliff at
//! the cache's size.

use super::matches::{Matches, Member};
use super::trie::Frontier;
use super::{Shards, Stamp, Sublist};
use crate::hash::equal;

const SMALLEST: usize = 64;
const LARGEST: usize = 8192;

/// Remembers who gets what, per published subject.
#[derive(Debug)]
pub struct MatchCache<T> {
    slots: Vec<Slot<T>>,
    /// The slot of the last hit: many a client publishes the same subject again and again.
    last: usize,
    /// Entries pushed out by others since the table last grew.
    evictions: usize,
    /// The result of the last miss.
    missed: Option<Matches<T>>,
    misses: u64,
    frontier: Frontier,
}

/// How full a cache is, and of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Results in it.
    pub entries: usize,
    /// Receivers in all of them together; a queue group counts as its members.
    pub fanout: usize,
    /// Receivers in the one that has most.
    pub max_fanout: usize,
    /// Look-ups it could not answer so far.
    pub misses: u64,
}

#[derive(Debug)]
struct Slot<T> {
    /// The hash that missed here last.
    knocked: u64,
    entry: Option<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    hash: u64,
    subject: Box<[u8]>,
    shards: Shards,
    stamp: Stamp,
    matches: Option<Matches<T>>,
}

// === impl MatchCache ===

impl<T> Default for MatchCache<T> {
    fn default() -> Self {
        MatchCache {
            slots: Vec::new(),
            last: 0,
            evictions: 0,
            missed: None,
            misses: 0,
            frontier: Frontier::default(),
        }
    }
}

impl<T: Member> MatchCache<T> {
    /// Who gets a message on `subject`; the answer is good until the next call.
    #[inline]
    pub fn find(&mut self, list: &Sublist<T>, subject: &[u8]) -> Option<&Matches<T>> {
        if self.is_at(self.last, list, subject) {
            return self.matches_at(self.last);
        }
        let hash = list.seed.hash(subject);
        let at = index(hash, self.slots.len());
        if self.is_at(at, list, subject) {
            self.last = at;
            return self.matches_at(at);
        }
        self.look_up(list, subject, hash)
    }

    /// Whether the entry in a slot is for this subject, and what it says still holds.
    #[inline]
    fn is_at(&self, at: usize, list: &Sublist<T>, subject: &[u8]) -> bool {
        let entry = self.slots.get(at).and_then(|slot| slot.entry.as_ref());
        entry.is_some_and(|entry| {
            equal(&entry.subject, subject) && list.stamp(entry.shards) == entry.stamp
        })
    }

    #[inline]
    fn matches_at(&self, at: usize) -> Option<&Matches<T>> {
        self.slots.get(at)?.entry.as_ref()?.matches.as_ref()
    }

    #[inline(never)]
    fn look_up(&mut self, list: &Sublist<T>, subject: &[u8], hash: u64) -> Option<&Matches<T>> {
        // Read before the lookup: a change in between makes the entry outdated, never wrong.
        self.misses += 1;
        let shards = list.shards(subject, hash);
        let stamp = list.stamp(shards);
        self.missed = list.find_with(subject, hash, &mut self.frontier);
        self.remember(subject, hash, shards, stamp);
        self.missed.as_ref()
    }

    /// Keeps what a miss has found, when its subject has missed before.
    fn remember(&mut self, subject: &[u8], hash: u64, shards: Shards, stamp: Stamp) {
        if self.slots.is_empty() {
            self.resize(SMALLEST);
        }
        let at = index(hash, self.slots.len());
        let slot = &mut self.slots[at];
        match &mut slot.entry {
            Some(entry) if entry.hash == hash && *entry.subject == *subject => {
                entry.stamp = stamp;
                entry.matches = self.missed.clone();
            }
            entry if slot.knocked == hash => {
                let pushed_out = entry.is_some();
                let matches = self.missed.clone();
                *entry = Some(Entry {
                    hash,
                    subject: subject.into(),
                    shards,
                    stamp,
                    matches,
                });
                if pushed_out {
                    self.evictions += 1;
                    if self.evictions > self.slots.len() && self.slots.len() < LARGEST {
                        self.resize(self.slots.len() * 4);
                    }
                }
            }
            _ => slot.knocked = hash,
        }
    }

    /// What is in it now.
    pub fn stats(&self) -> CacheStats {
        let mut stats = CacheStats {
            misses: self.misses,
            ..CacheStats::default()
        };
        for entry in self.slots.iter().filter_map(|slot| slot.entry.as_ref()) {
            let receivers = entry
                .matches
                .as_ref()
                .map_or(0, |found| found.all().count());
            stats.entries += 1;
            stats.fanout += receivers;
            stats.max_fanout = stats.max_fanout.max(receivers);
        }
        stats
    }

    /// Drops entries that later changes have outdated, so that they keep nothing alive.
    pub fn sweep(&mut self, list: &Sublist<T>) {
        self.missed = None;
        for slot in &mut self.slots {
            if let Some(entry) = &slot.entry
                && list.stamp(entry.shards) != entry.stamp
            {
                slot.entry = None;
            }
        }
    }

    fn resize(&mut self, len: usize) {
        let old = std::mem::take(&mut self.slots);
        self.slots.resize_with(len.min(LARGEST), || Slot {
            knocked: 0,
            entry: None,
        });
        self.evictions = 0;
        for slot in old {
            if let Some(entry) = slot.entry {
                let at = index(entry.hash, self.slots.len());
                self.slots[at].entry = Some(entry);
            }
        }
    }
}

#[inline]
fn index(hash: u64, len: usize) -> usize {
    // Bits that neither the shard index nor the shard's table uses first.
    super::low_bits(hash >> 20, len)
}
