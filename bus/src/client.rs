//! The part of a connection that all workers see: its queue, its subscriptions, its signals.
//!
//! Lock order: `subs` before a sublist shard; `out` and `replies` are leaves. No two clients' locks
//! are ever held together.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use futures_util::task::AtomicWaker;
use hashbrown::HashTable;
use parking_lot::{Mutex, MutexGuard};

use crate::account::Account;
use crate::auth::Identity;
use crate::clock::Noted;
use crate::hash::{Seed, equal};
use crate::memory::Memory;
use crate::outbound::{ChunkPool, Outbound, Progress, Written};
use crate::permissions::OpenReplies;
use crate::session::End;
use crate::subscription::{Admission, Subscription};
use crate::trace;
use crate::wire::{CodecError, Decoded, Handshake, Wire};

/// A socket that has taken nothing for this long is stuck: where memory is short, it goes first.
const STUCK: Duration = Duration::from_millis(500);
/// Rounds one flush makes for others' messages before it leaves the rest to the client's task.
const FLUSH_ROUNDS: usize = 4;

/// What the client's task is asked to do; bits of one word.
pub(crate) mod signal {
    /// Wait for room in the socket.
    pub(crate) const BLOCKED: u32 = 1;
    /// Flush the queue.
    pub(crate) const FLUSH: u32 = 2;
    /// End the connection.
    pub(crate) const END: u32 = 4;
    /// The settings have been replaced: see whether it may stay, and what it may do.
    pub(crate) const SETTINGS: u32 = 8;
    /// Send INFO again: the server or the cluster is not what it was.
    pub(crate) const INFO: u32 = 16;
    /// For routes: another connection to this peer is in use; see whether this one is still needed.
    pub(crate) const SETTLE: u32 = 256;
}

/// What speaks on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A client.
    Client,
    /// Another server of the cluster.
    Route,
    /// This server itself, which has no socket: what it publishes comes from this one.
    System,
}

/// Who a connection is, as far as it has said.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// The account it belongs to.
    pub(crate) account: Arc<Account>,
    /// The user it is, when users are known.
    pub(crate) identity: Option<Arc<Identity>>,
    /// The user it says it is, whether that is true or not.
    pub(crate) claims: Option<Arc<str>>,
    /// What it calls itself.
    pub(crate) name: Option<Arc<str>>,
    /// The language of its library.
    pub(crate) lang: Option<Arc<str>>,
    /// The version of its library.
    pub(crate) version: Option<Arc<str>>,
    /// Whether a CONNECT of its has been accepted.
    pub(crate) connected: bool,
}

/// A connection, as others see it.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its number.
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    /// Where it came from.
    pub(crate) peer: SocketAddr,
    pub(crate) started: SystemTime,
    /// What TLS and upgrade have come to, where there were any.
    handshake: OnceLock<Box<Handshake>>,
    about: Mutex<About>,
    out: Mutex<Outbound>,
    subs: Mutex<Subscriptions>,
    max_pending: AtomicUsize,
    /// Whether it misses messages rather than slowing publishers down, when it is behind.
    misses: AtomicBool,
    /// Whether own messages come back.
    pub(crate) echo: AtomicBool,
    /// Whether received reply subjects are to be noted in `replies`.
    tracks_replies: AtomicBool,
    replies: Mutex<Option<OpenReplies>>,
    /// Messages it published.
    pub(crate) in_messages: AtomicU64,
    /// Bytes of their payloads and headers.
    pub(crate) in_bytes: AtomicU64,
    /// When it last published or subscribed.
    pub(crate) active: Noted,
    /// Nanoseconds from a question to its answer; 0 as long as it is not known.
    rtt: AtomicU64,
    signals: AtomicU32,
    end: Mutex<Option<End>>,
    pub(crate) waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Subscriptions {
    table: HashTable<Arc<Subscription>>,
    closed: bool,
    /// The shadows of those that reach into other accounts, by sid.
    shadows: HashMap<Box<[u8]>, Vec<Shade>>,
}

