//! What one party might read as one request and another as two.

use super::harness::{Origin, Router};
use crate::config::Config;

#[test]
fn doubtful_requests_reach_no_endpoint_as_they_came() {
    let router = Router::start(Config::default());
    let origin = Origin::mirror();
    router.register("a.test", origin.address, "i-1");
    for (name, rest) in [
        (
            "lengths differ",
            "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        ),
        ("length with sign", "Content-Length: +3\r\n\r\nabc"),
        ("length list", "Content-Length: 3, 3\r\n\r\nabc"),
        ("length in hex", "Content-Length: 0x3\r\n\r\nabc"),
        ("unknown coding", "Transfer-Encoding: gzip\r\n\r\n"),
        (
            "chunked not last",
            "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        ),
        (
            "coding before chunked",
            "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "veiled coding",
            "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        ("space before colon", "Content-Length : 3\r\n\r\nabc"),
        ("folded line", "X-A: 1\r\n 2\r\n\r\n"),
        ("nul", "X-A: \0\r\n\r\n"),
        ("bare return", "X-A: 1\rX-B: 2\r\n\r\n"),
        ("second host", "Host: b.test\r\n\r\n"),
        ("no name", ": 1\r\n\r\n"),
    ] {
        let mut client = router.connect();
        client.send(&format!("POST / HTTP/1.1\r\nHost: a.test\r\n{rest}"));
        let head = client.head().unwrap_or_else(|| panic!("{name}: no answer"));
        assert!(head.starts_with("HTTP/1.1 400 "), "{name}: {head}");
        assert!(
            head.to_ascii_lowercase().contains("connection: close"),
            "{name}: {head}"
        );
        client.close_write();
        client.wait_closed();
    }
    assert_eq!(origin.requests(), 0);
}

#[test]
fn bad_chunks_end_the_request_and_the_connection() {
    let router = Router::start(Config::default());
    let origin = Origin::mirror();
    router.register("a.test", origin.address, "i-1");
    for (name, body) in [
        ("signed size", "+3\r\nabc\r\n0\r\n\r\n"),
        ("prefixed size", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("huge size", "fffffffffffffffff\r\nabc"),
        ("no line end after data", "3\r\nabcd\r\n0\r\n\r\n"),
        ("empty size", "\r\nabc\r\n0\r\n\r\n"),
    ] {
        let mut client = router.connect();
        client.send(&format!(
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{body}\
             GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
        ));
        client.close_write();
        let said = String::from_utf8(client.read_to_end()).unwrap();
        assert!(!said.contains("200 OK"), "{name}: {said}");
        assert!(!said.contains("smuggled"), "{name}: {said}");
    }
}

/// The engine takes the coding for the truth and drops the length (RFC 9112 §6.3 allows it) but what
/// follows on the connection is not trusted.
#[test]
fn a_request_with_both_framings_is_sent_on_with_one_and_is_the_last() {
    let router = Router::start(Config::default());
    let origin = Origin::mirror();
    router.register("a.test", origin.address, "i-1");
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
    ] {
        let before = origin.requests();
        let mut client = router.connect();
        client.send(&format!(
            "POST / HTTP/1.1\r\nHost: a.test\r\n{headers}\r\n\r\n0\r\n\r\n\
             GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
        ));
        client.close_write();
        let said = String::from_utf8(client.read_to_end())
            .unwrap()
            .to_ascii_lowercase();
        assert!(
            !said.contains("smuggled") && !said.contains("content-length: 5"),
            "{said}"
        );
        assert!(origin.requests() - before <= 1);
    }
}

#[test]
fn a_client_cannot_have_framing_or_address_dropped() {
    let router = Router::start(Config::default());
    let origin = Origin::mirror();
    router.register("a.test", origin.address, "i-1");
    let answer = router.ask(
        "POST / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: https\r\n\
         Connection: host, content-length, x-forwarded-proto, x-cf-instanceid, x-mine\r\n\
         X-Mine: 1\r\nContent-Length: 2\r\n\r\nhi",
    );
    assert_eq!(answer.mirrored("host").as_deref(), Some("a.test"));
    assert_eq!(answer.mirrored("content-length").as_deref(), Some("2"));
    assert_eq!(
        answer.mirrored("x-forwarded-proto").as_deref(),
        Some("https")
    );
    assert_eq!(answer.mirrored("x-cf-instanceid").as_deref(), Some("i-1"));
    assert_eq!(answer.mirrored("x-mine"), None);
}

#[test]
fn words_behind_an_answer_are_not_taken_for_the_next() {
    let router = Router::start(Config {
        cores: 1,
        ..Config::default()
    });
    let origin = Origin::start(|peer, connection| {
        while peer.request().is_some() {
            peer.send(&format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{connection}\
                 HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
            ));
        }
    });
    router.register("a.test", origin.address, "i-1");
    for n in 0..5 {
        let answer = router.get("a.test", "/");
        assert_eq!(answer.text(), n.to_string());
    }
}
