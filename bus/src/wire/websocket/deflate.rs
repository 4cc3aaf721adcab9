//! permessage-deflate (RFC 7692) without context takeover: every message is compressed for itself.
//!
//! So no connection keeps a compressor between messages; they wait in a small pool that all share.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use parking_lot::Mutex;

use super::frame::{Violation, code};

/// What a sender leaves out at the end of each message.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Compressors and inflaters of each kind that are kept for the next.
const KEPT: usize = 4;
/// What an inflater takes, with its window.
const INFLATER: usize = 44 << 10;
/// Least and most room made for what one call inflates.
const ROOM: (usize, usize) = (1 << 10, 32 << 10);

/// Compressors and inflaters at rest.
#[derive(Debug, Default)]
pub(super) struct Pool {
    compressors: Mutex<Vec<Compress>>,
    inflaters: Mutex<Vec<Decompress>>,
}

/// A compressed message on its way in.
#[derive(Debug)]
pub(super) struct Inflation {
    inflater: Decompress,
    /// What has come and is not inflated yet.
    packed: Vec<u8>,
    taken: usize,
    /// Bytes the message has inflated to.
    size: usize,
    /// The inflater may hold output that there was no room for.
    full: bool,
    /// Its last frame has come.
    complete: bool,
    /// The stream has said that it ends; whatever follows is filling.
    over: bool,
}

/// Where inflating a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is more, but enough for now.
    Enough,
    /// The next frame is needed.
    Hungry,
    /// The message is at its end.
    Finished,
}

// === impl Pool ===

impl Pool {
    /// Compresses one message; `false` when that does not make it smaller, and `packed` is of no use.
    pub(super) fn compress(&self, plain: &[u8], packed: &mut Vec<u8>) -> bool {
        let kept = self.compressors.lock().pop();
        let mut compressor = kept.unwrap_or_else(|| Compress::new(Compression::fast(), false));
        let start = packed.len();
        packed.reserve(plain.len() + 64);
        let smaller = loop {
            let done = usize::try_from(compressor.total_in()).unwrap_or(usize::MAX);
            let rest = plain.get(done..).unwrap_or_default();
            let result = compressor.compress_vec(rest, packed, FlushCompress::Sync);
            if result.is_err() || packed.len() - start >= plain.len() {
                break false;
            }
            let all = compressor.total_in() == plain.len() as u64;
            if all && packed.len() < packed.capacity() {
                break packed.ends_with(&TAIL);
            }
            packed.reserve(plain.len() / 2 + 64);
        };
        packed.truncate(packed.len().saturating_sub(TAIL.len()).max(start));
        compressor.reset();
        keep(&self.compressors, compressor);
        smaller
    }

    pub(super) fn inflation(&self) -> Inflation {
        let kept = self.inflaters.lock().pop();
        Inflation {
            inflater: kept.unwrap_or_else(|| Decompress::new(false)),
            packed: Vec::new(),
            taken: 0,
            size: 0,
            full: false,
            complete: false,
            over: false,
        }
    }

    pub(super) fn give_back(&self, inflation: Inflation) {
        let mut inflater = inflation.inflater;
        inflater.reset(false);
        keep(&self.inflaters, inflater);
    }
}

fn keep<T>(shelf: &Mutex<Vec<T>>, tool: T) {
    let mut shelf = shelf.lock();
    if shelf.len() < KEPT {
        shelf.push(tool);
    }
}

// === impl Inflation ===

impl Inflation {
    /// Where the next bytes of the message go.
    pub(super) fn packed(&mut self) -> &mut Vec<u8> {
        &mut self.packed
    }

    /// Bytes it takes until the message has come to its end.
    pub(super) fn kept(&self) -> usize {
        INFLATER + self.packed.capacity()
    }

    /// The message has come to its end.
    pub(super) fn complete(&mut self) {
        self.packed.extend_from_slice(&TAIL);
        self.complete = true;
    }

    /// Inflates until `plain` has `enough` bytes or there is nothing left.
    ///
    /// # Errors
    /// It is no deflate stream, or the message is larger than `limit`.
    pub(super) fn advance(
        &mut self,
        plain: &mut Vec<u8>,
        enough: usize,
        limit: usize,
    ) -> Result<Progress, Violation> {
        while (self.taken < self.packed.len() || self.full) && !self.over {
            if plain.len() >= enough {
                return Ok(Progress::Enough);
            }
            let input = &self.packed[self.taken..];
            let room = (input.len() * 4).clamp(ROOM.0, ROOM.1);
            let start = plain.len();
            plain.resize(start + room, 0);
            let before = (self.inflater.total_in(), self.inflater.total_out());
            let result =
                self.inflater
                    .decompress(input, &mut plain[start..], FlushDecompress::None);
            let count = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(0);
            let read = count(self.inflater.total_in(), before.0);
            let made = count(self.inflater.total_out(), before.1);
            plain.truncate(start + made);
            self.taken += read;
            self.size += made;
            self.full = made == room;
            if self.size > limit {
                return Err(Violation {
                    code: code::TOO_BIG,
                    text: "the message inflates to more than a message may have",
                });
            }
            match result {
                Ok(Status::StreamEnd) => self.over = true,
                // It has said all that this input gives.
                Ok(_) if read == 0 && made == 0 => break,
                Ok(_) => {}
                Err(_) => {
                    return Err(Violation {
                        code: code::INVALID,
                        text: "the message is not compressed as it says",
                    });
                }
            }
        }
        self.packed.clear();
        self.taken = 0;
        Ok(if self.complete {
            Progress::Finished
        } else {
            Progress::Hungry
        })
    }
}
