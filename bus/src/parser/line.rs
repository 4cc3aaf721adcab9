//! Control lines: the verb, and its arguments.

use super::{Op, Publish, Rules, Violation};
use crate::framing::{self, number};

/// The longest verb, with the blank after it and the line end.
const VERB_ROOM: usize = 10;

/// What a control line of a client says.
type Said<'a> = framing::Line<Op<'a>, Publish<'a>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Connect,
    Pub,
    Hpub,
    Sub,
    Unsub,
    Ping,
    Pong,
    Info,
    Ok,
    Err,
}

const VERBS: [(&[u8], Verb); 10] = [
    (b"PUB", Verb::Pub),
    (b"HPUB", Verb::Hpub),
    (b"SUB", Verb::Sub),
    (b"UNSUB", Verb::Unsub),
    (b"PING", Verb::Ping),
    (b"PONG", Verb::Pong),
    (b"CONNECT", Verb::Connect),
    (b"INFO", Verb::Info),
    (b"+OK", Verb::Ok),
    (b"-ERR", Verb::Err),
];

impl Verb {
    /// Whether what follows it means anything.
    fn has_arguments(self) -> bool {
        !matches!(self, Verb::Ping | Verb::Pong | Verb::Ok)
    }

    /// Whether a blank must follow. JSON begins with a brace and needs none.
    fn needs_blank(self) -> bool {
        self.has_arguments() && !matches!(self, Verb::Connect | Verb::Info)
    }
}

/// The longest control line that can be in order, verb and line end included.
pub(super) fn longest(rules: &Rules) -> usize {
    rules.max_control_line + VERB_ROOM
}

/// Parses a line without its `\n`.
#[inline]
pub(super) fn parse<'a>(line: &'a [u8], rules: &Rules) -> Result<Said<'a>, Violation> {
    let whole = line;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // What is sent most is tried first.
    if let [
        b'P' | b'p',
        b'U' | b'u',
        b'B' | b'b',
        b' ' | b'\t',
        arguments @ ..,
    ] = line
    {
        check_length(arguments, rules)?;
        return publish(arguments, rules);
    }
    let (verb, arguments) = split_verb(line)?;
    if !verb.has_arguments() && whole.len() > longest(rules) {
        // What follows them means nothing, but there must not be more of it than of anything else.
        return Err(Violation::MaxControlLine);
    }
    match verb {
        Verb::Ping => return Ok(Said::Op(Op::Ping)),
        Verb::Pong => return Ok(Said::Op(Op::Pong)),
        Verb::Ok => return Ok(Said::Op(Op::Ignored)),
        _ => check_length(arguments, rules)?,
    }
    match verb {
        Verb::Pub => publish(arguments, rules),
        Verb::Hpub if rules.headers => publish_with_headers(arguments, rules),
        Verb::Hpub => Err(Violation::Malformed),
        Verb::Sub => subscribe(arguments).map(Said::Op),
        Verb::Unsub => unsubscribe(arguments).map(Said::Op),
        Verb::Connect => Ok(Said::Op(Op::Connect(arguments.trim_ascii()))),
        Verb::Err => Ok(Said::Op(Op::Error)),
        // Nothing follows from it, but it must be one.
        _ => serde_json::from_slice::<serde::de::IgnoredAny>(arguments)
            .map(|_| Said::Op(Op::Ignored))
            .map_err(|_| Violation::Malformed),
    }
}

/// Checks the beginning of a line: no verb begins like this, or it is too long already.
pub(super) fn check_partial(line: &[u8], rules: &Rules) -> Result<(), Violation> {
    let possible = VERBS.iter().any(|(name, verb)| {
        let common = name.len().min(line.len());
        name[..common].eq_ignore_ascii_case(&line[..common])
            && (line.len() <= name.len()
                || !verb.needs_blank()
                || matches!(line[name.len()], b' ' | b'\t'))
    });
    if !possible {
        return Err(Violation::UnknownOperation);
    }
    if line.len() > longest(rules) {
        return Err(Violation::MaxControlLine);
    }
    Ok(())
}

fn check_length(arguments: &[u8], rules: &Rules) -> Result<(), Violation> {
    if arguments.len() > rules.max_control_line {
        return Err(Violation::MaxControlLine);
    }
    Ok(())
}

