//! Websockets as a codec (RFC 6455, permessage-deflate of RFC 7692), the side that accepts.
//!
//! The frames carry the same stream of bytes as a socket would; where they begin and end means nothing.
//! So nothing is collected: what a frame brings is handed on as it comes.

mod deflate;
mod error;
mod frame;
mod origin;
mod upgrade;

use std::sync::Arc;

pub use error::WebsocketConfigError;
pub(crate) use upgrade::{Cookies, Greeting, Upgrader};

use super::{Codec, CodecError, Decoded, Farewell, Handshake};
use deflate::{Inflation, Progress};
use frame::{Header, Opcode, Violation, code};
use upgrade::Outcome;

/// Longest head of a request.
const HEAD_MAX: usize = 16 << 10;
/// Shorter ones are not worth compressing.
const COMPRESS_FROM: usize = 64;
/// A call of `decode` stops inflating when it has made this much.
const ENOUGH: usize = 64 << 10;

/// One connection's websocket.
#[derive(Debug)]
pub(crate) struct WebsocketCodec {
    shared: Arc<Upgrader>,
    state: State,
    /// What is to be said: the answer to the request, pongs, a close frame.
    out: Vec<u8>,
    /// What has come and waits until the receiver has taken what was inflated.
    waiting: Vec<u8>,
    compress: bool,
    /// Whether the frames of the peer bear masks.
    masked: bool,
    greeting: Greeting,
    goodbye: Goodbye,
}

/// The last thing that is said.
#[derive(Debug)]
enum Goodbye {
    /// Nobody has thought of it yet.
    NotYet,
    /// This is what it will be, after all else that is still to be said.
    Due(Vec<u8>),
    /// A close frame has been written, or a refusal: nothing may follow.
    Said,
}

#[derive(Debug)]
enum State {
    /// The head of the request, as far as it has come.
    Request(Vec<u8>),
    Frames(Frames),
    /// Nothing more is read.
    Over,
}

/// Where the reading of frames stands.
#[derive(Debug, Default)]
struct Frames {
    /// The beginning of a header.
    head: Vec<u8>,
    /// The frame whose payload comes, and how much of that has come.
    current: Option<(Header, u64)>,
    /// The payload of a control frame.
    control: Vec<u8>,
    message: Message,
}

/// The message that frames belong to.
#[derive(Debug, Default)]
enum Message {
    #[default]
    None,
    Plain,
    Packed(Box<Inflation>),
}

// === impl WebsocketCodec ===

impl WebsocketCodec {
    pub(crate) fn new(shared: Arc<Upgrader>) -> Self {
        WebsocketCodec {
            shared,
            state: State::Request(Vec::new()),
            out: Vec::new(),
            waiting: Vec::new(),
            compress: false,
            masked: true,
            greeting: Greeting::default(),
            goodbye: Goodbye::NotYet,
        }
    }

    /// Whether there is something to decode without more input.
    pub(super) fn has_waiting(&self) -> bool {
        match &self.state {
            State::Frames(frames) => matches!(frames.message, Message::Packed(_)),
            State::Request(_) | State::Over => false,
        }
    }

    /// Reads the request; `Some` is what follows it.
    fn read_request(&mut self, wire: &[u8]) -> Result<Option<Vec<u8>>, CodecError> {
        let State::Request(head) = &mut self.state else {
            return Ok(Some(wire.to_vec()));
        };
        // What is too long is not even looked at.
        let room = HEAD_MAX - head.len();
        head.extend_from_slice(&wire[..wire.len().min(room)]);
        let mut outcome = self.shared.answer(head);
        if matches!(outcome, Outcome::Incomplete) && head.len() == HEAD_MAX {
            outcome = upgrade::refusal(
                "431 Request Header Fields Too Large",
                "the request is too long",
            );
        }
        match outcome {
            Outcome::Incomplete => Ok(None),
            Outcome::Refused { answer, reason } => {
                self.out.extend_from_slice(answer.as_bytes());
                self.state = State::Over;
                self.goodbye = Goodbye::Said;
                Err(CodecError::Upgrade(reason))
            }
            Outcome::Upgraded {
                length,
                answer,
                greeting,
                compress,
                masked,
            } => {
                let mut rest = head.split_off(length);
                rest.extend_from_slice(&wire[wire.len().min(room)..]);
                self.out.extend_from_slice(answer.as_bytes());
                self.greeting = greeting;
                self.compress = compress;
                self.masked = masked;
                self.state = State::Frames(Frames::default());
                Ok(Some(rest))
            }
        }
    }

