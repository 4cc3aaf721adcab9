//! One subscription of one client.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::account::Account;
use crate::auth::Identity;
use crate::client::{Client, Kind};
use crate::exchange::{Responses, ServiceImport, Shadow};
use crate::parser::Publish;
use crate::sublist::Member;

/// One subscription. There may be very many: what is rare lies apart, and names share one allocation.
///
/// `delivered`, `max` and `gone` change under the lock of its client's queue only.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) client: Arc<Client>,
    /// Its subject, and after it the client's name for it.
    names: Box<[u8]>,
    /// What most subscriptions do not have.
    pub(crate) special: Option<Box<Special>>,
    delivered: AtomicU64,
    /// How many deliveries end it; 0 when none does.
    max: AtomicU32,
    subject_len: u32,
    slot: AtomicU32,
    gone: AtomicBool,
}

/// The rare properties of a subscription, apart so that the many pay nothing for them.
#[derive(Debug, Default)]
pub(crate) struct Special {
    /// Its queue group.
    pub(crate) queue: Option<Arc<[u8]>>,
    /// Set when deliveries must be checked against what its user is denied.
    pub(crate) filter: Option<Arc<Identity>>,
    /// Set when it stands for those who listen at another server.
    pub(crate) remote: Option<Remote>,
    /// Who takes its messages, when that is the server itself.
    pub(crate) service: Option<Arc<dyn Service>>,
    /// Set when what it gets goes on to another account.
    pub(crate) bridge: Option<Bridge>,
}

/// Those who listen at another server.
#[derive(Debug)]
pub(crate) struct Remote {
    /// The account, as a route has many.
    pub(crate) account: Arc<Account>,
    /// The number of the server: one may have two connections for a moment, and gets one copy.
    pub(crate) peer: u32,
    /// How many members the queue group has there.
    pub(crate) weight: AtomicU32,
    /// The connection to that server by which it told what it listens to before this one.
    pub(crate) elder: Option<Arc<Elder>>,
}

/// A connection to another server that is about to be replaced by one to the same. What goes there goes by
/// the elder until all interest has been taken back on it: at no time by both, so that the order is kept.
#[derive(Debug)]
pub(crate) struct Elder {
    client: Arc<Client>,
    gone: AtomicBool,
}

// === impl Elder ===

impl Elder {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Elder {
            client,
            gone: AtomicBool::new(false),
        }
    }

    /// The connection, while it is the one to use.
    pub(crate) fn in_use(&self) -> Option<&Arc<Client>> {
        if self.gone.load(Ordering::Relaxed) {
            return None;
        }
        if self.client.subscription_count() == 0 {
            self.gone.store(true, Ordering::Relaxed);
            return None;
        }
        Some(&self.client)
    }
}

/// A part of the server that answers messages. Called in the publisher's turn: it takes what it needs and goes.
pub(crate) trait Service: Send + Sync + fmt::Debug {
    /// Whether it takes the message.
    fn receive(&self, account: &Arc<Account>, from: &Arc<Client>, message: &Publish<'_>) -> bool;
}

/// What becomes of a message for a subscription that leads into another account.
#[derive(Debug)]
pub(crate) enum Bridge {
    /// It is for a client there, who knows it by another name perhaps.
    Shadow(Shadow),
    /// It is published there.
    Service(Arc<ServiceImport>),
    /// It answers what was asked from there.
    Responses(Arc<Responses>),
}

/// Subscriptions that are ended at a time.
const PART: usize = 1024;

/// Whether a subscription takes one more message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Yes,
    /// Yes, and none after it.
    Last,
    No,
}

// === impl Subscription ===

impl Subscription {
    pub(crate) fn new(client: Arc<Client>, subject: &[u8], sid: &[u8], special: Special) -> Self {
        let special = (!special.is_plain()).then(|| Box::new(special));
        Subscription {
            client,
            names: [subject, sid].concat().into(),
            special,
            delivered: AtomicU64::new(0),
            max: AtomicU32::new(0),
            // Far below, as control lines are short.
            subject_len: u32::try_from(subject.len()).unwrap_or(u32::MAX),
            slot: AtomicU32::new(0),
            gone: AtomicBool::new(false),
        }
    }

