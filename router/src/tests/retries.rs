use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::harness::{Origin, Peer, Router, eventually, nowhere, ok};
use crate::config::Config;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi";
const EMPTY_POST: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n";
const KEYED_POST: &str =
    "POST / HTTP/1.1\r\nHost: a.test\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n";

#[test]
fn an_endpoint_that_cannot_be_dialled_costs_nobody_a_request() {
    let router = Router::start(Config::default());
    let origin = Origin::named("alive");
    router.register("a.test", nowhere(), "dead-1");
    router.register("a.test", nowhere(), "dead-2");
    router.register("a.test", origin.address, "i-1");
    for request in [GET, POST, EMPTY_POST] {
        for _ in 0..3 {
            assert_eq!(router.ask(request).text(), "alive");
        }
    }
    // Those that failed are passed over from then on.
    assert_eq!(router.stats.sum(|c| &c.dial_failures), 2);
}

#[test]
fn attempts_are_bounded_and_no_endpoint_is_asked_twice() {
    let router = Router::start(Config {
        max_attempts: 3,
        ..Config::default()
    });
    for n in 0..5 {
        router.register("a.test", nowhere(), &format!("dead-{n}"));
    }
    router.register("b.test", nowhere(), "dead-b");
    assert_eq!(router.ask(GET).status(), 502);
    assert_eq!(router.stats.sum(|c| &c.dial_failures), 3);
    assert_eq!(router.get("b.test", "/").status(), 502);
    assert_eq!(router.stats.sum(|c| &c.dial_failures), 4);
}

/// How each kind of failure is met: what the client sees, and how many of two endpoints were asked.
#[test]
fn a_request_is_repeated_only_when_that_can_do_no_harm() {
    type Script = fn(&mut Peer, usize);
    let close: Script = |peer, _| {
        peer.request();
    };
    let close_in_head: Script = |peer, _| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-");
    };
    let garbage: Script = |peer, _| {
        peer.request();
        peer.send("SMTP ready\r\n\r\n");
    };
    let two_lengths: Script = |peer, _| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!");
    };
    let both_framings: Script = |peer, _| {
        peer.request();
        peer.send(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        );
    };
    let unasked_upgrade: Script = |peer, _| {
        peer.request();
        peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    };
    for (name, script, request, asked, error) in [
        (
            "close",
            close,
            GET,
            2,
            "endpoint_failure (closed before an answer)",
        ),
        (
            "close",
            close,
            KEYED_POST,
            2,
            "endpoint_failure (closed before an answer)",
        ),
        (
            "close",
            close,
            EMPTY_POST,
            1,
            "endpoint_failure (closed before an answer)",
        ),
        (
            "close",
            close,
            POST,
            1,
            "endpoint_failure (closed before an answer)",
        ),
        (
            "close in head",
            close_in_head,
            POST,
            1,
            "endpoint_failure (closed before an answer)",
        ),
        (
            "garbage",
            garbage,
            GET,
            1,
            "endpoint_failure (malformed answer)",
        ),
        (
            "two lengths",
            two_lengths,
            GET,
            1,
            "endpoint_failure (malformed answer)",
        ),
        (
            "both framings",
            both_framings,
            GET,
            1,
            "endpoint_failure (malformed answer)",
        ),
        (
            "unasked upgrade",
            unasked_upgrade,
            GET,
            1,
            "endpoint_failure (unexpected upgrade)",
        ),
    ] {
        let router = Router::start(Config::default());
        let (one, two) = (Origin::start(script), Origin::start(script));
        router.register("a.test", one.address, "i-1");
        router.register("a.test", two.address, "i-2");
        let answer = router.ask(request);
        assert_eq!(answer.status(), 502, "{name}");
        assert_eq!(
            answer.header("x-cf-routererror").as_deref(),
            Some(error),
            "{name}"
        );
        assert_eq!(one.requests() + two.requests(), asked, "{name} {request}");
    }
}

#[test]
fn a_body_that_breaks_off_is_seen_to_break_off() {
    let router = Router::start(Config::default());
    for (host, head) in [
        ("plain.test", "Content-Length: 10\r\n\r\nhalf"),
        (
            "chunked.test",
            "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ),
    ] {
        let origin = Origin::start(move |peer, _| {
            peer.request();
            peer.send(&format!("HTTP/1.1 200 OK\r\n{head}"));
        });
        router.register(host, origin.address, host);
        let mut client = router.connect();
        client.send(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.head().unwrap();
        let rest = String::from_utf8(client.read_to_end()).unwrap();
        assert!(
            rest.contains("half") && !rest.contains("0\r\n\r\n"),
            "{rest}"
        );
        assert_eq!(origin.requests(), 1);
    }
}

#[test]
fn a_connection_that_was_closed_while_idle_costs_nobody_a_request() {
    let router = Router::start(Config {
        cores: 1,
        ..Config::default()
    });
    let closed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&closed);
    let origin = Origin::start(move |peer, _| {
        // Promises to keep the connection, and does not.
        peer.request();
        peer.send_bytes(&ok("once"));
        peer.stream.shutdown(Shutdown::Both).unwrap();
        counter.fetch_add(1, Ordering::SeqCst);
    });
    router.register("a.test", origin.address, "i-1");
    let mut asked = 0;
    for round in 0..20 {
        // What can be repeated may meet the closing half-way; what cannot comes after it.
        for (request, patient) in [(GET, false), (GET, false), (POST, true), (EMPTY_POST, true)] {
            if patient {
                eventually("closed", || closed.load(Ordering::SeqCst) == asked);
            }
            let answer = router.ask(request);
            assert_eq!(
                (answer.status(), answer.text()),
                (200, "once"),
                "round {round}"
            );
            asked += 1;
        }
    }
    assert_eq!(origin.requests(), asked);
}

#[test]
fn an_endpoint_that_takes_too_long_is_given_up() {
    let router = Router::start(Config {
        endpoint_timeout: Duration::from_secs(1),
        ..Config::default()
    });
    let origin = Origin::start(|peer, _| {
        peer.request();
        peer.wait_closed();
    });
    router.register("a.test", origin.address, "i-1");
    let mut client = router.connect();
    client.send(GET);
    let answer = client.answer_to(GET).unwrap();
    assert_eq!(answer.status(), 504);
    let error = answer.header("x-cf-routererror");
    assert_eq!(error.as_deref(), Some("endpoint_failure (timed out)"));
    // The client's connection goes on.
    client.send("GET / HTTP/1.1\r\nHost: no.test\r\n\r\n");
    assert_eq!(client.answer_to(GET).unwrap().status(), 404);
    assert_eq!(origin.requests(), 1);
}

#[test]
fn an_endpoint_that_stops_in_the_middle_is_given_up() {
    let router = Router::start(Config {
        endpoint_timeout: Duration::from_secs(1),
        ..Config::default()
    });
    let origin = Origin::start(|peer, _| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        peer.wait_closed();
    });
    router.register("a.test", origin.address, "i-1");
    let mut client = router.connect();
    client.send(GET);
    client.head().unwrap();
    assert!(client.wait_closed() < Duration::from_secs(4));
}
