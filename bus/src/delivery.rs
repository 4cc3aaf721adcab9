//! From a published message to the queues of its receivers, inside the publisher's turn.

mod crossing;
mod remote;
mod traced;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Semaphore;

use crate::account::Account;
use crate::client::{Client, Delivery};
use crate::hash::Dice;
use crate::hub::Hub;
use crate::lookout::Lookout;
use crate::mapping::{Mapped, Mappings};
use crate::message_trace::Trace;
use crate::outbound::ChunkPool;
use crate::parser::Publish;
use crate::permissions::Permissions;
use crate::sublist::{CacheStats, Group, MatchCache, Matches};
use crate::subscription::{Special, Subscription};
use crate::trace;
use crate::worker::Berth;
use crossing::Crossings;

/// Size of the buffer for reads.
const INBOX: usize = 256 << 10;
/// Messages and deliveries after which what is queued is not kept back any longer.
const PATIENT_EFFORT: usize = 64;
/// As many after which a turn is interrupted: one or two milliseconds.
const TIRED: usize = 32_768;
/// Turns after which it is not either.
const PATIENT_TURNS: usize = 32;
/// Steps of handshakes between two looks at the sockets: some milliseconds.
const HANDSHAKE_STEPS: usize = 4;

/// What one worker works with. Each worker thread has one; nobody else touches it.
#[derive(Debug)]
pub(crate) struct Desk {
    hub: Arc<Hub>,
    /// Where reads go. Connections share it, as only one is read at a time.
    pub(crate) inbox: Vec<u8>,
    pub(crate) pool: ChunkPool,
    /// Where decoded bytes go, for connections with a codec.
    pub(crate) plain: Vec<u8>,
    /// Whose handshakes may go on until the others of the worker have had their turn.
    pub(crate) handshake_steps: Arc<Semaphore>,
    /// One for each account that has been published in, by its index.
    caches: Vec<MatchCache<Subscription>>,
    /// Clients for which something was queued and not flushed yet.
    pub(crate) touched: Vec<Arc<Client>>,
    /// What has been done since the last flush: turns, and messages and deliveries in them.
    kept_back: (usize, usize),
    pub(crate) lookout: Lookout<Berth>,
    /// What publishing has cost in this turn: messages, receivers, and what finding them took.
    pub(crate) work: usize,
    /// A receiver that cannot keep up, met in this turn.
    pub(crate) congested: Option<Arc<Client>>,
    /// What becomes of the message under way, when its sender wants to know.
    pub(crate) trace: Option<Box<Trace>>,
    dice: Dice,
    head: Head,
    /// Servers a message goes to, while it is being delivered.
    targets: remote::Targets,
    /// The frame of a message under another name.
    renamed: Head,
    crossings: Crossings,
}

/// The parts of a frame that are the same for all receivers of a message.
#[derive(Debug, Default)]
struct Head {
    text: Vec<u8>,
    /// Ends of: `HMSG subject `, ` reply hlen total CRLF`, ` reply size CRLF`.
    ends: [usize; 3],
}

// === impl Desk ===

