//! The protocol between servers: its operations, and what its frames are checked against.

mod line;

pub use crate::framing::Violation;
use crate::framing::{self, Grammar, Line};
pub use line::Queues;

/// The unfinished part of a peer's byte stream, and the rules for the rest.
pub type Parser = framing::Parser<Rules>;

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

/// What the parser checks frames against.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Longest control line, in bytes; of one that has not said who it is 64 KiB at most.
    pub max_control_line: usize,
    /// Largest payload including headers, in bytes.
    pub max_payload: usize,
    /// Whether only `CONNECT` is allowed.
    pub connect_only: bool,
}

/// Longest control line of one that has not said who it is, in bytes.
const FIRST_LINE: usize = 64 << 10;

// === impl Rules ===

impl Grammar for Rules {
    type Op<'a> = Op<'a>;
    type Head<'a> = Message<'a>;

    fn longest_line(&self) -> usize {
        if self.connect_only {
            return self.max_control_line.min(FIRST_LINE);
        }
        self.max_control_line
    }

    fn check_first(&self, first: u8) -> Result<(), Violation> {
        if self.connect_only && !b"Cc+-".contains(&first) {
            return Err(Violation::NotAuthenticated);
        }
        Ok(())
    }

    fn check_partial(&self, line: &[u8]) -> Result<(), Violation> {
        line::check_partial(line, self)
    }

    fn parse<'a>(&self, line: &'a [u8]) -> Result<Line<Op<'a>, Message<'a>>, Violation> {
        line::parse(line, self)
    }

    fn join<'a>(head: Message<'a>, body: &'a [u8]) -> Op<'a> {
        Op::Message(Message { body, ..head })
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
