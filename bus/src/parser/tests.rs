#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules {
    max_control_line: 128,
    max_payload: 1000,
    headers: true,
    connect_only: false,
};

/// All operations of a stream in a form that outlives it, and how it ended.
fn parse(pieces: &[&[u8]], rules: Rules) -> (Vec<String>, Option<Violation>) {
    let mut parser = Parser::new(rules);
    let mut seen = Vec::new();
    for piece in pieces {
        let fed = parser.feed(piece, |_, op| {
            seen.push(format!("{op:?}"));
            ControlFlow::<()>::Continue(())
        });
        if let Err(violation) = fed {
            return (seen, Some(violation));
        }
    }
    (seen, None)
}

fn whole(stream: &[u8]) -> (Vec<String>, Option<Violation>) {
    parse(&[stream], RULES)
}

#[test]
fn verbs_in_any_case_and_with_any_blanks() {
    let (seen, end) =
        whole(b"ping\r\nPong\nsub \t a.b  7 \r\nUnSub 7\r\npUb  a  3 \r\nabc\r\n+ok\r\n");
    assert_eq!(end, None);
    assert_eq!(seen.len(), 6);
    assert!(
        seen[4].contains("body: [97, 98, 99, 13, 10]"),
        "{}",
        seen[4]
    );
}

#[test]
fn what_nats_server_refuses() {
    use Violation::*;
    for (stream, violation) in [
        (&b"\r\n"[..], UnknownOperation),
        (b"  PING\r\n", UnknownOperation),
        (b"XY", UnknownOperation),
        (b"PX", UnknownOperation),
        (b"PUB\r\n", UnknownOperation),
        (b"MSG a 1 1\r\n", UnknownOperation),
        (b"PUB a 3\r\nabcdef\r\n", UnknownOperation),
        (b"PUB a 3\r\nabcX", UnknownOperation),
        (b"PUB foo\r\n", Malformed),
        (b"PUB a -1\r\n", Malformed),
        (b"PUB a 1234567890\r\n", Malformed),
        (b"PUB a b c 1\r\n", Malformed),
        (b"PUB a\rb 0\r\n\r\n", Malformed),
        (b"HPUB a 12 2\r\n", Malformed),
        (b"SUB a\r\n", Malformed),
        (b"SUB a b c d\r\n", Malformed),
        (b"UNSUB a b c\r\n", Malformed),
        (b"PUB a 1001\r\n", MaxPayload { size: 1001 }),
    ] {
        assert_eq!(
            whole(stream).1,
            Some(violation),
            "{:?}",
            String::from_utf8_lossy(stream)
        );
    }
}

#[test]
fn control_lines_end_at_their_limit() {
    let fits = format!("PUB {} 0\r\n\r\n", "a".repeat(126));
    assert_eq!(whole(fits.as_bytes()).1, None);
    let long = format!("PUB {} 0\r\n\r\n", "a".repeat(127));
    assert_eq!(whole(long.as_bytes()).1, Some(Violation::MaxControlLine));
    // Without a line end too, and however it drips in.
    let endless = format!("PUB {}", "a".repeat(4000));
    assert_eq!(whole(endless.as_bytes()).1, Some(Violation::MaxControlLine));
    let drops: Vec<&[u8]> = endless.as_bytes().chunks(1).collect();
    assert_eq!(parse(&drops, RULES).1, Some(Violation::MaxControlLine));
}

#[test]
fn a_blank_before_connect_s_json_is_none_of_its_length() {
    let json = format!("{{{}}}", " ".repeat(RULES.max_control_line - 2));
    for line in [format!("CONNECT {json}\r\n"), format!("CONNECT{json}\r\n")] {
        assert_eq!(whole(line.as_bytes()).1, None, "{line}");
    }
    let line = format!("CONNECT {json} \r\n");
    assert_eq!(whole(line.as_bytes()).1, Some(Violation::MaxControlLine));
}

#[test]
fn before_connect_nothing_else() {
    let rules = Rules {
        connect_only: true,
        ..RULES
    };
    assert_eq!(parse(&[b"P"], rules).1, Some(Violation::NotAuthenticated));
    assert_eq!(
        parse(&[b"CONNECT {}\r\nPING\r\n"], rules).1,
        Some(Violation::NotAuthenticated)
    );
    let mut parser = Parser::new(rules);
    let mut seen = 0;
    let fed = parser.feed(b"CONNECT {}\r\nPING\r\n", |rules, _| {
        rules.connect_only = false;
        seen += 1;
        ControlFlow::<()>::Continue(())
    });
    assert_eq!((fed, seen), (Ok(None), 2));
}

#[test]
fn headers_only_when_agreed() {
    let rules = Rules {
        headers: false,
        ..RULES
    };
    assert_eq!(
        parse(&[b"HPUB a 2 2\r\n"], rules).1,
        Some(Violation::Malformed)
    );
}