    /// Reads frames until the input is used up, or enough has been inflated.
    fn read_frames(&mut self, mut wire: &[u8], plain: &mut Vec<u8>) -> Result<Decoded, Violation> {
        let enough = plain.len() + ENOUGH;
        let State::Frames(frames) = &mut self.state else {
            return Ok(Decoded::PeerClosed);
        };
        loop {
            if let Message::Packed(inflation) = &mut frames.message {
                let limit = self.shared.max_message;
                match inflation.advance(plain, enough, limit)? {
                    Progress::Hungry => {}
                    Progress::Enough => {
                        self.waiting = wire.to_vec();
                        return Ok(Decoded::More);
                    }
                    Progress::Finished => {
                        if let Message::Packed(inflation) = std::mem::take(&mut frames.message) {
                            self.shared.pool.give_back(*inflation);
                        }
                    }
                }
            }
            if frames.current.is_none() {
                let Some(header) = frames.header(&mut wire, self.masked)? else {
                    return Ok(Decoded::Open);
                };
                frames.begin(&header, self.compress, &self.shared)?;
                frames.current = Some((header, 0));
            }
            let Some((header, at)) = &mut frames.current else {
                return Ok(Decoded::Open);
            };
            let header = *header;
            let left = usize::try_from(header.length - *at).unwrap_or(usize::MAX);
            let (part, rest) = wire.split_at(left.min(wire.len()));
            wire = rest;
            let target = match &mut frames.message {
                _ if header.opcode.is_control() => &mut frames.control,
                Message::Packed(inflation) => inflation.packed(),
                _ => &mut *plain,
            };
            let start = target.len();
            target.extend_from_slice(part);
            frame::unmask(&mut target[start..], header.mask, *at);
            *at += part.len() as u64;
            if part.len() < left {
                if part.is_empty() {
                    return Ok(Decoded::Open);
                }
                continue;
            }
            frames.current = None;
            if header.opcode.is_control() {
                let payload = std::mem::take(&mut frames.control);
                match header.opcode {
                    Opcode::Ping => {
                        frame::write_header(Opcode::Pong, false, payload.len(), &mut self.out);
                        self.out.extend_from_slice(&payload);
                    }
                    Opcode::Close => {
                        let answer = frame::read_close(&payload)?;
                        self.answer_close(answer);
                        return Ok(Decoded::PeerClosed);
                    }
                    _ => {}
                }
            } else if header.fin {
                match &mut frames.message {
                    Message::Packed(inflation) => inflation.complete(),
                    message => *message = Message::None,
                }
            }
        }
    }

    /// The peer closes: it hears its own code, once.
    fn answer_close(&mut self, answer: Option<(u16, &str)>) {
        let mut last = Vec::new();
        match answer {
            Some((code, reason)) => frame::write_close(code, reason, &mut last),
            None => frame::write_header(Opcode::Close, false, 0, &mut last),
        }
        self.part_with(last);
    }

    /// Nothing more is read. What was asked before is still answered, and then comes `last`.
    fn part_with(&mut self, last: Vec<u8>) {
        if matches!(self.goodbye, Goodbye::NotYet) {
            self.goodbye = Goodbye::Due(last);
        }
        self.state = State::Over;
    }
}

impl Codec for WebsocketCodec {
    fn decode(&mut self, wire: &[u8], plain: &mut Vec<u8>) -> Result<Decoded, CodecError> {
        let joined;
        let mut wire = wire;
        if let State::Request(_) = self.state {
            match self.read_request(wire)? {
                None => return Ok(Decoded::Open),
                Some(rest) => {
                    joined = rest;
                    wire = &joined;
                }
            }
        } else if !self.waiting.is_empty() {
            let mut before = std::mem::take(&mut self.waiting);
            before.extend_from_slice(wire);
            joined = before;
            wire = &joined;
        }
        self.read_frames(wire, plain).map_err(|violation| {
            let mut last = Vec::new();
            frame::write_close(violation.code, violation.text, &mut last);
            self.part_with(last);
            CodecError::Frame(violation.text)
        })
    }

