//! The protocol between servers, from bytes to operations.
//!
//! [`Parser::feed`] takes whatever one read brought. Whole frames are parsed where they lie; the beginning
//! of an unfinished one is kept until the rest has come. A control line and a payload are refused as soon
//! as they are known to be too long, so a peer can make us keep no more than the limits say.

mod line;

use std::ops::ControlFlow;

pub use line::Queues;

/// One operation of a peer. Slices are into the read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// `INFO {json}`: who it is, or who else there is.
    Info(&'a [u8]),
    /// `CONNECT {json}`: credentials and options of the one who dialled.
    Connect(&'a [u8]),
    /// `RS+` or `LS+`: somebody there listens.
    Subscribe(Interest<'a>),
    /// `RS-` or `LS-`: nobody there listens any more.
    Unsubscribe(Interest<'a>),
    /// `RMSG`, `HMSG` or `LMSG`.
    Message(Message<'a>),
    /// `PING`
    Ping,
    /// `PONG`
    Pong,
    /// What means nothing to us: `+OK`, and the account interest of gateways.
    Ignored,
    /// `-ERR`: the peer gives up, and says why.
    Error(&'a [u8]),
}

/// What a peer listens to, or has listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest<'a> {
    /// The leaf cluster it comes from, in the `LS` forms.
    pub origin: Option<&'a [u8]>,
    /// Name of the account.
    pub account: &'a [u8],
    /// What is listened to.
    pub subject: &'a [u8],
    /// The queue group.
    pub queue: Option<&'a [u8]>,
    /// How many members the queue group has there; 1 for plain interest and when it ends.
    pub weight: u32,
}

/// A message as a peer passed it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Name of the account.
    pub account: &'a [u8],
    /// Where to.
    pub subject: &'a [u8],
    /// Where an answer should go.
    pub reply: Option<&'a [u8]>,
    /// The queue groups one member of which shall get it, besides all plain subscribers.
    pub queues: Queues<'a>,
    /// Length of the header block at the start of the body, if there is one.
    pub header_len: Option<usize>,
    /// Header block, payload and the closing CRLF.
    pub body: &'a [u8],
}

/// Why a route must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// No such verb, or a payload of another length than announced.
    #[error("unknown protocol operation")]
    UnknownOperation,
    /// Wrong arguments of a known verb.
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
    /// Anything but `CONNECT` from a peer that has not said who it is.
    #[error("operation before authentication")]
    NotAuthenticated,
}

/// What the parser checks frames against.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Longest control line, in bytes.
    pub max_control_line: usize,
    /// Largest payload including headers, in bytes.
    pub max_payload: usize,
    /// Whether only `CONNECT` is allowed.
    pub connect_only: bool,
}

/// The unfinished part of a peer's byte stream, and the rules for the rest.
#[derive(Debug)]
pub struct Parser {
    /// What frames are checked against.
    pub rules: Rules,
    carry: Vec<u8>,
    /// How much of `carry` is known to hold no line end.
    scanned: usize,
    /// How long the unfinished frame is, once its control line is complete.
    wanted: Option<usize>,
    /// Set when a sink broke off: `carry` holds frames nobody has looked at.
    backlog: bool,
}

/// How far one frame was recognised.
enum Step<'a> {
    Frame { op: Op<'a>, consumed: usize },
    Line,
    Body { wanted: usize },
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
            backlog: false,
        }
    }

    /// How many bytes are kept for later.
    pub fn kept(&self) -> usize {
        self.carry.len()
    }

    /// Takes the next bytes of the stream and hands each finished operation to `sink`. When that breaks,
    /// the rest is kept for the next call (with no new bytes, if need be).
    ///
    /// # Errors
    /// The stream breaks the protocol; nothing more must be fed.
    pub fn feed<B>(
        &mut self,
        mut input: &[u8],
        mut sink: impl FnMut(Op<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, Violation> {
        if std::mem::take(&mut self.backlog) {
            let mut kept = std::mem::take(&mut self.carry);
            kept.extend_from_slice(input);
            return self.run(&kept, &mut sink);
        }
        if !self.carry.is_empty() {
            let mut carry = std::mem::take(&mut self.carry);
            match self.complete(&mut carry, &mut input)? {
                None => {
                    self.carry = carry;
                    return Ok(None);
                }
                Some(op) => {
                    if let ControlFlow::Break(broken) = sink(op) {
                        self.carry.extend_from_slice(input);
                        self.backlog = !input.is_empty();
                        return Ok(Some(broken));
                    }
                }
            }
        }
        self.run(input, &mut sink)
    }

    /// Completes the unfinished frame with as little of `input` as it needs; `None` when it lacks more.
    fn complete<'a>(
        &mut self,
        carry: &'a mut Vec<u8>,
        input: &mut &[u8],
    ) -> Result<Option<Op<'a>>, Violation> {
        loop {
            let lacking = match step(carry, self.scanned, &self.rules)? {
                Step::Frame { .. } => break,
                Step::Line => {
                    self.scanned = carry.len();
                    let end = memchr::memchr(b'\n', input).map_or(input.len(), |at| at + 1);
                    // One byte more than allowed is enough to see that it is too much.
                    let room = (self.rules.max_control_line + 1).saturating_sub(carry.len());
                    end.min(room)
                }
                Step::Body { wanted } => {
                    self.wanted = Some(wanted);
                    let lacking = wanted - carry.len();
                    carry.reserve_exact(lacking);
                    input.len().min(lacking)
                }
            };
            if input.is_empty() {
                return Ok(None);
            }
            let (head, tail) = input.split_at(lacking);
            carry.extend_from_slice(head);
            *input = tail;
        }
        let scanned = std::mem::take(&mut self.scanned);
        self.wanted = None;
        match step(carry, scanned, &self.rules)? {
            Step::Frame { op, .. } => Ok(Some(op)),
            // It was one a moment ago.
            _ => Ok(None),
        }
    }

    /// Parses frames where they lie and keeps the unfinished rest, or all that follows a break.
    fn run<B>(
        &mut self,
        input: &[u8],
        sink: &mut impl FnMut(Op<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, Violation> {
        let mut at = 0;
        self.scanned = 0;
        self.wanted = None;
        let mut broken = None;
        while at < input.len() && broken.is_none() {
            match step(&input[at..], 0, &self.rules)? {
                Step::Frame { op, consumed } => {
                    at += consumed;
                    if let ControlFlow::Break(reason) = sink(op) {
                        broken = Some(reason);
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
        let rest = &input[at..];
        if !rest.is_empty() {
            self.carry
                .reserve_exact(self.wanted.unwrap_or(rest.len()).max(rest.len()));
            self.carry.extend_from_slice(rest);
            self.backlog = broken.is_some();
        }
        Ok(broken)
    }
}

/// Recognises the frame at the start of `buffer`, whose first `scanned` bytes hold no line end.
fn step<'a>(buffer: &'a [u8], scanned: usize, rules: &Rules) -> Result<Step<'a>, Violation> {
    if rules.connect_only && buffer.first().is_some_and(|first| !b"Cc+-".contains(first)) {
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
        line::Line::Message { head, size } => {
            let wanted = after + size + 2;
            if buffer.len() < wanted {
                // The closing CRLF is checked as far as it has come.
                if buffer.get(after + size).is_some_and(|byte| *byte != b'\r') {
                    return Err(Violation::UnknownOperation);
                }
                return Ok(Step::Body { wanted });
            }
            let body = &buffer[after..wanted];
            if !body.ends_with(b"\r\n") {
                return Err(Violation::UnknownOperation);
            }
            Ok(Step::Frame {
                op: Op::Message(Message { body, ..head }),
                consumed: wanted,
            })
        }
    }
}

// === impl Message ===

impl Message<'_> {
    /// Length of header block and payload, without the closing CRLF.
    pub fn size(&self) -> usize {
        self.body.len() - 2
    }
}

#[cfg(test)]
mod tests;
