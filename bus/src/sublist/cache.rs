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
/// Receivers of a list that is worth being kept: to find more of them again costs little beside reaching
/// them, and a list that is kept here has to be copied when it changes.
const CROWD: usize = 4096;
/// What all results may weigh that are copies of several lists, and what one of them may.
const HELD: usize = 1 << 20;
const HELD_BY_ONE: usize = HELD / 16;
/// Longest subject that is kept.
const LONGEST: usize = 1024;

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
    /// What the entries weigh that are copies.
    held: usize,
    /// Receivers of the largest list that was not kept.
    crowd: usize,
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
    /// What the result weighs when it is a copy of several lists.
    copied: usize,
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
            held: 0,
            crowd: 0,
            frontier: Frontier::default(),
        }
    }
}

impl<T: Member> MatchCache<T> {
    /// Who gets a message on `subject`; the answer is good until the next call. Adds to `work` what it
    /// has cost when that was more than usual: nodes visited, receivers copied.
    #[inline]
    pub fn find(
        &mut self,
        list: &Sublist<T>,
        subject: &[u8],
        work: &mut usize,
    ) -> Option<&Matches<T>> {
        if self.is_at(self.last, list, subject) {
            return self.matches_at(self.last);
        }
        let hash = list.seed.hash(subject);
        let at = index(hash, self.slots.len());
        if self.is_at(at, list, subject) {
            self.last = at;
            return self.matches_at(at);
        }
        self.look_up(list, subject, hash, work)
    }

    /// As [`MatchCache::find`], for a subject that is asked about once.
    pub fn find_once(
        &mut self,
        list: &Sublist<T>,
        subject: &[u8],
        work: &mut usize,
    ) -> Option<Matches<T>> {
        let found = list.find_with(subject, list.seed.hash(subject), &mut self.frontier);
        *work += self.frontier.visited + self.frontier.copied;
        found
    }

    /// Lets go of the last result: as long as it is held, its list is copied when it changes.
    pub fn release(&mut self) {
        self.missed = None;
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
    fn look_up(
        &mut self,
        list: &Sublist<T>,
        subject: &[u8],
        hash: u64,
        work: &mut usize,
    ) -> Option<&Matches<T>> {
        // Read before the lookup: a change in between makes the entry outdated, never wrong.
        self.misses += 1;
        let shards = list.shards(subject, hash);
        let stamp = list.stamp(shards);
        self.missed = list.find_with(subject, hash, &mut self.frontier);
        *work += self.frontier.visited + self.frontier.copied;
        self.remember(subject, hash, shards, stamp);
        self.missed.as_ref()
    }

    /// Keeps what a miss has found, when its subject has missed before.
    fn remember(&mut self, subject: &[u8], hash: u64, shards: Shards, stamp: Stamp) {
        if self.slots.is_empty() {
            self.resize(SMALLEST);
        }
        let copied = self.frontier.copied;
        if self.held + copied > HELD {
            self.forget_copies();
        }
        let weight = self.missed.as_ref().map_or(0, Matches::weight);
        let most = if copied > 0 { HELD_BY_ONE } else { CROWD };
        let worth = weight <= most && subject.len() <= LONGEST;
        if weight > most {
            self.crowd = self.crowd.max(weight);
        }
        let at = index(hash, self.slots.len());
        let slot = &mut self.slots[at];
        match &mut slot.entry {
            Some(entry) if entry.hash == hash && *entry.subject == *subject => {
                self.held -= entry.copied;
                if worth {
                    self.held += copied;
                    entry.stamp = stamp;
                    entry.matches = self.missed.clone();
                    entry.copied = copied;
                } else {
                    slot.entry = None;
                }
            }
            entry if slot.knocked == hash && worth => {
                let pushed_out = entry.is_some();
                self.held -= entry.as_ref().map_or(0, |entry| entry.copied);
                self.held += copied;
                let matches = self.missed.clone();
                *entry = Some(Entry {
                    hash,
                    subject: subject.into(),
                    shards,
                    stamp,
                    matches,
                    copied,
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
            max_fanout: self.crowd,
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
        self.crowd = 0;
        self.retain(|entry| list.stamp(entry.shards) == entry.stamp);
    }

    /// Drops results that are copies: those that are still asked for come back.
    fn forget_copies(&mut self) {
        self.retain(|entry| entry.copied == 0);
    }

    fn retain(&mut self, keep: impl Fn(&Entry<T>) -> bool) {
        for slot in &mut self.slots {
            if let Some(entry) = slot.entry.take_if(|entry| !keep(entry)) {
                self.held -= entry.copied;
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
                let pushed_out = self.slots[at].entry.replace(entry);
                self.held -= pushed_out.map_or(0, |entry| entry.copied);
            }
        }
    }
}

#[inline]
fn index(hash: u64, len: usize) -> usize {
    // Bits that neither the shard index nor the shard's table uses first.
    super::low_bits(hash >> 20, len)
}
