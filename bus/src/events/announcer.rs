//! The task that speaks for the server.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::advisory::{AccountConnections, Connect, Disconnect};
use super::answer::{self, ServerInfo};
use super::request::{AccountTopic, Ask, Topic};
use super::service::{Lines, Request};
use super::{Fate, Inbox, Note, census};
use crate::account::{Account, GLOBAL};
use crate::delivery::Desk;
use crate::encoding::Encoding;
use crate::hub::Hub;
use crate::monitor::Report;
use crate::parser::Publish;

/// How often it looks whether somebody has begun to listen, and tells of accounts that changed.
const TICK: Duration = Duration::from_millis(250);
/// How often the pulse is published.
const PULSE: Duration = Duration::from_secs(10);
/// How often accounts with connections are told of although nothing has changed.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How often lost events are mentioned in the log.
const COMPLAIN: Duration = Duration::from_secs(10);
/// Where an account hears of those who could not log in to it.
const REFUSED: &str = "$SYS.ACCOUNT.CLIENT.AUTH.ERR";

/// Publishes what the server says.
struct Speaker {
    hub: Arc<Hub>,
    desk: Desk,
    /// Accounts whose connections have changed, by index.
    changed: HashMap<usize, Arc<Account>>,
    next_pulse: Instant,
    next_heartbeat: Instant,
    /// Subscriptions ever made in the system account when it was last looked at.
    seen: u64,
    /// The same of servers that have joined the cluster.
    met: u32,
    lost: u64,
    next_complaint: Instant,
}

/// Speaks until `stop`.
pub(crate) async fn serve(hub: Arc<Hub>, stop: CancellationToken) {
    let Some(Inbox {
        mut notes,
        requests,
    }) = hub.events.inbox.lock().take()
    else {
        stop.cancelled().await;
        return;
    };
    let mut speaker = Speaker::new(hub);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // What is done soonest goes first.
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => speaker.tick(),
            Some(note) = notes.recv() => speaker.tell(&note),
            request = next(&requests) => match request.ask {
                Ask::Census => census::hear(&speaker.hub, &request),
                _ => speaker.answer(request).await,
            },
        }
    }
}

/// The next request: of those who run this server or of those who use it, now the ones and now the others.
async fn next(requests: &Lines) -> Request {
    tokio::select! {
        request = requests.operators.next() => request,
        request = requests.others.next() => request,
    }
}

/// Tells whoever listens what this server is about to do: `SHUTDOWN`, `LAMEDUCK`.
pub(crate) fn announce(hub: &Arc<Hub>, what: &str) {
    let mut speaker = Speaker::new(Arc::clone(hub));
    let subject = format!("$SYS.SERVER.{}.{what}", hub.id);
    speaker.say(&subject, ServerInfo::next);
}

// === impl Speaker ===

impl Speaker {
    fn new(hub: Arc<Hub>) -> Self {
        let now = Instant::now();
        let desk = Desk::new(Arc::clone(&hub));
        Speaker {
            hub,
            desk,
            changed: HashMap::new(),
            next_pulse: now + PULSE,
            next_heartbeat: now + HEARTBEAT,
            seen: 0,
            met: 0,
            lost: 0,
            next_complaint: now,
        }
    }

    /// Publishes in the system account, if anybody listens there.
    fn say<T: Serialize>(&mut self, subject: &str, what: impl FnOnce(&Hub) -> T) {
        if let Some(system) = self.hub.accounts.system() {
            self.say_in(&system, subject, what);
        }
    }

    /// Publishes in an account, if anybody listens there.
    fn say_in<T: Serialize>(
        &mut self,
        account: &Arc<Account>,
        subject: &str,
        what: impl FnOnce(&Hub) -> T,
    ) {
        if account.list.find(subject.as_bytes()).is_none() {
            return;
        }
        match serde_json::to_vec(&what(&self.hub)) {
            Ok(json) => self.publish(account, subject.as_bytes(), None, json),
            Err(error) => tracing::error!(%error, subject, "cannot write an event as JSON"),
        }
    }

    fn publish(
        &mut self,
        account: &Arc<Account>,
        subject: &[u8],
        encoding: Option<Encoding>,
        body: Vec<u8>,
    ) {
        let (header_len, mut body) = match encoding {
            Some(encoding) => {
                let (block, body) = encoding.pack(&body);
                (Some(block), body)
            }
            None => (None, body),
        };
        body.extend_from_slice(b"\r\n");
        let message = Publish {
            subject,
            reply: None,
            header_len,
            body: &body,
        };
        self.desk
            .publish(account, self.hub.system_client(), &message);
        self.desk.flush();
        self.desk.congested = None;
    }

