//! Control lines: the verb, and its arguments.

use super::{Interest, Message, Op, Rules, Violation};
use crate::framing::{self, Grammar as _, number};

/// The longest verb.
const LONGEST_VERB: usize = 7;

/// What a control line of a peer says.
type Said<'a> = framing::Line<Op<'a>, Message<'a>>;

/// Names of queue groups, as they stand in the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues<'a>(&'a [u8]);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Info,
    Connect,
    Message { headers: bool, origin: bool },
    Subscribe { origin: bool },
    Unsubscribe { origin: bool },
    Ping,
    Pong,
    Ok,
    Err,
    AccountInterest,
}

const VERBS: [(&[u8], Verb); 15] = [
    (
        b"RMSG",
        Verb::Message {
            headers: false,
            origin: false,
        },
    ),
    (
        b"HMSG",
        Verb::Message {
            headers: true,
            origin: false,
        },
    ),
    (
        b"LMSG",
        Verb::Message {
            headers: true,
            origin: true,
        },
    ),
    (b"RS+", Verb::Subscribe { origin: false }),
    (b"RS-", Verb::Unsubscribe { origin: false }),
    (b"LS+", Verb::Subscribe { origin: true }),
    (b"LS-", Verb::Unsubscribe { origin: true }),
    (b"PING", Verb::Ping),
    (b"PONG", Verb::Pong),
    (b"INFO", Verb::Info),
    (b"CONNECT", Verb::Connect),
    (b"+OK", Verb::Ok),
    (b"-ERR", Verb::Err),
    (b"A+", Verb::AccountInterest),
    (b"A-", Verb::AccountInterest),
];

// === impl Queues ===

impl<'a> Queues<'a> {
    /// One name after the other.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .split(|byte| is_blank(*byte))
            .filter(|name| !name.is_empty())
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// Parses a line without its `\n`.
pub(super) fn parse<'a>(line: &'a [u8], rules: &Rules) -> Result<Said<'a>, Violation> {
    // In the same order as when it comes in pieces.
    check_partial(line, rules)?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (verb, arguments) = split_verb(line)?;
    if memchr::memchr(b'\r', arguments).is_some() {
        // Would end a line in what is sent on to others.
        return Err(Violation::Malformed);
    }
    Ok(Said::Op(match verb {
        Verb::Message { headers, origin } => return message(arguments, headers, origin, rules),
        Verb::Subscribe { origin } => Op::Subscribe(subscribe(arguments, origin)?),
        Verb::Unsubscribe { origin } => Op::Unsubscribe(unsubscribe(arguments, origin)?),
        Verb::Ping => Op::Ping,
        Verb::Pong => Op::Pong,
        Verb::Info => Op::Info(arguments.trim_ascii()),
        Verb::Connect => Op::Connect(arguments.trim_ascii()),
        Verb::Ok | Verb::AccountInterest => Op::Ignored,
        Verb::Err => Op::Error(arguments.trim_ascii()),
    }))
}

/// Checks the beginning of a line: no verb begins like this, or it is too long already.
pub(super) fn check_partial(line: &[u8], rules: &Rules) -> Result<(), Violation> {
    let word = line.split(|byte| is_blank(*byte) || *byte == b'\r').next();
    let word = word.unwrap_or_default();
    let whole = word.len() < line.len();
    let possible = VERBS.iter().any(|(name, _)| {
        let common = name.len().min(word.len());
        name[..common].eq_ignore_ascii_case(&word[..common])
            && word.len() <= name.len()
            && (!whole || word.len() == name.len())
    });
    if !possible {
        return Err(Violation::UnknownOperation);
    }
    if line.len() > rules.longest_line() {
        return Err(Violation::MaxControlLine);
    }
    Ok(())
}

fn split_verb(line: &[u8]) -> Result<(Verb, &[u8]), Violation> {
    let end = line
        .iter()
        .take(LONGEST_VERB + 1)
        .position(|byte| is_blank(*byte))
        .unwrap_or(line.len());
    let (word, arguments) = line.split_at(end);
    VERBS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(word))
        .map(|(_, verb)| (*verb, arguments))
        .ok_or(Violation::UnknownOperation)
}

