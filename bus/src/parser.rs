//! The client protocol, from bytes to operations.
//!
//! [`Parser::feed`] takes whatever one read brought. Frames that are whole are parsed where they lie,
//! without a copy; the beginning of an unfinished one is kept until the rest has come. Nothing is ever
//! assumed to arrive in one piece, and nothing grows beyond the limits: a control line and a payload
//! are refused as soon as they are known to be too long, an unknown verb at its first wrong byte.

mod line;
mod swift;

use std::ops::ControlFlow;

pub use line::MAX_SIZE_DIGITS;

/// One operation of a client. Slices are into the read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// `CONNECT {json}`
    Connect(&'a [u8]),
    /// `PUB` or `HPUB`
    Publish(Publish<'a>),
    /// `SUB subject [queue] sid`
    Subscribe {
        /// What to listen to.
        subject: &'a [u8],
        /// The queue group to join.
        queue: Option<&'a [u8]>,
        /// The client's name for it.
        sid: &'a [u8],
    },
    /// `UNSUB sid [max]`
    Unsubscribe {
        /// Which subscription.
        sid: &'a [u8],
        /// After how many deliveries, counted from the start; `None` means now.
        max: Option<u64>,
    },
    /// `PING`
    Ping,
    /// `PONG`
    Pong,
    /// `+OK` and `INFO`, which mean nothing from a client.
    Ignored,
    /// `-ERR`: the client gives up.
    Error,
}

/// A message as its publisher sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Where to.
    pub subject: &'a [u8],
    /// Where an answer should go.
    pub reply: Option<&'a [u8]>,
    /// Length of the header block at the start of the body; `None` for `PUB`.
    pub header_len: Option<usize>,
    /// Header block, payload and the closing CRLF.
    pub body: &'a [u8],
}

impl Publish<'_> {
    /// Length of header block and payload, without the closing CRLF.
    pub fn size(&self) -> usize {
        self.body.len() - 2
    }

    /// The payload alone.
    pub fn payload(&self) -> &[u8] {
        &self.body[self.header_len.unwrap_or(0)..self.size()]
    }
}

/// Why a connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// No such verb, or a payload of another length than announced.
    #[error("unknown protocol operation")]
    UnknownOperation,
    /// Wrong arguments of a known verb: closed without a word, as nats-server does.
    #[error("malformed arguments")]
    Malformed,
    /// A payload above the limit.
    #[error("payload of {size} bytes is above the limit")]
    MaxPayload {
        /// What was announced.
        size: usize,
    },
    /// A control line above the limit.
    #[error("control line is above the limit")]
    MaxControlLine,
    /// Anything but `CONNECT` from one who has not said who it is.
    #[error("operation before authentication")]
    NotAuthenticated,
}

/// What the parser checks frames against; parts of it change when the client connects.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Longest argument part of a control line, in bytes.
    pub max_control_line: usize,
    /// Largest payload including headers, in bytes.
    pub max_payload: usize,
    /// Whether `HPUB` is allowed.
    pub headers: bool,
    /// Whether only `CONNECT` is allowed.
    pub connect_only: bool,
}

/// The unfinished part of a client's byte stream, and the rules for the rest.
#[derive(Debug)]
pub struct Parser {
    /// What frames are checked against.
    pub rules: Rules,
    carry: Vec<u8>,
    /// How much of `carry` is known to hold no line end.
    scanned: usize,
    /// How long the unfinished frame is, once its control line is complete.
    wanted: Option<usize>,
    /// Set when a sink broke off: from here on `carry` holds frames nobody has looked at.
    backlog: Option<usize>,
}

/// How far one frame was recognised.
enum Step<'a> {
    Frame {
        op: Op<'a>,
        consumed: usize,
    },
    /// The control line is not complete.
    Line,
    /// The control line is; the frame has this many bytes.
    Body {
        wanted: usize,
    },
}

// === impl Parser ===

impl Parser {
    /// A parser at the start of a stream.
    pub fn new(rules: Rules) -> Self {
        Parser {
            rules,
            carry: Vec::new(),
            scanned: 0,
            wanted: None,
            backlog: None,
        }
    }

    /// How many bytes the unfinished payload still lacks; 0 when none is under way.
    pub fn missing(&self) -> usize {
        self.wanted
            .map_or(0, |wanted| wanted.saturating_sub(self.carry.len()))
    }

    /// The buffer of the unfinished frame, for reading a large payload straight into it.
    ///
    /// At most [`Parser::missing`] bytes may be appended, then [`Parser::feed`] be called.
    pub fn unfinished(&mut self) -> &mut Vec<u8> {
        &mut self.carry
    }

