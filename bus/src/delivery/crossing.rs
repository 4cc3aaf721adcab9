//! Messages that leave the account they were published in, inside the same turn.
//!
//! Requests and answers are not delivered in the middle of a match but noted, and published in the other
//! account when the match is through: the cache whose entry is being read is of the same worker.

use std::sync::Arc;
use std::time::Instant;

use crate::account::Account;
use crate::client::{Client, Kind};
use crate::config::accounts::ResponseType;
use crate::exchange::{
    Detail, Measured, OpenResponse, Outcome, Responses, ServiceExport, ServiceImport, Shadow,
    client_info, request_info,
};
use crate::header;
use crate::mapping::Mapped;
use crate::parser::Publish;
use crate::sublist::Member as _;
use crate::subscription::{Bridge, Special, Subscription};

use super::remote::Targets;
use super::{Courier, Desk, traced};

/// Accounts a message may pass within one turn.
const MOST_HOPS: usize = 16;
/// What the way over costs, in deliveries.
const CROSSING_WORK: usize = 64;
/// The header that tells a service who asks.
const REQUEST_INFO: &str = "Nats-Request-Info";

/// What waits to cross, and the way the message has taken so far.
#[derive(Debug, Default)]
pub(super) struct Crossings {
    pub(super) waiting: Vec<Crossing>,
    passed: Vec<Passed>,
}

/// A message that is to go on in another account.
#[derive(Debug)]
pub(super) enum Crossing {
    Request(Arc<ServiceImport>),
    Answer(Arc<Responses>),
}

/// A step of the way.
#[derive(Debug)]
struct Passed {
    export: Arc<ServiceExport>,
    share: bool,
}

impl Crossings {
    /// Whether the message has left the account it was published in.
    pub(super) fn is_under_way(&self) -> bool {
        !self.passed.is_empty()
    }
}

impl Courier<'_> {
    /// Takes a message over to where the subscription leads; `true` when it was delivered right away.
    #[inline(never)]
    pub(super) fn bridge(&mut self, sub: &Subscription, special: &Special) -> bool {
        match &special.bridge {
            // What has come in as a request or an answer does not go out again as a stream.
            Some(Bridge::Shadow(_)) if self.crossings.is_under_way() => false,
            Some(Bridge::Shadow(shadow)) => self.deliver_shadow(shadow, special),
            Some(Bridge::Service(import)) => {
                // What comes from another server has crossed there.
                if self.from.kind != Kind::Route {
                    let crossing = Crossing::Request(Arc::clone(import));
                    self.crossings.waiting.push(crossing);
                }
                false
            }
            Some(Bridge::Responses(responses)) => {
                debug_assert!(sub.queue().is_none(), "all answers go to one subscription");
                let crossing = Crossing::Answer(Arc::clone(responses));
                self.crossings.waiting.push(crossing);
                false
            }
            None => false,
        }
    }

    /// Delivers to a client of another account, under the name the subject has there.
    fn deliver_shadow(&mut self, shadow: &Shadow, special: &Special) -> bool {
        let renamed = shadow.import.pairing.to_local(self.message.subject);
        let local = renamed.as_deref().unwrap_or(self.message.subject);
        if !self.is_allowed(special, local) {
            return false;
        }
        let sub = &shadow.of;
        if let Some(reply) = self.message.reply {
            sub.client.note_reply(reply);
        }
        let message = Publish {
            subject: local,
            ..*self.message
        };
        let head = if renamed.is_some() {
            self.renamed.write(&message);
            &*self.renamed
        } else {
            self.head
        };
        let parts = |headers, sid| head.parts(&message, headers, sid);
        let delivery = sub.client.deliver(sub, message.size(), parts, self.pool);
        self.settle(sub, &shadow.account, delivery)
    }
}

