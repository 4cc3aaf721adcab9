#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules {
    max_control_line: 256,
    max_payload: 1000,
    connect_only: false,
};

/// What a stream says, in a form that outlives it.
fn read(parser: &mut Parser, input: &[u8], into: &mut Vec<String>) -> Result<(), Violation> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fed: Option<()> = parser.feed(input, |_, op| {
        into.push(match op {
            Op::Info(json) => format!("info {}", text(json)),
            Op::Connect(json) => format!("connect {}", text(json)),
            Op::Error(said) => format!("error {}", text(said)),
            Op::Subscribe(interest) => format!("sub {}", show(&interest)),
            Op::Unsubscribe(interest) => format!("unsub {}", show(&interest)),
            Op::Message(message) => {
                let queues: Vec<_> = message.queues.iter().map(text).collect();
                format!(
                    "msg {} {} reply={:?} queues={queues:?} headers={:?} {:?}",
                    text(message.account),
                    text(message.subject),
                    message.reply.map(text),
                    message.header_len,
                    text(message.body),
                )
            }
            other => format!("{other:?}"),
        });
        ControlFlow::Continue(())
    })?;
    assert!(fed.is_none());
    Ok(())
}

fn show(interest: &Interest<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{:?} {} {} {:?} {}",
        interest.origin.map(text),
        text(interest.account),
        text(interest.subject),
        interest.queue.map(text),
        interest.weight,
    )
}

fn all(input: &[u8]) -> Result<Vec<String>, Violation> {
    let mut said = Vec::new();
    read(&mut Parser::new(RULES), input, &mut said)?;
    Ok(said)
}

/// The forms genuine servers (2.9 and 2.15) were heard to send, and those they accept.
const DIALOGUE: &str = concat!(
    "INFO {\"server_id\":\"NA\",\"port\":6222} \r\n",
    "CONNECT {\"name\":\"NA\",\"cluster\":\"west\"}\r\n",
    "RS+ $G foo.bar\r\n",
    "RS+ $G q q1 12\r\n",
    "RS- $G q q1\r\n",
    "RS- $G foo.*\r\n",
    "LS+ leaf $G foo.>\r\n",
    "LS- leaf $G foo.> q\r\n",
    "RMSG $G foo.bar 5\r\nhello\r\n",
    "RMSG $G foo.bar rep.ly 5\r\nhello\r\n",
    "RMSG $G q | q2 q1 1\r\nx\r\n",
    "RMSG $G q + rep q2 q1 1\r\nx\r\n",
    "HMSG $G q + rep q2 q1 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
    "HMSG $G foo.x 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
    "LMSG leaf $G foo.x rr 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
    "ping\r\nPONG\n+OK\r\nA- $G\r\n",
    "-ERR 'Authorization Violation'\r\n",
    "RMSG\t$G  odd   0 \r\n\r\n",
);

#[test]
fn every_form_is_understood() {
    let said = all(DIALOGUE.as_bytes()).unwrap();
    let wanted = [
        r#"info {"server_id":"NA","port":6222}"#,
        r#"connect {"name":"NA","cluster":"west"}"#,
        "sub None $G foo.bar None 1",
        r#"sub None $G q Some("q1") 12"#,
        r#"unsub None $G q Some("q1") 1"#,
        "unsub None $G foo.* None 1",
        r#"sub Some("leaf") $G foo.> None 1"#,
        r#"unsub Some("leaf") $G foo.> Some("q") 1"#,
        r#"msg $G foo.bar reply=None queues=[] headers=None "hello\r\n""#,
        r#"msg $G foo.bar reply=Some("rep.ly") queues=[] headers=None "hello\r\n""#,
        r#"msg $G q reply=None queues=["q2", "q1"] headers=None "x\r\n""#,
        r#"msg $G q reply=Some("rep") queues=["q2", "q1"] headers=None "x\r\n""#,
        r#"msg $G q reply=Some("rep") queues=["q2", "q1"] headers=Some(12) "NATS/1.0\r\n\r\nx\r\n""#,
        r#"msg $G foo.x reply=None queues=[] headers=Some(12) "NATS/1.0\r\n\r\nx\r\n""#,
        r#"msg $G foo.x reply=Some("rr") queues=[] headers=Some(12) "NATS/1.0\r\n\r\nx\r\n""#,
        "Ping",
        "Pong",
        "Ignored",
        "Ignored",
        "error 'Authorization Violation'",
        r#"msg $G odd reply=None queues=[] headers=None "\r\n""#,
    ];
    assert_eq!(said, wanted);
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    let stream = DIALOGUE.as_bytes();
    let whole = all(stream).unwrap();
    for cut in 0..=stream.len() {
        let mut parser = Parser::new(RULES);
        let mut said = Vec::new();
        read(&mut parser, &stream[..cut], &mut said).unwrap();
        read(&mut parser, &stream[cut..], &mut said).unwrap();
        assert_eq!(said, whole, "cut at {cut}");
        assert_eq!(parser.kept(), 0);
    }
    let mut parser = Parser::new(RULES);
    let mut said = Vec::new();
    for byte in stream {
        read(&mut parser, &[*byte], &mut said).unwrap();
    }
    assert_eq!(said, whole);
}

