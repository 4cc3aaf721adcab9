//! The client protocol: its operations, and what its frames are checked against.

mod line;
mod swift;

use crate::framing::{self, Grammar, Line};
pub use crate::framing::{MAX_DIGITS, Violation};

/// The unfinished part of a client's byte stream, and the rules for the rest.
pub type Parser = framing::Parser<Rules>;

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

// === impl Rules ===

impl Grammar for Rules {
    type Op<'a> = Op<'a>;
    type Head<'a> = Publish<'a>;

    fn longest_line(&self) -> usize {
        line::longest(self)
    }

    #[inline]
    fn check_first(&self, first: u8) -> Result<(), Violation> {
        if self.connect_only && !first.eq_ignore_ascii_case(&b'C') {
            return Err(Violation::NotAuthenticated);
        }
        Ok(())
    }

    fn check_partial(&self, line: &[u8]) -> Result<(), Violation> {
        line::check_partial(line, self)
    }

    #[inline]
    fn parse<'a>(&self, line: &'a [u8]) -> Result<Line<Op<'a>, Publish<'a>>, Violation> {
        line::parse(line, self)
    }

    #[inline]
    fn join<'a>(head: Publish<'a>, body: &'a [u8]) -> Op<'a> {
        Op::Publish(Publish { body, ..head })
    }

    #[inline]
    fn recognise<'a>(&self, buffer: &'a [u8]) -> Option<(Op<'a>, usize)> {
        swift::publish(buffer, self)
    }
}

#[cfg(test)]
mod tests;
