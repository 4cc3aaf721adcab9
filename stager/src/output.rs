//! What a build prints: lines for the app's log stream and a transcript for the droplet.

use cupola_component::AppLog;
use cupola_messages::logs::{LogStream, MAX_LINE_BYTES};
use cupola_types::AppGuid;
use cupola_warden::Stream;

/// Largest transcript that goes into a droplet, in bytes.
const MAX_TRANSCRIPT_BYTES: usize = 1024 * 1024;

/// Where the words of one build go.
#[derive(Debug)]
pub(crate) struct Output {
    log: AppLog,
    app: AppGuid,
    out: Lines,
    err: Lines,
    transcript: Vec<u8>,
}

/// Pieces cut anywhere, put together to lines.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Output {
    pub(crate) fn new(log: AppLog, app: AppGuid) -> Self {
        Self {
            log,
            app,
            out: Lines::default(),
            err: Lines::default(),
            transcript: Vec::new(),
        }
    }

    /// Says a line of our own.
    pub(crate) fn say(&mut self, line: &str) {
        self.line(LogStream::Out, line);
    }

    /// Says what went wrong.
    pub(crate) fn complain(&mut self, line: &str) {
        self.line(LogStream::Err, line);
    }

    /// Adds what a process printed.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let (lines, stream) = match stream {
            Stream::Out => (&mut self.out, LogStream::Out),
            Stream::Err => (&mut self.err, LogStream::Err),
        };
        for line in lines.push(bytes) {
            self.line(stream, &line);
        }
    }

    /// Says lines that were begun and never ended; call it when a process has exited.
    pub(crate) fn finish(&mut self) {
        if let Some(line) = self.out.finish() {
            self.line(LogStream::Out, &line);
        }
        if let Some(line) = self.err.finish() {
            self.line(LogStream::Err, &line);
        }
    }

    /// Everything that was said, up to a bound.
    pub(crate) fn transcript(&self) -> &[u8] {
        &self.transcript
    }

    fn line(&mut self, stream: LogStream, line: &str) {
        self.log.line(&self.app, stream, "0", line);
        if self.transcript.len() + line.len() < MAX_TRANSCRIPT_BYTES {
            self.transcript.extend_from_slice(line.as_bytes());
            self.transcript.push(b'\n');
        }
    }
}

impl Lines {
    /// The lines that `bytes` completes. A line longer than the log takes is cut into several.
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut complete = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut rest = piece;
            while self.begun.len() + rest.len() > MAX_LINE_BYTES && !is_just_an_end(rest) {
                let fits = MAX_LINE_BYTES - self.begun.len();
                self.begun.extend_from_slice(&rest[..fits]);
                rest = &rest[fits..];
                complete.extend(self.finish());
            }
            self.begun.extend_from_slice(rest);
            if rest.ends_with(b"\n") {
                complete.push(text(&std::mem::take(&mut self.begun)));
            }
        }
        complete
    }

    fn finish(&mut self) -> Option<String> {
        (!self.begun.is_empty()).then(|| text(&std::mem::take(&mut self.begun)))
    }
}

fn is_just_an_end(rest: &[u8]) -> bool {
    matches!(rest, b"\n" | b"\r\n")
}

fn text(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8_lossy(line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"one\ntw"), ["one"]);
        assert!(lines.push(b"").is_empty());
        assert_eq!(lines.push(b"o\r\n\nthree\nfo"), ["two", "", "three"]);
        assert_eq!(lines.finish().as_deref(), Some("fo"));
        assert_eq!(lines.finish(), None);
        assert_eq!(lines.push(b"\xff\n"), ["\u{fffd}"]);
    }

    #[test]
    fn an_endless_line_is_cut_and_never_kept_whole() {
        let mut lines = Lines::default();
        let mut count = 0;
        for _ in 0..100 {
            let complete = lines.push(&[b'x'; 10_000]);
            assert!(complete.iter().all(|line| line.len() <= MAX_LINE_BYTES));
            count += complete.len();
            assert!(lines.begun.len() <= MAX_LINE_BYTES);
        }
        assert_eq!(count, 1_000_000 / MAX_LINE_BYTES);
    }

    proptest::proptest! {
        #[test]
        fn cutting_changes_nothing(text in "[a-c\n]{0,60}", at in 0usize..60) {
            let at = at.min(text.len());
            let mut cut = Lines::default();
            let mut pieces = cut.push(&text.as_bytes()[..at]);
            pieces.extend(cut.push(&text.as_bytes()[at..]));
            pieces.extend(cut.finish());
            let mut whole = Lines::default();
            let mut lines = whole.push(text.as_bytes());
            lines.extend(whole.finish());
            proptest::prop_assert_eq!(pieces, lines);
        }
    }
}