/// A shadow of a subscription, and the account it is listed in.
pub(crate) type Shade = (Arc<Account>, Arc<Subscription>);

/// What became of a message for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Not taken: the subscription or the client has ended.
    Refused,
    /// Queued.
    Queued {
        /// The caller must flush this client at the end of its turn.
        flush: bool,
        /// The subscription ends with it and must be taken off the list.
        last: bool,
        /// The client is slow: its publishers should be slowed as well.
        congested: bool,
    },
}

/// What a subscription attempt met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enrolment {
    Added,
    /// The sid is in use; the first subscription stays.
    Known,
    /// The connection is being closed.
    Closed,
}

// === impl Client ===

impl Client {
    pub(crate) fn new(
        id: u64,
        kind: Kind,
        peer: SocketAddr,
        wire: Option<Arc<Wire>>,
        account: Arc<Account>,
        memory: &Arc<Memory>,
        max_pending: usize,
    ) -> Self {
        Client {
            id,
            kind,
            peer,
            started: SystemTime::now(),
            handshake: OnceLock::new(),
            about: Mutex::new(About {
                account,
                identity: None,
                claims: None,
                name: None,
                lang: None,
                version: None,
                connected: false,
            }),
            out: Mutex::new(Outbound::new(wire, memory)),
            subs: Mutex::default(),
            max_pending: AtomicUsize::new(max_pending),
            misses: AtomicBool::new(false),
            echo: AtomicBool::new(true),
            tracks_replies: AtomicBool::new(false),
            replies: Mutex::new(None),
            in_messages: AtomicU64::new(0),
            in_bytes: AtomicU64::new(0),
            active: Noted::default(),
            rtt: AtomicU64::new(0),
            signals: AtomicU32::new(0),
            end: Mutex::new(None),
            waker: AtomicWaker::new(),
        }
    }

