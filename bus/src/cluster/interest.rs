//! What somebody here listens to, and telling the peers of each change.
//!
//! A subject is told once, however many listen; a queue group with its number of members, each time that
//! changes. A change is appended to the peers' queues while its shard is locked, and before the turn goes on
//! that made it: so peers hear changes of one subject in order, and hear of a reply subject before they
//! get the request that names it.
//!
//! Lock order: a shard, then the queue of one peer.

use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::Mutex;

use super::frame;
use super::rights::RouteRights;
use crate::account::{Account, InterestWatch};
use crate::client::{Client, Kind, signal};
use crate::hash::Seed;
use crate::outbound::ChunkPool;
use crate::sublist::Member as _;
use crate::subscription::Subscription;

/// Shards: enough that workers rarely wait for each other.
const SHARDS: usize = 16;
/// How much of the whole interest is queued at a time for a new peer.
const STEP: usize = 32 << 10;

/// All local interest, and the peers that know of it.
#[derive(Debug)]
pub(crate) struct Interest {
    seed: Seed,
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Debug, Default)]
struct Shard {
    table: HashTable<Entry>,
    peers: Vec<Arc<Client>>,
    /// What peers are asked for; everything when absent.
    rights: Option<RouteRights>,
    pool: ChunkPool,
    text: Vec<u8>,
}

/// What is listened to.
#[derive(Clone, Debug)]
struct Entry {
    account: Arc<str>,
    subject: Box<[u8]>,
    queue: Option<Arc<[u8]>>,
    /// How many listen.
    count: u32,
}

/// What the peers must hear of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    Listens(u32),
    Gone,
}

// === impl Interest ===

