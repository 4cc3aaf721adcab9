//! What waits to be sent to one client, and how it gets onto the socket.
//!
//! Any worker may append (under the client's lock, a few copies long) and any may write: whoever
//! appended to a clean queue flushes it at the end of its turn, with one vectored, non-blocking write.
//! Only when the socket is full does the client's own task take over, and waits for room.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::clock;
use crate::memory::{Memory, Share};
use crate::wire::Wire;

/// First buffer of a queue that was empty.
const SMALL_CHUNK: usize = 1 << 10;
/// Buffers of a queue that grows.
const LARGE_CHUNK: usize = 64 << 10;
/// How many of either a worker keeps for re-use.
const POOLED: usize = 16;
/// Large buffers a worker fills before it should flush: a message to very many fills more than one read can.
const FULL: usize = 256;
/// Shortest and longest time for which a socket that takes nothing is expected to go on. One who reads slowly
/// frees the system's own buffers, which are large, in big steps.
const STRIDE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// Buffers per system call.
const SLICES: usize = 16;

/// A client's queue. Lives under the client's lock.
#[derive(Debug)]
pub(crate) struct Outbound {
    /// Filled buffers, oldest first.
    queue: Vec<Vec<u8>>,
    /// How much of the first one is written.
    offset: usize,
    /// Bytes in the queue and in the hands of a writer.
    pub(crate) pending: usize,
    /// Its part of the memory of all connections: the large buffers, and what follows.
    share: Share,
    /// Of the share: the unfinished frame of its own that the client's task waits to be complete, and what the
    /// codec of the wire holds back.
    unfinished: usize,
    encoded: usize,
    /// Since when the unfinished frame has been waited for.
    unfinished_since: Option<Instant>,
    /// Somebody writes right now, without the lock.
    pub(crate) writing: bool,
    /// The socket was full; the client's task waits for room.
    pub(crate) blocked: bool,
    /// Somebody has promised to flush.
    pub(crate) dirty: bool,
    /// Since when a blocked socket has taken nothing.
    pub(crate) stuck_since: Option<Instant>,
    /// How long it lately took nothing before it took something again, at most.
    stride: Duration,
    /// The codec of the wire holds bytes that the socket has not taken.
    pub(crate) residue: bool,
    /// Whether it gets messages: not once it has begun to end.
    pub(crate) open: bool,
    /// `None` once the connection is closed; nothing is queued any more.
    pub(crate) wire: Option<Arc<Wire>>,
    /// Whether the client understands headers.
    pub(crate) headers: bool,
    /// Whether it is another server that traces messages.
    pub(crate) traces: bool,
    /// Messages delivered.
    pub(crate) messages: u64,
    /// Bytes of their payloads and headers.
    pub(crate) bytes: u64,
    /// Messages when activity was last noted, and when that was.
    noted: u64,
    active: u64,
}

/// Buffers for re-use, and the list a writer works on. One per worker.
#[derive(Debug, Default)]
pub(crate) struct ChunkPool {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    /// Large buffers given out since the last flush.
    filled: usize,
    /// It is time to flush, or to make room: somebody's queue has grown beyond what all together may.
    pub(crate) pressed: bool,
    pub(crate) batch: Vec<Vec<u8>>,
}

/// How far a write came.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Bytes sent.
    pub(crate) sent: usize,
    /// Bytes of large buffers that were emptied.
    pub(crate) freed: usize,
    /// Where in the first buffer of the rest the next write begins.
    pub(crate) offset: usize,
    pub(crate) end: Written,
}

/// How a write ended.
#[derive(Debug)]
pub(crate) enum Written {
    /// All is sent.
    All,
    /// The socket is full.
    Full,
    /// The connection is broken.
    Broken(io::Error),
}

// === impl Outbound ===

impl Outbound {
    pub(crate) fn new(wire: Option<Arc<Wire>>, memory: &Arc<Memory>) -> Self {
        Outbound {
            queue: Vec::new(),
            offset: 0,
            pending: 0,
            share: Share::new(memory),
            unfinished: 0,
            encoded: 0,
            unfinished_since: None,
            writing: false,
            blocked: false,
            dirty: false,
            stuck_since: None,
            stride: Duration::ZERO,
            residue: false,
            open: wire.is_some(),
            wire,
            headers: false,
            traces: false,
            messages: 0,
            bytes: 0,
            noted: 0,
            active: 0,
        }
    }

