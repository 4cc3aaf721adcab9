//! Answers, while they are made and until they are read. All together have a bound in bytes, and few are
//! made at a time: one about all connections can take many megabytes and a second.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::endpoint::Endpoint;
use crate::memory::Memory;

/// Bytes of all answers, while they are made and until they are read: a quarter of what connections may hold,
/// and within these bounds. One may have two thirds of it, which is enough for all connections there may be by
/// default, with what they subscribe to.
const ALL: (usize, usize) = (4 << 20, 192 << 20);
/// Bytes that lie in one piece.
const PIECE: usize = 64 << 10;
/// Answers made at a time, of those about everything and of the short ones: an operator's question how the
/// server is does not wait behind a crowd's for all connections.
const LARGE: usize = 2;
const SMALL: usize = 2;
/// How long one may wait for its turn.
const TURN: Duration = Duration::from_secs(20);
/// How long one waits for those to go who hold too much, and for one of them.
const ROOM: Duration = Duration::from_secs(5);
const FAREWELL: Duration = Duration::from_millis(200);

/// What there is of them.
#[derive(Debug)]
pub(crate) struct Answers {
    ledger: Mutex<Ledger>,
    freed: Condvar,
    memory: Arc<Memory>,
    /// How much of that is for answers.
    part: fn(&Memory) -> usize,
    large: Arc<Semaphore>,
    small: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Ledger {
    held: usize,
    next: u64,
    /// Those who have an answer, the oldest first, and what ends their connection.
    holders: BTreeMap<u64, CancellationToken>,
}

/// An answer as it is written.
#[derive(Debug)]
pub(super) struct Draft {
    pieces: VecDeque<Piece>,
    length: usize,
    refusal: Option<Refusal>,
    end: CancellationToken,
    holder: Holder,
}

/// An answer as it is sent.
#[derive(Debug)]
pub(super) struct Finished<G> {
    pieces: VecDeque<Bytes>,
    left: u64,
    /// A short one holds nothing.
    _holder: Option<Holder>,
    /// Dropped when all of it is on its way.
    _guard: G,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the answer is too long: ask for less of it (limit, offset)")]
    TooLong,
    #[error("too many answers wait to be read: try again")]
    Crowded,
}

/// Whose answer it is.
#[derive(Debug)]
struct Holder {
    id: u64,
    answers: Arc<Answers>,
}

/// A part of an answer, which counts until the socket has taken it.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    answers: Arc<Answers>,
}

// === impl Answers ===

impl Answers {
    pub(crate) fn new(memory: &Arc<Memory>) -> Arc<Self> {
        Self::with(memory, |memory| (memory.limit() / 4).clamp(ALL.0, ALL.1))
    }

    fn with(memory: &Arc<Memory>, part: fn(&Memory) -> usize) -> Arc<Self> {
        Arc::new(Answers {
            ledger: Mutex::default(),
            freed: Condvar::new(),
            memory: Arc::clone(memory),
            part,
            large: Arc::new(Semaphore::new(LARGE)),
            small: Arc::new(Semaphore::new(SMALL)),
        })
    }

    fn most(&self) -> usize {
        (self.part)(&self.memory)
    }

    /// Waits until it is this one's turn to be made; to be kept until it is, also when nobody waits for it
    /// any more. `None` when too many come before.
    pub(super) async fn turn(&self, endpoint: Endpoint) -> Option<OwnedSemaphorePermit> {
        let lane = match endpoint {
            Endpoint::Connz | Endpoint::Subsz | Endpoint::Routez | Endpoint::Accountz => {
                &self.large
            }
            _ => &self.small,
        };
        let turn = tokio::time::timeout(TURN, Arc::clone(lane).acquire_owned()).await;
        turn.ok()?.ok()
    }

    /// An empty answer, for the connection that `end` ends.
    pub(super) fn draft(self: &Arc<Self>, end: CancellationToken) -> Draft {
        let mut ledger = self.ledger.lock();
        let id = ledger.next;
        ledger.next += 1;
        ledger.holders.insert(id, end.clone());
        drop(ledger);
        Draft {
            pieces: VecDeque::new(),
            length: 0,
            refusal: None,
            end,
            holder: Holder {
                id,
                answers: Arc::clone(self),
            },
        }
    }

    /// Room for one more piece. If there is none, those who have had their answers for longest lose them.
    /// Waits, so it is not for the threads that serve sockets.
    fn piece(self: &Arc<Self>, holder: u64, end: &CancellationToken) -> Result<Piece, Refusal> {
        let most = self.most();
        let mut ledger = self.ledger.lock();
        let deadline = Instant::now() + ROOM;
        while ledger.held + PIECE > most {
            if end.is_cancelled() || Instant::now() > deadline {
                return Err(Refusal::Crowded);
            }
            let mut ids = ledger.holders.keys().copied();
            let oldest = ids.find(|id| *id != holder);
            if let Some(end) = oldest.and_then(|id| ledger.holders.remove(&id)) {
                end.cancel();
            }
            // Room for more than one piece, or the next would have to go for the next one.
            let enough = most - most / 8;
            (self.freed).wait_while_for(&mut ledger, |ledger| ledger.held > enough, FAREWELL);
        }
        ledger.held += PIECE;
        Ok(Piece {
            bytes: Vec::new(),
            answers: Arc::clone(self),
        })
    }
}

