//! The words between a client and a supervisor.
//!
//! One connection is one conversation: a request, then an answer; after `Attach` a stream of events
//! until the process is gone. A frame is a length (u32, little endian, counting what follows), a
//! kind byte and a payload: JSON, or output as a sequence number (u64) and raw bytes. File
//! descriptors travel beside the first byte of the request they belong to.

use std::io;

use serde::{Deserialize, Serialize};

use crate::{Ended, Event, Exit, Info, Pack, ProcessId, ProcessSpec, Stream, Unpack};

/// What a client may ask.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Start a process; answered by `Started`.
    Run(ProcessSpec),
    /// Place the archive whose descriptor comes along; answered by `Started`.
    Unpack(Unpack),
    /// Write an archive to the descriptor that comes along; answered by `Started`.
    Pack(Pack),
    /// Follow a process from a byte on; answered by `Attached` and events.
    Attach { process: ProcessId, from: u64 },
    /// Send a signal to a process and its session; answered by `Done`.
    Signal { process: ProcessId, signal: i32 },
    /// TERM, then KILL after the grace; answered by `Ended`, when it has.
    Stop { grace_ms: u64 },
    /// Answered by `Info`.
    Info,
    /// KILL, clean up, leave; answered by `Done` just before the supervisor exits.
    Destroy,
}

/// What a supervisor says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Started { process: ProcessId },
    Attached,
    Done,
    Info(Box<Info>),
    Ended(Ended),
    Failed { step: String, message: String },
    Gap { from: u64, to: u64 },
    Oom,
    OverDisk { used: u64, limit: u64 },
    Exited(Exit),
}

/// A frame from a supervisor.
#[derive(Debug)]
pub(crate) enum Heard {
    Answer(Answer),
    Output {
        seq: u64,
        stream: Stream,
        bytes: Vec<u8>,
    },
}

/// Collects bytes as they come and gives whole frames.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: Vec<u8>,
    start: usize,
}

const KIND_JSON: u8 = 1;
const KIND_OUT: u8 = 2;
const KIND_ERR: u8 = 3;
/// Length and kind.
const HEAD: usize = 5;
/// The most output in one frame.
pub(crate) const CHUNK_MAX: usize = 32 * 1024;

// === impl Frames ===

impl Frames {
    /// Adds bytes that were read.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame's kind and payload; `limit` is the most a payload may have.
    pub(crate) fn next(&mut self, limit: usize) -> io::Result<Option<(u8, &[u8])>> {
        let waiting = &self.buffer[self.start..];
        let Some((head, rest)) = waiting.split_at_checked(HEAD) else {
            return Ok(None);
        };
        let counted = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let kind = head[4];
        if counted == 0 || counted - 1 > limit {
            return Err(invalid(format!("a frame of {counted} bytes")));
        }
        let length = counted - 1;
        if rest.len() < length {
            return Ok(None);
        }
        let from = self.start + HEAD;
        self.start = from + length;
        Ok(Some((kind, &self.buffer[from..from + length])))
    }

    /// The next request, on the supervisor's side.
    pub(crate) fn next_request(&mut self) -> io::Result<Option<Request>> {
        match self.next(crate::spec::REQUEST_MAX)? {
            None => Ok(None),
            Some((KIND_JSON, payload)) => serde_json::from_slice(payload)
                .map(Some)
                .map_err(|error| invalid(error.to_string())),
            Some((kind, _)) => Err(invalid(format!("a request of kind {kind}"))),
        }
    }

