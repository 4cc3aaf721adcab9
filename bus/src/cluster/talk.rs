//! What each operation of a peer does.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::end::RouteEnd;
use super::info::RouteInfo;
use super::node::Node;
use super::parser::{Interest, Message, Op, Queues, Rules, Violation};
use super::rights::{Export, RouteRights};
use super::route::Route;
use crate::account::Account;
use crate::delivery::Desk;
use crate::hub::Hub;
use crate::link::{Break, Flow, ON, Side};
use crate::message_trace::{self, Trace, Wish};
use crate::parser::Publish;
use crate::protocol::frame;
use crate::session::End;
use crate::subject;
use crate::sublist::Member as _;
use crate::subscription::{Elder, Remote, Special, Subscription};

/// Subscriptions of one peer: more than any cluster has, and still bounded.
const INTEREST: usize = 1 << 22;
/// Accounts that are only known because a peer named them.
const ACCOUNTS: usize = 1 << 16;

/// The peer's side of the conversation.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) route: Arc<Route>,
    pub(super) hub: Arc<Hub>,
    pub(super) node: Arc<Node>,
    /// The first words, until the handshake is over and they are said.
    pub(super) words: Option<Vec<u8>>,
    /// The peer's number, once it has said who it is.
    number: Option<u32>,
    /// Set when this is a spare connection: how much had been heard of the other one.
    pub(super) spare: Option<u64>,
    /// The connection by which the peer has told its interest before this one; looked for when it
    /// begins to tell it here.
    elder: Option<Option<Arc<Elder>>>,
    /// Accounts by name, as messages name them.
    accounts: HashMap<Box<[u8]>, Arc<Account>>,
    /// The account of the last message.
    last: Option<Arc<Account>>,
    /// What the peer may have; everything when absent.
    rights: Option<RouteRights>,
    key: Vec<u8>,
    /// Held until the peer has told what its clients listen to, when ours wait for that.
    pub(super) joining: Option<TaskTrackerToken>,
    pub(super) pings_out: u32,
    pub(super) pinged_at: Option<Instant>,
    in_messages: u64,
    in_bytes: u64,
    /// Whether some of its interest has been left out.
    left_out: bool,
}

// === impl Side for Talk ===

impl Side for Talk {
    type Rules = Rules;

    #[inline]
    fn handle(&mut self, desk: &mut Desk, op: &Op<'_>) -> Flow {
        let done = match *op {
            Op::Message(ref message) => self.message(desk, message),
            Op::Subscribe(ref interest) => self.subscribe(interest),
            Op::Unsubscribe(ref interest) => self.unsubscribe(interest),
            Op::Ping => {
                desk.send(&self.route.client, frame::PONG);
                Ok(())
            }
            Op::Pong => {
                self.pings_out = 0;
                self.route.note_answered();
                self.joining = None;
                if let Some(at) = self.pinged_at.take() {
                    self.route.set_rtt(at.elapsed());
                }
                Ok(())
            }
            Op::Info(json) => self.info(json),
            // The one who has dialled says it; from another it means nothing.
            Op::Connect(_) if self.route.dialled => Ok(()),
            Op::Connect(json) => return ControlFlow::Break(Break::Connect(json.into())),
            Op::Ignored => Ok(()),
            Op::Error(text) => Err(RouteEnd::Said(String::from_utf8_lossy(text).into_owned())),
        };
        match done {
            Ok(()) if desk.is_tired() => ControlFlow::Break(Break::Pause),
            Ok(()) => ON,
            Err(end) => ControlFlow::Break(Break::End(End::Route(end))),
        }
    }

    fn end_turn(&mut self, desk: &mut Desk, read: usize) {
        self.publish_counts();
        desk.end_turn(read);
        desk.flush();
    }

    fn decoded(&mut self, desk: &mut Desk) {
        self.greet(desk);
        desk.flush();
    }

    fn violated(violation: Violation) -> End {
        End::Route(RouteEnd::Violation(violation))
    }

    fn hub(&self) -> &Hub {
        &self.hub
    }
}

// === impl Talk ===

impl Talk {
    pub(super) fn new(route: Arc<Route>, hub: Arc<Hub>, node: Arc<Node>) -> Self {
        Talk {
            rights: hub.settings().route_rights.clone(),
            route,
            hub,
            node,
            words: None,
            number: None,
            spare: None,
            elder: None,
            accounts: HashMap::new(),
            last: None,
            key: Vec::new(),
            joining: None,
            pings_out: 0,
            pinged_at: None,
            in_messages: 0,
            in_bytes: 0,
            left_out: false,
        }
    }

