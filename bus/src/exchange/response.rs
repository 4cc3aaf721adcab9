//! Answers that find their way back: for each request that crosses, a reply subject in the exporter's
//! account that leads to the one the requester gave.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rand::Rng as _;

use crate::account::Account;
use crate::config::accounts::ResponseType;

use super::ServiceExport;
use super::latency::Measured;

/// The first token of all such subjects. Nothing that begins so is a request.
pub(crate) const PREFIX: &[u8] = b"_R_.";
/// Requests of one account that may wait for answers.
const MOST: usize = 65_536;
/// How many may wait before the expired ones are looked for.
const SWEEP_AT: usize = 256;

/// The requests an account has not answered yet.
#[derive(Debug)]
pub(crate) struct Responses {
    /// What all its reply subjects begin with: `_R_.`, a word of this account, a dot.
    prefix: Box<[u8]>,
    open: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_subject: HashMap<Box<[u8]>, Entry>,
    sweep_at: usize,
}

#[derive(Debug)]
struct Entry {
    response: Arc<OpenResponse>,
    until: Instant,
}

/// One request that waits for its answer.
#[derive(Debug)]
pub(crate) struct OpenResponse {
    /// The requester's account.
    pub(crate) account: Arc<Account>,
    /// The requester's reply subject.
    pub(crate) reply: Box<[u8]>,
    pub(crate) export: Arc<ServiceExport>,
    /// What is to be said about how long it took.
    pub(crate) measured: Option<Measured>,
}

// === impl Responses ===

impl Responses {
    pub(crate) fn new() -> Self {
        let mut prefix = PREFIX.to_vec();
        prefix.extend_from_slice(&word::<8>());
        prefix.push(b'.');
        Responses {
            prefix: prefix.into(),
            open: Mutex::default(),
        }
    }

    /// The subscription that gets all answers.
    pub(crate) fn pattern(&self) -> Vec<u8> {
        [&self.prefix, &b">"[..]].concat()
    }

    /// Notes a request that crosses; returns the reply subject for it.
    pub(crate) fn expect(&self, response: OpenResponse, now: Instant) -> Box<[u8]> {
        let subject: Box<[u8]> = [&self.prefix, &word::<22>()[..]].concat().into();
        let until = now + response.export.threshold;
        let entry = Entry {
            response: Arc::new(response),
            until,
        };
        let mut open = self.open.lock();
        open.make_room(now);
        open.by_subject.insert(subject.clone(), entry);
        subject
    }

    /// What an answer on this subject belongs to. A service that answers once has then answered; others
    /// are given their time anew.
    pub(crate) fn answered(&self, subject: &[u8], now: Instant) -> Option<Arc<OpenResponse>> {
        let mut open = self.open.lock();
        let entry = open.by_subject.get_mut(subject)?;
        if entry.until <= now {
            open.by_subject.remove(subject);
            return None;
        }
        entry.until = now + entry.response.export.threshold;
        let response = Arc::clone(&entry.response);
        if response.export.response == ResponseType::Singleton {
            open.by_subject.remove(subject);
        }
        Some(response)
    }

    /// There will be no (more) answers.
    pub(crate) fn forget(&self, subject: &[u8]) -> Option<Arc<OpenResponse>> {
        let entry = self.open.lock().by_subject.remove(subject)?;
        Some(entry.response)
    }

    /// Forgets requests whose time is over; returns those that were to be measured.
    pub(crate) fn expire(&self, now: Instant) -> Vec<Arc<OpenResponse>> {
        let mut open = self.open.lock();
        let late = open
            .by_subject
            .extract_if(|_, entry| entry.until <= now)
            .map(|(_, entry)| entry.response);
        late.filter(|response| response.measured.is_some())
            .collect()
    }
}

impl Table {
    fn make_room(&mut self, now: Instant) {
        if self.by_subject.len() < self.sweep_at.max(SWEEP_AT) {
            return;
        }
        self.by_subject.retain(|_, entry| entry.until > now);
        if self.by_subject.len() >= MOST {
            // Nobody answers as fast as is asked; half of the requests must go.
            let mut keep = false;
            self.by_subject.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        self.sweep_at = (self.by_subject.len() * 2).min(MOST);
    }
}

impl OpenResponse {
    /// A request from `account` that is to be answered there on `reply`.
    pub(crate) fn new(
        account: &Arc<Account>,
        export: &Arc<ServiceExport>,
        reply: &[u8],
        measured: Option<Measured>,
    ) -> Self {
        OpenResponse {
            account: Arc::clone(account),
            reply: reply.into(),
            export: Arc::clone(export),
            measured,
        }
    }
}

/// Letters and digits nobody can guess.
fn word<const LEN: usize>() -> [u8; LEN] {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rng = rand::rng();
    std::array::from_fn(|_| ALPHABET[rng.random_range(0..ALPHABET.len())])
}