    /// The next word of a supervisor, on the client's side.
    pub(crate) fn next_heard(&mut self) -> io::Result<Option<Heard>> {
        let Some((kind, payload)) = self.next(crate::spec::REQUEST_MAX)? else {
            return Ok(None);
        };
        let stream = match kind {
            KIND_JSON => {
                let answer =
                    serde_json::from_slice(payload).map_err(|error| invalid(error.to_string()))?;
                return Ok(Some(Heard::Answer(answer)));
            }
            KIND_OUT => Stream::Out,
            KIND_ERR => Stream::Err,
            _ => return Err(invalid(format!("a frame of kind {kind}"))),
        };
        let (seq, bytes) = payload
            .split_first_chunk::<8>()
            .ok_or_else(|| invalid("output without a number"))?;
        Ok(Some(Heard::Output {
            seq: u64::from_le_bytes(*seq),
            stream,
            bytes: bytes.to_vec(),
        }))
    }
}

impl Heard {
    /// As an event of an attached client; the answer back when it is none.
    pub(crate) fn into_event(self) -> Result<Event, Answer> {
        match self {
            Self::Output { seq, stream, bytes } => Ok(Event::Output { seq, stream, bytes }),
            Self::Answer(Answer::Gap { from, to }) => Ok(Event::Gap { from, to }),
            Self::Answer(Answer::Oom) => Ok(Event::Oom),
            Self::Answer(Answer::OverDisk { used, limit }) => Ok(Event::OverDisk { used, limit }),
            Self::Answer(Answer::Exited(exit)) => Ok(Event::Exited(exit)),
            Self::Answer(other) => Err(other),
        }
    }
}

/// Appends a JSON frame.
pub(crate) fn put_json<T: Serialize>(to: &mut Vec<u8>, message: &T) -> io::Result<()> {
    let at = to.len();
    to.extend_from_slice(&[0, 0, 0, 0, KIND_JSON]);
    serde_json::to_writer(&mut *to, message)?;
    set_length(to, at)
}

/// Appends an output frame; `parts` are one piece of output, in two halves when the ring wraps.
pub(crate) fn put_output(
    to: &mut Vec<u8>,
    seq: u64,
    stream: Stream,
    parts: (&[u8], &[u8]),
) -> io::Result<()> {
    let at = to.len();
    let kind = if stream == Stream::Out {
        KIND_OUT
    } else {
        KIND_ERR
    };
    to.extend_from_slice(&[0, 0, 0, 0, kind]);
    to.extend_from_slice(&seq.to_le_bytes());
    to.extend_from_slice(parts.0);
    to.extend_from_slice(parts.1);
    set_length(to, at)
}

fn set_length(frame: &mut [u8], at: usize) -> io::Result<()> {
    let counted = u32::try_from(frame.len() - at - 4).map_err(|_| invalid("a frame too long"))?;
    frame[at..at + 4].copy_from_slice(&counted.to_le_bytes());
    Ok(())
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However the bytes are cut on their way, the same frames come out.
        #[test]
        fn frames_survive_any_cut(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
            cut in 1usize..64,
        ) {
            let mut sent = Vec::new();
            let mut seq = 0;
            for piece in &pieces {
                put_output(&mut sent, seq, Stream::Err, (piece, &[])).unwrap();
                seq += piece.len() as u64;
            }
            put_json(&mut sent, &Answer::Done).unwrap();
            let mut frames = Frames::default();
            let mut heard = Vec::new();
            for part in sent.chunks(cut) {
                frames.feed(part);
                while let Some(word) = frames.next_heard().unwrap() {
                    heard.push(word);
                }
            }
            prop_assert_eq!(heard.len(), pieces.len() + 1);
            for (word, piece) in heard.iter().zip(&pieces) {
                match word {
                    Heard::Output { bytes, stream: Stream::Err, .. } => prop_assert_eq!(bytes, piece),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }

        /// Rubbish is an error or a wait for more, never a panic or an allocation of its choosing.
        #[test]
        fn rubbish_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut frames = Frames::default();
            frames.feed(&bytes);
            while let Ok(Some(_)) = frames.next_request() {}
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_before_it_arrives() {
        let mut frames = Frames::default();
        frames.feed(&u32::MAX.to_le_bytes());
        frames.feed(&[KIND_JSON]);
        assert!(frames.next_request().is_err());
    }
}
