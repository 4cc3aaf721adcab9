use std::time::Duration;

use super::harness::{Origin, Router};
use crate::config::Config;

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\n\
                       Upgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\n";

#[test]
fn an_upgraded_connection_carries_bytes_both_ways_and_closes_by_halves() {
    let router = Router::start(Config {
        endpoint_timeout: Duration::from_secs(1),
        ..Config::default()
    });
    let origin = Origin::start(|peer, _| {
        let head = peer.head().unwrap();
        assert!(head.contains("Upgrade: WebSocket\r\n"), "{head}");
        assert!(
            head.to_ascii_lowercase()
                .contains("connection: upgrade\r\n"),
            "{head}"
        );
        // Words glued to the head, on this side too.
        peer.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
             Connection: Upgrade\r\n\r\nwelcome",
        );
        let said = peer.read_to_end();
        peer.send_bytes(&said);
        peer.send("bye");
        peer.close_write();
    });
    router.register("a.test", origin.address, "i-1");
    let mut client = router.connect();
    client.send(&format!("{UPGRADE}early "));
    let answer = client.answer_to(UPGRADE).unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.header("upgrade").as_deref(), Some("WebSocket"));
    assert_eq!(answer.header("connection").as_deref(), Some("Upgrade"));
    assert_eq!(client.read_at_least(7), b"welcome");
    // Silence is no reason to hang up on an upgraded connection.
    std::thread::sleep(Duration::from_millis(2200));
    client.send("late");
    client.close_write();
    assert_eq!(client.read_to_end(), b"early latebye");
    super::harness::eventually("counted", || {
        router.stats.sum(|c| &c.responses[1]) == 1 && router.stats.open_connections() == 0
    });
}

#[test]
fn a_declined_upgrade_is_an_answer_like_any_other() {
    let router = Router::start(Config::default());
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: h9\r\nConnection: Upgrade\r\n\
          Content-Length: 2\r\n\r\nno"
            .to_vec()
    });
    router.register("a.test", origin.address, "i-1");
    let mut client = router.connect();
    for _ in 0..2 {
        client.send(UPGRADE);
        let answer = client.answer_to(UPGRADE).unwrap();
        assert_eq!((answer.status(), answer.text()), (426, "no"));
        assert_eq!(answer.header("upgrade").as_deref(), Some("h9"));
    }
}

#[test]
fn an_upgrade_is_tried_on_another_endpoint_when_the_first_is_dead() {
    let router = Router::start(Config::default());
    let origin = Origin::start(|peer, _| {
        peer.head();
        peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
        peer.wait_closed();
    });
    router.register("a.test", super::harness::nowhere(), "dead");
    router.register("a.test", origin.address, "i-1");
    for _ in 0..2 {
        let mut client = router.connect();
        client.send(UPGRADE);
        assert_eq!(client.answer_to(UPGRADE).unwrap().status(), 101);
    }
}

#[test]
fn when_the_endpoint_of_a_tunnel_dies_the_client_is_told() {
    let router = Router::start(Config::default());
    let origin = Origin::start(|peer, _| {
        peer.head();
        peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    });
    router.register("a.test", origin.address, "i-1");
    let mut client = router.connect();
    client.send(UPGRADE);
    client.answer_to(UPGRADE).unwrap();
    assert!(client.wait_closed() < Duration::from_secs(2));
}
