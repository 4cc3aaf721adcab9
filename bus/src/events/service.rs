//! The server's own subscriptions: where requests to it arrive.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Events;
use super::line::Line;
use super::request::{self, Ask, PING};
use crate::account::Account;
use crate::client::{Client, Kind};
use crate::config::accounts::ResponseType;
use crate::encoding::Encoding;
use crate::exchange::{RESPONSE_THRESHOLD, ServiceExport, ServiceImport};
use crate::header;
use crate::hub::Hub;
use crate::mapping::Pairing;
use crate::parser::Publish;
use crate::subscription::{Bridge, Service, Special, Subscription};

/// Longest payload of a request. The options of any of them are a few hundred bytes.
const LONGEST: usize = 64 << 10;

/// A request, taken from the publisher's turn.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) ask: Ask,
    /// Where it was asked, and where the answer goes.
    pub(crate) account: Arc<Account>,
    pub(crate) from: Arc<Client>,
    pub(crate) reply: Option<Box<[u8]>>,
    pub(crate) payload: Box<[u8]>,
    /// How the answer is to be packed.
    pub(crate) encoding: Option<Encoding>,
}

/// Listens for requests in all accounts.
#[derive(Debug)]
pub(super) struct Ear {
    server_id: Box<[u8]>,
    lines: Arc<Lines>,
    /// Whether it listens in the system account.
    in_system: bool,
}

/// Where requests wait.
#[derive(Debug)]
pub(super) struct Lines {
    /// Of those who run this server, and of other servers.
    pub(super) operators: Line<Request>,
    /// Of all who use it.
    pub(super) others: Line<Request>,
}

/// What every client may ask in its own account.
const WHO_AM_I: &str = "$SYS.REQ.USER.INFO";
/// What every account may ask all servers about itself, and what of it that is in the system account.
const ABOUT_ITSELF: [(&str, &str); 3] = [
    ("$SYS.REQ.ACCOUNT.PING.CONNZ", "CONNZ"),
    ("$SYS.REQ.ACCOUNT.PING.STATZ", "STATZ"),
    ("$SYS.REQ.SERVER.PING.CONNZ", "CONNZ"),
];

// === impl Ear ===

impl Ear {
    /// One that listens in the system account, or in the others.
    pub(super) fn new(server_id: &str, lines: &Arc<Lines>, in_system: bool) -> Self {
        Ear {
            server_id: server_id.as_bytes().into(),
            lines: Arc::clone(lines),
            in_system,
        }
    }

    /// The line for what `from` asks in `account`. What has crossed into the system account has been asked
    /// by one of another.
    fn line(&self, account: &Arc<Account>, from: &Client) -> &Line<Request> {
        let at_home = || from.kind == Kind::Route || Arc::ptr_eq(&from.account(), account);
        if self.in_system && at_home() {
            &self.lines.operators
        } else {
            &self.lines.others
        }
    }
}

impl Service for Ear {
    fn receive(&self, account: &Arc<Account>, from: &Arc<Client>, message: &Publish<'_>) -> bool {
        // What is not known is not taken, so that the asker hears that nobody answers.
        let Some(ask) = Ask::parse(message.subject, &self.server_id) else {
            return false;
        };
        let payload = message.payload();
        if payload.len() > LONGEST {
            return false;
        }
        let block = message.header_len.map(|len| &message.body[..len]);
        let accepted = block.and_then(|block| header::value(block, "Accept-Encoding"));
        let request = Request {
            ask,
            account: Arc::clone(account),
            from: Arc::clone(from),
            reply: message.reply.map(Box::from),
            payload: payload.into(),
            encoding: accepted.map(Encoding::of),
        };
        self.line(account, from).join(from.id, request);
        true
    }
}

// === impl Lines ===

impl Lines {
    pub(super) fn new(most: usize) -> Self {
        Lines {
            operators: Line::new(most),
            others: Line::new(most),
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.operators.lost() + self.others.lost()
    }
}

// === impl Events ===

impl Events {
    /// Subscribes to requests in every account that has none of these subscriptions yet, if there is a
    /// system account.
    pub(crate) fn attach(&self, hub: &Hub) {
        let Some(system) = hub.accounts.system() else {
            return;
        };
        let mut attached = self.attached.lock();
        for account in hub.accounts.all() {
            if attached.len() <= account.index {
                attached.resize(account.index + 1, 0);
            }
            if attached[account.index] > 0 {
                continue;
            }
            let is_system = Arc::ptr_eq(&system, &account);
            let own = |subject: &str, special| {
                let own = Arc::clone(hub.system_client());
                Arc::new(Subscription::new(own, subject.as_bytes(), b"", special))
            };
            let ear = if is_system { &self.ear } else { &self.others };
            let heard = || Special {
                service: Some(Arc::clone(ear) as Arc<dyn Service>),
                ..Special::default()
            };
            let subs: Vec<_> = if is_system {
                let subjects = request::subjects(&hub.id);
                subjects.iter().map(|it| own(it, heard())).collect()
            } else {
                ABOUT_ITSELF
                    .iter()
                    .filter_map(|(local, what)| {
                        let import = about_itself(&account, &system, local, what)?;
                        let special = Special {
                            bridge: Some(Bridge::Service(Arc::new(import))),
                            ..Special::default()
                        };
                        Some(own(local, special))
                    })
                    .chain([own(WHO_AM_I, heard())])
                    .collect()
            };
            attached[account.index] = subs.len();
            self.own.fetch_add(subs.len(), Ordering::Relaxed);
            for sub in subs {
                if is_system {
                    // Asked of one server of a cluster, all answer.
                    account.insert(&sub);
                } else {
                    account.list.insert(&sub);
                }
            }
        }
    }
}

/// Takes a question of an account about itself over to the system account, where all servers hear it.
fn about_itself(
    account: &Arc<Account>,
    system: &Arc<Account>,
    local: &str,
    what: &str,
) -> Option<ServiceImport> {
    if *account.name == *PING {
        // In place of a name that means all of them.
        return None;
    }
    let remote = format!("$SYS.REQ.ACCOUNT.{}.{what}", account.name);
    Some(ServiceImport {
        importer: Arc::clone(account),
        exporter: Arc::clone(system),
        pairing: Pairing::new(&remote, local).ok()?,
        export: Arc::new(ServiceExport {
            response: ResponseType::Stream,
            threshold: RESPONSE_THRESHOLD,
            latency: None,
            allow_trace: false,
        }),
        share: false,
    })
}
