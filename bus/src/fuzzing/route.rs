//! The protocol between servers: a stream means the same however it is cut, and whoever breaks off.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use super::cut::{Dice, pieces};
use crate::cluster::parser::{Op, Parser, Rules, Violation};

/// Takes three bytes that say how to feed, then the stream.
pub fn route(data: &[u8]) {
    let Some((&[mode, low, high], stream)) = data.split_first_chunk() else {
        return;
    };
    let rules = Rules {
        max_control_line: if mode & 1 == 0 { 4096 } else { 64 },
        max_payload: if mode & 2 == 0 { 1 << 20 } else { 100 },
        connect_only: mode & 4 != 0,
    };
    let whole = heard([stream], rules, false);
    let mut dice = Dice::new([low, high]);
    let cut = heard(pieces(stream, &mut dice), rules, false);
    assert_eq!(whole, cut, "where the stream is cut matters");
    let broken = heard(pieces(stream, &mut dice), rules, true);
    assert_eq!(whole, broken, "breaking off matters");
    if stream.len() <= 512 {
        let single = heard(stream.chunks(1), rules, false);
        assert_eq!(whole, single, "feeding single bytes matters");
    }
}

/// What came of a stream: its operations, and its end.
fn heard<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    rules: Rules,
    breaks: bool,
) -> (String, Option<Violation>) {
    let mut parser = Parser::new(rules);
    let mut said = String::new();
    let mut failed = None;
    for piece in pieces {
        if let Err(violation) = feed(&mut parser, piece, breaks, &mut said) {
            failed = Some(violation);
            break;
        }
        let kept = parser.kept();
        assert!(
            kept <= rules.max_control_line + rules.max_payload + 16,
            "{kept} bytes are kept of an unfinished frame"
        );
    }
    (said, failed)
}

fn feed(
    parser: &mut Parser,
    mut input: &[u8],
    breaks: bool,
    said: &mut String,
) -> Result<(), Violation> {
    loop {
        let broken = parser.feed(input, |_, op| {
            check(&op);
            let _ = writeln!(said, "{op:?}");
            // As a session does, which lets the peer say more once it is known.
            let known = matches!(op, Op::Connect(_));
            if known || breaks {
                ControlFlow::Break(known)
            } else {
                ControlFlow::Continue(())
            }
        })?;
        input = b"";
        match broken {
            None => return Ok(()),
            Some(known) => parser.rules.connect_only &= !known,
        }
    }
}

/// What the rest of the broker relies on.
fn check(op: &Op<'_>) {
    let word = |word: &[u8]| {
        assert!(!word.is_empty());
        assert!(!word.iter().any(|byte| b" \t\r\n".contains(byte)));
    };
    match op {
        Op::Subscribe(interest) | Op::Unsubscribe(interest) => {
            word(interest.account);
            word(interest.subject);
            interest.queue.into_iter().for_each(word);
        }
        Op::Message(message) => {
            word(message.account);
            word(message.subject);
            message.reply.into_iter().for_each(word);
            message.queues.iter().for_each(word);
            assert!(message.body.ends_with(b"\r\n"));
            assert!(message.header_len.is_none_or(|len| len <= message.size()));
        }
        _ => {}
    }
}
