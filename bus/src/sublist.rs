//! Who wants what: subscriptions by subject, matched for every message.
//!
//! Two stores, because most subscriptions and nearly all published subjects are literal:
//! - **literals**: hash tables, sharded by the subject's hash. One probe, whatever their number.
//! - **wildcards**: tries, sharded by the hash of the first token; those that begin with a wildcard
//!   live in a trie of their own, which is empty in most systems and then costs one load.
//!
//! Each shard has a generation that every change to it increments. A [`MatchCache`] (one per worker
//! thread, no lock) keeps results with the generations of the three shards they came from, so a change
//! only outdates results of its own shards, and a hit costs three loads.
//!
//! Lock order: a shard's lock is a leaf; nothing else is locked while it is held.

mod cache;
mod groups;
mod matches;
mod trie;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashTable;
use parking_lot::RwLock;

pub use cache::{CacheStats, MatchCache};
pub use groups::{Group, Groups};
use matches::Removal;
pub use matches::{Lists, Matches, Member, Remote};
use trie::{Frontier, Trie};

use crate::hash::{Seed, equal};
use crate::subject;

const LITERAL_SHARDS: usize = 256;
const ROOTED_SHARDS: usize = 64;

/// All subscriptions of one subject space.
#[derive(Debug)]
pub struct Sublist<T> {
    seed: Seed,
    literals: Box<[LiteralShard<T>]>,
    /// Wildcard subscriptions whose first token is literal.
    rooted: Box<[WildcardShard<T>]>,
    /// Wildcard subscriptions whose first token is a wildcard.
    open: WildcardShard<T>,
    len: AtomicUsize,
    inserts: AtomicU64,
    removes: AtomicU64,
}

#[derive(Debug)]
struct LiteralShard<T> {
    generation: AtomicU64,
    table: RwLock<HashTable<Matches<T>>>,
}

#[derive(Debug)]
struct WildcardShard<T> {
    generation: AtomicU64,
    /// Lets a match pass by an empty trie without taking its lock.
    len: AtomicUsize,
    trie: RwLock<Trie<T>>,
}

/// The shards a match result comes from, besides the open one.
#[derive(Clone, Copy, Debug)]
struct Shards {
    literal: usize,
    rooted: usize,
}

/// The generations a match result depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    literal: u64,
    rooted: u64,
    open: u64,
}

/// Sizes and counts, for monitoring.
#[derive(Clone, Copy, Debug, Default)]
pub struct SublistStats {
    /// Subscriptions now.
    pub len: usize,
    /// Subscriptions ever added.
    pub inserts: u64,
    /// Subscriptions ever removed.
    pub removes: u64,
}

impl SublistStats {
    /// Both together.
    pub(crate) fn add(self, other: Self) -> Self {
        SublistStats {
            len: self.len + other.len,
            inserts: self.inserts + other.inserts,
            removes: self.removes + other.removes,
        }
    }

    /// The rest, when `count` of them are nobody's business.
    pub(crate) fn without(self, count: usize) -> Self {
        SublistStats {
            len: self.len.saturating_sub(count),
            inserts: self.inserts.saturating_sub(count as u64),
            ..self
        }
    }
}

// === impl Sublist ===

impl<T: Member> Default for Sublist<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Member> Sublist<T> {
    /// An empty list.
    pub fn new() -> Self {
        let seed = Seed::random();
        Sublist {
            seed,
            literals: (0..LITERAL_SHARDS)
                .map(|_| LiteralShard {
                    generation: AtomicU64::new(0),
                    table: RwLock::new(HashTable::new()),
                })
                .collect(),
            rooted: (0..ROOTED_SHARDS)
                .map(|_| WildcardShard::new(seed))
                .collect(),
            open: WildcardShard::new(seed),
            len: AtomicUsize::new(0),
            inserts: AtomicU64::new(0),
            removes: AtomicU64::new(0),
        }
    }