    /// Answers a request.
    async fn answer(&mut self, request: Request) {
        let hub = Arc::clone(&self.hub);
        // Tens of thousands of connections take a while to be told of.
        let made = tokio::task::spawn_blocking(move || {
            let answer = answer::answer(&hub, &request);
            (answer, request)
        });
        let Ok((Some(answer), request)) = made.await else {
            return;
        };
        let is_pulse = request.ask == Ask::Server(Topic::Statsz);
        let subject = match request.reply {
            Some(reply) => reply,
            // To nobody in particular is to everybody.
            None if is_pulse => self.pulse_subject().into_bytes().into(),
            None => return,
        };
        // What is no answer in an envelope is never packed.
        let is_plain = is_pulse
            || matches!(
                request.ask,
                Ask::Server(Topic::Idz) | Ask::Account(_, AccountTopic::Conns) | Ask::UserInfo
            );
        let encoding = request.encoding.filter(|_| !is_plain);
        self.publish(&request.account, &subject, encoding, answer);
    }

    fn pulse_subject(&self) -> String {
        format!("$SYS.SERVER.{}.STATSZ", self.hub.id)
    }

    /// Tells of something that has happened.
    fn tell(&mut self, note: &Note) {
        match note {
            Note::Joined(sample, account) => {
                let subject = format!("$SYS.ACCOUNT.{}.CONNECT", account.name);
                self.say(&subject, |hub| {
                    Connect::new(ServerInfo::next(hub), sample, &account.name)
                });
                self.changed.insert(account.index, Arc::clone(account));
            }
            Note::Left {
                last,
                account,
                fate,
            } => {
                if *fate == Fate::Refused {
                    self.say_in(account, REFUSED, |hub| {
                        Disconnect::new(ServerInfo::next(hub), last, &account.name)
                    });
                }
                if matches!(fate, Fate::Refused | Fate::Unknown) {
                    let subject = format!("$SYS.SERVER.{}.CLIENT.AUTH.ERR", self.hub.id);
                    self.say(&subject, |hub| {
                        Disconnect::new(ServerInfo::next(hub), last, &account.name)
                    });
                }
                let subject = format!("$SYS.ACCOUNT.{}.DISCONNECT", account.name);
                self.say(&subject, |hub| {
                    Disconnect::new(ServerInfo::next(hub), last, &account.name)
                });
                if *fate == Fate::Served {
                    self.changed.insert(account.index, Arc::clone(account));
                }
            }
        }
    }

    /// What is due.
    fn tick(&mut self) {
        let now = Instant::now();
        let subscribed = self
            .hub
            .accounts
            .system()
            .map_or(0, |system| system.list.stats().inserts);
        let newcomer = std::mem::replace(&mut self.seen, subscribed) != subscribed;
        if newcomer || self.next_pulse <= now {
            self.say(&self.pulse_subject(), answer::pulse);
        }
        if self.next_pulse <= now {
            self.next_pulse = now + PULSE;
        }
        let heartbeat = self.next_heartbeat <= now;
        if heartbeat {
            self.next_heartbeat = now + HEARTBEAT;
        }
        let met = self.hub.cluster().map_or(0, |node| node.arrivals());
        let stranger = std::mem::replace(&mut self.met, met) != met;
        if heartbeat || stranger || !self.changed.is_empty() {
            self.tell_of_accounts(heartbeat || stranger);
        }
        if stranger {
            self.ask_of_accounts();
        }
        let lost = self.hub.events.lost();
        if lost > self.lost && self.next_complaint <= now {
            self.next_complaint = now + COMPLAIN;
            let count = lost - std::mem::replace(&mut self.lost, lost);
            tracing::warn!(
                count,
                "too many events and requests of the system account at once: lost"
            );
        }
    }

    /// Asks the other servers about the accounts that may have so many connections only. Servers of ours tell
    /// anyway when somebody comes; others when something changes, or every half minute.
    fn ask_of_accounts(&mut self) {
        let Some(system) = self.hub.accounts.system() else {
            return;
        };
        for account in self.hub.accounts.all() {
            if account.exchange().limits.max_connections.is_some() {
                let subject = format!("$SYS.REQ.ACCOUNT.{}.CONNS", account.name);
                let reply = format!("$SYS.SERVER.ACCOUNT.{}.CONNS", account.name);
                let message = Publish {
                    subject: subject.as_bytes(),
                    reply: Some(reply.as_bytes()),
                    header_len: None,
                    body: b"\r\n",
                };
                self.desk
                    .publish(&system, self.hub.system_client(), &message);
            }
        }
        self.desk.flush();
        self.desk.congested = None;
    }

    /// Tells of the accounts whose connections changed, or of all that have some.
    fn tell_of_accounts(&mut self, all: bool) {
        let changed = std::mem::take(&mut self.changed);
        let mut stats = Report::new(&self.hub).account_stats();
        // Of the account of all who have none, nothing is said.
        stats.retain(|stat| *stat.acc != *GLOBAL);
        stats.retain(|stat| {
            (all && stat.conns > 0) || changed.values().any(|account| account.name == stat.acc)
        });
        for stat in stats {
            let subjects = [
                format!("$SYS.SERVER.ACCOUNT.{}.CONNS", stat.acc),
                format!("$SYS.ACCOUNT.{}.SERVER.CONNS", stat.acc),
            ];
            for subject in subjects {
                let stat = stat.clone();
                self.say(&subject, |hub| {
                    AccountConnections::new(ServerInfo::next(hub), stat)
                });
            }
        }
    }
}
