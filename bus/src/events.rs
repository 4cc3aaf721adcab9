//! What the server says of itself in the system account, and what it answers there.
//!
//! Connections only drop a note into a bounded queue, and only when somebody in the system account may
//! want to hear it; requests reach the same task through subscriptions of the server's own. The task
//! ([`serve`]) turns notes into events and requests into answers, and publishes them from a desk of its
//! own. When it cannot keep up, notes are lost and counted; nobody waits for it.

mod advisory;
mod announcer;
mod answer;
mod census;
mod filter;
mod line;
mod request;
mod service;
mod statsz;
mod user_info;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::account::Account;
use crate::client::{Client, Kind};
use crate::hub::Hub;
use crate::monitor::Sample;
use crate::session::End;
use service::{Ear, Lines};

pub(crate) use announcer::{announce, serve};
pub(crate) use answer::ServerInfo;

/// Notes that may wait to become events: a burst of connections, not a steady stream of them.
const NOTES: usize = 4096;
/// Requests that may wait for their answers, of those who run this server and of the others. Askers ask again.
const REQUESTS: usize = 256;

/// The way from everywhere to the task that speaks for the server.
pub(crate) struct Events {
    notes: mpsc::Sender<Note>,
    /// For requests in the system account, and in the others.
    ear: Arc<Ear>,
    others: Arc<Ear>,
    requests: Arc<Lines>,
    inbox: Mutex<Option<Inbox>>,
    lost: AtomicU64,
    /// Number of the last message that carries the server's identity.
    said: AtomicU64,
    /// Subscriptions of the server's own, in all accounts and in each by its index.
    own: AtomicUsize,
    attached: Mutex<Vec<usize>>,
}

/// What the task reads from.
pub(crate) struct Inbox {
    notes: mpsc::Receiver<Note>,
    requests: Arc<Lines>,
}

/// Something that has happened.
enum Note {
    /// A client was let in.
    Joined(Arc<Sample>, Arc<Account>),
    /// A client is gone; or never got in.
    Left {
        last: Arc<Sample>,
        account: Arc<Account>,
        fate: Fate,
    },
}

/// How far a client got that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was let in.
    Served,
    /// It never said who it is.
    Silent,
    /// It did something without saying who it is, or was thrown out as it is nobody any more.
    Unknown,
    /// It said who it is, and was wrong.
    Refused,
}

// === impl Events ===

impl Events {
    pub(crate) fn new(server_id: &str) -> Self {
        let (notes, from_notes) = mpsc::channel(NOTES);
        let requests = Arc::new(Lines::new(REQUESTS));
        Events {
            notes,
            ear: Arc::new(Ear::new(server_id, &requests, true)),
            others: Arc::new(Ear::new(server_id, &requests, false)),
            inbox: Mutex::new(Some(Inbox {
                notes: from_notes,
                requests: Arc::clone(&requests),
            })),
            requests,
            lost: AtomicU64::new(0),
            said: AtomicU64::new(0),
            own: AtomicUsize::new(0),
            attached: Mutex::default(),
        }
    }

    /// Subscriptions the server has itself.
    pub(crate) fn own_subscriptions(&self) -> usize {
        self.own.load(Ordering::Relaxed)
    }

    /// How many of them are in this account.
    pub(crate) fn own_subscriptions_in(&self, account: &Account) -> usize {
        let attached = self.attached.lock();
        attached.get(account.index).copied().unwrap_or(0)
    }

    /// Events and requests that were dropped because too many came at once.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed) + self.requests.lost()
    }

    /// A client has been let in.
    pub(crate) fn joined(&self, hub: &Hub, client: &Arc<Client>) {
        if client.kind == Kind::Client && self.has_audience(hub) {
            let sample = Arc::new(Sample::of(client));
            self.note(Note::Joined(sample, client.account()));
        }
    }

    /// A client is gone; `was_in` says whether it had ever been let in.
    pub(crate) fn left(
        &self,
        hub: &Hub,
        account: &Arc<Account>,
        last: Arc<Sample>,
        end: &End,
        was_in: bool,
    ) {
        let fate = match end {
            End::Refused if !was_in => Fate::Refused,
            end if end.is_wrong_login() => Fate::Unknown,
            end if end.is_refusal() => Fate::Silent,
            _ => Fate::Served,
        };
        if fate == Fate::Refused || self.has_audience(hub) {
            self.note(Note::Left {
                last,
                account: Arc::clone(account),
                fate,
            });
        }
    }

    /// Whether anybody but the server itself has subscribed in the system account.
    fn has_audience(&self, hub: &Hub) -> bool {
        let Some(system) = hub.accounts.system() else {
            return false;
        };
        // Answers to questions from other accounts come by one more.
        let own = self.own_subscriptions_in(&system) + usize::from(system.responses().is_some());
        system.list.stats().len > own
    }

    fn note(&self, note: Note) {
        if self.notes.try_send(note).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn next_number(&self) -> u64 {
        self.said.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}
