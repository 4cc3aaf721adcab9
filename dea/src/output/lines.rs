//! Cuts a process's output into lines.

use cupola_messages::logs::MAX_LINE_BYTES;

/// Collects the bytes of one stream until a line is complete.
///
/// A line that is longer than the wire allows is passed on in pieces, so what is kept is bounded.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    partial: Vec<u8>,
    /// Position of the first byte of `partial` in the process's output.
    begins_at: u64,
}

// === impl LineSplitter ===

impl LineSplitter {
    /// Takes `bytes`, which begin at position `seq`, and passes each complete line to `emit`.
    pub(crate) fn push(&mut self, seq: u64, bytes: &[u8], mut emit: impl FnMut(&str)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.partial.is_empty() {
                self.begins_at = seq + (bytes.len() - rest.len()) as u64;
            }
            let room = MAX_LINE_BYTES - self.partial.len();
            let window = &rest[..rest.len().min(room + 1)];
            match window.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    self.partial.extend_from_slice(&rest[..end]);
                    rest = &rest[end + 1..];
                    self.emit_all(&mut emit);
                }
                None if rest.len() > room => {
                    self.partial.extend_from_slice(&rest[..room]);
                    rest = &rest[room..];
                    self.emit_piece(&mut emit);
                }
                None => {
                    self.partial.extend_from_slice(rest);
                    rest = &[];
                }
            }
        }
    }

    /// Passes on what is left when no more will come.
    pub(crate) fn finish(&mut self, mut emit: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            self.emit_all(&mut emit);
        }
    }

    /// Position of the first byte that has not been passed on, when one is waiting.
    pub(crate) fn waiting_since(&self) -> Option<u64> {
        (!self.partial.is_empty()).then_some(self.begins_at)
    }

    fn emit_all(&mut self, emit: &mut impl FnMut(&str)) {
        if self.partial.last() == Some(&b'\r') {
            self.partial.pop();
        }
        emit(&String::from_utf8_lossy(&self.partial));
        self.partial.clear();
    }

    /// Passes on a full buffer, but never half a character.
    fn emit_piece(&mut self, emit: &mut impl FnMut(&str)) {
        let incomplete = match std::str::from_utf8(&self.partial) {
            Err(error) if error.error_len().is_none() => self.partial.len() - error.valid_up_to(),
            _ => 0,
        };
        let cut = self.partial.len() - incomplete;
        emit(&String::from_utf8_lossy(&self.partial[..cut]));
        self.partial.drain(..cut);
        self.begins_at += cut as u64;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use proptest::prelude::*;

    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<String> {
        let (mut splitter, mut lines, mut seq) = (LineSplitter::default(), Vec::new(), 0);
        for piece in pieces {
            splitter.push(seq, piece, |line| lines.push(line.to_owned()));
            seq += piece.len() as u64;
        }
        splitter.finish(|line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn lines_are_put_together_whatever_the_pieces() {
        assert_eq!(
            split(&[b"a\nb", b"c\r\n", b"\n", b"end"]),
            ["a", "bc", "", "end"]
        );
        assert!(split(&[b""]).is_empty());
    }

    #[test]
    fn a_long_line_comes_in_pieces_that_are_whole_characters() {
        let text = "ä".repeat(MAX_LINE_BYTES);
        let lines = split(&[b"x", text.as_bytes(), b"\n"]);
        assert!(
            lines
                .iter()
                .all(|line| line.len() <= MAX_LINE_BYTES && !line.contains('\u{fffd}'))
        );
        assert_eq!(lines.concat(), format!("x{text}"));
    }

    #[test]
    fn it_knows_where_the_waiting_line_began() {
        let mut splitter = LineSplitter::default();
        splitter.push(100, b"ab\ncd", |_| {});
        assert_eq!(splitter.waiting_since(), Some(103));
        splitter.push(105, b"e\n", |_| {});
        assert_eq!(splitter.waiting_since(), None);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_doubled(
            text in "[a-zäß]{0,40}(\n[a-z]{0,20}){0,6}",
            cuts in prop::collection::vec(1..9_usize, 0..20),
        ) {
            let mut rest = text.as_bytes();
            let mut pieces = Vec::new();
            for cut in cuts {
                let (piece, tail) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = tail;
            }
            pieces.push(rest);
            let mut expected: Vec<&str> = text.split('\n').collect();
            if expected.last() == Some(&"") {
                expected.pop();
            }
            prop_assert_eq!(split(&pieces), expected);
        }

        #[test]
        fn any_bytes_make_bounded_lines(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let long: Vec<u8> = bytes.iter().cycle().take(bytes.len() * 80).copied().collect();
            for line in split(&[&long]) {
                // Replacing bad bytes may make a line longer, up to three times.
                prop_assert!(line.len() <= 3 * MAX_LINE_BYTES);
            }
        }
    }
}