#[test]
fn a_break_keeps_the_rest() {
    let mut parser = Parser::new(RULES);
    let stream = b"PING\r\nPUB a 2\r\nxy\r\nPONG\r\nPUB b 4\r\nab";
    let mut seen = Vec::new();
    let mut input = &stream[..];
    loop {
        let broke = parser
            .feed(input, |_, op| {
                seen.push(format!("{op:?}"));
                ControlFlow::Break(())
            })
            .unwrap();
        input = b"";
        if broke.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 3);
    assert_eq!(parser.missing(), 4);
    parser.unfinished().extend_from_slice(b"cd\r\n");
    let fed = parser.feed(b"", |_, op| {
        seen.push(format!("{op:?}"));
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(fed, Ok(None));
    assert!(seen[3].contains("body: [97, 98, 99, 100, 13, 10]"));
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let word = "[a-zA-Z0-9.*>]{1,12}";
    let body = proptest::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        Just(b"PING\r\n".to_vec()),
        Just(b"pong\n".to_vec()),
        Just(b"+OK\r\n".to_vec()),
        Just(b"CONNECT {\"a\": 1}\r\n".to_vec()),
        (word, word).prop_map(|(subject, sid)| format!("SUB {subject} {sid}\r\n").into_bytes()),
        (word, 0..100u32).prop_map(|(sid, max)| format!("UNSUB {sid} {max}\r\n").into_bytes()),
        (word, word, body.clone()).prop_map(|(subject, reply, body)| {
            let mut frame = format!("PUB {subject} {reply} {}\r\n", body.len()).into_bytes();
            frame.extend(body);
            frame.extend(b"\r\n");
            frame
        }),
        (word, body.clone(), body).prop_map(|(subject, headers, body)| {
            let total = headers.len() + body.len();
            let mut frame = format!("HPUB {subject} {} {total}\r\n", headers.len()).into_bytes();
            frame.extend(headers);
            frame.extend(body);
            frame.extend(b"\r\n");
            frame
        }),
    ]
}

/// Cuts a stream at the given places.
fn cut<'a>(mut stream: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = places
        .iter()
        .map(|place| place.index(stream.len() + 1))
        .collect();
    ends.sort_unstable();
    let mut pieces = Vec::new();
    let mut start = 0;
    for end in ends {
        let (piece, rest) = stream.split_at(end - start);
        pieces.push(piece);
        stream = rest;
        start = end;
    }
    pieces.push(stream);
    pieces
}

proptest! {
    #[test]
    fn where_a_stream_is_cut_does_not_matter(
        frames in proptest::collection::vec(frame(), 1..12),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let stream = frames.concat();
        let in_one = whole(&stream);
        prop_assert_eq!(in_one.1, None);
        prop_assert_eq!(in_one.0.len(), frames.len());
        prop_assert_eq!(&parse(&cut(&stream, &places), RULES), &in_one);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&parse(&bytes, RULES), &in_one);
    }

    #[test]
    fn a_sink_that_breaks_loses_nothing(
        frames in proptest::collection::vec(frame(), 1..12),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
        breaks in proptest::collection::vec(any::<bool>(), 1..10),
    ) {
        let stream = frames.concat();
        let mut parser = Parser::new(RULES);
        let mut seen = Vec::new();
        let mut turn = 0;
        for piece in cut(&stream, &places) {
            let mut input = piece;
            loop {
                let broke = parser.feed(input, |_, op| {
                    seen.push(format!("{op:?}"));
                    turn += 1;
                    if breaks[turn % breaks.len()] { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                input = b"";
                if broke == Ok(None) { break; }
                prop_assert_eq!(broke, Ok(Some(())));
            }
        }
        prop_assert_eq!(seen, whole(&stream).0);
    }

    #[test]
    fn noise_ends_alike_however_it_is_cut(
        noise in proptest::collection::vec(
            prop_oneof![Just(b"PUB ".to_vec()), Just(b"\r\n".to_vec()), Just(b"SUB a 1".to_vec()),
                Just(b" 3".to_vec()), proptest::collection::vec(any::<u8>(), 1..4)], 1..30),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let stream = noise.concat();
        let in_one = whole(&stream);
        prop_assert_eq!(&parse(&cut(&stream, &places), RULES), &in_one);
    }

    /// What comes in one piece takes the swift way when it can, what drips in never does.
    #[test]
    fn the_swift_way_is_the_general_way(
        words in proptest::collection::vec(
            prop::sample::select(&[
                " ", " ", " ", "  ", "\t", "a", "b.c", "b.c.d.e.f.g.h.i", "_INBOX.x.*", "0", "5", "05",
                "1001", "123456789", "1234567890", "-1", "\r", "\u{1}", "\u{ff}", "\r\n", "\n", "PUB ",
            ][..]),
            0..12),
        tail in prop::sample::select(&["\r\n\r\n", " 5\r\nhello\r\n", "\n\r\n", " 0\r\n\r\n", " 3\r\nabcd"][..]),
        behind in prop::sample::select(&["", "PING\r\n", "PUB after 12\r\nhello, world\r\n"][..]),
    ) {
        let stream = ["PUB a", &words.concat(), tail, behind].concat();
        let drops: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        prop_assert_eq!(whole(stream.as_bytes()), parse(&drops, RULES));
    }
}