    /// The same subscription with other properties, as far along as this one. Called under the lock of
    /// the client's queue.
    pub(crate) fn successor(&self, special: Special) -> Self {
        let next = Subscription::new(
            Arc::clone(&self.client),
            self.subject(),
            self.sid(),
            special,
        );
        let copy = Ordering::Relaxed;
        next.delivered.store(self.delivered.load(copy), copy);
        next.max.store(self.max.load(copy), copy);
        next.gone.store(self.gone.swap(true, copy), copy);
        next
    }

    /// What the client calls it.
    #[inline]
    pub(crate) fn sid(&self) -> &[u8] {
        self.names
            .get(self.subject_len as usize..)
            .unwrap_or_default()
    }

    /// Whether it is the server's own, by which requests and answers leave the account. Other servers have
    /// their own of the first kind, and are not to be told of it.
    pub(crate) fn is_service_import(&self) -> bool {
        let bridge = self
            .special
            .as_ref()
            .and_then(|special| special.bridge.as_ref());
        matches!(bridge, Some(Bridge::Service(_)))
    }

    /// Whether it has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Counts a delivery that is about to be queued.
    #[inline]
    pub(crate) fn admit(&self) -> Admission {
        if self.gone.load(Ordering::Relaxed) {
            return Admission::No;
        }
        let delivered = self.delivered.load(Ordering::Relaxed) + 1;
        self.delivered.store(delivered, Ordering::Relaxed);
        let max = self.max.load(Ordering::Relaxed);
        if max != 0 && delivered >= u64::from(max) {
            self.gone.store(true, Ordering::Relaxed);
            return Admission::Last;
        }
        Admission::Yes
    }

    /// Those at another server it stands for.
    pub(crate) fn remote(&self) -> Option<&Remote> {
        self.special.as_ref()?.remote.as_ref()
    }

    /// Compares by sid, as numbers compare if they are numbers.
    pub(crate) fn by_sid(&self, other: &Self) -> std::cmp::Ordering {
        let (one, other) = (self.sid(), other.sid());
        (one.len(), one).cmp(&(other.len(), other))
    }

    /// Messages it has had so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Messages after which it ends; 0 when it does not end by itself.
    pub(crate) fn max(&self) -> u64 {
        u64::from(self.max.load(Ordering::Relaxed))
    }

    /// Ends it after `max` deliveries from its start; `false` when that many have been made.
    pub(crate) fn end_after(&self, max: u64) -> bool {
        if max == 0 || self.delivered.load(Ordering::Relaxed) >= max {
            self.gone.store(true, Ordering::Relaxed);
            return false;
        }
        // Beyond what this counts to it might as well be for ever.
        let max = u32::try_from(max).unwrap_or(0);
        self.max.store(max, Ordering::Relaxed);
        true
    }
}

impl Member for Subscription {
    #[inline]
    fn subject(&self) -> &[u8] {
        self.names
            .get(..self.subject_len as usize)
            .unwrap_or_default()
    }

    fn queue(&self) -> Option<&Arc<[u8]>> {
        self.special.as_ref()?.queue.as_ref()
    }

    fn is_remote(&self) -> bool {
        self.client.kind == Kind::Route
    }

    fn slot(&self) -> &AtomicU32 {
        &self.slot
    }
}

// === impl Special ===

impl Special {
    fn is_plain(&self) -> bool {
        self.queue.is_none()
            && self.filter.is_none()
            && self.remote.is_none()
            && self.service.is_none()
            && self.bridge.is_none()
    }
}

/// Ends subscriptions by `end`. There may be very many: in between it is others' turn.
pub(crate) async fn end_all(mut subs: Vec<Arc<Subscription>>, end: impl Fn(&Arc<Subscription>)) {
    while !subs.is_empty() {
        let rest = subs.len().saturating_sub(PART);
        subs.drain(rest..).for_each(|sub| end(&sub));
        if rest > 0 {
            tokio::task::yield_now().await;
        }
    }
}