impl Desk {
    /// A buffer for reads.
    pub(crate) fn inbox() -> Vec<u8> {
        vec![0; INBOX]
    }

    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Desk {
            lookout: Lookout::new(Arc::clone(&hub.post)),
            hub,
            inbox: Self::inbox(),
            pool: ChunkPool::default(),
            plain: Vec::new(),
            handshake_steps: Arc::new(Semaphore::new(HANDSHAKE_STEPS)),
            caches: Vec::new(),
            touched: Vec::new(),
            kept_back: (0, 0),
            work: 0,
            congested: None,
            trace: None,
            dice: Dice::random(),
            head: Head::default(),
            targets: remote::Targets::default(),
            renamed: Head::default(),
            crossings: Crossings::default(),
        }
    }

    /// Delivers a message of `from` in an account; returns how many got it.
    pub(crate) fn publish(
        &mut self,
        account: &Arc<Account>,
        from: &Arc<Client>,
        message: &Publish<'_>,
    ) -> usize {
        let Desk {
            hub,
            caches,
            pool,
            touched,
            work,
            congested,
            trace,
            dice,
            head,
            targets,
            renamed,
            crossings,
            ..
        } = self;
        if caches.len() <= account.index {
            caches.resize_with(account.index + 1, MatchCache::default);
        }
        *work += 1;
        let Some(found) = caches[account.index].find(&account.list, message.subject, work) else {
            return 0;
        };
        *work += found.plain().len() + found.groups().len();
        head.write(message);
        let mut courier = Courier {
            hub,
            account,
            message,
            head,
            from,
            echo: from.echo.load(Ordering::Relaxed),
            pool,
            touched,
            work,
            congested,
            renamed,
            crossings,
            trace,
        };
        let mut count = 0;
        for sub in found.plain() {
            count += usize::from(courier.deliver(sub));
        }
        if let Some(remote) = found.remote() {
            count += courier.deliver_in_cluster(found, remote, targets, dice);
        } else {
            for group in found.groups() {
                count += usize::from(courier.deliver_to_one(group, dice));
            }
        }
        if !self.crossings.waiting.is_empty() {
            count += self.cross(account, from, message);
        }
        count
    }

    /// What a subject is renamed to.
    pub(crate) fn map(&mut self, mappings: &Mappings, subject: &[u8]) -> Mapped {
        mappings.map(subject, &mut self.dice)
    }

    /// Whether chance takes one of so many percent.
    pub(crate) fn draws(&mut self, percent: u8) -> bool {
        self.dice.below(100) < usize::from(percent)
    }

    /// Queues a frame for a client and remembers to flush it.
    pub(crate) fn send(&mut self, to: &Arc<Client>, frame: &[u8]) {
        to.send(frame, &mut self.pool);
        let mut out = to.out();
        if !std::mem::replace(&mut out.dirty, true) {
            drop(out);
            self.touched.push(Arc::clone(to));
        }
    }

    /// Lets go of what has been outdated, and of spare memory. Says what is left in the caches, by the
    /// index of the account.
    pub(crate) fn tidy(&mut self, accounts: &[Arc<Account>]) -> Vec<(usize, CacheStats)> {
        let mut left = Vec::new();
        for account in accounts {
            if let Some(cache) = self.caches.get_mut(account.index) {
                cache.sweep(&account.list);
                left.push((account.index, cache.stats()));
            }
            self.give_up(account);
        }
        self.flush();
        self.pool.release();
        self.plain = Vec::new();
        left
    }

    /// Whether this turn has taken so long that others should have theirs.
    #[inline]
    pub(crate) fn is_tired(&self) -> bool {
        self.work >= TIRED
    }

    /// Who gets a message on a subject that is asked about once.
    pub(crate) fn find_once(
        &mut self,
        account: &Account,
        subject: &[u8],
    ) -> Option<Matches<Subscription>> {
        let Desk { caches, work, .. } = self;
        let cache = caches.get_mut(account.index)?;
        cache.find_once(&account.list, subject, work)
    }

    /// Ends a turn. When there was little to do in it, what is queued waits for the other connections that are
    /// ready as well, so that many small turns make one write per receiver; the worker flushes before it goes
    /// to sleep. Returns how much there was to do: messages and deliveries, above all.
    pub(crate) fn end_turn(&mut self, read: usize) -> usize {
        let effort = std::mem::take(&mut self.work);
        self.lookout.end_turn(read);
        if effort >= TIRED {
            // A list that nobody holds need not be copied to be changed.
            self.caches.iter_mut().for_each(MatchCache::release);
        }
        if !self.touched.is_empty() {
            let (turns, efforts) = &mut self.kept_back;
            *turns += 1;
            *efforts += effort;
            if *turns >= PATIENT_TURNS || *efforts >= PATIENT_EFFORT || self.lookout.was_expected()
            {
                self.flush();
            }
        }
        effort
    }

    /// Everything queued goes to the sockets.
    pub(crate) fn flush(&mut self) {
        self.kept_back = (0, 0);
        flush_all(&self.hub, &mut self.touched, &mut self.pool);
    }
}

/// Everything queued goes to the sockets; when that is too much for all together, somebody has to go.
fn flush_all(hub: &Hub, touched: &mut Vec<Arc<Client>>, pool: &mut ChunkPool) {
    for client in touched.drain(..) {
        client.flush(pool);
    }
    if pool.flushed() {
        hub.relieve();
    }
}

/// Carries one message to its receivers.
struct Courier<'a> {
    hub: &'a Hub,
    account: &'a Arc<Account>,
    message: &'a Publish<'a>,
    head: &'a Head,
    from: &'a Arc<Client>,
    echo: bool,
    pool: &'a mut ChunkPool,
    touched: &'a mut Vec<Arc<Client>>,
    work: &'a mut usize,
    congested: &'a mut Option<Arc<Client>>,
    renamed: &'a mut Head,
    crossings: &'a mut Crossings,
    trace: &'a mut Option<Box<Trace>>,
}

