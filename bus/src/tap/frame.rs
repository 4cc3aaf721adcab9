//! What a tap gets: a header block about the message, and as much of the message as it asked for.

use std::fmt::{Display, Write as _};

use super::{PREFIX, Seen};
use crate::message_trace::timestamp;
use crate::subscription::Subscription;

/// The control line.
pub(super) fn line(sub: &Subscription, seen: &Seen<'_>, block: usize, content: usize) -> Vec<u8> {
    let sizes = format!(" {block} {}\r\n", block + content);
    let parts = [
        b"HMSG ",
        PREFIX,
        seen.message.subject,
        b" ",
        sub.sid(),
        sizes.as_bytes(),
    ];
    parts.concat()
}

/// The header block: who, when, what, and how many got it.
pub(super) fn block(seen: &Seen<'_>, dropped: u64) -> Vec<u8> {
    let Seen {
        account,
        from,
        message,
        receivers,
        at,
    } = seen;
    let mut text = String::with_capacity(320);
    text.push_str("NATS/1.0\r\n");
    let mut header = |name: &str, value: &dyn Display| {
        let start = text.len();
        let _ = write!(text, "Nats-Tap-{name}: {value}");
        // Names are the clients' own: nothing in them may look like a header.
        if text[start..].contains(char::is_control) {
            let clean = text[start..].replace(char::is_control, " ");
            text.truncate(start);
            text.push_str(&clean);
        }
        text.push_str("\r\n");
    };
    header("Time", &timestamp(*at));
    header("Account", &account.name);
    header("Client", &from.id);
    {
        let about = from.about();
        if let Some(identity) = &about.identity {
            header("User", &identity.name);
        }
        if let Some(name) = &about.name {
            header("Name", name);
        }
    }
    header("Subject", &String::from_utf8_lossy(message.subject));
    if let Some(reply) = message.reply {
        header("Reply", &String::from_utf8_lossy(reply));
    }
    header("Size", &message.size());
    if let Some(len) = message.header_len {
        header("Header-Size", &len);
    }
    header("Delivered", receivers);
    if dropped > 0 {
        header("Dropped", &dropped);
    }
    text.push_str("\r\n");
    text.into_bytes()
}