// === impl Draft ===

impl Draft {
    /// Why it was not written to its end, if it was not.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Nothing is added any more.
    pub(super) fn finish<G>(mut self, guard: G) -> Finished<G> {
        if let Some(last) = self.pieces.back_mut() {
            last.bytes.shrink_to_fit();
        }
        Finished {
            pieces: self.pieces.into_iter().map(Bytes::from_owner).collect(),
            left: self.length as u64,
            _holder: Some(self.holder),
            _guard: guard,
        }
    }

    fn add(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        if self.end.is_cancelled() {
            // Nobody will read it.
            return Err(Refusal::Crowded);
        }
        if self.length + bytes.len() > self.holder.answers.most() / 3 * 2 {
            return Err(Refusal::TooLong);
        }
        self.length += bytes.len();
        while !bytes.is_empty() {
            let full = |piece: &Piece| piece.bytes.len() >= PIECE;
            if self.pieces.back().is_none_or(full) {
                let piece = self.holder.answers.piece(self.holder.id, &self.end)?;
                self.pieces.push_back(piece);
            }
            if let Some(last) = self.pieces.back_mut() {
                let (now, later) = bytes.split_at(bytes.len().min(PIECE - last.bytes.len()));
                last.bytes.extend_from_slice(now);
                bytes = later;
            }
        }
        Ok(())
    }
}

impl io::Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes).map_err(|refusal| {
            self.refusal = Some(refusal);
            io::Error::other(refusal)
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Finished ===

impl<G> Finished<G> {
    /// A few words, which need no room.
    pub(super) fn short(text: &str, guard: G) -> Self {
        Finished {
            pieces: VecDeque::from([Bytes::copy_from_slice(text.as_bytes())]),
            left: text.len() as u64,
            _holder: None,
            _guard: guard,
        }
    }
}

impl<G: Unpin> Body for Finished<G> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        Poll::Ready(this.pieces.pop_front().map(|piece| {
            this.left -= piece.len() as u64;
            Ok(Frame::data(piece))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

// === impl Holder ===

impl Drop for Holder {
    fn drop(&mut self) {
        self.answers.ledger.lock().holders.remove(&self.id);
    }
}

// === impl Piece ===

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.answers.ledger.lock().held -= PIECE;
        self.answers.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::io::Write as _;

    use super::*;

    fn room_for(pieces: usize) -> Arc<Answers> {
        let memory = Arc::new(Memory::new(pieces * PIECE));
        Answers::with(&memory, Memory::limit)
    }

    /// An answer of so many pieces.
    fn answer(answers: &Arc<Answers>, pieces: usize) -> (CancellationToken, Draft) {
        let end = CancellationToken::new();
        let mut draft = answers.draft(end.clone());
        draft.write_all(&vec![b'x'; pieces * PIECE]).unwrap();
        (end, draft)
    }

    #[test]
    fn who_holds_an_answer_for_longest_loses_it_when_there_is_no_more_room() {
        let answers = room_for(4);
        let (first, held) = answer(&answers, 2);
        let (second, _also_held) = answer(&answers, 2);
        assert!(!first.is_cancelled() && !second.is_cancelled());
        // A connection that is told to end lets go of its answer.
        let ending = std::thread::spawn({
            let first = first.clone();
            move || {
                while !first.is_cancelled() {
                    std::thread::yield_now();
                }
                drop(held.finish(()));
            }
        });
        let (third, _) = answer(&answers, 1);
        ending.join().unwrap();
        assert!(first.is_cancelled() && !second.is_cancelled() && !third.is_cancelled());
    }

    #[test]
    fn what_is_too_long_or_for_nobody_is_not_made() {
        let answers = room_for(6);
        let (end, mut draft) = answer(&answers, 4);
        assert_eq!(draft.refusal(), None);
        draft.write_all(b"x").unwrap_err();
        assert_eq!(draft.refusal(), Some(Refusal::TooLong));
        drop(draft);
        assert_eq!(answers.ledger.lock().held, 0);
        let mut draft = answers.draft(end.clone());
        end.cancel();
        draft.write_all(b"x").unwrap_err();
    }

    #[test]
    fn pieces_count_until_they_are_gone() {
        let answers = room_for(6);
        let (_, draft) = answer(&answers, 3);
        let mut finished = Box::pin(draft.finish(()));
        assert_eq!(finished.size_hint().exact(), Some(3 * PIECE as u64));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(Some(Ok(frame))) = finished.as_mut().poll_frame(&mut cx) else {
            panic!("no frame");
        };
        assert_eq!(answers.ledger.lock().held, 3 * PIECE);
        drop(frame);
        assert_eq!(answers.ledger.lock().held, 2 * PIECE);
        drop(finished);
        let ledger = answers.ledger.lock();
        assert!(ledger.held == 0 && ledger.holders.is_empty());
    }
}