impl Courier<'_> {
    /// Delivers to one member of a queue group.
    #[inline]
    fn deliver_to_one(&mut self, group: &Group<Subscription>, dice: &mut Dice) -> bool {
        let members = &group.members;
        let first = dice.below(members.len());
        let mut order = members[first..].iter().chain(&members[..first]);
        let taken = order.position(|sub| self.deliver(sub));
        *self.work += taken.unwrap_or(members.len());
        taken.is_some()
    }

    #[inline]
    fn deliver(&mut self, sub: &Arc<Subscription>) -> bool {
        if self.trace.is_some() {
            return self.deliver_traced(sub);
        }
        let client = &sub.client;
        if !self.echo && Arc::ptr_eq(client, self.from) {
            return false;
        }
        if let Some(special) = &sub.special {
            if let Some(service) = &special.service {
                return service.receive(self.account, self.from, self.message);
            }
            if special.bridge.is_some() {
                return self.bridge(sub, special);
            }
            if !self.is_allowed(special, self.message.subject) {
                return false;
            }
        }
        if let Some(reply) = self.message.reply {
            client.note_reply(reply);
        }
        let parts = |headers, sid| self.head.parts(self.message, headers, sid);
        let delivery = client.deliver(sub, self.message.size(), parts, self.pool);
        self.settle(sub, self.account, delivery)
    }

    /// Whether it was delivered; what else follows from it.
    #[inline]
    fn settle(&mut self, sub: &Arc<Subscription>, account: &Account, delivery: Delivery) -> bool {
        let client = &sub.client;
        match delivery {
            Delivery::Refused => false,
            Delivery::Queued {
                flush,
                last,
                congested,
            } => {
                if trace::is_on() {
                    trace::delivered(client, self.message, sub.sid());
                }
                if flush {
                    self.touched.push(Arc::clone(client));
                }
                if last {
                    account.remove(sub);
                    client.forget(account.seed, sub);
                }
                if congested {
                    *self.congested = Some(Arc::clone(client));
                }
                if self.pool.pressed {
                    self.unburden();
                }
                true
            }
        }
    }

    /// A message to very many is not to fill all memory before any of it has been sent.
    #[cold]
    fn unburden(&mut self) {
        flush_all(self.hub, self.touched, self.pool);
    }
}

impl Courier<'_> {
    /// What is rare about a subscription may keep a message from it.
    #[inline(never)]
    fn is_allowed(&mut self, special: &Special, subject: &[u8]) -> bool {
        *self.work += rules(special).map_or(0, Permissions::delivery_rules);
        is_granted(special, subject)
    }
}

/// What a message for a subscription is checked against, if it is.
fn rules(special: &Special) -> Option<&Permissions> {
    special.filter.as_ref()?.permissions.as_ref()
}

/// Whether those rules let a subscription have a message.
fn is_granted(special: &Special, subject: &[u8]) -> bool {
    rules(special).is_none_or(|rules| !rules.denies_delivery(subject, special.queue.as_deref()))
}

// === impl Head ===

impl Head {
    fn write(&mut self, message: &Publish<'_>) {
        let Head { text, ends } = self;
        text.clear();
        text.extend_from_slice(b"HMSG ");
        text.extend_from_slice(message.subject);
        text.push(b' ');
        ends[0] = text.len();
        let size = message.size();
        if let Some(header_len) = message.header_len {
            reply(text, message);
            decimal(text, header_len);
            text.push(b' ');
            decimal(text, size);
            text.extend_from_slice(b"\r\n");
        }
        ends[1] = text.len();
        reply(text, message);
        decimal(text, size - message.header_len.unwrap_or(0));
        text.extend_from_slice(b"\r\n");
        ends[2] = text.len();
    }

    #[inline]
    fn parts<'a>(&'a self, message: &Publish<'a>, headers: bool, sid: &'a [u8]) -> [&'a [u8]; 4] {
        let [subject, with, without] = self.ends;
        match message.header_len {
            Some(_) if headers => [
                &self.text[..subject],
                sid,
                &self.text[subject..with],
                message.body,
            ],
            // To those who know no headers, the message comes without them.
            header_len => [
                &self.text[1..subject],
                sid,
                &self.text[with..without],
                &message.body[header_len.unwrap_or(0)..],
            ],
        }
    }
}

fn reply(text: &mut Vec<u8>, message: &Publish<'_>) {
    text.push(b' ');
    if let Some(reply) = message.reply {
        text.extend_from_slice(reply);
        text.push(b' ');
    }
}

/// Appends a number. Written by hand, as it is part of every message.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a digit is below ten")]
fn decimal(text: &mut Vec<u8>, mut number: usize) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(message: &Publish<'_>, headers: bool) -> String {
        let mut head = Head::default();
        head.write(message);
        String::from_utf8_lossy(&head.parts(message, headers, b"7").concat()).into_owned()
    }

    #[test]
    fn frames_of_every_kind() {
        let plain = Publish {
            subject: b"a.b",
            reply: None,
            header_len: None,
            body: b"hello\r\n",
        };
        assert_eq!(frame(&plain, true), "MSG a.b 7 5\r\nhello\r\n");
        let asked = Publish {
            reply: Some(b"r"),
            ..plain
        };
        assert_eq!(frame(&asked, false), "MSG a.b 7 r 5\r\nhello\r\n");
        let block = b"NATS/1.0\r\nA: b\r\n\r\nhello\r\n";
        let headed = Publish {
            header_len: Some(18),
            body: block,
            ..asked
        };
        assert_eq!(
            frame(&headed, true),
            "HMSG a.b 7 r 18 23\r\nNATS/1.0\r\nA: b\r\n\r\nhello\r\n"
        );
        assert_eq!(frame(&headed, false), "MSG a.b 7 r 5\r\nhello\r\n");
    }

    #[test]
    fn numbers() {
        let mut text = Vec::new();
        for number in [0, 9, 10, 1234567890] {
            decimal(&mut text, number);
            text.push(b' ');
        }
        assert_eq!(text, b"0 9 10 1234567890 ");
    }
}
