//! Message tracing: what becomes of one message, told to the subject that its own headers name.
//!
//! A message with a `Nats-Trace-Dest` header is delivered as ever, and each step is noted: how it came
//! in, what mappings and imports made of it, who got it and who did not, and why. The notes are published
//! as one JSON event, as nats-server 2.11 and later do. With `Nats-Trace-Only: true` the message itself
//! goes nowhere. Messages without headers are not looked at.
//!
//! An account may have its sampled messages traced (`msg_trace`): those with a W3C `traceparent` that says
//! so, to a subject of the account's choice.
//!
//! Each server tells its own part. A message that goes on to another one carries in `Nats-Trace-Hop` which
//! way it takes: `1` is the first server it was sent to, and `1.2` the second one that sent it to.

mod event;
mod header;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::account::Account;
use crate::client::{Client, Kind};
use crate::config::accounts::MessageTrace;
use crate::encoding::Encoding;
use crate::events::ServerInfo;
use crate::parser::Publish;
use crate::sublist::Member as _;
use crate::subscription::Subscription;
pub(crate) use event::timestamp;
use event::{Event, Step};

/// The header that asks for a trace, and says where to.
pub(crate) const DESTINATION: &str = "Nats-Trace-Dest";
/// What it says when a message has left the account whose business the trace is.
pub(crate) const DISABLED: &str = "trace disabled";
/// The header by which the message itself goes nowhere.
const ONLY: &str = "Nats-Trace-Only";
/// The header that says a trace comes from elsewhere. Older servers set it; clients may not.
const ORIGIN: &str = "Nats-Trace-Origin-Account";
/// The header that names the encodings its sender can read.
const ENCODINGS: &str = "Accept-Encoding";
/// The header that says by which way a message has come from another server.
pub(crate) const HOP: &str = "Nats-Trace-Hop";
/// Steps that are noted; of a message to more receivers the rest is not.
const STEPS: usize = 4096;

/// Why somebody who listens did not get a message; nats-server's words.
pub(crate) mod reason {
    pub(crate) const NO_ECHO: &str = "Not delivered because of no echo";
    pub(crate) const DENIED: &str = "Not delivered because subscription denies this subject";
    pub(crate) const CLOSED: &str = "Not delivered because client is closed";
    pub(crate) const EXCEEDED: &str = "Not delivered because auto-unsubscribe exceeded";
    pub(crate) const NOT_THERE: &str =
        "Not delivered because remote does not support message tracing";
    pub(crate) const LOST_THERE: &str = "Message delivered but remote does not support message tracing so no trace event generated from there";
}

/// What is noted of one message on its way.
#[derive(Debug)]
pub(crate) struct Trace {
    destination: Box<[u8]>,
    /// Whether the message itself goes nowhere.
    pub(crate) only: bool,
    /// Where the message came in, and the event goes.
    pub(crate) account: Arc<Account>,
    /// It is in an account that does not tell what becomes of it.
    pub(crate) hidden: bool,
    /// How the event is to be packed.
    pub(crate) encoding: Option<Encoding>,
    request: Request,
    /// By which way it came here.
    hop: Option<String>,
    /// Servers it has been sent to from here.
    hops: u32,
    events: Vec<Event>,
}

/// What was sent.
#[derive(Debug, Serialize)]
struct Request {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    header: BTreeMap<String, Vec<String>>,
    #[serde(rename = "msgsize")]
    size: usize,
}

/// The event as it is published.
#[derive(Serialize)]
struct Report<'a> {
    server: &'a ServerInfo,
    request: &'a Request,
    #[serde(skip_serializing_if = "Option::is_none")]
    hops: Option<u32>,
    events: &'a [Event],
}

/// How a message with headers is to be dealt with.
#[derive(Debug)]
pub(crate) enum Wish {
    /// As any other.
    None,
    /// It is traced.
    Trace(Box<Trace>),
    /// It is delivered with a note that it is not to be traced elsewhere.
    Disabled,
    /// It goes nowhere.
    Drop,
}

/// Whether a message with headers may ask to be traced; `sampled` says that its account traces what a
/// `traceparent` says is sampled. A look for one word, or two.
#[inline]
pub(crate) fn is_wanted(message: &Publish<'_>, sampled: bool) -> bool {
    message.header_len.is_some_and(|len| {
        let block = &message.body[..len];
        header::value(block, DESTINATION).is_some() || (sampled && header::is_sampled(block))
    })
}

// === impl Trace ===

