use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::harness::{Origin, Router, eventually, ok};
use crate::config::Config;

#[test]
fn bodies_of_any_framing_arrive_whole() {
    let router = Router::start(Config::default());
    let origin = Origin::answering(|request| {
        let body = &request.body;
        if request.head.contains("/chunked") {
            let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for part in body.chunks(1000) {
                answer.extend(format!("{:x};ext=1\r\n", part.len()).bytes());
                answer.extend(part);
                answer.extend(b"\r\n");
            }
            answer.extend(b"0\r\n\r\n");
            answer
        } else {
            let mut answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
            answer.extend(body);
            answer
        }
    });
    router.register("a.test", origin.address, "i-1");
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    for target in ["/plain", "/chunked"] {
        let mut client = router.connect();
        let writer = client.stream.try_clone().unwrap();
        let sent = body.clone();
        let sending = std::thread::spawn(move || {
            let mut writer = writer;
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n",
                sent.len()
            );
            std::io::Write::write_all(&mut writer, head.as_bytes()).unwrap();
            std::io::Write::write_all(&mut writer, &sent).unwrap();
        });
        let answer = client.answer_to("POST").unwrap();
        sending.join().unwrap();
        assert!(answer.body == body, "{target}: {} bytes", answer.body.len());
        client.send(&format!(
            "POST {target} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                      5;x=y\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
        ));
        assert_eq!(client.answer_to("POST").unwrap().text(), "hello world");
    }
}

#[test]
fn old_clients_and_old_endpoints_are_served() {
    let router = Router::start(Config::default());
    let closing = Origin::start(|peer, _| {
        if peer.request().is_some() {
            peer.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end");
        }
    });
    let chunking = Origin::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec()
    });
    router.register("closing.test", closing.address, "i-1");
    router.register("chunking.test", chunking.address, "i-2");
    let answer = router.get("closing.test", "/");
    assert_eq!(answer.text(), "until the end");
    assert_eq!(
        answer.header("transfer-encoding").as_deref(),
        Some("chunked")
    );
    let answer = router.ask("GET / HTTP/1.0\r\nHost: chunking.test\r\n\r\n");
    assert!(
        answer.head.starts_with("HTTP/1.0 200 OK"),
        "{}",
        answer.head
    );
    assert_eq!(answer.text(), "abc");
    assert_eq!(answer.header("transfer-encoding"), None);
}

#[test]
fn trailers_pass_both_ways() {
    let router = Router::start(Config::default());
    let origin = Origin::answering(|request| {
        assert_eq!(request.trailers.to_ascii_lowercase(), "x-sum: 1\n");
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Out\r\n\r\n\
          2\r\nhi\r\n0\r\nX-Out: 2\r\n\r\n"
            .to_vec()
    });
    router.register("a.test", origin.address, "i-1");
    let answer = router.ask(
        "POST / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nTrailer: X-Sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    assert_eq!(answer.text(), "hi");
    assert_eq!(answer.trailers.to_ascii_lowercase(), "x-out: 2\n");
}

#[test]
fn bytes_of_a_stream_come_as_they_are_said() {
    let router = Router::start(Config::default());
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |peer, _| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n");
        wait.lock().unwrap().recv().unwrap();
        peer.send("4\r\ntwo\n\r\n0\r\n\r\n");
    });
    router.register("a.test", origin.address, "i-1");
    let mut client = router.connect();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.head().unwrap();
    assert_eq!(client.read_at_least(9), b"4\r\none\n\r\n");
    go.send(()).unwrap();
    assert_eq!(client.read_at_least(14), b"4\r\ntwo\n\r\n0\r\n\r\n");
}

#[test]
fn expectations_are_the_endpoints_to_grant() {
    let router = Router::start(Config::default());
    let origin = Origin::start(|peer, _| {
        while let Some(head) = peer.head() {
            if head.contains("/no") {
                peer.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
                peer.read_to_end();
                return;
            }
            peer.send("HTTP/1.1 100 Continue\r\n\r\n");
            let body = peer.read_at_least(5);
            peer.send_bytes(&ok(std::str::from_utf8(&body).unwrap()));
        }
    });
    router.register("a.test", origin.address, "i-1");
    let request = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
    };
    let mut client = router.connect();
    client.send(&request("/yes"));
    assert_eq!(client.answer_to("POST").unwrap().status(), 100);
    client.send("hello");
    assert_eq!(client.answer_to("POST").unwrap().text(), "hello");
    let mut client = router.connect();
    client.send(&request("/no"));
    assert_eq!(client.answer_to("POST").unwrap().status(), 417);
}

#[test]
fn an_expectation_is_refused_before_the_body_when_nobody_can_take_it() {
    let router = Router::start(Config::default());
    router.register("a.test", super::harness::nowhere(), "i-1");
    let mut client = router.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    assert_eq!(client.answer_to("POST").unwrap().status(), 502);
}

#[test]
fn an_answer_before_the_end_of_the_upload_reaches_the_client() {
    let router = Router::start(Config::default());
    let origin = Origin::start(|peer, _| {
        peer.head();
        peer.send("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nbig");
        peer.read_to_end();
    });
    router.register("a.test", origin.address, "i-1");
    let mut client = router.connect();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n");
    client.send_bytes(&[b'x'; 100_000]);
    let answer = client.answer_to("POST").unwrap();
    assert_eq!((answer.status(), answer.text()), (413, "big"));
}

#[test]
fn a_slow_reader_holds_its_endpoint_back_instead_of_filling_memory() {
    const PART: usize = 64 * 1024;
    let router = Router::start(Config::default());
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let origin = Origin::start(move |peer, _| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
        while std::io::Write::write_all(&mut peer.stream, &[b'x'; PART]).is_ok() {
            counter.fetch_add(PART, Ordering::SeqCst);
        }
    });
    router.register("a.test", origin.address, "i-1");
    let mut client = router.connect();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.head().unwrap();
    // Both kernels' buffers and ours fill up, and then it stands still.
    eventually("the endpoint is held back", || {
        let now = written.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(200));
        now > 0 && now == written.load(Ordering::SeqCst)
    });
    let before = written.load(Ordering::SeqCst);
    assert!(before < 64 * 1024 * 1024, "{before} bytes in flight");
}

#[test]
fn an_endpoint_learns_when_its_client_has_gone() {
    let router = Router::start(Config::default());
    let noticed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&noticed);
    let origin = Origin::start(move |peer, connection| {
        peer.request();
        if connection == 1 {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
        }
        peer.wait_closed();
        counter.fetch_add(1, Ordering::SeqCst);
    });
    router.register("a.test", origin.address, "i-1");
    // Before the head of the answer, and in the middle of its body.
    for round in 1..=2 {
        let mut client = router.connect();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        eventually("asked", || origin.requests() == round);
        if round == 2 {
            client.head().unwrap();
        }
        drop(client);
        eventually("the endpoint's connection is closed", || {
            noticed.load(Ordering::SeqCst) == round
        });
    }
    eventually("counted", || router.stats.sum(|c| &c.clients_gone) == 1);
}
