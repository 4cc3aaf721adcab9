//! A message whose sender wants to know what becomes of it.

use crate::delivery::Desk;
use crate::events::ServerInfo;
use crate::message_trace::Trace;
use crate::parser::Publish;
use crate::subject;

use super::command::{Flow, ON, Talk};

impl Talk {
    /// Publishes a message that asks to be traced, and then the trace.
    #[inline(never)]
    pub(super) fn publish_traced(&mut self, desk: &mut Desk, message: &Publish<'_>) -> Flow {
        let Some(trace) = Trace::begin(
            message,
            &self.client,
            self.options.name.as_deref(),
            self.account(),
        ) else {
            return self.publish_checked(desk, message);
        };
        // Whoever may not publish there shall not have the server do it.
        if !self.is_allowed(desk, trace.destination()) {
            return ON;
        }
        desk.trace = Some(Box::new(trace));
        let flow = self.publish_checked(desk, message);
        if let Some(trace) = desk.trace.take()
            && subject::is_literal(trace.destination())
        {
            let mut body = trace.report(&ServerInfo::next(&self.hub));
            body.extend_from_slice(b"\r\n");
            let event = Publish {
                subject: trace.destination(),
                reply: None,
                header_len: None,
                body: &body,
            };
            desk.publish(&trace.account, self.hub.system_client(), &event);
        }
        flow
    }
}
