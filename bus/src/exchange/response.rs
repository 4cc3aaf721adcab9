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
/// Requests to one account that may wait for answers, and bytes of the reply subjects they name.
const MOST: usize = 65_536;
const MOST_BYTES: usize = 16 << 20;
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
    /// Bytes of the requesters' reply subjects.
    bytes: usize,
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
        open.insert(subject.clone(), entry);
        subject
    }

    /// What an answer on this subject belongs to. A service that answers once has then answered; others
    /// are given their time anew.
    pub(crate) fn answered(&self, subject: &[u8], now: Instant) -> Option<Arc<OpenResponse>> {
        let mut open = self.open.lock();
        let entry = open.by_subject.get_mut(subject)?;
        if entry.until <= now {
            open.remove(subject);
            return None;
        }
        entry.until = now + entry.response.export.threshold;
        let response = Arc::clone(&entry.response);
        if response.export.response == ResponseType::Singleton {
            open.remove(subject);
        }
        Some(response)
    }

    /// There will be no (more) answers.
    pub(crate) fn forget(&self, subject: &[u8]) -> Option<Arc<OpenResponse>> {
        self.open.lock().remove(subject)
    }

    /// Forgets requests whose time is over; returns those that were to be measured.
    pub(crate) fn expire(&self, now: Instant) -> Vec<Arc<OpenResponse>> {
        let mut late = Vec::new();
        self.open.lock().retain(|entry| {
            let stays = entry.until > now;
            if !stays && entry.response.measured.is_some() {
                late.push(Arc::clone(&entry.response));
            }
            stays
        });
        late
    }
}

impl Table {
    fn insert(&mut self, subject: Box<[u8]>, entry: Entry) {
        self.bytes += entry.response.reply.len();
        self.by_subject.insert(subject, entry);
    }

    fn remove(&mut self, subject: &[u8]) -> Option<Arc<OpenResponse>> {
        let Entry { response, .. } = self.by_subject.remove(subject)?;
        self.bytes -= response.reply.len();
        Some(response)
    }

    fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        let bytes = &mut self.bytes;
        self.by_subject.retain(|_, entry| {
            let stays = keep(entry);
            if !stays {
                *bytes -= entry.response.reply.len();
            }
            stays
        });
    }

    fn is_full(&self) -> bool {
        self.by_subject.len() >= MOST || self.bytes >= MOST_BYTES
    }

    fn make_room(&mut self, now: Instant) {
        if self.by_subject.len() < self.sweep_at.max(SWEEP_AT) && self.bytes < MOST_BYTES {
            return;
        }
        self.retain(|entry| entry.until > now);
        while self.is_full() {
            self.forget_older_half_of_the_largest();
        }
        self.sweep_at = (self.by_subject.len() * 2).min(MOST);
    }

    /// Nobody answers as fast as one account asks: it is that one's requests that go.
    fn forget_older_half_of_the_largest(&mut self) {
        let mut open: HashMap<usize, (usize, Vec<Instant>)> = HashMap::new();
        for entry in self.by_subject.values() {
            let (weight, times) = open.entry(entry.response.account.index).or_default();
            *weight += entry.response.reply.len() + MOST_BYTES / MOST;
            times.push(entry.until);
        }
        let largest = open.into_iter().max_by_key(|(_, (weight, _))| *weight);
        let Some((account, (_, mut times))) = largest else {
            return;
        };
        let middle = times.len() / 2;
        let (_, middle, _) = times.select_nth_unstable(middle);
        let middle = *middle;
        self.retain(|entry| entry.response.account.index != account || entry.until > middle);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Accounts;
    use crate::memory::Memory;

    /// Requests that may wait as long as it takes.
    fn request(account: &Arc<Account>, reply: &[u8]) -> OpenResponse {
        let export = Arc::new(ServiceExport {
            response: ResponseType::Singleton,
            threshold: std::time::Duration::from_secs(3600),
            latency: None,
            allow_trace: false,
        });
        OpenResponse::new(account, &export, reply, None)
    }

    #[test]
    fn a_flood_costs_only_its_own_requests() {
        let accounts = Accounts::new(&Arc::new(Memory::new(0)));
        let (calm, wild) = (
            accounts.get_or_create("calm"),
            accounts.get_or_create("wild"),
        );
        let (responses, now) = (Responses::new(), Instant::now());
        let kept: Vec<_> = (0..1000)
            .map(|n: u32| responses.expect(request(&calm, &n.to_be_bytes()), now))
            .collect();
        let long = vec![b'x'; 4000];
        for n in 0..MOST * 2 {
            let reply = if n % 2 == 0 { b"r" } else { long.as_slice() };
            let later = now + std::time::Duration::from_nanos(n as u64);
            responses.expect(request(&wild, reply), later);
            let open = responses.open.lock();
            assert!(open.by_subject.len() <= MOST && open.bytes <= MOST_BYTES + 4000);
        }
        for (n, subject) in (0u32..).zip(kept) {
            let answered = responses.answered(&subject, now);
            assert_eq!(
                answered.map(|it| it.reply.clone()),
                Some(n.to_be_bytes().into())
            );
        }
        responses.expire(now + std::time::Duration::from_secs(7200));
        let open = responses.open.lock();
        assert_eq!((open.by_subject.len(), open.bytes), (0, 0));
    }
}
