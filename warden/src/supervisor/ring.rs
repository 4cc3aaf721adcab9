//! The last output of a process, numbered byte by byte.

use std::collections::VecDeque;

use crate::Stream;

/// A bounded buffer of output. What is oldest goes when something new needs the room.
#[derive(Debug)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    /// Which stream each run of bytes came from, oldest first; lengths add up to `bytes`.
    runs: VecDeque<(Stream, usize)>,
    /// The number of the first byte that is kept.
    first: u64,
    capacity: usize,
}

/// A run of bytes of one stream, in two halves when the buffer wraps.
pub(super) type Piece<'a> = (Stream, (&'a [u8], &'a [u8]));

/// Runs are remembered too: this many bytes of capacity are reckoned for each.
const RUN_COST: usize = 16;

// === impl Ring ===

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        // Memory is taken as output comes, not before.
        Self {
            bytes: VecDeque::new(),
            runs: VecDeque::new(),
            first: 0,
            capacity,
        }
    }

    /// The number the next byte will have: how many were ever written.
    pub(super) fn end(&self) -> u64 {
        self.first + self.bytes.len() as u64
    }

    /// The number of the oldest byte that is kept.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// How many bytes can come before the byte numbered `seq` is dropped.
    pub(super) fn room_before(&self, seq: u64) -> usize {
        let unread = usize::try_from(self.end().saturating_sub(seq)).unwrap_or(usize::MAX);
        self.capacity
            .saturating_sub(unread + self.runs.len() * RUN_COST)
    }

    /// Adds output; returns how many old bytes were dropped for it.
    pub(super) fn push(&mut self, stream: Stream, mut bytes: &[u8]) -> usize {
        let before = self.first;
        if bytes.len() > self.capacity {
            let (lost, kept) = bytes.split_at(bytes.len() - self.capacity);
            self.drop_oldest(usize::MAX);
            self.first += lost.len() as u64;
            bytes = kept;
        }
        if bytes.is_empty() {
            return 0;
        }
        self.bytes.extend(bytes);
        match self.runs.back_mut() {
            Some((last, length)) if *last == stream => *length += bytes.len(),
            _ => self.runs.push_back((stream, bytes.len())),
        }
        let reckoned = self.bytes.len() + (self.runs.len() - 1) * RUN_COST;
        self.drop_oldest(reckoned.saturating_sub(self.capacity));
        usize::try_from(self.first - before).unwrap_or(usize::MAX)
    }

    /// The bytes from `seq` on that are one run, at most `limit`: stream and two halves.
    pub(super) fn read(&self, seq: u64, limit: usize) -> Option<Piece<'_>> {
        let mut skip = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        let mut start = 0;
        for (stream, length) in &self.runs {
            if skip < *length {
                let from = start + skip;
                let to = (start + length).min(from + limit);
                let (one, two) = self.bytes.as_slices();
                let cut = |part: &[u8], offset: usize| {
                    let low = from.saturating_sub(offset).min(part.len());
                    let high = to.saturating_sub(offset).min(part.len());
                    (low, high)
                };
                let (a, b) = (cut(one, 0), cut(two, one.len()));
                return Some((*stream, (&one[a.0..a.1], &two[b.0..b.1])));
            }
            skip -= length;
            start += length;
        }
        None
    }

    fn drop_oldest(&mut self, count: usize) {
        let count = count.min(self.bytes.len());
        self.bytes.drain(..count);
        self.first += count as u64;
        let mut left = count;
        while left > 0 {
            let Some((_, length)) = self.runs.front_mut() else {
                break;
            };
            if *length > left {
                *length -= left;
                break;
            }
            left -= *length;
            self.runs.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(ring: &Ring, mut seq: u64, limit: usize) -> Vec<(Stream, u8)> {
        let mut all = Vec::new();
        while let Some((stream, (one, two))) = ring.read(seq, limit) {
            all.extend(one.iter().chain(two).map(|byte| (stream, *byte)));
            seq += (one.len() + two.len()) as u64;
        }
        all
    }

    proptest! {
        /// Against the obvious model: everything ever written, of which a tail is kept.
        #[test]
        fn keeps_a_tail_of_what_was_written(
            capacity in 1usize..200,
            limit in 1usize..50,
            pieces in prop::collection::vec(
                (any::<bool>(), prop::collection::vec(any::<u8>(), 0..90)), 0..40),
        ) {
            let mut ring = Ring::new(capacity);
            let mut model = Vec::new();
            let mut dropped = 0;
            for (err, bytes) in pieces {
                let stream = if err { Stream::Err } else { Stream::Out };
                dropped += ring.push(stream, &bytes);
                model.extend(bytes.into_iter().map(|byte| (stream, byte)));
                prop_assert_eq!(ring.end(), model.len() as u64);
                prop_assert_eq!(ring.first(), dropped as u64);
                prop_assert!(ring.bytes.len() <= capacity);
                prop_assert_eq!(read_all(&ring, ring.first(), limit), &model[dropped..]);
            }
        }
    }

    #[test]
    fn alternating_streams_do_not_grow_without_bound() {
        let mut ring = Ring::new(4096);
        for turn in 0..100_000 {
            ring.push(
                if turn % 2 == 0 {
                    Stream::Out
                } else {
                    Stream::Err
                },
                b"x",
            );
        }
        assert!(ring.runs.len() * RUN_COST <= 4096 + RUN_COST);
    }
}
