//! The server's own subscriptions: where requests to it arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::Events;
use super::request::Ask;
use crate::account::Account;
use crate::client::Client;
use crate::hub::Hub;
use crate::parser::Publish;
use crate::subscription::{Service, Special, Subscription};

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
}

/// Listens for requests in all accounts.
#[derive(Debug)]
pub(super) struct Ear {
    server_id: Box<[u8]>,
    requests: mpsc::Sender<Request>,
    lost: AtomicU64,
}

/// What every account may ask, about itself.
const EVERYWHERE: [&str; 4] = [
    "$SYS.REQ.ACCOUNT.PING.CONNZ",
    "$SYS.REQ.ACCOUNT.PING.STATZ",
    "$SYS.REQ.SERVER.PING.CONNZ",
    "$SYS.REQ.USER.INFO",
];

// === impl Ear ===

impl Ear {
    pub(super) fn new(server_id: &str, requests: mpsc::Sender<Request>) -> Self {
        Ear {
            server_id: server_id.as_bytes().into(),
            requests,
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
        let request = Request {
            ask,
            account: Arc::clone(account),
            from: Arc::clone(from),
            reply: message.reply.map(Box::from),
            payload: payload.into(),
        };
        if self.requests.try_send(request).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        true
    }
}

// === impl Events ===

impl Events {
    /// Subscribes to requests in every account that has none of these subscriptions yet.
    pub(crate) fn attach(&self, hub: &Hub) {
        let mut attached = self.attached.lock();
        let system = hub.accounts.system();
        for account in hub.accounts.all() {
            if attached.len() <= account.index {
                attached.resize(account.index + 1, 0);
            }
            if attached[account.index] > 0 {
                continue;
            }
            let is_system = system.as_ref().is_some_and(|it| Arc::ptr_eq(it, &account));
            let subjects = if is_system {
                vec![
                    "$SYS.REQ.SERVER.PING".to_owned(),
                    "$SYS.REQ.SERVER.PING.*".to_owned(),
                    format!("$SYS.REQ.SERVER.{}.*", hub.id),
                    "$SYS.REQ.ACCOUNT.*.*".to_owned(),
                    "$SYS.REQ.USER.INFO".to_owned(),
                ]
            } else {
                EVERYWHERE.map(str::to_owned).to_vec()
            };
            attached[account.index] = subjects.len();
            self.own.fetch_add(subjects.len(), Ordering::Relaxed);
            for (number, subject) in subjects.iter().enumerate() {
                let special = Special {
                    service: Some(Arc::clone(&self.ear) as Arc<dyn Service>),
                    ..Special::default()
                };
                let sub = Arc::new(Subscription::new(
                    Arc::clone(hub.system_client()),
                    subject.as_bytes(),
                    (number + 1).to_string().as_bytes(),
                    special,
                ));
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
