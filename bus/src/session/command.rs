//! What each operation of a client does.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::account::Account;
use crate::auth::Identity;
use crate::client::{Client, Enrolment};
use crate::clock;
use crate::config::accounts::MessageTrace;
use crate::delivery::Desk;
use crate::hub::Hub;
use crate::link::{Break, Flow, ON, Side};
use crate::mapping::{Mapped, Mappings};
use crate::parser::{Op, Publish, Rules, Violation};
use crate::permissions::Permissions;
use crate::place::Place;
use crate::protocol::{ConnectOptions, Quoted, frame};
use crate::settings::Settings;
use crate::subject;
use crate::sublist::Member as _;
use crate::subscription::{Special, Subscription};
use crate::trace::{self, Who};
use crate::worker::Berth;
use crate::{message_trace, tap};

use super::End;

/// Subjects whose publish verdict is remembered per connection; all are forgotten when it is full.
const VERDICTS: usize = 256;

/// How long a turn may change subscriptions, give or take a tick of the clock.
const LONG_NANOS: u64 = 2_000_000;
/// The queue group that nats-server keeps for its own subscriptions.
const SYSTEM_QUEUE: &[u8] = b"_sys_";

/// Bytes for each message or delivery, below which they make much work: one for 128 bytes read.
const LABORIOUS: usize = 128;

/// The client's side of the conversation.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) place: Place<Berth>,
    pub(super) client: Arc<Client>,
    pub(super) settings: Arc<Settings>,
    pub(super) account: Arc<Account>,
    pub(super) hub: Arc<Hub>,
    pub(super) options: ConnectOptions,
    pub(super) identity: Option<Arc<Identity>>,
    /// Whether it has said who it is.
    pub(super) known: bool,
    /// Whether a ping of it has been answered since.
    settled: bool,
    /// Whether there was news before.
    uninformed: bool,
    /// Largest message it may send.
    pub(super) max_payload: usize,
    /// Whether it said nothing of who it is.
    pub(super) anonymous: bool,
    /// What it publishes is renamed by these.
    pub(super) mappings: Option<Arc<Mappings>>,
    /// How messages that say they are sampled are traced, if they are.
    pub(super) sampling: Option<Arc<MessageTrace>>,
    /// Whether its account imports streams.
    pub(super) imports: bool,
    /// Subscriptions it may have.
    pub(super) max_subscriptions: Option<usize>,
    /// Whether the user may not publish everything.
    restricted: bool,
    verdicts: HashMap<Box<[u8]>, bool>,
    /// Pings it has not answered.
    pub(super) pings_out: u32,
    /// Whether it has published, subscribed or pinged since the last tick.
    active: bool,
    in_messages: u64,
    in_bytes: u64,
    /// Whether the turn before had many for its bytes.
    laborious: bool,
    /// When it first subscribed or unsubscribed in this turn; 0 when it has not.
    resubscribed: u64,
    /// When the first ping was sent that is not answered.
    pub(super) pinged_at: Option<Instant>,
}

// === impl Side for Talk ===

impl Side for Talk {
    type Rules = Rules;

    #[inline]
    fn handle(&mut self, desk: &mut Desk, op: &Op<'_>) -> Flow {
        match *op {
            Op::Publish(ref message) => self.publish(desk, message),
            Op::Subscribe {
                subject,
                queue,
                sid,
            } => self.subscribe(desk, subject, queue, sid),
            Op::Unsubscribe { sid, max } => self.unsubscribe(desk, sid, max),
            Op::Ping => {
                self.active = true;
                desk.send(&self.client, frame::PONG);
                if !self.settled {
                    self.settle_in(desk);
                }
                ON
            }
            Op::Pong => {
                self.pings_out = 0;
                if let Some(at) = self.pinged_at.take() {
                    self.client.set_rtt(at.elapsed());
                }
                ON
            }
            Op::Connect(json) => ControlFlow::Break(Break::Connect(json.into())),
            Op::Ignored => ON,
            Op::Error => ControlFlow::Break(Break::End(End::ClientError)),
        }
    }

    fn end_turn(&mut self, desk: &mut Desk, read: usize) {
        self.publish_counts();
        self.laborious = desk.end_turn(read) * LABORIOUS > read;
        self.place.note(&desk.lookout);
    }

    fn trace(&self, op: &Op<'_>) {
        trace::incoming(&self.client, op, self.settings.limits.max_traced);
    }

    fn is_laborious(&self) -> bool {
        self.laborious
    }

    fn violated(violation: Violation) -> End {
        End::Violation(violation)
    }

    fn hub(&self) -> &Hub {
        &self.hub
    }
}

// === impl Talk ===