    /// Whether the peer has said who it is, and is one to talk to.
    pub(super) fn is_introduced(&self) -> bool {
        self.number.is_some()
    }

    /// Whether this server has said who it is.
    pub(super) fn has_greeted(&self) -> bool {
        self.words.is_none()
    }

    /// Says who this server is, once that is possible.
    pub(super) fn greet(&mut self, desk: &mut Desk) {
        let client = &self.route.client;
        let ready = match &client.out().wire {
            Some(wire) => wire.is_ready(),
            None => false,
        };
        if let Some(words) = self.words.take_if(|_| ready) {
            desk.send(client, &words);
            // With a ping, if this server has dialled.
            if self.route.dialled {
                self.route.note_asked();
                self.pinged_at = Some(Instant::now());
            }
        }
    }

    /// Makes the numbers of this turn visible to others.
    fn publish_counts(&mut self) {
        self.route.hear();
        // Whoever says something is alive, though its PONG may wait behind much else.
        self.pings_out = 0;
        let client = &self.route.client;
        client
            .in_messages
            .store(self.in_messages, Ordering::Relaxed);
        client.in_bytes.store(self.in_bytes, Ordering::Relaxed);
    }

    fn info(&mut self, json: &[u8]) -> Result<(), RouteEnd> {
        let info = RouteInfo::read(json).map_err(RouteEnd::BadJson)?;
        if self.number.is_some() {
            self.node.hear(&self.hub, &self.route, info);
            return Ok(());
        }
        let place = self.node.introduce(&self.hub, &self.route, info)?;
        self.number = Some(place.number);
        self.spare = place.spare;
        Ok(())
    }

    #[inline]
    fn message(&mut self, desk: &mut Desk, message: &Message<'_>) -> Result<(), RouteEnd> {
        if self.number.is_none() {
            return Err(RouteEnd::Unknown);
        }
        self.in_messages += 1;
        self.in_bytes += message.size() as u64;
        let Some(account) = self.account(message.account) else {
            return Ok(());
        };
        let publish = Publish {
            subject: message.subject,
            reply: message.reply,
            header_len: message.header_len,
            body: message.body,
        };
        if message.header_len.is_some() && message_trace::is_wanted(&publish, false) {
            self.relay_traced(desk, &account, &publish, message.queues);
        } else {
            desk.relay(&account, &self.route.client, &publish, message.queues);
        }
        Ok(())
    }

    /// Delivers a message whose sender wants to know what becomes of it, and tells what did here.
    #[inline(never)]
    fn relay_traced(
        &self,
        desk: &mut Desk,
        account: &Arc<Account>,
        message: &Publish<'_>,
        queues: Queues<'_>,
    ) {
        let from = &self.route.client;
        let name = from.about().name.clone();
        // Whether it is a sample its first server has decided.
        let wish = Trace::begin(message, from, name.as_deref(), account, None, |_| false);
        desk.trace = match wish {
            Wish::Trace(trace) => Some(trace),
            Wish::None | Wish::Disabled | Wish::Drop => None,
        };
        desk.relay(account, from, message, queues);
        if let Some(trace) = desk.trace.take() {
            desk.tell(&trace);
        }
    }

    /// The account of this name, if it is known.
    #[inline]
    fn account(&mut self, name: &[u8]) -> Option<Arc<Account>> {
        if let Some(last) = &self.last
            && last.name.as_bytes() == name
        {
            return Some(Arc::clone(last));
        }
        let found = match self.accounts.get(name) {
            Some(known) => Arc::clone(known),
            None => {
                let known = self.hub.accounts.get(std::str::from_utf8(name).ok()?)?;
                self.accounts.insert(name.into(), Arc::clone(&known));
                known
            }
        };
        self.last = Some(Arc::clone(&found));
        Some(found)
    }

    /// The account of this name, made when somebody over there listens in it: its clients here may come
    /// later, and shall reach them.
    fn account_of_interest(&mut self, name: &[u8]) -> Option<Arc<Account>> {
        if let Some(known) = self.account(name) {
            return Some(known);
        }
        if self.accounts.len() >= ACCOUNTS {
            tracing::warn!("a server names too many accounts; some are left out");
            return None;
        }
        let created = self
            .hub
            .accounts
            .get_or_create(std::str::from_utf8(name).ok()?);
        self.accounts.insert(name.into(), Arc::clone(&created));
        Some(created)
    }

