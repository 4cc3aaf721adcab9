//! Delivery of a message that is traced: as ever, with a note of each receiver.

use std::sync::Arc;

use super::{Courier, Desk};
use crate::client::Client;
use crate::events::ServerInfo;
use crate::header;
use crate::message_trace::{DESTINATION, DISABLED, HOP, Trace, reason};
use crate::parser::Publish;
use crate::subject;
use crate::subscription::{Bridge, Subscription};

/// A message must not go on to another server.
pub(super) struct Stays;

/// Length of a header block, and the body that begins with it.
pub(super) type Headed = (usize, Vec<u8>);
/// What a note costs, in deliveries.
const NOTE_WORK: usize = 16;

impl Courier<'_> {
    /// Delivers to one subscription, and notes what came of it.
    #[inline(never)]
    pub(super) fn deliver_traced(&mut self, sub: &Arc<Subscription>) -> bool {
        let Some(mut trace) = self.trace.take() else {
            return false;
        };
        *self.work += NOTE_WORK;
        let taken = if trace.hidden {
            // What becomes of it in other accounts is not for its sender to know, unless they say so.
            !trace.only && self.deliver(sub)
        } else {
            self.note(&mut trace, sub)
        };
        *self.trace = Some(trace);
        taken
    }

    fn note(&mut self, trace: &mut Trace, sub: &Arc<Subscription>) -> bool {
        if !self.echo && Arc::ptr_eq(&sub.client, self.from) {
            trace.egress(sub, Some(reason::NO_ECHO));
            return false;
        }
        if let Some(special) = &sub.special {
            if special.service.is_some() {
                return !trace.only && self.deliver(sub);
            }
            if let Some(bridge) = &special.bridge {
                return self.note_bridge(trace, sub, bridge);
            }
            if !self.is_allowed(special, self.message.subject) {
                trace.egress(sub, Some(reason::DENIED));
                return false;
            }
        }
        self.note_delivery(trace, sub)
    }

    /// Delivers, unless it is only traced, and notes whether that went well.
    fn note_delivery(&mut self, trace: &mut Trace, sub: &Arc<Subscription>) -> bool {
        let taken = trace.only || self.deliver(sub);
        let error = match (taken, sub.client.out().open) {
            (true, _) => None,
            (false, true) => Some(reason::EXCEEDED),
            (false, false) => Some(reason::CLOSED),
        };
        trace.egress(sub, error);
        taken
    }

    /// Notes that a message goes on to another server, and marks it with the way it takes; `None` for one
    /// that is not traced, or no more.
    #[inline]
    pub(super) fn mark(&mut self, route: &Client, traces: bool) -> Result<Option<Headed>, Stays> {
        match self.trace.as_deref_mut() {
            None => Ok(None),
            // Others would tell of it in the account it has come into.
            Some(trace) if trace.hidden || !Arc::ptr_eq(self.account, &trace.account) => {
                match trace.only {
                    true => Err(Stays),
                    false => Ok(disabled(self.message)),
                }
            }
            Some(trace) => {
                let way = trace.passes(route, traces).ok_or(Stays)?;
                Ok(headed(self.message, HOP, &way))
            }
        }
    }

    /// It leaves the account: that is noted, and what follows only if both sides allow it.
    fn note_bridge(&mut self, trace: &mut Trace, sub: &Arc<Subscription>, bridge: &Bridge) -> bool {
        let subject = self.message.subject;
        match bridge {
            Bridge::Shadow(_) if self.crossings.is_under_way() => return false,
            Bridge::Shadow(shadow) => {
                let local = shadow.import.pairing.to_local(subject);
                let local = local.as_deref().unwrap_or(subject);
                trace.exported(&shadow.account.name, local);
                if shadow.import.allow_trace {
                    return self.note_delivery(trace, sub);
                }
            }
            Bridge::Service(import) => {
                let remote = import.pairing.to_remote(subject);
                let remote = remote.as_deref().unwrap_or(subject);
                trace.imported(&import.exporter.name, subject, remote);
                if import.export.allow_trace {
                    return self.deliver(sub);
                }
            }
            Bridge::Responses(_) => {}
        }
        trace.only || self.deliver(sub)
    }
}

impl Desk {
    /// Publishes what was noted of a message.
    pub(crate) fn tell(&mut self, trace: &Trace) {
        if !subject::is_literal(trace.destination()) {
            return;
        }
        let report = trace.report(&ServerInfo::next(&self.hub));
        let (header_len, mut body) = match trace.encoding {
            Some(encoding) => {
                let (header_len, body) = encoding.pack(&report);
                (Some(header_len), body)
            }
            None => (None, report),
        };
        body.extend_from_slice(b"\r\n");
        let event = Publish {
            subject: trace.destination(),
            reply: None,
            header_len,
            body: &body,
        };
        let from = Arc::clone(self.hub.system_client());
        self.publish(&trace.account, &from, &event);
    }
}

/// Body of a message that goes on without being traced, and the length of its header block.
pub(super) fn disabled(message: &Publish<'_>) -> Option<Headed> {
    headed(message, DESTINATION, DISABLED)
}

/// The body of a message with another header, if it has any.
fn headed(message: &Publish<'_>, name: &str, value: &str) -> Option<Headed> {
    let len = message.header_len?;
    let mut body = header::with(&message.body[..len], name, value);
    let header_len = body.len();
    body.extend_from_slice(&message.body[len..]);
    Some((header_len, body))
}
