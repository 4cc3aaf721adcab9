//! Delivery of a message that is traced: as ever, with a note of each receiver.

use std::sync::Arc;

use super::Courier;
use crate::header;
use crate::message_trace::{DESTINATION, DISABLED, Trace, reason};
use crate::parser::Publish;
use crate::subscription::{Bridge, Subscription};

impl Courier<'_> {
    /// Delivers to one subscription, and notes what came of it.
    #[inline(never)]
    pub(super) fn deliver_traced(&mut self, sub: &Arc<Subscription>) -> bool {
        let Some(mut trace) = self.trace.take() else {
            return false;
        };
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
        let error = match (taken, sub.client.out().wire.is_some()) {
            (true, _) => None,
            (false, true) => Some(reason::EXCEEDED),
            (false, false) => Some(reason::CLOSED),
        };
        trace.egress(sub, error);
        taken
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

/// Body of a message that goes on without being traced, and the length of its header block.
pub(super) fn disabled(message: &Publish<'_>) -> Option<(usize, Vec<u8>)> {
    let len = message.header_len?;
    let mut body = header::with(&message.body[..len], DESTINATION, DISABLED);
    let header_len = body.len();
    body.extend_from_slice(&message.body[len..]);
    Some((header_len, body))
}
