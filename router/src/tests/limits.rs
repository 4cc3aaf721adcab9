use std::time::{Duration, Instant};

use super::harness::{Origin, Router, eventually, ok};
use crate::config::Config;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[test]
fn heads_are_bounded_in_size_and_number() {
    let router = Router::start(Config {
        max_request_head_bytes: 16 * 1024,
        ..Config::default()
    });
    let origin = Origin::named("x");
    router.register("a.test", origin.address, "i-1");
    let with = |headers: String| format!("GET / HTTP/1.1\r\nHost: a.test\r\n{headers}\r\n");
    let fits = with(format!("X-A: {}\r\n", "a".repeat(15_000)));
    assert_eq!(router.ask(&fits).status(), 200);
    let large = with(format!("X-A: {}\r\n", "a".repeat(40_000)));
    assert_eq!(router.ask(&large).status(), 431);
    let many = with((0..150).map(|n| format!("X-{n}: 1\r\n")).collect());
    assert_eq!(router.ask(&many).status(), 431);
    assert_eq!(origin.requests(), 1);
}

#[test]
fn a_head_that_dribbles_in_is_given_up_however_lively() {
    let router = Router::start(Config {
        head_timeout: Duration::from_secs(1),
        ..Config::default()
    });
    let begin = Instant::now();
    let mut client = router.connect();
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    client.send("GET / HTTP/1.1\r\n");
    let mut closed = false;
    while !closed && begin.elapsed() < Duration::from_secs(6) {
        client.send("X-A: 1\r\n");
        let read = std::io::Read::read(&mut client.stream, &mut [0; 64]);
        closed = match read {
            Ok(n) => n == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
    }
    assert!(closed);
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn idle_connections_are_closed_after_their_own_time() {
    let router = Router::start(Config {
        client_idle: Duration::from_secs(1),
        head_timeout: Duration::from_secs(60),
        ..Config::default()
    });
    let origin = Origin::named("x");
    router.register("a.test", origin.address, "i-1");
    let mut client = router.connect();
    client.send(GET);
    assert_eq!(client.answer_to(GET).unwrap().status(), 200);
    let waited = client.wait_closed();
    assert!(
        waited > Duration::from_millis(400) && waited < Duration::from_secs(4),
        "{waited:?}"
    );
}

#[test]
fn connections_beyond_the_limit_are_told_so() {
    let router = Router::start(Config {
        max_connections: 3,
        ..Config::default()
    });
    let origin = Origin::named("x");
    router.register("a.test", origin.address, "i-1");
    let mut held: Vec<_> = (0..3).map(|_| router.connect()).collect();
    for client in &mut held {
        client.send(GET);
        assert_eq!(client.answer_to(GET).unwrap().status(), 200);
    }
    let answer = router.ask(GET);
    assert_eq!(answer.status(), 503);
    assert_eq!(
        answer.header("x-cf-routererror").as_deref(),
        Some("Connection Limit Reached")
    );
    assert_eq!(
        answer.header("content-length"),
        Some(answer.body.len().to_string())
    );
    held.pop();
    eventually("a place is free", || router.stats.open_connections() == 2);
    assert_eq!(router.ask(GET).status(), 200);
}

#[test]
fn an_endpoint_has_no_more_requests_than_it_may() {
    let router = Router::start(Config {
        max_requests_per_endpoint: 2,
        ..Config::default()
    });
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |peer, _| {
        while peer.request().is_some() {
            wait.lock().unwrap().recv().unwrap();
            peer.send_bytes(&ok("done"));
        }
    });
    router.register("a.test", origin.address, "i-1");
    let mut busy: Vec<_> = (0..2).map(|_| router.connect()).collect();
    for client in &mut busy {
        client.send(GET);
    }
    eventually("both are busy", || origin.requests() == 2);
    let answer = router.ask(GET);
    assert_eq!(answer.status(), 503);
    assert_eq!(
        answer.header("x-cf-routererror").as_deref(),
        Some("Connection Limit Reached")
    );
    for _ in 0..3 {
        go.send(()).unwrap();
    }
    for client in &mut busy {
        assert_eq!(client.answer_to(GET).unwrap().text(), "done");
    }
    assert_eq!(router.ask(GET).status(), 200);
}