    pub(crate) fn out(&self) -> MutexGuard<'_, Outbound> {
        self.out.lock()
    }

    /// Its socket, while there is one.
    pub(crate) fn wire(&self) -> Option<Arc<Wire>> {
        self.out.lock().wire.clone()
    }

    /// What TLS and upgrade have come to; `None` in clear.
    pub(crate) fn handshake(&self) -> Option<&Handshake> {
        self.handshake.get().map(|handshake| &**handshake)
    }

    /// Whether it has come by websocket.
    pub(crate) fn is_on_websocket(&self) -> bool {
        self.handshake()
            .is_some_and(|handshake| handshake.websocket.is_some())
    }

    /// Once, when they are over.
    pub(crate) fn set_handshake(&self, handshake: Handshake) {
        let _ = self.handshake.set(Box::new(handshake));
    }

    /// Who it is. A leaf among the locks, for where speed does not matter.
    pub(crate) fn about(&self) -> MutexGuard<'_, About> {
        self.about.lock()
    }

    /// The account it belongs to.
    pub(crate) fn account(&self) -> Arc<Account> {
        Arc::clone(&self.about.lock().account)
    }

    /// How long the last question took to be answered.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        let nanos = self.rtt.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// Notes how long a question took to be answered.
    pub(crate) fn set_rtt(&self, rtt: Duration) {
        let nanos = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX);
        self.rtt.store(nanos.max(1), Ordering::Relaxed);
    }

    /// Queues one message. `parts` makes its frame, given whether the client understands headers.
    #[inline]
    pub(crate) fn deliver<'a>(
        &self,
        sub: &'a Subscription,
        size: usize,
        parts: impl FnOnce(bool, &'a [u8]) -> [&'a [u8]; 4],
        pool: &mut ChunkPool,
    ) -> Delivery {
        let mut out = self.out.lock();
        if !out.open {
            return Delivery::Refused;
        }
        let max_pending = self.max_pending.load(Ordering::Relaxed);
        if out.pending + size > max_pending {
            out.close();
            drop(out);
            self.end(End::SlowConsumerPending);
            return Delivery::Refused;
        }
        let behind = out.pending > max_pending / 4 * 3;
        if behind && self.misses.load(Ordering::Relaxed) {
            return Delivery::Refused;
        }
        let last = match sub.admit() {
            Admission::No => return Delivery::Refused,
            Admission::Yes => false,
            Admission::Last => true,
        };
        let parts = parts(out.headers, sub.sid());
        out.push(parts, pool);
        out.messages += 1;
        out.bytes += size as u64;
        let flush = !std::mem::replace(&mut out.dirty, true);
        let congested = behind && out.is_moving(Instant::now());
        Delivery::Queued {
            flush,
            last,
            congested,
        }
    }

    /// Queues one message for another server, in the parts of its frame.
    pub(crate) fn forward(&self, parts: [&[u8]; 2], size: usize, pool: &mut ChunkPool) -> Delivery {
        let mut out = self.out.lock();
        if !out.open {
            return Delivery::Refused;
        }
        let max_pending = self.max_pending.load(Ordering::Relaxed);
        if out.pending + parts[0].len() + parts[1].len() > max_pending {
            out.close();
            drop(out);
            self.end(End::SlowConsumerPending);
            return Delivery::Refused;
        }
        out.push([parts[0], parts[1], &[], &[]], pool);
        out.messages += 1;
        out.bytes += size as u64;
        let flush = !std::mem::replace(&mut out.dirty, true);
        let congested = out.pending > max_pending / 4 * 3 && out.is_moving(Instant::now());
        Delivery::Queued {
            flush,
            last: false,
            congested,
        }
    }

    /// Queues a frame that is no message. The caller flushes.
    pub(crate) fn send(&self, frame: &[u8], pool: &mut ChunkPool) {
        if trace::is_on() && self.kind == Kind::Client {
            trace::outgoing(self, frame);
        }
        let mut out = self.out.lock();
        if out.wire.is_none() {
            return;
        }
        if out.pending + frame.len() > self.max_pending.load(Ordering::Relaxed) {
            out.close();
            drop(out);
            self.end(End::SlowConsumerPending);
            return;
        }
        out.push([frame, &[], &[], &[]], pool);
    }

    /// Whether it is slow but alive, so that waiting a moment helps.
    pub(crate) fn is_congested(&self) -> bool {
        let out = self.out.lock();
        out.pending > self.max_pending.load(Ordering::Relaxed) / 4 * 3
            && out.is_moving(Instant::now())
    }

    /// Whether it misses messages rather than slowing publishers down, when it is behind.
    pub(crate) fn set_misses(&self, misses: bool) {
        self.misses.store(misses, Ordering::Relaxed);
    }

    /// Changes how many bytes may wait for it.
    pub(crate) fn set_max_pending(&self, bytes: usize) {
        self.max_pending.store(bytes, Ordering::Relaxed);
    }

    /// Has its codec decode what was read, and sends what the codec has to say to that.
    ///
    /// # Errors
    /// The peer breaks the codec's rules.
    pub(crate) fn decode(
        &self,
        input: &[u8],
        plain: &mut Vec<u8>,
        pool: &mut ChunkPool,
    ) -> Result<Decoded, CodecError> {
        let Some(wire) = self.out.lock().wire.clone() else {
            return Ok(Decoded::PeerClosed);
        };
        let (decoded, residue) = wire.decode(input, plain);
        if residue {
            self.out.lock().residue = true;
            self.flush(pool);
        }
        decoded
    }

    /// Bytes that the codec keeps of what has come.
    pub(crate) fn kept_by_codec(&self) -> usize {
        self.wire().map_or(0, |wire| wire.kept())
    }

    /// Writes what is queued, as far as the socket takes it.
    pub(crate) fn flush(&self, pool: &mut ChunkPool) {
        let mut out = self.out.lock();
        out.dirty = false;
        out.note_activity();
        if out.writing || out.blocked || !out.has_unsent() {
            // A writer looks again before it goes; a blocked one has its task waiting.
            return;
        }
        let Some(wire) = out.wire.clone() else {
            return;
        };
        out.writing = true;
        let mut raised = 0;
        for round in 0.. {
            let offset = out.take(&mut pool.batch);
            let Progress {
                sent,
                freed,
                offset,
                end,
            } = MutexGuard::unlocked(&mut out, || pool.write_batch(&wire, offset));
            if out.wire.is_none() {
                pool.batch.clear();
                break;
            }
            out.pending = out.pending.saturating_sub(sent);
            out.freed(freed);
            out.note_encoded(wire.residue());
            match end {
                Written::All if !out.has_unsent() => {
                    out.stuck_since = None;
                    break;
                }
                Written::All if round + 1 < FLUSH_ROUNDS => {}
                Written::All => {
                    raised = signal::FLUSH;
                    break;
                }
                Written::Full => {
                    out.put_back(&mut pool.batch, offset);
                    out.note_full(sent, Instant::now());
                    raised = signal::BLOCKED;
                    break;
                }
                Written::Broken(error) => {
                    pool.batch.clear();
                    out.close();
                    self.set_end(End::Write(error));
                    raised = signal::END;
                    break;
                }
            }
        }
        out.writing = false;
        drop(out);
        if raised != 0 {
            self.raise(raised);
        }
    }

    /// What it holds of the memory of all connections, and whether that has not changed for a while.
    pub(crate) fn held(&self) -> (bool, usize) {
        let out = self.out.lock();
        (out.is_stuck(STUCK), out.held())
    }

    /// Cuts it off: nothing is sent any more, what is queued is lost.
    pub(crate) fn cut_off(&self, end: End) {
        self.out.lock().close();
        self.end(end);
    }

    /// The socket has room again.
    pub(crate) fn unblock(&self) {
        self.out.lock().blocked = false;
    }

    /// Since when the socket has taken nothing, if something waits.
    pub(crate) fn stuck_since(&self) -> Option<Instant> {
        let out = self.out.lock();
        if out.blocked { out.stuck_since } else { None }
    }

    // --- signals ---

    /// Tells the client's task to do something.
    pub(crate) fn raise(&self, signals: u32) {
        self.signals.fetch_or(signals, Ordering::AcqRel);
        self.waker.wake();
    }

    /// What the client's task was told since it last asked.
    pub(crate) fn take_signals(&self) -> u32 {
        if self.signals.load(Ordering::Acquire) == 0 {
            return 0;
        }
        self.signals.swap(0, Ordering::AcqRel)
    }

    /// Ends the connection from outside. The first reason stays.
    pub(crate) fn end(&self, end: End) {
        self.set_end(end);
        self.raise(signal::END);
    }

    fn set_end(&self, end: End) {
        self.end.lock().get_or_insert(end);
    }

    pub(crate) fn take_end(&self) -> Option<End> {
        self.end.lock().take()
    }

    // --- subscriptions ---

    /// Enters a subscription under its sid; `list` puts it on the sublist.
    pub(crate) fn enrol(
        &self,
        seed: Seed,
        sub: &Arc<Subscription>,
        list: impl FnOnce(&Arc<Subscription>),
    ) -> Enrolment {
        let hash = seed.hash(sub.sid());
        let mut subs = self.subs.lock();
        if subs.closed {
            return Enrolment::Closed;
        }
        if subs
            .table
            .find(hash, |known| equal(known.sid(), sub.sid()))
            .is_some()
        {
            return Enrolment::Known;
        }
        subs.table
            .insert_unique(hash, Arc::clone(sub), |sub| seed.hash(sub.sid()));
        list(sub);
        Enrolment::Added
    }

    /// Puts one subscription in the place of another; `relist` is called while neither can be forgotten.
    pub(crate) fn succeed(
        &self,
        seed: Seed,
        old: &Arc<Subscription>,
        new: &Arc<Subscription>,
        relist: impl FnOnce(),
    ) {
        let mut subs = self.subs.lock();
        let hash = seed.hash(old.sid());
        if let Some(place) = subs.table.find_mut(hash, |known| Arc::ptr_eq(known, old)) {
            *place = Arc::clone(new);
            relist();
        }
    }

    /// Whether any of its subscriptions reaches into another account.
    pub(crate) fn casts_shadows(&self) -> bool {
        !self.subs.lock().shadows.is_empty()
    }

    pub(crate) fn subscription(&self, seed: Seed, sid: &[u8]) -> Option<Arc<Subscription>> {
        let subs = self.subs.lock();
        subs.table
            .find(seed.hash(sid), |known| equal(known.sid(), sid))
            .cloned()
    }

    /// Forgets a subscription (this very one, not a later one of the same sid).
    pub(crate) fn forget(&self, seed: Seed, sub: &Arc<Subscription>) {
        let mut subs = self.subs.lock();
        let hash = seed.hash(sub.sid());
        if let Ok(entry) = subs.table.find_entry(hash, |known| Arc::ptr_eq(known, sub)) {
            entry.remove();
            if !subs.shadows.is_empty() {
                let shadows = subs.shadows.remove(sub.sid());
                drop(subs);
                unlist(shadows.into_iter().flatten());
                return;
            }
        }
        if subs.table.is_empty() && subs.table.capacity() > 16 {
            subs.table = HashTable::new();
        }
    }

    /// Lists the shadows of a subscription, unless that has ended meanwhile; those it had go.
    pub(crate) fn cast(&self, seed: Seed, sub: &Arc<Subscription>, shadows: Vec<Shade>) {
        let hash = seed.hash(sub.sid());
        let mut subs = self.subs.lock();
        let same = |known: &Arc<Subscription>| Arc::ptr_eq(known, sub);
        let lives = subs.table.find(hash, same).is_some();
        let old = subs.shadows.remove(sub.sid());
        if lives && !shadows.is_empty() {
            for (account, shadow) in &shadows {
                account.insert(shadow);
            }
            subs.shadows.insert(sub.sid().into(), shadows);
        }
        drop(subs);
        unlist(old.into_iter().flatten());
    }

    /// All subscriptions, in no order.
    pub(crate) fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        self.subs.lock().table.iter().cloned().collect()
    }

    pub(crate) fn subscription_count(&self) -> usize {
        self.subs.lock().table.len()
    }

    /// Takes all subscriptions; there will be no more.
    pub(crate) fn take_subscriptions(&self) -> Vec<Arc<Subscription>> {
        let mut subs = self.subs.lock();
        subs.closed = true;
        let shadows = std::mem::take(&mut subs.shadows);
        let table = std::mem::take(&mut subs.table);
        drop(subs);
        unlist(shadows.into_values().flatten());
        table.into_iter().collect()
    }

    // --- answers to received requests ---

    pub(crate) fn track_replies(&self, replies: Option<OpenReplies>) {
        self.tracks_replies
            .store(replies.is_some(), Ordering::Release);
        *self.replies.lock() = replies;
    }

    /// Notes the reply subject of a message that is about to be delivered.
    #[inline]
    pub(crate) fn note_reply(&self, reply: &[u8]) {
        if self.tracks_replies.load(Ordering::Acquire)
            && let Some(replies) = &mut *self.replies.lock()
        {
            replies.received(reply, Instant::now());
        }
    }

    /// Whether it may publish here because it was asked to answer.
    pub(crate) fn may_answer(&self, subject: &[u8]) -> bool {
        self.replies
            .lock()
            .as_mut()
            .is_some_and(|replies| replies.answer(subject, Instant::now()))
    }
}

fn unlist(shadows: impl Iterator<Item = Shade>) {
    for (account, shadow) in shadows {
        account.remove(&shadow);
    }
}
