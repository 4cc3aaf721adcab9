//! Lines that wait for the bus to come back.

use std::collections::VecDeque;

use cupola_messages::logs::LogStream;

/// Most bytes that are held for one instance.
const MAX_BYTES: usize = 256 * 1024;
/// What a line takes besides its text, roughly.
const LINE_OVERHEAD: usize = 64;

/// A line with the time at which it was read, in nanoseconds since the epoch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeldLine {
    pub(crate) stream: LogStream,
    pub(crate) text: String,
    pub(crate) read_at_ns: i64,
}

/// Lines in the order in which they were read.
#[derive(Debug, Default)]
pub(crate) struct Held {
    lines: VecDeque<HeldLine>,
    bytes: usize,
}

// === impl Held ===

impl Held {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Keeps a line; whether there was room for it.
    pub(crate) fn keep(&mut self, line: HeldLine) -> bool {
        let size = line.text.len() + LINE_OVERHEAD;
        let fits = self.bytes + size <= MAX_BYTES;
        if fits {
            self.bytes += size;
            self.lines.push_back(line);
        }
        fits
    }

    /// Everything that was kept.
    pub(crate) fn release(&mut self) -> impl Iterator<Item = HeldLine> + '_ {
        self.bytes = 0;
        self.lines.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_comes_back_in_order() {
        let mut held = Held::default();
        let line = |n: i64| HeldLine {
            stream: LogStream::Out,
            text: "x".repeat(1000),
            read_at_ns: n,
        };
        let kept = (0..1000).filter(|n| held.keep(line(*n))).count();
        assert!(kept < 300, "{kept}");
        let times: Vec<_> = held.release().map(|line| line.read_at_ns).collect();
        assert_eq!(times.len(), kept);
        assert!(times.is_sorted());
        assert!(held.is_empty() && held.keep(line(0)));
    }
}
