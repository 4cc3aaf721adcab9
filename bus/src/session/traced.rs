//! A message whose sender wants to know what becomes of it.

use crate::delivery::Desk;
use crate::header;
use crate::link::{Flow, ON};
use crate::message_trace::{DESTINATION, DISABLED, Trace, Wish};
use crate::parser::Publish;

use super::command::Talk;

impl Talk {
    /// Publishes a message that may ask to be traced, and then the trace.
    #[inline(never)]
    pub(super) fn publish_traced(&mut self, desk: &mut Desk, message: &Publish<'_>) -> Flow {
        let wish = Trace::begin(
            message,
            &self.client,
            self.options.name.as_deref(),
            self.account(),
            self.sampling.as_deref(),
            |percent| desk.draws(percent),
        );
        let trace = match wish {
            Wish::None => return self.publish_checked(desk, message),
            Wish::Drop => return ON,
            Wish::Disabled => {
                let (block, body) = disabled(message);
                let message = Publish {
                    header_len: Some(block),
                    body: &body,
                    ..*message
                };
                return self.publish_checked(desk, &message);
            }
            Wish::Trace(trace) => trace,
        };
        // Whoever may not publish there shall not have the server do it.
        if !self.is_allowed(desk, trace.destination()) {
            return ON;
        }
        desk.trace = Some(trace);
        let flow = self.publish_checked(desk, message);
        if let Some(trace) = desk.trace.take() {
            desk.tell(&trace);
        }
        flow
    }
}

/// A message that says it is not to be traced: the length of its header block, and its body.
fn disabled(message: &Publish<'_>) -> (usize, Vec<u8>) {
    let len = message.header_len.unwrap_or(0);
    let mut body = header::with(&message.body[..len], DESTINATION, DISABLED);
    let block = body.len();
    body.extend_from_slice(&message.body[len..]);
    (block, body)
}