impl Desk {
    /// Publishes what waits in the accounts it goes to; returns how many took it.
    #[inline(never)]
    pub(super) fn cross(
        &mut self,
        account: &Arc<Account>,
        from: &Arc<Client>,
        message: &Publish<'_>,
    ) -> usize {
        let waiting = std::mem::take(&mut self.crossings.waiting);
        let mut count = 0;
        for crossing in waiting {
            if self.crossings.passed.len() >= MOST_HOPS {
                break;
            }
            let taken = match crossing {
                Crossing::Request(import) => self.request(&import, from, message),
                Crossing::Answer(responses) => self.answer(account, &responses, from, message),
            };
            count += usize::from(taken);
        }
        count
    }

    /// A request to a service of another account.
    fn request(
        &mut self,
        import: &Arc<ServiceImport>,
        from: &Arc<Client>,
        message: &Publish<'_>,
    ) -> bool {
        let quiet = self.trace.as_ref().and_then(|_| traced::disabled(message));
        let message = &match &quiet {
            Some((header_len, body)) => Publish {
                header_len: Some(*header_len),
                body,
                ..*message
            },
            None => *message,
        };
        let passed = &self.crossings.passed;
        if passed
            .iter()
            .any(|step| Arc::ptr_eq(&step.export, &import.export))
        {
            return false;
        }
        let share = passed.last().map_or(import.share, |step| step.share);
        let detail = Detail::shared(share);
        let chained = !passed.is_empty();
        let exporter = &import.exporter;
        self.work += CROSSING_WORK;
        let renamed = import.pairing.to_remote(message.subject);
        let subject = renamed.as_deref().unwrap_or(message.subject);
        let mapped = match &exporter.exchange().mappings {
            Some(mappings) => mappings.map(subject, &mut self.dice),
            None => Mapped::Same,
        };
        let subject = match &mapped {
            Mapped::Same => subject,
            Mapped::To(subject) => subject,
            Mapped::Lost => return false,
        };
        let headers = message.header_len.map(|len| &message.body[..len]);
        let latency = import.export.latency.as_ref();
        let measured = latency.and_then(|latency| {
            let headers = latency.wants(headers, &mut self.dice)?;
            let requestor = client_info(from, &self.hub.id, detail);
            Some(Measured::new(latency, requestor, headers))
        });
        let reply = match (message.reply, measured) {
            (None, None) => None,
            (None, Some(measured)) => {
                let sample = measured.sample(Outcome::BadRequest, None);
                self.publish_own(exporter, &measured.subject, &sample);
                None
            }
            (Some(reply), measured) => {
                let response = OpenResponse::new(&import.importer, &import.export, reply, measured);
                Some(self.expect(exporter, response))
            }
        };
        // Who asks is known from the first step on; later ones add on whose behalf.
        let known = headers
            .filter(|_| chained)
            .and_then(|block| header::value(block, REQUEST_INFO));
        let importer = &import.importer.name;
        let informed = request_info(from, &self.hub.id, detail, known, importer).map(|info| {
            let mut body = header::with(headers.unwrap_or_default(), REQUEST_INFO, &info);
            let block = body.len();
            body.extend_from_slice(&message.body[headers.map_or(0, <[u8]>::len)..]);
            (block, body)
        });
        let (header_len, body) = match &informed {
            Some((block, body)) => (Some(*block), body.as_slice()),
            None => (message.header_len, message.body),
        };
        let request = Publish {
            subject,
            reply: reply.as_deref(),
            header_len,
            body,
        };
        self.crossings.passed.push(Passed {
            export: Arc::clone(&import.export),
            share,
        });
        let taken = self.publish_beyond(exporter, from, &request, import.export.allow_trace);
        self.crossings.passed.pop();
        let only = self.trace.as_ref().is_some_and(|trace| trace.only);
        if (!taken || only)
            && let Some(reply) = reply
            && let Some(response) = exporter.responses().and_then(|open| open.forget(&reply))
            && !taken
        {
            self.report(exporter, &response, Outcome::Unavailable, None);
        }
        taken
    }

