use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::harness::{Origin, Router, eventually, ok};
use crate::config::Config;
use crate::core::Stage;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[test]
fn what_is_in_flight_is_finished_and_idle_connections_closed() {
    let mut router = Router::start(Config::default());
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |peer, _| {
        while let Some(request) = peer.request() {
            if request.head.contains("/slow") {
                wait.lock().unwrap().recv().unwrap();
            }
            peer.send_bytes(&ok("done"));
        }
    });
    router.register("a.test", origin.address, "i-1");
    let mut idle = router.connect();
    idle.send(GET);
    idle.answer_to(GET).unwrap();
    let mut busy = router.connect();
    busy.send("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n");
    eventually("asked", || origin.requests() == 2);
    router.set_stage(Stage::Closing);
    assert!(idle.wait_closed() < Duration::from_secs(2));
    eventually("the door is closed", || {
        TcpStream::connect(router.address).is_err()
    });
    go.send(()).unwrap();
    let answer = busy.answer_to(GET).unwrap();
    assert_eq!(answer.text(), "done");
    assert_eq!(answer.header("connection").as_deref(), Some("close"));
    assert!(busy.wait_closed() < Duration::from_secs(2));
    let begin = Instant::now();
    router.close();
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[test]
fn what_takes_longer_than_the_drain_is_cut_off() {
    let mut router = Router::start(Config {
        drain_timeout: Duration::from_millis(300),
        ..Config::default()
    });
    let origin = Origin::start(|peer, _| {
        peer.request();
        peer.wait_closed();
    });
    router.register("a.test", origin.address, "i-1");
    let mut client = router.connect();
    client.send(GET);
    eventually("asked", || origin.requests() == 1);
    let begin = Instant::now();
    router.close();
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    client.wait_closed();
}

#[test]
fn while_draining_answers_send_clients_elsewhere() {
    let router = Router::start(Config::default());
    let origin = Origin::named("x");
    router.register("a.test", origin.address, "i-1");
    router.set_stage(Stage::Draining);
    eventually("answers close", || {
        let answer = router.ask(GET);
        assert_eq!(answer.status(), 200);
        answer.header("connection").as_deref() == Some("close")
    });
}