impl Talk {
    pub(super) fn new(
        hub: Arc<Hub>,
        client: Arc<Client>,
        settings: Arc<Settings>,
        place: Place<Berth>,
    ) -> Self {
        Talk {
            place,
            hub,
            account: client.account(),
            client,
            max_payload: settings.limits.max_payload,
            settings,
            options: ConnectOptions::default(),
            identity: None,
            known: false,
            settled: false,
            uninformed: false,
            anonymous: true,
            mappings: None,
            sampling: None,
            imports: false,
            max_subscriptions: None,
            restricted: false,
            verdicts: HashMap::new(),
            pings_out: 0,
            active: false,
            in_messages: 0,
            in_bytes: 0,
            laborious: false,
            resubscribed: 0,
            pinged_at: None,
        }
    }

    pub(super) fn set_identity(&mut self, identity: Arc<Identity>) {
        self.restricted = identity
            .permissions
            .as_ref()
            .is_some_and(Permissions::restricts_publish);
        self.client.about().identity = Some(Arc::clone(&identity));
        self.identity = Some(identity);
        self.verdicts.clear();
    }

    pub(super) fn clear_identity(&mut self) {
        self.restricted = false;
        self.client.about().identity = None;
        self.identity = None;
        self.verdicts.clear();
    }

    /// Changes over to another account, with all subscriptions.
    pub(super) fn join(&mut self, account: Arc<Account>) {
        let old = std::mem::replace(&mut self.account, Arc::clone(&account));
        if Arc::ptr_eq(&old, &account) {
            return;
        }
        self.client.about().account = Arc::clone(&account);
        for sub in self.client.subscriptions() {
            // One that has just had its last delivery is off the list, and stays off.
            if old.remove(&sub) {
                account.insert(&sub);
            } else if sub.subject().starts_with(tap::PREFIX) {
                // A tap was for the other account.
                sub.end_after(0);
                self.client.forget(account.seed, &sub);
            }
        }
    }

    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    pub(super) fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    pub(super) fn identity_name(&self) -> &str {
        self.identity.as_ref().map_or("", |identity| &identity.name)
    }

    /// The user it is, or said it was.
    pub(super) fn claimed_name(&self) -> &str {
        let said = || {
            self.options
                .user
                .as_deref()
                .or(self.options.nkey.as_deref())
        };
        match &self.identity {
            Some(identity) => &identity.name,
            None => said().unwrap_or_default(),
        }
    }

    /// Whether the client has shown since this was last asked that it is there. An answer to a ping does not
    /// count, else only every other ping would be sent.
    pub(super) fn was_active(&mut self) -> bool {
        std::mem::take(&mut self.active)
    }

    /// Makes the numbers of this turn visible to others.
    fn publish_counts(&mut self) {
        let counted = &self.client.in_messages;
        let resubscribed = std::mem::take(&mut self.resubscribed) > 0;
        if counted.load(Ordering::Relaxed) != self.in_messages || resubscribed {
            self.active = true;
            self.client.active.now();
        }
        counted.store(self.in_messages, Ordering::Relaxed);
        self.client.in_bytes.store(self.in_bytes, Ordering::Relaxed);
    }

    /// Sends INFO again to a client that understands it; not before its first ping is answered, as client
    /// libraries wait for nothing but that while they connect.
    pub(super) fn inform(&mut self, desk: &mut Desk) {
        self.uninformed = !self.settled;
        if self.settled && self.options.protocol >= 1 {
            let mut info = self.hub.info(&self.client, None);
            info.max_payload = self.max_payload;
            desk.send(&self.client, &info.frame());
        }
    }

    /// The first ping is answered: what it could not be told before, it is told now.
    #[cold]
    fn settle_in(&mut self, desk: &mut Desk) {
        self.settled = self.known;
        // The first INFO is the same for all, whatever they may send.
        let narrower = self.max_payload != self.settings.limits.max_payload;
        if self.settled && (self.uninformed || narrower) {
            self.inform(desk);
        }
    }

    #[inline]
    fn publish(&mut self, desk: &mut Desk, message: &Publish<'_>) -> Flow {
        self.in_messages += 1;
        self.in_bytes += message.size() as u64;
        if message.header_len.is_some()
            && message_trace::is_wanted(message, self.sampling.is_some())
        {
            return self.publish_traced(desk, message);
        }
        self.publish_checked(desk, message)
    }