    /// Takes the next bytes of the stream and hands each finished operation to `sink`, which gets the
    /// rules to change as well. When it breaks, the rest is kept for the next call (with no new bytes,
    /// if need be).
    ///
    /// # Errors
    /// The stream breaks the protocol; nothing more must be fed.
    pub fn feed<B>(
        &mut self,
        mut input: &[u8],
        mut sink: impl FnMut(&mut Rules, Op<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, Violation> {
        if let Some(start) = self.backlog.take() {
            return self.feed_backlog(start, input, &mut sink);
        }
        if !self.carry.is_empty() {
            let mut carry = std::mem::take(&mut self.carry);
            match self.complete(&mut carry, &mut input, &mut sink)? {
                None => {
                    self.carry = carry;
                    return Ok(None);
                }
                Some(ControlFlow::Break(broken)) => {
                    self.keep_backlog(input);
                    return Ok(Some(broken));
                }
                Some(ControlFlow::Continue(())) => {}
            }
        }
        let (consumed, broken) = self.run(input, &mut sink)?;
        let rest = &input[consumed..];
        if broken.is_some() {
            self.keep_backlog(rest);
        } else if !rest.is_empty() {
            self.carry.reserve_exact(self.wanted.unwrap_or(rest.len()));
            self.carry.extend_from_slice(rest);
        }
        Ok(broken)
    }

    /// Keeps whole frames for later, as the sink broke off.
    fn keep_backlog(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.carry.extend_from_slice(rest);
            self.backlog = Some(0);
        }
    }

    /// Goes on where a sink broke off. What is done is cut away once, at the end: a sink that breaks at
    /// every frame costs no more than one that never does.
    fn feed_backlog<B>(
        &mut self,
        start: usize,
        input: &[u8],
        sink: &mut impl FnMut(&mut Rules, Op<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, Violation> {
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(input);
        let (consumed, broken) = self.run(&carry[start..], sink)?;
        let done = start + consumed;
        if done == carry.len() {
            return Ok(broken);
        }
        if broken.is_some() {
            self.backlog = Some(done);
        } else {
            carry.drain(..done);
            let len = carry.len();
            carry.reserve_exact(self.wanted.unwrap_or(len).saturating_sub(len));
        }
        self.carry = carry;
        Ok(broken)
    }

    /// Completes the unfinished frame with as little of `input` as it needs; `None` when it lacks more.
    fn complete<B>(
        &mut self,
        carry: &mut Vec<u8>,
        input: &mut &[u8],
        sink: &mut impl FnMut(&mut Rules, Op<'_>) -> ControlFlow<B>,
    ) -> Result<Option<ControlFlow<B>>, Violation> {
        loop {
            match step(carry, self.scanned, &self.rules)? {
                Step::Frame { op, .. } => {
                    self.scanned = 0;
                    self.wanted = None;
                    return Ok(Some(sink(&mut self.rules, op)));
                }
                Step::Line => {
                    self.scanned = carry.len();
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let end = memchr::memchr(b'\n', input).map_or(input.len(), |at| at + 1);
                    // One byte more than allowed is enough to see that it is too much.
                    let room = (line::longest(&self.rules) + 1).saturating_sub(carry.len());
                    let (head, tail) = input.split_at(end.min(room));
                    carry.extend_from_slice(head);
                    *input = tail;
                }
                Step::Body { wanted } => {
                    self.wanted = Some(wanted);
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let lacking = wanted - carry.len();
                    let (head, tail) = input.split_at(input.len().min(lacking));
                    carry.reserve_exact(lacking);
                    carry.extend_from_slice(head);
                    *input = tail;
                }
            }
        }
    }

    /// Parses frames where they lie, up to the unfinished rest or a break; returns how far it came.
    fn run<B>(
        &mut self,
        input: &[u8],
        sink: &mut impl FnMut(&mut Rules, Op<'_>) -> ControlFlow<B>,
    ) -> Result<(usize, Option<B>), Violation> {
        let mut at = 0;
        self.scanned = 0;
        self.wanted = None;
        while at < input.len() {
            let rest = &input[at..];
            if let Some((publish, consumed)) = swift::publish(rest, &self.rules) {
                at += consumed;
                if let ControlFlow::Break(broken) = sink(&mut self.rules, Op::Publish(publish)) {
                    return Ok((at, Some(broken)));
                }
                continue;
            }
            match step(rest, 0, &self.rules)? {
                Step::Frame { op, consumed } => {
                    at += consumed;
                    if let ControlFlow::Break(broken) = sink(&mut self.rules, op) {
                        return Ok((at, Some(broken)));
                    }
                }
                Step::Line => {
                    self.scanned = input.len() - at;
                    break;
                }
                Step::Body { wanted } => {
                    self.wanted = Some(wanted);
                    break;
                }
            }
        }
        Ok((at, None))
    }
}

/// Recognises the frame at the start of `buffer`, whose first `scanned` bytes hold no line end.
#[inline]
fn step<'a>(buffer: &'a [u8], scanned: usize, rules: &Rules) -> Result<Step<'a>, Violation> {
    if rules.connect_only && !buffer[0].eq_ignore_ascii_case(&b'C') {
        return Err(Violation::NotAuthenticated);
    }
    let scanned = scanned.min(buffer.len());
    let Some(end) = memchr::memchr(b'\n', &buffer[scanned..]) else {
        line::check_partial(buffer, rules)?;
        return Ok(Step::Line);
    };
    let end = scanned + end;
    let after = end + 1;
    match line::parse(&buffer[..end], rules)? {
        line::Line::Op(op) => Ok(Step::Frame {
            op,
            consumed: after,
        }),
        line::Line::Publish {
            subject,
            reply,
            header_len,
            size,
        } => {
            let wanted = after + size + 2;
            if buffer.len() < wanted {
                // The closing CRLF is checked as far as it has come.
                if buffer.len() > after + size && buffer[after + size] != b'\r' {
                    return Err(Violation::UnknownOperation);
                }
                return Ok(Step::Body { wanted });
            }
            let body = &buffer[after..wanted];
            if !body.ends_with(b"\r\n") {
                return Err(Violation::UnknownOperation);
            }
            let publish = Publish {
                subject,
                reply,
                header_len,
                body,
            };
            Ok(Step::Frame {
                op: Op::Publish(publish),
                consumed: wanted,
            })
        }
    }
}

#[cfg(test)]
mod tests;