    /// An answer to a request from another account.
    fn answer(
        &mut self,
        account: &Arc<Account>,
        responses: &Arc<Responses>,
        from: &Arc<Client>,
        message: &Publish<'_>,
    ) -> bool {
        let Some(response) = responses.answered(message.subject, Instant::now()) else {
            return false;
        };
        self.report(account, &response, Outcome::Answered, Some(from));
        let requestor = Arc::clone(&response.account);
        // The answer may be a question itself.
        let reply = message.reply.map(|reply| {
            let export = &response.export;
            self.expect(&requestor, OpenResponse::new(account, export, reply, None))
        });
        let answer = Publish {
            subject: &response.reply,
            reply: reply.as_deref(),
            ..*message
        };
        self.crossings.passed.push(Passed {
            export: Arc::clone(&response.export),
            share: false,
        });
        let taken = self.publish_beyond(&requestor, from, &answer, false);
        self.crossings.passed.pop();
        let ended = response.export.response != ResponseType::Singleton && message.size() == 0;
        if ended || !taken {
            responses.forget(message.subject);
        }
        if !taken
            && let Some(reply) = reply
            && let Some(open) = requestor.responses()
        {
            open.forget(&reply);
        }
        taken
    }

    /// Publishes in another account; whether somebody took it. What happens there is part of a trace only if
    /// that is allowed, on this step and on those before.
    fn publish_beyond(
        &mut self,
        account: &Arc<Account>,
        from: &Arc<Client>,
        message: &Publish<'_>,
        allow_trace: bool,
    ) -> bool {
        let hidden = self.trace.as_mut().map(|trace| {
            let before = trace.hidden;
            trace.hidden |= !allow_trace;
            before
        });
        let taken = self.publish(account, from, message) > 0;
        if let (Some(trace), Some(hidden)) = (&mut self.trace, hidden) {
            trace.hidden = hidden;
        }
        taken
    }

    /// Makes a reply subject in `account` for what is asked there from another one.
    fn expect(&self, account: &Arc<Account>, response: OpenResponse) -> Box<[u8]> {
        let responses = account.responses_or(|responses| {
            let special = Special {
                bridge: Some(Bridge::Responses(Arc::clone(responses))),
                ..Special::default()
            };
            let own = Arc::clone(self.hub.system_client());
            let sub = Subscription::new(own, &responses.pattern(), b"", special);
            account.insert(&Arc::new(sub));
        });
        responses.expect(response, Instant::now())
    }

    /// Reports requests that were not answered in time.
    pub(super) fn give_up(&mut self, account: &Arc<Account>) {
        let Some(responses) = account.responses() else {
            return;
        };
        for response in responses.expire(Instant::now()) {
            self.report(account, &response, Outcome::Timeout, None);
        }
    }

    /// A turn has ended in a panic: what it left half done is not to be gone on with.
    pub(crate) fn recover(&mut self) {
        self.crossings = Crossings::default();
        self.targets = Targets::default();
        self.trace = None;
        self.work = 0;
    }

    /// Publishes how long a service took, if it is measured.
    fn report(
        &mut self,
        exporter: &Arc<Account>,
        response: &OpenResponse,
        outcome: Outcome,
        by: Option<&Arc<Client>>,
    ) {
        if let Some(measured) = &response.measured {
            let by = by.and_then(|client| client_info(client, &self.hub.id, Detail::Full));
            let sample = measured.sample(outcome, by);
            self.publish_own(exporter, &measured.subject, &sample);
        }
    }

    /// Publishes something of the server's own.
    pub(crate) fn publish_own(&mut self, account: &Arc<Account>, subject: &[u8], payload: &[u8]) {
        let from = Arc::clone(self.hub.system_client());
        let message = Publish {
            subject,
            reply: None,
            header_len: None,
            body: &[payload, b"\r\n"].concat(),
        };
        // Samples are not themselves part of the way.
        let passed = std::mem::take(&mut self.crossings.passed);
        let trace = self.trace.take();
        self.publish(account, &from, &message);
        self.trace = trace;
        self.crossings.passed = passed;
    }
}