    /// Publishes a message that is counted, if its sender may.
    #[allow(
        clippy::inline_always,
        reason = "it is most of what is done for a message, and a call costs a fortieth of that"
    )]
    #[inline(always)]
    pub(super) fn publish_checked(&mut self, desk: &mut Desk, message: &Publish<'_>) -> Flow {
        if self.options.pedantic && !subject::is_literal(message.subject) {
            desk.send(&self.client, b"-ERR 'Invalid Publish Subject'\r\n");
        }
        if subject::is_of_gateways(message.subject) {
            self.refuse_publish(desk, message.subject);
            return rest(desk);
        }
        if self.restricted && !self.is_allowed(desk, message.subject) {
            return rest(desk);
        }
        if let Some(reply) = message.reply
            && subject::is_reserved_reply(reply)
        {
            self.refuse_reply(desk, reply);
            return rest(desk);
        }
        if self.options.verbose {
            desk.send(&self.client, frame::OK);
        }
        let receivers = if self.mappings.is_some() {
            self.publish_renamed(desk, message)
        } else {
            desk.publish(&self.account, &self.client, message)
        };
        if self.hub.taps.are_there() {
            self.hub
                .taps
                .see(desk, &self.account, &self.client, message, receivers);
        }
        if receivers == 0
            && let Some(reply) = message.reply
            && self.options.no_responders
        {
            self.no_responders(desk, reply);
        }
        rest(desk)
    }

    /// Publishes under another name if the account's mappings say so; returns how many got it.
    #[inline(never)]
    fn publish_renamed(&self, desk: &mut Desk, message: &Publish<'_>) -> usize {
        let mapped = match &self.mappings {
            Some(mappings) => desk.map(mappings, message.subject),
            None => Mapped::Same,
        };
        let subject = match &mapped {
            Mapped::Same => message.subject,
            Mapped::To(subject) => {
                if let Some(trace) = &mut desk.trace {
                    trace.mapped(subject);
                }
                subject
            }
            // Lost on purpose is as good as delivered.
            Mapped::Lost => return 1,
        };
        let renamed = Publish {
            subject,
            ..*message
        };
        desk.publish(&self.account, &self.client, &renamed)
    }

    /// Whether it may publish here. When not, it is told so.
    #[inline(never)]
    pub(super) fn is_allowed(&mut self, desk: &mut Desk, subject: &[u8]) -> bool {
        let allowed = !self.restricted || self.may_publish(desk, subject);
        if !allowed {
            self.refuse_publish(desk, subject);
        }
        allowed
    }

    #[cold]
    fn refuse_publish(&mut self, desk: &mut Desk, subject: &[u8]) {
        self.refuse_traced(desk, &format!("Publish to {}", Quoted(subject)));
    }

    #[cold]
    fn refuse_reply(&mut self, desk: &mut Desk, reply: &[u8]) {
        self.refuse_traced(desk, &format!("Publish with Reply of {}", Quoted(reply)));
    }

    fn refuse_traced(&mut self, desk: &mut Desk, what: &str) {
        if let Some(trace) = &mut desk.trace {
            trace.refused(&format!("Permissions Violation for {what}"));
        }
        self.refuse(desk, what);
    }

    /// Whether the rules, or an open request, let it publish here.
    fn may_publish(&mut self, desk: &mut Desk, subject: &[u8]) -> bool {
        let Some(permissions) = self
            .identity
            .as_ref()
            .and_then(|who| who.permissions.as_ref())
        else {
            return true;
        };
        let allowed = match self.verdicts.get(subject) {
            Some(verdict) => *verdict,
            None => {
                desk.work += permissions.publish_rules();
                let verdict = permissions.may_publish(subject);
                if self.verdicts.len() >= VERDICTS {
                    self.verdicts.clear();
                }
                self.verdicts.insert(subject.into(), verdict);
                verdict
            }
        };
        allowed || (permissions.responses.is_some() && self.client.may_answer(subject))
    }

    /// Tells a requester that nobody listens, by the subscription it has for the answer, which is in no
    /// queue group.
    fn no_responders(&mut self, desk: &mut Desk, reply: &[u8]) {
        let Some(found) = desk.find_once(&self.account, reply) else {
            return;
        };
        let mut plain = found.plain().iter();
        let Some(sub) = plain.find(|sub| Arc::ptr_eq(&sub.client, &self.client)) else {
            return;
        };
        let len = frame::NO_RESPONDERS.len();
        let mut text = Vec::with_capacity(reply.len() + 64);
        text.extend_from_slice(b"HMSG ");
        text.extend_from_slice(reply);
        text.push(b' ');
        text.extend_from_slice(sub.sid());
        text.extend_from_slice(format!(" {len} {len}\r\n").as_bytes());
        text.extend_from_slice(frame::NO_RESPONDERS);
        text.extend_from_slice(b"\r\n");
        desk.send(&self.client, &text);
    }

    fn subscribe(
        &mut self,
        desk: &mut Desk,
        subject: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
    ) -> Flow {
        self.note_change();
        if subject.starts_with(tap::PREFIX) {
            self.subscribe_tap(desk, subject, queue, sid);
        } else {
            self.subscribe_plainly(desk, subject, queue, sid);
        }
        self.go_on()
    }

    fn subscribe_plainly(
        &mut self,
        desk: &mut Desk,
        subject: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
    ) {
        let permissions = self
            .identity
            .as_ref()
            .and_then(|who| who.permissions.as_ref());
        if queue == Some(SYSTEM_QUEUE)
            || permissions.is_some_and(|permissions| !permissions.may_subscribe(subject, queue))
        {
            self.refuse(desk, &subscription(subject, queue));
            return;
        }
        let most = self.settings.limits.max_subject_tokens;
        if most > 0 && memchr::memchr_iter(b'.', subject).count() >= most {
            let what = subscription(subject, None);
            self.refuse(desk, &format!("{what}, too many tokens"));
            return;
        }
        if self.is_full(desk) {
            return;
        }
        if !subject::is_valid(subject) {
            if self.client.subscription(self.account.seed, sid).is_some() {
                // The first one stays, whatever this is.
                self.confirm(desk);
            } else {
                desk.send(&self.client, b"-ERR 'Invalid Subject'\r\n");
            }
            return;
        }
        let filter = permissions
            .is_some_and(|permissions| permissions.needs_filter(subject, queue))
            .then(|| self.identity.clone())
            .flatten();
        let special = Special {
            queue: queue.map(Arc::from),
            filter,
            ..Special::default()
        };
        let sub = Subscription::new(Arc::clone(&self.client), subject, sid, special);
        let sub = Arc::new(sub);
        let account = &self.account;
        let enrolled = self
            .client
            .enrol(account.seed, &sub, |sub| account.insert(sub));
        if self.imports && enrolled == Enrolment::Added {
            self.cast(&sub);
        }
        if enrolled != Enrolment::Closed {
            self.confirm(desk);
        }
    }

    /// Whether it has as many subscriptions as it may. When so, it is told.
    pub(super) fn is_full(&self, desk: &mut Desk) -> bool {
        let full = self
            .max_subscriptions
            .is_some_and(|limit| self.client.subscription_count() >= limit)
            || !self.hub.memory.takes_subscriptions();
        if full {
            desk.send(&self.client, b"-ERR 'maximum subscriptions exceeded'\r\n");
        }
        full
    }

    fn unsubscribe(&mut self, desk: &mut Desk, sid: &[u8], max: Option<u64>) -> Flow {
        self.note_change();
        let account = &self.account;
        if let Some(sub) = self.client.subscription(account.seed, sid) {
            let lives = {
                // Deliveries count under this lock.
                let _out = self.client.out();
                sub.end_after(max.unwrap_or(0))
            };
            if !lives {
                account.remove(&sub);
                self.client.forget(account.seed, &sub);
            }
        }
        self.confirm(desk);
        self.go_on()
    }

    /// Notes that it subscribes or unsubscribes.
    fn note_change(&mut self) {
        if self.resubscribed == 0 {
            self.resubscribed = clock::coarse().max(1);
        }
    }

    /// Whether it may change more subscriptions in this turn. Mostly a change takes less than a microsecond,
    /// but where very many listen already it can take a thousand times as long.
    fn go_on(&self) -> Flow {
        if clock::coarse().saturating_sub(self.resubscribed) > LONG_NANOS {
            return ControlFlow::Break(Break::Pause);
        }
        ON
    }

    pub(super) fn confirm(&self, desk: &mut Desk) {
        if self.options.verbose {
            desk.send(&self.client, frame::OK);
        }
    }

    pub(super) fn refuse(&self, desk: &mut Desk, what: &str) {
        let (who, user) = (Who(&self.client), self.identity_name());
        match what.split_once(" to ") {
            Some((action, subject)) => {
                tracing::error!("{who} - {action} Violation - User {user:?}, Subject {subject}");
            }
            None => tracing::error!("{who} - {what}: Violation - User {user:?}"),
        }
        desk.send(
            &self.client,
            format!("-ERR 'Permissions Violation for {what}'\r\n").as_bytes(),
        );
    }
}

/// Whether the turn goes on after a message.
#[inline]
fn rest(desk: &Desk) -> Flow {
    if desk.is_tired() {
        return ControlFlow::Break(Break::Pause);
    }
    ON
}

/// What is refused, in words.
pub(super) fn subscription(subject: &[u8], queue: Option<&[u8]>) -> String {
    let subject = Quoted(subject);
    match queue {
        Some(queue) => format!("Subscription to {subject} using queue {}", Quoted(queue)),
        None => format!("Subscription to {subject}"),
    }
}