    /// Notes the time if messages have been delivered since it was last noted.
    #[inline]
    pub(crate) fn note_activity(&mut self) {
        if self.noted != self.messages {
            self.noted = self.messages;
            self.active = clock::coarse();
        }
    }

    /// When messages were last delivered.
    pub(crate) fn active(&self) -> SystemTime {
        clock::moment(self.active)
    }

    /// Appends `parts`, in chunks, without ever moving what is there.
    #[inline]
    pub(crate) fn push(&mut self, parts: [&[u8]; 4], pool: &mut ChunkPool) {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        self.pending += total;
        if let Some(last) = self.queue.last_mut()
            && last.capacity() - last.len() >= total
        {
            for part in parts {
                last.extend_from_slice(part);
            }
            return;
        }
        for part in parts {
            self.spill(part, pool);
        }
    }

    fn spill(&mut self, mut part: &[u8], pool: &mut ChunkPool) {
        while !part.is_empty() {
            let room = self
                .queue
                .last()
                .map_or(0, |last| last.capacity() - last.len());
            if room == 0 {
                let chunk = if self.queue.is_empty() && part.len() <= SMALL_CHUNK {
                    pool.small()
                } else {
                    pool.pressed |= self.share.add(LARGE_CHUNK);
                    pool.large()
                };
                self.queue.push(chunk);
                continue;
            }
            let (head, tail) = part.split_at(part.len().min(room));
            if let Some(last) = self.queue.last_mut() {
                last.extend_from_slice(head);
            }
            part = tail;
        }
    }

    /// Whether there is something a writer could do.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.queue.is_empty() || self.residue
    }

    /// Gives the queue to a writer, in exchange for its empty list; returns how much of the first
    /// buffer is written already.
    pub(crate) fn take(&mut self, batch: &mut Vec<Vec<u8>>) -> usize {
        std::mem::swap(&mut self.queue, batch);
        std::mem::take(&mut self.offset)
    }

    /// Takes back what a writer could not send, in front of what has come since.
    pub(crate) fn put_back(&mut self, batch: &mut Vec<Vec<u8>>, offset: usize) {
        batch.append(&mut self.queue);
        std::mem::swap(&mut self.queue, batch);
        self.offset = offset;
    }

    /// What it holds of the memory of all connections.
    pub(crate) fn held(&self) -> usize {
        self.share.bytes()
    }

    /// Emptied large buffers have been given back.
    pub(crate) fn freed(&mut self, bytes: usize) {
        if bytes > 0 {
            self.share.sub(bytes);
        }
    }

    /// The client's unfinished frame has so many bytes, and is another one than before if `fresh`; `true` when
    /// that is too much for all connections together.
    pub(crate) fn note_unfinished(&mut self, bytes: usize, fresh: bool) -> bool {
        if self.wire.is_none() {
            return false;
        }
        if fresh || self.unfinished_since.is_none() {
            self.unfinished_since = Some(Instant::now());
        }
        self.share.recount(&mut self.unfinished, bytes)
    }

    /// The codec of the wire holds so many bytes back.
    pub(crate) fn note_encoded(&mut self, bytes: usize) {
        self.residue = bytes > 0;
        if self.encoded > 0 || bytes > 0 {
            self.share.recount(&mut self.encoded, bytes);
        }
    }

    /// The socket is full, after it took `sent` bytes.
    pub(crate) fn note_full(&mut self, sent: usize, now: Instant) {
        self.blocked = true;
        match self.stuck_since {
            Some(since) if sent > 0 => {
                let slowly_forgotten = self.stride - self.stride / 64;
                self.stride = slowly_forgotten.max(now.duration_since(since));
                self.stuck_since = Some(now);
            }
            Some(_) => {}
            None => self.stuck_since = Some(now),
        }
    }

    /// Whether the socket is going to take more soon, as far as one can tell from how it went before.
    pub(crate) fn is_moving(&self, now: Instant) -> bool {
        let patience = (self.stride * 4).clamp(STRIDE.0, STRIDE.1);
        let late = |since| now.duration_since(since) >= patience;
        !self.blocked || !self.stuck_since.is_some_and(late)
    }

    /// Whether what it holds has not changed for the better for so long.
    pub(crate) fn is_stuck(&self, time: Duration) -> bool {
        let late = |since: Option<Instant>| since.is_some_and(|since| since.elapsed() >= time);
        (self.blocked && late(self.stuck_since))
            || (self.unfinished > 0 && late(self.unfinished_since))
    }

    /// Ends it: what is queued is lost, nothing is queued any more.
    pub(crate) fn close(&mut self) {
        self.queue = Vec::new();
        self.offset = 0;
        self.pending = 0;
        self.share.sub(self.share.bytes());
        (self.unfinished, self.encoded) = (0, 0);
        self.residue = false;
        self.open = false;
        self.wire = None;
    }
}

