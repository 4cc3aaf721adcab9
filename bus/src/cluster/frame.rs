//! What this server says to its peers, byte by byte.

use crate::parser::Publish;

/// `RS+`: somebody here listens; `weight` members of a queue group.
pub(crate) fn subscribe(
    to: &mut Vec<u8>,
    account: &str,
    subject: &[u8],
    queue: Option<&[u8]>,
    weight: u32,
) {
    to.extend_from_slice(b"RS+ ");
    place(to, account, subject, queue);
    if queue.is_some() {
        to.push(b' ');
        number(to, weight as usize);
    }
    to.extend_from_slice(b"\r\n");
}

/// `RS-`: nobody here listens any more.
pub(crate) fn unsubscribe(to: &mut Vec<u8>, account: &str, subject: &[u8], queue: Option<&[u8]>) {
    to.extend_from_slice(b"RS- ");
    place(to, account, subject, queue);
    to.extend_from_slice(b"\r\n");
}

fn place(to: &mut Vec<u8>, account: &str, subject: &[u8], queue: Option<&[u8]>) {
    to.extend_from_slice(account.as_bytes());
    word(to, subject);
    if let Some(queue) = queue {
        word(to, queue);
    }
}

fn word(to: &mut Vec<u8>, word: &[u8]) {
    to.push(b' ');
    to.extend_from_slice(word);
}

/// How long the names of the queue groups of one message may be together, in bytes. A peer takes longer
/// lines, but not without end.
const NAMES: usize = 1 << 20;

/// The control line of a message for a peer's plain subscribers and one member of each of `queues`; of
/// those beyond [`NAMES`] none. Returns what of the message's body follows it: a peer without headers gets
/// none.
pub(crate) fn message<'a, 'q>(
    to: &mut Vec<u8>,
    account: &str,
    message: &Publish<'a>,
    queues: impl Iterator<Item = &'q [u8]>,
    headers: bool,
) -> &'a [u8] {
    let header_len = message.header_len.filter(|_| headers);
    let body = match (header_len, message.header_len) {
        (None, Some(cut)) => &message.body[cut..],
        _ => message.body,
    };
    to.extend_from_slice(if header_len.is_some() {
        b"HMSG "
    } else {
        b"RMSG "
    });
    place(to, account, message.subject, None);
    let mut queues = queues.peekable();
    if queues.peek().is_some() {
        to.extend_from_slice(if message.reply.is_some() {
            b" +"
        } else {
            b" |"
        });
    }
    if let Some(reply) = message.reply {
        word(to, reply);
    }
    let full = to.len() + NAMES;
    for queue in queues {
        if to.len() + queue.len() >= full {
            tracing::debug!("too many queue groups at one server: the last ones get nothing");
            break;
        }
        word(to, queue);
    }
    for size in header_len.into_iter().chain([body.len() - 2]) {
        to.push(b' ');
        number(to, size);
    }
    to.extend_from_slice(b"\r\n");
    body
}

fn number(to: &mut Vec<u8>, mut number: usize) {
    let start = to.len();
    loop {
        to.push(b"0123456789"[number % 10]);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    to[start..].reverse();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut text = Vec::new();
        write(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn interest_as_genuine_servers_write_it() {
        let sub = |queue, weight| said(|to| subscribe(to, "$G", b"foo.*", queue, weight));
        assert_eq!(sub(None, 1), "RS+ $G foo.*\r\n");
        assert_eq!(sub(Some(b"q1"), 3), "RS+ $G foo.* q1 3\r\n");
        let unsub = |queue| said(|to| unsubscribe(to, "$G", b"foo.*", queue));
        assert_eq!(unsub(None), "RS- $G foo.*\r\n");
        assert_eq!(unsub(Some(b"q1")), "RS- $G foo.* q1\r\n");
    }

    #[test]
    fn messages_as_genuine_servers_write_them() {
        let plain = Publish {
            subject: b"foo",
            reply: None,
            header_len: None,
            body: b"hello\r\n",
        };
        let asked = Publish {
            reply: Some(b"rep"),
            ..plain
        };
        let headed = Publish {
            header_len: Some(12),
            body: b"NATS/1.0\r\n\r\nx\r\n",
            ..asked
        };
        let frame = |publish: &Publish<'_>, queues: &[&[u8]], headers| {
            said(|to| {
                let body = message(to, "$G", publish, queues.iter().copied(), headers);
                to.extend_from_slice(body);
            })
        };
        assert_eq!(frame(&plain, &[], true), "RMSG $G foo 5\r\nhello\r\n");
        assert_eq!(frame(&asked, &[], true), "RMSG $G foo rep 5\r\nhello\r\n");
        assert_eq!(
            frame(&plain, &[b"q2", b"q1"], true),
            "RMSG $G foo | q2 q1 5\r\nhello\r\n"
        );
        assert_eq!(
            frame(&asked, &[b"q2", b"q1"], true),
            "RMSG $G foo + rep q2 q1 5\r\nhello\r\n"
        );
        assert_eq!(
            frame(&headed, &[b"q"], true),
            "HMSG $G foo + rep q 12 13\r\nNATS/1.0\r\n\r\nx\r\n"
        );
        assert_eq!(frame(&headed, &[], false), "RMSG $G foo rep 1\r\nx\r\n");
    }
}
