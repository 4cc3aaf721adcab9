//! From a stream of bytes to frames: a control line, and behind some of them a body.
//!
//! The protocol of clients and the one between servers are both made of such frames, and differ in their
//! [`Grammar`]. [`Parser::feed`] takes whatever one read brought. Frames that are whole are parsed where
//! they lie, without a copy; the beginning of an unfinished one is kept until the rest has come. Nothing is
//! ever assumed to arrive in one piece, and nothing grows beyond the limits: a control line and a body are
//! refused as soon as they are known to be too long, an unknown verb at its first wrong byte.

use std::ops::ControlFlow;

/// Numbers with more digits than this are malformed.
pub const MAX_DIGITS: usize = 9;

/// What the control lines of a protocol say, and what is checked about them.
pub trait Grammar {
    /// One operation; slices are into the read buffer.
    type Op<'a>: Copy;
    /// A control line whose body is still to come.
    type Head<'a>;

    /// The longest control line that can be in order, verb and line end included.
    fn longest_line(&self) -> usize;

    /// Checks the first byte of a frame.
    ///
    /// # Errors
    /// Nothing that begins like this is allowed now.
    fn check_first(&self, first: u8) -> Result<(), Violation>;

    /// Checks the beginning of a line that has not ended.
    ///
    /// # Errors
    /// No verb begins like this, or it is too long already.
    fn check_partial(&self, line: &[u8]) -> Result<(), Violation>;

    /// Parses a line without its `\n`.
    ///
    /// # Errors
    /// It says nothing, or what is not allowed.
    fn parse<'a>(&self, line: &'a [u8]) -> Result<Line<Self::Op<'a>, Self::Head<'a>>, Violation>;

    /// The operation that a control line and its body, closing CRLF and all, make together.
    fn join<'a>(head: Self::Head<'a>, body: &'a [u8]) -> Self::Op<'a>;

    /// A shortcut: the frame at the start of `buffer` and its length, when it is whole and of the most
    /// usual form. `None` says nothing about it.
    #[inline]
    fn recognise<'a>(&self, buffer: &'a [u8]) -> Option<(Self::Op<'a>, usize)> {
        let _ = buffer;
        None
    }
}

/// What a control line says.
#[derive(Debug)]
pub enum Line<Op, Head> {
    /// The whole operation.
    Op(Op),
    /// That a body of `size` bytes and a CRLF follow.
    Head {
        /// What is known of the operation.
        head: Head,
        /// Length of the body, without the CRLF.
        size: usize,
    },
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

/// The unfinished part of a byte stream, and the rules for the rest.
#[derive(Debug)]
pub struct Parser<G> {
    /// What frames are checked against; parts of it change when the other side connects.
    pub rules: G,
    carry: Vec<u8>,
    /// How much of `carry` is known to hold no line end.
    scanned: usize,
    /// How long the unfinished frame is, once its control line is complete.
    wanted: Option<usize>,
    /// Set when a sink broke off: from here on `carry` holds frames nobody has looked at.
    backlog: Option<usize>,
}

/// How far one frame was recognised.
enum Step<Op> {
    Frame {
        op: Op,
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

impl<G: Grammar> Parser<G> {
    /// A parser at the start of a stream.
    pub fn new(rules: G) -> Self {
        Parser {
            rules,
            carry: Vec::new(),
            scanned: 0,
            wanted: None,
            backlog: None,
        }
    }

    /// How many bytes are kept for later.
    pub fn kept(&self) -> usize {
        self.carry.len()
    }

    /// How many bytes the unfinished body still lacks; 0 when none is under way.
    pub fn missing(&self) -> usize {
        self.wanted
            .map_or(0, |wanted| wanted.saturating_sub(self.carry.len()))
    }

    /// The buffer of the unfinished frame, for reading a large body straight into it.
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
        mut sink: impl FnMut(&mut G, G::Op<'_>) -> ControlFlow<B>,
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
        sink: &mut impl FnMut(&mut G, G::Op<'_>) -> ControlFlow<B>,
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
        sink: &mut impl FnMut(&mut G, G::Op<'_>) -> ControlFlow<B>,
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
                    let room = (self.rules.longest_line() + 1).saturating_sub(carry.len());
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
    #[inline]
    fn run<B>(
        &mut self,
        input: &[u8],
        sink: &mut impl FnMut(&mut G, G::Op<'_>) -> ControlFlow<B>,
    ) -> Result<(usize, Option<B>), Violation> {
        let mut at = 0;
        self.scanned = 0;
        self.wanted = None;
        while at < input.len() {
            let rest = &input[at..];
            if let Some((op, consumed)) = self.rules.recognise(rest) {
                at += consumed;
                if let ControlFlow::Break(broken) = sink(&mut self.rules, op) {
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
fn step<'a, G: Grammar>(
    buffer: &'a [u8],
    scanned: usize,
    rules: &G,
) -> Result<Step<G::Op<'a>>, Violation> {
    if let Some(first) = buffer.first() {
        rules.check_first(*first)?;
    }
    let scanned = scanned.min(buffer.len());
    let Some(end) = memchr::memchr(b'\n', &buffer[scanned..]) else {
        rules.check_partial(buffer)?;
        return Ok(Step::Line);
    };
    let end = scanned + end;
    let after = end + 1;
    match rules.parse(&buffer[..end])? {
        Line::Op(op) => Ok(Step::Frame {
            op,
            consumed: after,
        }),
        Line::Head { head, size } => {
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
                op: G::join(head, body),
                consumed: wanted,
            })
        }
    }
}

/// A number in a control line; `None` when it is none, or too long.
#[inline]
pub(crate) fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return None;
    }
    let mut value = 0usize;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + usize::from(digit - b'0');
    }
    Some(value)
}
