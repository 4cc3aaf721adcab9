//! The client protocol: a stream means the same however it is cut, whoever breaks off, and said again.

use std::ops::ControlFlow;

use super::cut::{Dice, pieces};
use crate::parser::{Op, Parser, Rules, Violation};

/// Payloads that lack more than this take the way of large ones, straight into their own buffer.
const DIRECT: usize = 24;

/// Takes three bytes that say how to feed, then the stream.
pub fn client(data: &[u8]) {
    let Some((&[mode, low, high], stream)) = data.split_first_chunk() else {
        return;
    };
    let rules = Rules {
        max_control_line: if mode & 1 == 0 { 4096 } else { 64 },
        max_payload: if mode & 2 == 0 { 1 << 20 } else { 100 },
        headers: mode & 4 == 0,
        connect_only: mode & 8 != 0,
    };
    let whole = Feeder::new(rules, false).feed_all([stream]);
    let mut dice = Dice::new([low, high]);
    let cut = Feeder::new(rules, false).feed_all(pieces(stream, &mut dice));
    assert_eq!(whole, cut, "where the stream is cut matters");
    let broken = Feeder::new(rules, true).feed_all(pieces(stream, &mut dice));
    assert_eq!(whole, broken, "breaking off matters");
    if stream.len() <= 512 {
        let single = Feeder::new(rules, mode & 16 != 0).feed_all(stream.chunks(1));
        assert_eq!(whole, single, "feeding single bytes matters");
    }
    // What was understood, said in the plainest way, is understood again.
    let again = Feeder::new(rules, false).feed_all([whole.said.as_slice()]);
    assert_eq!(again.violation, None, "{}", whole.said.escape_ascii());
    assert_eq!(again.said, whole.said);
}

/// What came of a stream: its operations in their plainest form, and its end.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    said: Vec<u8>,
    violation: Option<Violation>,
}

struct Feeder {
    parser: Parser,
    breaks: bool,
    said: Vec<u8>,
}

// === impl Feeder ===

impl Feeder {
    fn new(rules: Rules, breaks: bool) -> Self {
        Feeder {
            parser: Parser::new(rules),
            breaks,
            said: Vec::new(),
        }
    }

    fn feed_all<'a>(mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Heard {
        let violation = pieces
            .into_iter()
            .find_map(|piece| self.feed(piece).err())
            // A large payload is looked at when it is whole: here, when there is no more.
            .or_else(|| self.hand_over(b"").err());
        Heard {
            said: self.said,
            violation,
        }
    }

    fn feed(&mut self, mut piece: &[u8]) -> Result<(), Violation> {
        let missing = self.parser.missing();
        if missing > DIRECT {
            let (head, tail) = piece.split_at(missing.min(piece.len()));
            self.parser.unfinished().extend_from_slice(head);
            if head.len() < missing {
                return Ok(());
            }
            self.hand_over(b"")?;
            piece = tail;
        }
        self.hand_over(piece)?;
        let Rules {
            max_control_line,
            max_payload,
            ..
        } = self.parser.rules;
        let kept = self.parser.unfinished().len();
        assert!(
            kept <= max_control_line + max_payload + 16,
            "{kept} bytes are kept of an unfinished frame"
        );
        Ok(())
    }

    fn hand_over(&mut self, mut input: &[u8]) -> Result<(), Violation> {
        let Feeder {
            parser,
            breaks,
            said,
        } = self;
        loop {
            let broken = parser.feed(input, |rules, op| {
                check(&op, rules);
                say(&op, said);
                if matches!(op, Op::Connect(_)) {
                    rules.connect_only = false;
                }
                if *breaks {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            input = b"";
            if broken.is_none() {
                return Ok(());
            }
        }
    }
}

/// What the rest of the broker relies on.
fn check(op: &Op<'_>, rules: &Rules) {
    let word = |word: &[u8]| {
        assert!(!word.is_empty());
        assert!(
            !word.iter().any(|byte| b" \t\r\n".contains(byte)),
            "a word with a separator: {}",
            word.escape_ascii()
        );
    };
    assert!(!rules.connect_only || matches!(op, Op::Connect(_)));
    match *op {
        Op::Publish(message) => {
            word(message.subject);
            message.reply.into_iter().for_each(word);
            assert!(message.body.ends_with(b"\r\n"));
            assert!(message.size() <= rules.max_payload);
            assert!(
                message
                    .header_len
                    .is_none_or(|len| rules.headers && len <= message.size())
            );
        }
        Op::Subscribe {
            subject,
            queue,
            sid,
        } => {
            word(subject);
            queue.into_iter().for_each(word);
            word(sid);
        }
        Op::Unsubscribe { sid, .. } => word(sid),
        Op::Connect(json) => assert!(json.len() <= rules.max_control_line),
        Op::Ping | Op::Pong | Op::Ignored | Op::Error => {}
    }
}

/// Writes an operation in its plainest form.
fn say(op: &Op<'_>, to: &mut Vec<u8>) {
    let mut line = |words: &[&[u8]]| {
        to.extend_from_slice(&words.join(&b' '));
        to.extend_from_slice(b"\r\n");
    };
    match *op {
        Op::Connect(json) => line(&[b"CONNECT", json]),
        Op::Publish(message) => {
            let size = message.size().to_string();
            let header_len = message.header_len.map(|len| len.to_string());
            let mut words: Vec<&[u8]> = vec![if header_len.is_some() {
                b"HPUB"
            } else {
                b"PUB"
            }];
            words.push(message.subject);
            words.extend(message.reply);
            words.extend(header_len.as_deref().map(str::as_bytes));
            words.push(size.as_bytes());
            line(&words);
            to.extend_from_slice(message.body);
        }
        Op::Subscribe {
            subject,
            queue,
            sid,
        } => match queue {
            Some(queue) => line(&[b"SUB", subject, queue, sid]),
            None => line(&[b"SUB", subject, sid]),
        },
        Op::Unsubscribe { sid, max } => match max {
            Some(max) => line(&[b"UNSUB", sid, max.to_string().as_bytes()]),
            None => line(&[b"UNSUB", sid]),
        },
        Op::Ping => line(&[b"PING"]),
        Op::Pong => line(&[b"PONG"]),
        Op::Ignored => line(&[b"+OK"]),
        Op::Error => line(&[b"-ERR", b"x"]),
    }
}