    fn subscribe(&mut self, interest: &Interest<'_>) -> Result<(), RouteEnd> {
        let number = self.number.ok_or(RouteEnd::Unknown)?;
        let client = Arc::clone(&self.route.client);
        let seed = self.hub.accounts.global().seed;
        self.set_key(interest);
        if let Some(known) = client.subscription(seed, &self.key) {
            if let Some(remote) = known.remote() {
                remote.weight.store(interest.weight, Ordering::Relaxed);
            }
            return Ok(());
        }
        if !subject::is_valid(interest.subject) {
            tracing::debug!("a server listens to a subject that is not in order");
            return Ok(());
        }
        let filter = match self.export(interest.subject) {
            Export::Nothing => {
                let subject = String::from_utf8_lossy(interest.subject);
                tracing::debug!("Can not export {subject:?}, ignoring remote subscription request");
                return Ok(());
            }
            Export::Whole => None,
            Export::Part(filter) => Some(filter),
        };
        if client.subscription_count() >= INTEREST {
            return Err(RouteEnd::TooMuchInterest);
        }
        if !self.hub.memory.takes_subscriptions() {
            if !std::mem::replace(&mut self.left_out, true) {
                tracing::warn!("no memory for what a server listens to; some is left out");
            }
            return Ok(());
        }
        let Some(account) = self.account_of_interest(interest.account) else {
            return Ok(());
        };
        let special = Special {
            queue: interest.queue.map(Arc::from),
            remote: Some(Remote {
                account: Arc::clone(&account),
                peer: number,
                weight: AtomicU32::new(interest.weight),
                elder: self.elder(),
            }),
            filter,
            ..Special::default()
        };
        let sub = Subscription::new(Arc::clone(&client), interest.subject, &self.key, special);
        client.enrol(seed, &Arc::new(sub), |sub| account.insert(sub));
        Ok(())
    }

    fn elder(&mut self) -> Option<Arc<Elder>> {
        let Talk { node, route, .. } = self;
        let find = || {
            node.elder_of(route)
                .map(|elder| Arc::new(Elder::new(elder)))
        };
        self.elder.get_or_insert_with(find).clone()
    }

    fn unsubscribe(&mut self, interest: &Interest<'_>) -> Result<(), RouteEnd> {
        self.number.ok_or(RouteEnd::Unknown)?;
        self.set_key(interest);
        let client = &self.route.client;
        let seed = self.hub.accounts.global().seed;
        if let Some(sub) = client.subscription(seed, &self.key) {
            if let Some(remote) = sub.remote() {
                remote.account.remove(&sub);
            }
            client.forget(seed, &sub);
        }
        Ok(())
    }

    fn export(&self, subject: &[u8]) -> Export {
        match &self.rights {
            Some(rights) => rights.export(subject),
            None => Export::Whole,
        }
    }

    /// The settings have been replaced: gives up what the peer may not have any more. What it may have now
    /// and could not before it says again.
    pub(super) fn apply_settings(&mut self) {
        let rights = self.hub.settings().route_rights.clone();
        if self.rights.is_none() && rights.is_none() {
            return;
        }
        self.rights = rights;
        let client = Arc::clone(&self.route.client);
        let seed = self.hub.accounts.global().seed;
        for sub in client.subscriptions() {
            let Some(remote) = sub.remote() else { continue };
            let filter = match self.export(sub.subject()) {
                Export::Nothing => {
                    remote.account.remove(&sub);
                    client.forget(seed, &sub);
                    continue;
                }
                Export::Whole => None,
                Export::Part(filter) => Some(filter),
            };
            let special = sub.special.as_ref();
            if filter.is_none() && special.is_none_or(|special| special.filter.is_none()) {
                continue;
            }
            let weight = remote.weight.load(Ordering::Relaxed);
            let next = {
                // Deliveries count under this lock.
                let _out = client.out();
                Arc::new(sub.successor(Special {
                    queue: sub.queue().cloned(),
                    filter,
                    remote: Some(Remote {
                        account: Arc::clone(&remote.account),
                        peer: remote.peer,
                        weight: AtomicU32::new(weight),
                        elder: remote.elder.clone(),
                    }),
                    ..Special::default()
                }))
            };
            client.succeed(seed, &sub, &next, || {
                remote.account.insert(&next);
                remote.account.remove(&sub);
            });
        }
    }

    /// What an interest is known by. Subjects and names have no blanks.
    fn set_key(&mut self, interest: &Interest<'_>) {
        let Interest {
            origin,
            account,
            subject,
            queue,
            ..
        } = interest;
        self.key.clear();
        for word in [
            Some(if origin.is_some() { b"L" } else { b"R" }.as_slice()),
            Some(account),
            Some(subject),
            *queue,
            *origin,
        ]
        .into_iter()
        .flatten()
        {
            self.key.extend_from_slice(word);
            self.key.push(b' ');
        }
    }
}