    fn encode(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CodecError> {
        self.drain(wire);
        if plain.is_empty() || matches!(self.goodbye, Goodbye::Said) {
            return Ok(());
        }
        if self.compress && plain.len() >= COMPRESS_FROM {
            let mut packed = Vec::new();
            if self.shared.pool.compress(plain, &mut packed) {
                frame::write_header(Opcode::Binary, true, packed.len(), wire);
                wire.extend_from_slice(&packed);
                return Ok(());
            }
        }
        frame::write_header(Opcode::Binary, false, plain.len(), wire);
        wire.extend_from_slice(plain);
        Ok(())
    }

    fn drain(&mut self, wire: &mut Vec<u8>) {
        if wire.is_empty() {
            std::mem::swap(wire, &mut self.out);
        } else {
            wire.append(&mut self.out);
        }
    }

    fn kept(&self) -> usize {
        let packed = match &self.state {
            State::Frames(frames) => match &frames.message {
                Message::Packed(inflation) => inflation.kept(),
                Message::None | Message::Plain => 0,
            },
            State::Request(_) | State::Over => 0,
        };
        self.waiting.capacity() + packed
    }

    fn is_ready(&self) -> bool {
        !matches!(self.state, State::Request(_))
    }

    fn close(&mut self, farewell: Farewell, wire: &mut Vec<u8>) {
        self.drain(wire);
        if !self.is_ready() {
            return;
        }
        let (code, text) = match std::mem::replace(&mut self.goodbye, Goodbye::Said) {
            Goodbye::Said => return,
            Goodbye::Due(mut last) => {
                wire.append(&mut last);
                return;
            }
            Goodbye::NotYet => match farewell {
                Farewell::Done(text) => (code::NORMAL, text),
                Farewell::GoingAway(text) => (code::GOING_AWAY, text),
                Farewell::Refused(text) => (code::POLICY, text),
                Farewell::Protocol(text) => (code::PROTOCOL, text),
                Farewell::TooBig(text) => (code::TOO_BIG, text),
                Farewell::Other(text) => (code::INTERNAL, text),
            },
        };
        frame::write_close(code, text, wire);
    }

    fn describe(&self, to: &mut Handshake) {
        to.websocket = Some(self.greeting.clone());
    }
}

// === impl Frames ===

impl Frames {
    /// Takes the next header off the input, once it is all there.
    fn header(&mut self, wire: &mut &[u8], masked: bool) -> Result<Option<Header>, Violation> {
        if self.head.is_empty() {
            if let Some((header, length)) = Header::parse(wire, masked)? {
                *wire = &wire[length..];
                return Ok(Some(header));
            }
            self.head.extend_from_slice(wire);
            *wire = &[];
            return Ok(None);
        }
        let before = self.head.len();
        let more = wire.len().min(frame::HEADER_MAX - before);
        self.head.extend_from_slice(&wire[..more]);
        let Some((header, length)) = Header::parse(&self.head, masked)? else {
            *wire = &wire[more..];
            return Ok(None);
        };
        *wire = &wire[length - before..];
        self.head.clear();
        Ok(Some(header))
    }

    /// Whether this frame may come now, and what it does to the message.
    fn begin(
        &mut self,
        header: &Header,
        compress: bool,
        shared: &Upgrader,
    ) -> Result<(), Violation> {
        match (header.opcode, &self.message) {
            (opcode, _) if opcode.is_control() => {}
            (Opcode::Continuation, Message::None) => {
                return Err(Violation::protocol("there is no message to continue"));
            }
            (Opcode::Continuation, _) if header.compressed => {
                return Err(Violation::protocol(
                    "only a first frame says that it is compressed",
                ));
            }
            (Opcode::Continuation, _) => {}
            (_, Message::None) if header.compressed && !compress => {
                return Err(Violation::protocol("compression was not agreed on"));
            }
            (_, Message::None) if header.compressed => {
                self.message = Message::Packed(Box::new(shared.pool.inflation()));
            }
            (_, Message::None) => self.message = Message::Plain,
            _ => {
                return Err(Violation::protocol("a message begins within another"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