/// `[origin] account subject [reply] …`, the sizes last.
fn message<'a>(
    arguments: &'a [u8],
    headers: bool,
    origin: bool,
    rules: &Rules,
) -> Result<Said<'a>, Violation> {
    let mut rest = arguments;
    let size = last(&mut rest)
        .and_then(number)
        .ok_or(Violation::Malformed)?;
    let header_len = if headers {
        Some(
            last(&mut rest)
                .and_then(number)
                .ok_or(Violation::Malformed)?,
        )
    } else {
        None
    };
    if origin {
        first(&mut rest).ok_or(Violation::Malformed)?;
    }
    let account = first(&mut rest).ok_or(Violation::Malformed)?;
    let subject = first(&mut rest).ok_or(Violation::Malformed)?;
    let mut reply = first(&mut rest);
    let queues = trim(rest);
    // What follows a single word are queues, and the word says whether there is a reply among them.
    if !queues.is_empty() {
        rest = queues;
        reply = match reply {
            Some(b"+") => first(&mut rest),
            Some(b"|") => None,
            _ => return Err(Violation::Malformed),
        };
    }
    if header_len.is_some_and(|len| len > size) {
        return Err(Violation::Malformed);
    }
    if size > rules.max_payload {
        return Err(Violation::MaxPayload { size });
    }
    let head = Message {
        account,
        subject,
        reply,
        queues: Queues(trim(rest)),
        header_len,
        body: &[],
    };
    Ok(Said::Head { head, size })
}

/// `[origin] account subject [queue [weight]]`. When what may cross has changed, nats-server (2.9 to 2.15) says
/// again what is listened to and leaves out the weight.
fn subscribe(arguments: &[u8], origin: bool) -> Result<Interest<'_>, Violation> {
    let (mut interest, mut rest) = begin(arguments, origin)?;
    interest.queue = first(&mut rest);
    if let Some(weight) = first(&mut rest) {
        let weight = number(weight).ok_or(Violation::Malformed)?;
        interest.weight = u32::try_from(weight.max(1)).map_err(|_| Violation::Malformed)?;
    }
    end(interest, rest)
}

/// `[origin] account subject [queue]`
fn unsubscribe(arguments: &[u8], origin: bool) -> Result<Interest<'_>, Violation> {
    let (mut interest, mut rest) = begin(arguments, origin)?;
    interest.queue = first(&mut rest);
    end(interest, rest)
}

fn begin(arguments: &[u8], origin: bool) -> Result<(Interest<'_>, &[u8]), Violation> {
    let mut rest = arguments;
    let origin = match origin {
        true => Some(first(&mut rest).ok_or(Violation::Malformed)?),
        false => None,
    };
    let interest = Interest {
        origin,
        account: first(&mut rest).ok_or(Violation::Malformed)?,
        subject: first(&mut rest).ok_or(Violation::Malformed)?,
        queue: None,
        weight: 1,
    };
    Ok((interest, rest))
}

fn end<'a>(interest: Interest<'a>, rest: &[u8]) -> Result<Interest<'a>, Violation> {
    if trim(rest).is_empty() {
        Ok(interest)
    } else {
        Err(Violation::Malformed)
    }
}

/// Takes the first word off.
fn first<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let text = trim(rest);
    let end = text
        .iter()
        .position(|byte| is_blank(*byte))
        .unwrap_or(text.len());
    let (word, tail) = text.split_at(end);
    *rest = tail;
    (!word.is_empty()).then_some(word)
}

/// Takes the last word off.
fn last<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let text = trim(rest);
    let start = text
        .iter()
        .rposition(|byte| is_blank(*byte))
        .map_or(0, |at| at + 1);
    let (head, word) = text.split_at(start);
    *rest = head;
    (!word.is_empty()).then_some(word)
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', tail @ ..] = text {
        text = tail;
    }
    while let [head @ .., b' ' | b'\t'] = text {
        text = head;
    }
    text
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