impl Trace {
    /// Begins to trace a message that asks for it, or that its account (`sampling`) wants to know of; `draw`
    /// says whether chance takes one of so many percent.
    pub(crate) fn begin(
        message: &Publish<'_>,
        from: &Client,
        name: Option<&str>,
        account: &Arc<Account>,
        sampling: Option<&MessageTrace>,
        draw: impl FnOnce(u8) -> bool,
    ) -> Wish {
        let Some(len) = message.header_len else {
            return Wish::None;
        };
        let block = &message.body[..len];
        let asked = header::value(block, DESTINATION);
        if asked == Some(DISABLED.as_bytes()) {
            return Wish::None;
        }
        let header = header::all(block);
        let first = |name: &str| header.get(name)?.first().map(String::as_str);
        let is_on = |value: &str| {
            ["1", "true", "on"]
                .iter()
                .any(|word| value.eq_ignore_ascii_case(word))
        };
        let only = asked.is_some() && first(ONLY).is_some_and(is_on);
        // A client cannot have come by way of another server, nor from another account.
        let is_route = from.kind == Kind::Route;
        if !is_route && first(ORIGIN).is_some() {
            return if only { Wish::Drop } else { Wish::Disabled };
        }
        let destination: Box<[u8]> = match (asked, sampling) {
            (Some(asked), _) => asked.into(),
            (None, Some(sampling)) if draw(sampling.sampling) => {
                sampling.destination.as_bytes().into()
            }
            (None, Some(_)) => return Wish::Disabled,
            (None, None) => return Wish::None,
        };
        let hop = first(HOP).filter(|_| is_route).map(str::to_owned);
        let encoding = first(ENCODINGS).map(Encoding::of);
        let size = message.size();
        let mut trace = Trace {
            destination,
            only,
            account: Arc::clone(account),
            hidden: false,
            encoding,
            request: Request { header, size },
            hop,
            hops: 0,
            events: Vec::new(),
        };
        trace.note(Step::In {
            kind: kind(from),
            cid: from.id,
            name: name.unwrap_or_default().to_owned(),
            account: account.name.to_string(),
            subject: text(message.subject),
            error: None,
        });
        Wish::Trace(Box::new(trace))
    }

    /// Where the event will go.
    pub(crate) fn destination(&self) -> &[u8] {
        &self.destination
    }

    /// It was not taken at all.
    pub(crate) fn refused(&mut self, why: &str) {
        if let Some(Event {
            step: Step::In { error, .. },
            ..
        }) = self.events.first_mut()
        {
            *error = Some(why.to_owned());
        }
    }

    /// Its subject was mapped to another.
    pub(crate) fn mapped(&mut self, to: &[u8]) {
        self.note(Step::Mapping { to: text(to) });
    }

    /// A client of another account got it by an import, under the name it has there.
    pub(crate) fn exported(&mut self, to_account: &str, to: &[u8]) {
        self.note(Step::StreamExport {
            account: to_account.to_owned(),
            to: text(to),
        });
    }

    /// It went to a service of another account.
    pub(crate) fn imported(&mut self, account: &str, from: &[u8], to: &[u8]) {
        self.note(Step::ServiceImport {
            account: account.to_owned(),
            from: text(from),
            to: text(to),
        });
    }

    /// It went to a subscription, or did not.
    pub(crate) fn egress(&mut self, sub: &Subscription, error: Option<&'static str>) {
        let client = &sub.client;
        let account = client.account();
        let elsewhere = !Arc::ptr_eq(&account, &self.account);
        self.note(Step::Out {
            kind: kind(client),
            cid: client.id,
            name: name(client),
            account: elsewhere.then(|| account.name.to_string()),
            subscription: text(sub.subject()),
            queue: sub.queue().map(|queue| text(queue)),
            hop: None,
            error,
        });
    }

    /// It is to go to another server, which `traces` or does not: the way it takes, if it may. What is only
    /// traced stays here when the other would deliver it.
    pub(crate) fn passes(&mut self, route: &Client, traces: bool) -> Option<String> {
        self.hops += 1;
        let way = match &self.hop {
            Some(hop) => format!("{hop}.{}", self.hops),
            None => self.hops.to_string(),
        };
        self.note(Step::Out {
            kind: kind(route),
            cid: route.id,
            name: name(route),
            account: None,
            subscription: String::new(),
            queue: None,
            hop: Some(way.clone()),
            error: match (traces, self.only) {
                (true, _) => None,
                (false, true) => Some(reason::NOT_THERE),
                (false, false) => Some(reason::LOST_THERE),
            },
        });
        (traces || !self.only).then_some(way)
    }

    /// The event, with what introduces this server.
    pub(crate) fn report(&self, server: &ServerInfo) -> Vec<u8> {
        let report = Report {
            server,
            request: &self.request,
            hops: Some(self.hops).filter(|hops| *hops > 0),
            events: &self.events,
        };
        serde_json::to_vec(&report).unwrap_or_default()
    }

    fn note(&mut self, step: Step) {
        if self.events.len() < STEPS {
            let at = SystemTime::now();
            self.events.push(Event { at, step });
        }
    }
}

/// nats-server's number for what a connection is.
fn kind(client: &Client) -> u8 {
    match client.kind {
        Kind::Client => 0,
        Kind::Route => 1,
        Kind::System => 3,
    }
}

fn name(client: &Client) -> String {
    client
        .about()
        .name
        .as_deref()
        .unwrap_or_default()
        .to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
