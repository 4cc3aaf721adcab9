//! Taps: listening in on what others publish, without their noticing.
//!
//! A client with the right subscribes to `$SYS.TAP.<subject>`, where the rest may have wildcards, and gets
//! a copy of each matching message of its account (from the system account: of all accounts) with headers
//! that say when it came in, from whom, and how many received it. A tap sees what clients publish to this
//! server, and so never what taps get.
//!
//! A tap is not in the list of subscriptions. Publishers look at one flag; only when it is set they look
//! for taps, and hand over what fits into the tap's queue. What does not is lost and counted, and nobody
//! waits for it.

mod frame;
mod options;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::RwLock;

use crate::account::Account;
use crate::auth::Identity;
use crate::client::Client;
use crate::delivery::Desk;
use crate::parser::Publish;
use crate::permissions::Permissions;
use crate::subject;
use crate::subscription::{Admission, Subscription};
pub(crate) use options::Options;

/// What the subject of a tap begins with.
pub(crate) const PREFIX: &[u8] = b"$SYS.TAP.";
/// Taps at a time: each publisher looks through them.
const MOST: usize = 64;
/// Bytes that may wait for a client before its taps lose messages; far below what cuts a client off.
const QUEUE: usize = 1 << 20;

/// What a look by one tap costs, in deliveries.
const LOOK_WORK: usize = 16;

/// All taps of a broker.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    there: AtomicBool,
    list: RwLock<Arc<[Arc<Tap>]>>,
}

/// One tap.
#[derive(Debug)]
pub(crate) struct Tap {
    sub: Arc<Subscription>,
    /// What it listens to: its subject without the prefix.
    pattern: Box<[u8]>,
    /// Whose messages; `None` for those of all accounts.
    account: Option<Arc<Account>>,
    /// Set when some of it is denied to its user.
    filter: RwLock<Option<Arc<Identity>>>,
    options: Options,
    matched: AtomicU64,
    /// Lost since a message was handed over last.
    dropped: AtomicU64,
}

/// A message that a tap may want, and what became of it.
#[derive(Clone, Copy)]
struct Seen<'a> {
    account: &'a Arc<Account>,
    from: &'a Client,
    message: &'a Publish<'a>,
    receivers: usize,
    at: SystemTime,
}

/// Whether a tap is of any further use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Over,
}

// === impl Taps ===

impl Taps {
    /// Whether anybody listens.
    #[inline]
    pub(crate) fn are_there(&self) -> bool {
        self.there.load(Ordering::Relaxed)
    }

    /// Adds a tap; `false` when there are too many.
    pub(crate) fn add(&self, tap: Tap) -> bool {
        let mut list = self.list.write();
        // Those that are over have not been noticed when nothing was published since.
        let mut taps: Vec<_> = list.iter().filter(|tap| tap.is_live()).cloned().collect();
        let fits = taps.len() < MOST;
        if fits {
            taps.push(Arc::new(tap));
        }
        self.replace(&mut list, taps);
        fits
    }

    /// Has the tap of a subscription go by other rules.
    pub(crate) fn review(&self, sub: &Arc<Subscription>, filter: Option<Arc<Identity>>) {
        let taps = self.list.read();
        if let Some(tap) = taps.iter().find(|tap| Arc::ptr_eq(&tap.sub, sub)) {
            *tap.filter.write() = filter;
        }
    }

    /// Shows a message that has just been delivered to all taps that want it.
    #[inline(never)]
    pub(crate) fn see(
        &self,
        desk: &mut Desk,
        account: &Arc<Account>,
        from: &Client,
        message: &Publish<'_>,
        receivers: usize,
    ) {
        let taps = Arc::clone(&self.list.read());
        desk.work += taps.len() * LOOK_WORK;
        let seen = Seen {
            account,
            from,
            message,
            receivers,
            at: SystemTime::now(),
        };
        let mut over = false;
        for tap in taps.iter() {
            over |= tap.sub.is_gone() || (tap.wants(&seen) && tap.take(desk, &seen) == Fate::Over);
        }
        if over {
            let mut list = self.list.write();
            let taps = list.iter().filter(|tap| tap.is_live()).cloned().collect();
            self.replace(&mut list, taps);
        }
    }

    fn replace(&self, list: &mut Arc<[Arc<Tap>]>, taps: Vec<Arc<Tap>>) {
        self.there.store(!taps.is_empty(), Ordering::Relaxed);
        *list = taps.into();
    }
}

// === impl Tap ===

impl Tap {
    pub(crate) fn new(
        sub: Arc<Subscription>,
        account: Option<Arc<Account>>,
        filter: Option<Arc<Identity>>,
        options: Options,
    ) -> Self {
        use crate::sublist::Member as _;
        let pattern = sub
            .subject()
            .strip_prefix(PREFIX)
            .unwrap_or_default()
            .into();
        Tap {
            sub,
            pattern,
            account,
            filter: RwLock::new(filter),
            options,
            matched: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    fn is_live(&self) -> bool {
        !self.sub.is_gone() && self.sub.client.out().open
    }

    fn wants(&self, seen: &Seen<'_>) -> bool {
        let ours = self
            .account
            .as_ref()
            .is_none_or(|account| Arc::ptr_eq(account, seen.account));
        ours && subject::matches(&self.pattern, seen.message.subject)
            && !self.is_denied(seen.message.subject)
            && self.is_due()
    }

    fn is_denied(&self, subject: &[u8]) -> bool {
        let denies = |permissions: &Permissions| {
            permissions.denies_delivery(&[PREFIX, subject].concat(), None)
        };
        let filter = self.filter.read();
        filter
            .as_ref()
            .and_then(|identity| identity.permissions.as_ref())
            .is_some_and(denies)
    }

    /// Of every so many matching messages, the first.
    fn is_due(&self) -> bool {
        let number = self.matched.fetch_add(1, Ordering::Relaxed);
        number.is_multiple_of(u64::from(self.options.every.get()))
    }

    /// Queues a copy if there is room, else counts it as lost.
    fn take(&self, desk: &mut Desk, seen: &Seen<'_>) -> Fate {
        let client = &self.sub.client;
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let block = frame::block(seen, dropped);
        let original = &seen.message.body[..seen.message.size()];
        let content = &original[..original.len().min(self.options.bytes)];
        let line = frame::line(&self.sub, seen, block.len(), content.len());
        let mut out = client.out();
        if !out.open {
            return Fate::Over;
        }
        let size = block.len() + content.len();
        if out.pending + line.len() + size > QUEUE {
            drop(out);
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
            return Fate::Stays;
        }
        let admission = self.sub.admit();
        if admission == Admission::No {
            return Fate::Over;
        }
        out.push([&line, &block, content, b"\r\n"], &mut desk.pool);
        out.messages += 1;
        out.bytes += size as u64;
        let flush = !std::mem::replace(&mut out.dirty, true);
        drop(out);
        if flush {
            desk.touched.push(Arc::clone(client));
        }
        match admission {
            Admission::Last => {
                client.forget(seen.account.seed, &self.sub);
                Fate::Over
            }
            _ => Fate::Stays,
        }
    }
}