impl Interest {
    pub(crate) fn new() -> Self {
        Interest {
            seed: Seed::random(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Tells a peer all there is, and of every change from now on.
    pub(crate) fn join(&self, peer: &Arc<Client>) {
        for shard in &self.shards {
            let shard = &mut *shard.lock();
            shard.tell(peer, |_| true);
            // It may have been told before, and be in use again.
            if !shard.peers.iter().any(|known| Arc::ptr_eq(known, peer)) {
                shard.peers.push(Arc::clone(peer));
            }
        }
        peer.raise(signal::FLUSH);
    }

    /// Tells a peer again what it lets us have from now on, and did not before.
    pub(crate) fn repeat(
        &self,
        peer: &Arc<Client>,
        had: Option<&RouteRights>,
        has: Option<&RouteRights>,
    ) {
        let exported = |rights: Option<&RouteRights>, subject: &[u8]| {
            rights.is_none_or(|rights| rights.exports(subject))
        };
        for shard in &self.shards {
            let shard = &mut *shard.lock();
            if shard.peers.iter().any(|known| Arc::ptr_eq(known, peer)) {
                shard.tell(peer, |subject| {
                    exported(has, subject) && !exported(had, subject)
                });
            }
        }
        peer.raise(signal::FLUSH);
    }

    /// Asks the peers for this much from now on: for more than before, and no longer for other things.
    pub(crate) fn restrict(&self, rights: Option<&RouteRights>) {
        for shard in &self.shards {
            let shard = &mut *shard.lock();
            let before = std::mem::replace(&mut shard.rights, rights.cloned());
            if shard.peers.is_empty() || (before.is_none() && rights.is_none()) {
                continue;
            }
            let allowed = |rights: Option<&RouteRights>, subject: &[u8]| {
                rights.is_none_or(|rights| rights.imports(subject))
            };
            shard.text.clear();
            for entry in &shard.table {
                let (account, queue) = (&entry.account, entry.queue.as_deref());
                let subject = &entry.subject;
                match (allowed(before.as_ref(), subject), allowed(rights, subject)) {
                    (false, true) => {
                        frame::subscribe(&mut shard.text, account, subject, queue, entry.count);
                    }
                    (true, false) => frame::unsubscribe(&mut shard.text, account, subject, queue),
                    _ => {}
                }
            }
            for peer in &shard.peers {
                peer.send(&shard.text, &mut shard.pool);
                peer.raise(signal::FLUSH);
            }
            shard.text = Vec::new();
        }
    }

    /// Takes back what a peer was told, as it hears it by another connection now.
    pub(crate) fn withdraw(&self, peer: &Arc<Client>) {
        for shard in &self.shards {
            let shard = &mut *shard.lock();
            let known = shard.peers.len();
            shard.peers.retain(|known| !Arc::ptr_eq(known, peer));
            if shard.peers.len() == known {
                continue;
            }
            shard.text.clear();
            for entry in &shard.table {
                let Entry {
                    account, subject, ..
                } = entry;
                frame::unsubscribe(&mut shard.text, account, subject, entry.queue.as_deref());
                if shard.text.len() >= STEP {
                    peer.send(&shard.text, &mut shard.pool);
                    shard.text.clear();
                }
            }
            peer.send(&shard.text, &mut shard.pool);
            shard.text = Vec::new();
        }
        peer.raise(signal::FLUSH);
    }

    /// Tells a peer nothing more.
    pub(crate) fn leave(&self, peer: &Arc<Client>) {
        for shard in &self.shards {
            shard.lock().peers.retain(|known| !Arc::ptr_eq(known, peer));
        }
    }

    fn change(&self, account: &Account, sub: &Arc<Subscription>, step: Step) {
        if sub.client.kind == Kind::Route || sub.is_service_import() {
            // One hop: what a peer listens to is its own to tell. And what leads into another account
            // leads there from every server.
            return;
        }
        let (subject, queue) = (sub.subject(), sub.queue());
        let hash = self.hash(&account.name, subject, queue);
        let index = usize::try_from(hash >> 32).unwrap_or(0) % SHARDS;
        let shard = &mut *self.shards[index].lock();
        let change = shard.count(self, hash, account, subject, queue, step);
        if change == Change::Nothing || shard.peers.is_empty() || !shard.imports(subject) {
            return;
        }
        shard.text.clear();
        let queue = queue.map(|queue| &**queue);
        match change {
            Change::Listens(count) => {
                frame::subscribe(&mut shard.text, &account.name, subject, queue, count);
            }
            _ => frame::unsubscribe(&mut shard.text, &account.name, subject, queue),
        }
        for peer in &shard.peers {
            peer.send(&shard.text, &mut shard.pool);
            peer.raise(signal::FLUSH);
        }
    }

    fn hash(&self, account: &str, subject: &[u8], queue: Option<&Arc<[u8]>>) -> u64 {
        let queue = queue.map_or(0, |queue| self.seed.hash(queue).rotate_left(7));
        self.seed.hash(subject) ^ self.seed.hash(account.as_bytes()).rotate_left(23) ^ queue
    }
}

/// One more, or one less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Up,
    Down,
}

impl Shard {
    /// Whether peers are asked for this subject.
    fn imports(&self, subject: &[u8]) -> bool {
        let rights = self.rights.as_ref();
        rights.is_none_or(|rights| rights.imports(subject))
    }

    /// Tells a peer what is listened to of some subjects.
    fn tell(&mut self, peer: &Arc<Client>, which: impl Fn(&[u8]) -> bool) {
        self.text.clear();
        for entry in &self.table {
            let subject = &entry.subject;
            if !which(subject) || !self.imports(subject) {
                continue;
            }
            let (account, queue) = (&entry.account, entry.queue.as_deref());
            frame::subscribe(&mut self.text, account, subject, queue, entry.count);
            if self.text.len() >= STEP {
                peer.send(&self.text, &mut self.pool);
                self.text.clear();
            }
        }
        peer.send(&self.text, &mut self.pool);
        self.text = Vec::new();
    }

    fn count(
        &mut self,
        interest: &Interest,
        hash: u64,
        account: &Account,
        subject: &[u8],
        queue: Option<&Arc<[u8]>>,
        step: Step,
    ) -> Change {
        let same = |entry: &Entry| {
            *entry.subject == *subject
                && entry.queue.as_ref() == queue
                && entry.account == account.name
        };
        match (self.table.find_entry(hash, same), step) {
            (Ok(mut known), Step::Up) => {
                let entry = known.get_mut();
                entry.count = entry.count.saturating_add(1);
                match queue {
                    Some(_) => Change::Listens(entry.count),
                    None => Change::Nothing,
                }
            }
            (Ok(mut known), Step::Down) => {
                let entry = known.get_mut();
                entry.count -= 1;
                match (entry.count, queue) {
                    (0, _) => {
                        known.remove();
                        Change::Gone
                    }
                    (count, Some(_)) => Change::Listens(count),
                    (_, None) => Change::Nothing,
                }
            }
            (Err(_), Step::Up) => {
                let entry = Entry {
                    account: Arc::clone(&account.name),
                    subject: subject.into(),
                    queue: queue.cloned(),
                    count: 1,
                };
                self.table.insert_unique(hash, entry, |entry| {
                    interest.hash(&entry.account, &entry.subject, entry.queue.as_ref())
                });
                Change::Listens(1)
            }
            (Err(_), Step::Down) => Change::Nothing,
        }
    }
}

impl InterestWatch for Interest {
    fn added(&self, account: &Account, sub: &Arc<Subscription>) {
        self.change(account, sub, Step::Up);
    }

    fn removed(&self, account: &Account, sub: &Arc<Subscription>) {
        self.change(account, sub, Step::Down);
    }
}