fn split_verb(line: &[u8]) -> Result<(Verb, &[u8]), Violation> {
    for (name, verb) in VERBS {
        if line.len() < name.len() || !line[..name.len()].eq_ignore_ascii_case(name) {
            continue;
        }
        // The blank is not counted among the arguments, whether it must be there or not.
        match &line[name.len()..] {
            [b' ' | b'\t', arguments @ ..] if verb.has_arguments() => return Ok((verb, arguments)),
            rest if !verb.needs_blank() => return Ok((verb, rest)),
            _ => {}
        }
    }
    Err(Violation::UnknownOperation)
}

/// Up to four words, separated by blanks.
struct Words<'a> {
    list: [&'a [u8]; 4],
    len: usize,
}

#[inline]
fn words(line: &[u8]) -> Result<Words<'_>, Violation> {
    let mut words = Words {
        list: [&[]; 4],
        len: 0,
    };
    let mut start = None;
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b' ' | b'\t' => {
                if let Some(start) = start.take() {
                    words.push(&line[start..at])?;
                }
            }
            // Would end a line in what is sent on to others.
            b'\r' => return Err(Violation::Malformed),
            _ => {
                if start.is_none() {
                    start = Some(at);
                }
            }
        }
    }
    if let Some(start) = start {
        words.push(&line[start..])?;
    }
    Ok(words)
}

impl<'a> Words<'a> {
    #[inline]
    fn push(&mut self, word: &'a [u8]) -> Result<(), Violation> {
        let place = self.list.get_mut(self.len).ok_or(Violation::Malformed)?;
        *place = word;
        self.len += 1;
        Ok(())
    }

    fn as_slice(&self) -> &[&'a [u8]] {
        &self.list[..self.len]
    }
}

fn publish<'a>(arguments: &'a [u8], rules: &Rules) -> Result<Said<'a>, Violation> {
    let words = words(arguments)?;
    let (subject, reply, size) = match words.as_slice() {
        [subject, size] => (*subject, None, *size),
        [subject, reply, size] => (*subject, Some(*reply), *size),
        _ => return Err(Violation::Malformed),
    };
    let size = payload_size(size, rules)?;
    let head = Publish {
        subject,
        reply,
        header_len: None,
        body: &[],
    };
    Ok(Said::Head { head, size })
}

fn publish_with_headers<'a>(arguments: &'a [u8], rules: &Rules) -> Result<Said<'a>, Violation> {
    let words = words(arguments)?;
    let (subject, reply, header_len, size) = match words.as_slice() {
        [subject, header_len, size] => (*subject, None, *header_len, *size),
        [subject, reply, header_len, size] => (*subject, Some(*reply), *header_len, *size),
        _ => return Err(Violation::Malformed),
    };
    let header_len = number(header_len).ok_or(Violation::Malformed)?;
    let size = payload_size(size, rules)?;
    if header_len > size {
        return Err(Violation::Malformed);
    }
    let head = Publish {
        subject,
        reply,
        // A block of no length is no block.
        header_len: (header_len > 0).then_some(header_len),
        body: &[],
    };
    Ok(Said::Head { head, size })
}

fn subscribe(arguments: &[u8]) -> Result<Op<'_>, Violation> {
    match words(arguments)?.as_slice() {
        [subject, sid] => Ok(Op::Subscribe {
            subject,
            queue: None,
            sid,
        }),
        [subject, queue, sid] => Ok(Op::Subscribe {
            subject,
            queue: Some(queue),
            sid,
        }),
        _ => Err(Violation::Malformed),
    }
}

fn unsubscribe(arguments: &[u8]) -> Result<Op<'_>, Violation> {
    match words(arguments)?.as_slice() {
        [sid] => Ok(Op::Unsubscribe { sid, max: None }),
        // A number that is none means now, as with nats-server.
        [sid, max] => Ok(Op::Unsubscribe {
            sid,
            max: number(max).map(|max| max as u64),
        }),
        _ => Err(Violation::Malformed),
    }
}

#[inline]
fn payload_size(digits: &[u8], rules: &Rules) -> Result<usize, Violation> {
    let size = number(digits).ok_or(Violation::Malformed)?;
    if size > rules.max_payload {
        return Err(Violation::MaxPayload { size });
    }
    Ok(size)
}