#[test]
fn a_break_keeps_the_rest_for_later() {
    let stream = DIALOGUE.as_bytes();
    for cut in 0..stream.len() {
        let mut parser = Parser::new(RULES);
        let mut count = 0;
        let mut feed = |parser: &mut Parser, input: &[u8]| {
            let mut input = Some(input);
            while parser
                .feed(input.take().unwrap_or_default(), |_, _| {
                    count += 1;
                    ControlFlow::Break(())
                })
                .unwrap()
                .is_some()
            {}
        };
        feed(&mut parser, &stream[..cut]);
        feed(&mut parser, &stream[cut..]);
        assert_eq!(count, 21, "cut at {cut}");
    }
}

#[test]
fn what_is_wrong_ends_the_route() {
    use Violation::*;
    for (input, wanted) in [
        ("PUB a 1\r\n", UnknownOperation),
        ("X", UnknownOperation),
        ("RMS \r\n", UnknownOperation),
        ("RMSG\r\n", Malformed),
        ("RMSG $G 5\r\n", Malformed),
        ("RMSG $G a x5\r\n", Malformed),
        ("RMSG $G a -1\r\n", Malformed),
        ("RMSG $G a 9999999999\r\n", Malformed),
        ("RMSG $G a r q 1\r\n", Malformed),
        ("HMSG $G a 5\r\n", Malformed),
        ("HMSG $G a 6 5\r\n", Malformed),
        ("LMSG $G a 0 5\r\n", Malformed),
        ("RMSG $G a 1001\r\n", MaxPayload { size: 1001 }),
        ("RMSG $G a 1\r\nxyz", UnknownOperation),
        ("RS+ $G\r\n", Malformed),
        ("RS+ $G a q w\r\n", Malformed),
        ("RS+ $G a q 1 more\r\n", Malformed),
        ("RS- $G a q 1\r\n", Malformed),
        ("RS+ $G a\rb\r\n", Malformed),
    ] {
        assert_eq!(all(input.as_bytes()), Err(wanted), "{input:?}");
    }
    for line in ["RS+ $G a q 0\r\n", "RS+ $G a q \r\n"] {
        assert!(all(line.as_bytes()).is_ok_and(|said| said[0].ends_with("q\") 1")));
    }
}

#[test]
fn nothing_grows_beyond_its_limit() {
    let mut parser = Parser::new(RULES);
    let mut said = Vec::new();
    read(&mut parser, b"RS+ $G ", &mut said).unwrap();
    let result = read(&mut parser, &[b'a'; 4096], &mut said);
    assert_eq!(result, Err(Violation::MaxControlLine));
    assert_eq!(all(&[b'+'; 4]), Err(Violation::UnknownOperation));
    let long = format!("RS+ $G {}\r\n", "a".repeat(300));
    assert_eq!(all(long.as_bytes()), Err(Violation::MaxControlLine));
}

#[test]
fn before_authentication_only_connect_is_heard() {
    let rules = Rules {
        connect_only: true,
        ..RULES
    };
    let mut said = Vec::new();
    let result = read(&mut Parser::new(rules), b"RS+ $G a\r\n", &mut said);
    assert_eq!(result, Err(Violation::NotAuthenticated));
    assert!(read(&mut Parser::new(rules), b"CONNECT {}\r\n", &mut said).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_make_it_fall_over(input in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut said = Vec::new();
        let _ = read(&mut Parser::new(RULES), &input, &mut said);
    }

    #[test]
    fn cuts_change_nothing(
        frames in proptest::collection::vec(0usize..18, 1..20),
        noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let known: Vec<&str> = DIALOGUE.split_inclusive("\r\n").collect();
        let mut stream: Vec<u8> = frames
            .iter()
            .flat_map(|at| known[*at].bytes())
            .collect();
        for (at, byte) in noise {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        let mut whole = Vec::new();
        let verdict = read(&mut Parser::new(RULES), &stream, &mut whole);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        places.push(0);
        places.push(stream.len());
        places.sort_unstable();
        let mut parser = Parser::new(RULES);
        let mut said = Vec::new();
        let mut cut_verdict = Ok(());
        for pair in places.windows(2) {
            cut_verdict = read(&mut parser, &stream[pair[0]..pair[1]], &mut said);
            if cut_verdict.is_err() {
                break;
            }
        }
        prop_assert_eq!(&said, &whole);
        prop_assert_eq!(cut_verdict, verdict);
    }
}
