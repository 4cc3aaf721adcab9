//! The server's own subscriptions: where requests to it arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::Events;
use super::request::{self, Ask, PING};
use crate::account::Account;
use crate::client::Client;
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

/// Requests of one account that may wait, unless it is the system's: the others have theirs as well.
const REQUESTS_OF_ONE: usize = 16;

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
    _place: Place,
}

/// A place among the waiting requests of an account.
#[derive(Debug)]
struct Place(Arc<Account>);

/// Listens for requests in all accounts.
#[derive(Debug)]
pub(super) struct Ear {
    server_id: Box<[u8]>,
    requests: mpsc::Sender<Request>,
    /// How many of one account may wait.
    most: usize,
    lost: AtomicU64,
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
    /// One that listens in the system account.
    pub(super) fn for_system(server_id: &str, requests: mpsc::Sender<Request>) -> Self {
        Ear {
            most: usize::MAX,
            ..Ear::new(server_id, requests)
        }
    }

    /// One that listens in the other accounts.
    pub(super) fn new(server_id: &str, requests: mpsc::Sender<Request>) -> Self {
        Ear {
            server_id: server_id.as_bytes().into(),
            requests,
            most: REQUESTS_OF_ONE,
            lost: AtomicU64::new(0),
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
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
        let Some(place) = Place::take(account, self.most) else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return true;
        };
        let block = message.header_len.map(|len| &message.body[..len]);
        let accepted = block.and_then(|block| header::value(block, "Accept-Encoding"));
        let request = Request {
            _place: place,
            ask,
            account: Arc::clone(account),
            from: Arc::clone(from),
            reply: message.reply.map(Box::from),
            payload: payload.into(),
            encoding: accepted.map(Encoding::of),
        };
        if self.requests.try_send(request).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        true
    }
}

// === impl Place ===

impl Place {
    /// One more, unless there are `most`.
    fn take(account: &Arc<Account>, most: usize) -> Option<Self> {
        let before = account.asking.fetch_add(1, Ordering::Relaxed);
        // Given back at once if it is one too many.
        let place = Place(Arc::clone(account));
        (before < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
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
            let ear = if is_system { &self.ear } else { &self.others };
            let own = |subject: &str, special| {
                let own = Arc::clone(hub.system_client());
                Arc::new(Subscription::new(own, subject.as_bytes(), b"", special))
            };
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