// === impl ChunkPool ===

impl ChunkPool {
    fn small(&mut self) -> Vec<u8> {
        self.small
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(SMALL_CHUNK))
    }

    fn large(&mut self) -> Vec<u8> {
        self.filled += 1;
        self.pressed |= self.filled >= FULL;
        self.large
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(LARGE_CHUNK))
    }

    /// Takes a buffer back; returns how much of the memory of all connections it was.
    fn give(&mut self, mut chunk: Vec<u8>) -> usize {
        chunk.clear();
        let (shelf, counted) = if chunk.capacity() >= LARGE_CHUNK {
            (&mut self.large, LARGE_CHUNK)
        } else {
            (&mut self.small, 0)
        };
        if shelf.len() < POOLED {
            shelf.push(chunk);
        }
        counted
    }

    /// All queues that were filled from here have been flushed; `true` when room may have to be made.
    pub(crate) fn flushed(&mut self) -> bool {
        self.filled = 0;
        std::mem::take(&mut self.pressed)
    }

    /// Gives the memory back, when there has been nothing to do for a while.
    pub(crate) fn release(&mut self) {
        self.small = Vec::new();
        self.large = Vec::new();
    }

    /// Writes as much of the batch as the socket takes, starting at `offset` of its first buffer.
    /// Leaves the rest in the batch.
    pub(crate) fn write_batch(&mut self, wire: &Wire, mut offset: usize) -> Progress {
        let mut batch = std::mem::take(&mut self.batch);
        let mut done = 0;
        let mut sent = 0;
        let mut writer = wire.writer();
        let end = loop {
            if done == batch.len() {
                break writer.finish();
            }
            let result = match &batch[done..] {
                [only] => writer.write(&[IoSlice::new(&only[offset..])]),
                several => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let used = several.len().min(SLICES);
                    for (slice, chunk) in slices.iter_mut().zip(several) {
                        *slice = IoSlice::new(chunk);
                    }
                    slices[0] = IoSlice::new(&several[0][offset..]);
                    writer.write(&slices[..used])
                }
            };
            match result {
                Ok(0) => break Written::Broken(io::ErrorKind::WriteZero.into()),
                Ok(mut written) => {
                    sent += written;
                    while written > 0 {
                        let left = batch[done].len() - offset;
                        if written < left {
                            offset += written;
                            break;
                        }
                        written -= left;
                        offset = 0;
                        done += 1;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Written::Full,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Written::Broken(error),
            }
        };
        drop(writer);
        let freed = batch.drain(..done).map(|chunk| self.give(chunk)).sum();
        self.batch = batch;
        Progress {
            sent,
            freed,
            offset,
            end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The queue of one whose socket is full.
    fn blocked(now: Instant) -> Outbound {
        let mut out = Outbound::new(None, &Arc::new(Memory::new(0)));
        out.note_full(1, now);
        out
    }

    #[test]
    fn one_who_never_reads_is_soon_not_waited_for() {
        let begun = Instant::now();
        let mut out = blocked(begun);
        assert!(out.is_moving(begun + STRIDE.0 / 2));
        out.note_full(0, begun + STRIDE.0 / 2);
        assert!(!out.is_moving(begun + STRIDE.0));
        out.blocked = false;
        assert!(out.is_moving(begun + STRIDE.1));
    }

    #[test]
    fn one_who_reads_in_big_steps_is_waited_for_as_long_as_they_take() {
        let mut now = Instant::now();
        let mut out = blocked(now);
        for _ in 0..10 {
            now += Duration::from_millis(90);
            out.note_full(1, now);
        }
        assert!(out.is_moving(now + Duration::from_millis(350)));
        assert!(!out.is_moving(now + Duration::from_millis(361)));
        now += Duration::from_secs(5);
        out.note_full(1, now);
        assert!(out.is_moving(now + STRIDE.1 / 2));
        assert!(!out.is_moving(now + STRIDE.1), "there is a bound");
        for _ in 0..1000 {
            now += Duration::from_micros(10);
            out.note_full(1, now);
        }
        assert!(!out.is_moving(now + STRIDE.0), "it has become quicker");
    }
}