    /// Adds a subscription; its subject must be valid.
    pub fn insert(&self, member: &Arc<T>) {
        let subject = member.subject();
        if subject::has_wildcard(subject) {
            let shard = self.wildcard_shard(subject);
            let mut trie = shard.trie.write();
            trie.insert(member);
            shard.len.fetch_add(1, Ordering::Relaxed);
            shard.generation.fetch_add(1, Ordering::Release);
        } else {
            let hash = self.seed.hash(subject);
            let shard = &self.literals[literal_index(hash)];
            let mut table = shard.table.write();
            match table.find_mut(hash, |entry| equal(entry.subject(), subject)) {
                Some(entry) => entry.insert(member),
                None => {
                    let seed = self.seed;
                    table.insert_unique(hash, Matches::of(member), |entry| {
                        seed.hash(entry.subject())
                    });
                }
            }
            shard.generation.fetch_add(1, Ordering::Release);
        }
        self.len.fetch_add(1, Ordering::Relaxed);
        self.inserts.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes a subscription; `false` when it was not there (any more).
    pub fn remove(&self, member: &Arc<T>) -> bool {
        let subject = member.subject();
        let removed = if subject::has_wildcard(subject) {
            let shard = self.wildcard_shard(subject);
            let mut trie = shard.trie.write();
            let removed = trie.remove(member);
            if removed {
                shard.len.fetch_sub(1, Ordering::Relaxed);
                shard.generation.fetch_add(1, Ordering::Release);
            }
            removed
        } else {
            self.remove_literal(member, subject)
        };
        if removed {
            self.len.fetch_sub(1, Ordering::Relaxed);
            self.removes.fetch_add(1, Ordering::Relaxed);
        }
        removed
    }

    fn remove_literal(&self, member: &Arc<T>, subject: &[u8]) -> bool {
        let hash = self.seed.hash(subject);
        let shard = &self.literals[literal_index(hash)];
        let mut table = shard.table.write();
        let Ok(mut entry) = table.find_entry(hash, |entry| equal(entry.subject(), subject)) else {
            return false;
        };
        match entry.get_mut().remove(member) {
            Removal::Absent => return false,
            Removal::Done => {}
            Removal::Last => {
                entry.remove();
            }
        }
        if table.capacity() > 64 && table.len() < table.capacity() / 4 {
            let seed = self.seed;
            table.shrink_to_fit(|entry| seed.hash(entry.subject()));
        }
        shard.generation.fetch_add(1, Ordering::Release);
        true
    }

    /// How many subscriptions there are and have been.
    pub fn stats(&self) -> SublistStats {
        SublistStats {
            len: self.len.load(Ordering::Relaxed),
            inserts: self.inserts.load(Ordering::Relaxed),
            removes: self.removes.load(Ordering::Relaxed),
        }
    }

    /// Who gets a message on `subject`, uncached. Used where speed does not matter.
    pub fn find(&self, subject: &[u8]) -> Option<Matches<T>> {
        self.find_with(subject, self.seed.hash(subject), &mut Frontier::default())
    }

    fn find_with(&self, subject: &[u8], hash: u64, frontier: &mut Frontier) -> Option<Matches<T>> {
        (frontier.visited, frontier.copied) = (0, 0);
        let mut merged = false;
        let mut found: Option<Matches<T>> = {
            let table = self.literals[literal_index(hash)].table.read();
            table
                .find(hash, |entry| equal(entry.subject(), subject))
                .cloned()
        };
        let rooted = &self.rooted[self.rooted_index(subject)];
        for shard in [rooted, &self.open] {
            if shard.len.load(Ordering::Acquire) > 0 && subject::is_routable(subject) {
                let trie = shard.trie.read();
                trie.find(subject, frontier, |more| match &mut found {
                    None => found = Some(more.clone()),
                    Some(found) => {
                        merged = true;
                        found.merge(more);
                    }
                });
            }
        }
        if merged {
            frontier.copied = found.as_ref().map_or(0, Matches::weight);
        }
        found
    }

    /// Where results for this subject come from.
    fn shards(&self, subject: &[u8], hash: u64) -> Shards {
        Shards {
            literal: literal_index(hash),
            rooted: self.rooted_index(subject),
        }
    }

    #[inline]
    fn stamp(&self, shards: Shards) -> Stamp {
        Stamp {
            literal: self.literals[shards.literal]
                .generation
                .load(Ordering::Acquire),
            rooted: self.rooted[shards.rooted]
                .generation
                .load(Ordering::Acquire),
            open: self.open.generation.load(Ordering::Acquire),
        }
    }

    fn wildcard_shard(&self, subject: &[u8]) -> &WildcardShard<T> {
        let first = subject::first_token(subject);
        if first == subject::ONE || first == subject::REST {
            &self.open
        } else {
            &self.rooted[self.rooted_index(subject)]
        }
    }

    #[inline]
    fn rooted_index(&self, subject: &[u8]) -> usize {
        low_bits(self.seed.hash(subject::first_token(subject)), ROOTED_SHARDS)
    }
}

impl<T: Member> WildcardShard<T> {
    fn new(seed: Seed) -> Self {
        WildcardShard {
            generation: AtomicU64::new(0),
            len: AtomicUsize::new(0),
            trie: RwLock::new(Trie::new(seed)),
        }
    }
}

#[inline]
fn literal_index(hash: u64) -> usize {
    // The table inside the shard uses the low and the top bits; these are from the middle.
    low_bits(hash >> 32, LITERAL_SHARDS)
}

/// A number below `count`, which is a power of two.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the bits that are used are kept"
)]
fn low_bits(hash: u64, count: usize) -> usize {
    hash as usize & count.wrapping_sub(1)
}

#[cfg(test)]
mod tests;
