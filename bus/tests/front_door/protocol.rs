//! What each operation does, as nats-server does it.

use super::support::{MODERN, QUIET, plain};

#[tokio::test]
async fn info_says_what_clients_need() {
    let broker = plain().await;
    let one = broker.raw().await;
    let two = broker.raw().await;
    let info = &one.info;
    assert_eq!(info["proto"], 1);
    assert_eq!(info["headers"], true);
    assert_eq!(info["max_payload"], 1 << 20);
    assert_eq!(info["client_ip"], "127.0.0.1");
    assert_eq!(info["port"], broker.address.port());
    assert_eq!(info["server_id"].as_str().unwrap().len(), 56);
    assert!(info.get("auth_required").is_none() && info.get("nonce").is_none());
    assert_ne!(info["client_id"], two.info["client_id"]);
}

#[tokio::test]
async fn publish_reaches_every_matching_subscription() {
    let broker = plain().await;
    let mut sub = broker.raw().await;
    sub.send(QUIET).await;
    sub.send("SUB a.b 1\r\nSUB a.* 2\r\nSUB > 3\r\nSUB a.c 4\r\nSUB a.b 5\r\n")
        .await;
    sub.sync().await;
    let mut publisher = broker.raw().await;
    publisher.send(QUIET).await;
    publisher.send("PUB a.b answer 5\r\nhello\r\n").await;
    publisher.sync().await;
    let mut sids = Vec::new();
    for _ in 0..4 {
        let (subject, sid, reply, body) = sub.message().await;
        assert_eq!(
            (subject.as_str(), reply.as_deref(), &body[..]),
            ("a.b", Some("answer"), &b"hello"[..])
        );
        sids.push(sid);
    }
    sids.sort();
    assert_eq!(sids, ["1", "2", "3", "5"]);
    sub.sync().await;
}

#[tokio::test]
async fn verbose_clients_hear_ok() {
    let broker = plain().await;
    let mut client = broker.raw().await;
    for (said, heard) in [
        ("CONNECT {}\r\n", "+OK\r\n"),
        ("SUB a 1\r\n", "+OK\r\n"),
        ("PUB a 1\r\nx\r\n", "+OK\r\nMSG a 1 1\r\nx\r\n"),
        ("UNSUB 1\r\n", "+OK\r\n"),
        ("UNSUB 77\r\n", "+OK\r\n"),
        ("PING\r\n", "PONG\r\n"),
        ("SUB a..b 2\r\n", "-ERR 'Invalid Subject'\r\n"),
        // Absent keys: still verbose and pedantic.
        (
            "PUB a.* 1\r\nx\r\n",
            "-ERR 'Invalid Publish Subject'\r\n+OK\r\n",
        ),
    ] {
        client.send(said).await;
        client.expect(heard).await;
    }
    client.send("CONNECT {\"verbose\":false}\r\n").await;
    client.sync().await;
    client.send("PUB a..b 1\r\nx\r\n").await;
    client.expect("-ERR 'Invalid Publish Subject'\r\n").await;
}

#[tokio::test]
async fn without_authorization_connect_may_be_left_out() {
    let broker = plain().await;
    let mut client = broker.raw().await;
    client.send("SUB a 1\r\nPUB a 1\r\nx\r\n").await;
    client.expect("+OK\r\n+OK\r\nMSG a 1 1\r\nx\r\n").await;
}

#[tokio::test]
async fn frames_may_be_cut_anywhere() {
    let broker = plain().await;
    let mut client = broker.greeted(MODERN).await;
    let stream =
        b"SUB a.* 1\r\nPUB a.b r 5\r\nhe\r\no\r\nHPUB a.c 12 14\r\nNATS/1.0\r\n\r\nhi\r\nPING\r\n";
    for byte in stream {
        client.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    client.expect("MSG a.b 1 r 5\r\nhe\r\no\r\n").await;
    client
        .expect("HMSG a.c 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\nPONG\r\n")
        .await;
}

#[tokio::test]
async fn headers_are_cut_off_for_those_who_know_none() {
    let broker = plain().await;
    let mut old = broker.raw().await;
    old.send(QUIET).await;
    old.send("SUB a 1\r\n").await;
    old.sync().await;
    let mut new = broker.greeted(MODERN).await;
    new.send("SUB a 2\r\nHPUB a r 18 20\r\nNATS/1.0\r\nX: y\r\n\r\nhi\r\n")
        .await;
    new.expect("HMSG a 2 r 18 20\r\nNATS/1.0\r\nX: y\r\n\r\nhi\r\n")
        .await;
    old.expect("MSG a 1 r 2\r\nhi\r\n").await;
    new.send("HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\nPUB a 0\r\n\r\n")
        .await;
    old.expect("MSG a 1 0\r\n\r\nMSG a 1 0\r\n\r\n").await;
    new.expect("HMSG a 2 12 12\r\nNATS/1.0\r\n\r\n\r\nMSG a 2 0\r\n\r\n")
        .await;
}

#[tokio::test]
async fn echo_can_be_turned_off() {
    let broker = plain().await;
    let mut client = broker
        .greeted("CONNECT {\"verbose\":false,\"echo\":false}\r\n")
        .await;
    let mut other = broker.greeted(QUIET).await;
    other.send("SUB a 1\r\n").await;
    other.sync().await;
    client.send("SUB a 1\r\nPUB a 1\r\nx\r\n").await;
    client.sync().await;
    other.expect("MSG a 1 1\r\nx\r\n").await;
}

#[tokio::test]
async fn unsubscribe_now_and_after_a_number() {
    let broker = plain().await;
    let mut client = broker.greeted(QUIET).await;
    // Counted from the subscription on, and forgotten when reached.
    client.send("SUB a 1\r\nPUB a 0\r\n\r\nUNSUB 1 3\r\n").await;
    client
        .send("PUB a 0\r\n\r\nPUB a 0\r\n\r\nPUB a 0\r\n\r\n")
        .await;
    client
        .expect("MSG a 1 0\r\n\r\nMSG a 1 0\r\n\r\nMSG a 1 0\r\n\r\n")
        .await;
    client.sync().await;
    assert_eq!(broker.handle.stats().subscriptions.len, 0);
    // The sid is free again; a number that is reached already means now.
    client
        .send("SUB a 1\r\nPUB a 0\r\n\r\nPUB a 0\r\n\r\nUNSUB 1 1\r\nPUB a 0\r\n\r\n")
        .await;
    client.expect("MSG a 1 0\r\n\r\nMSG a 1 0\r\n\r\n").await;
    client.sync().await;
    client
        .send("SUB a 2\r\nUNSUB 2\r\nUNSUB nobody\r\nPUB a 0\r\n\r\n")
        .await;
    client.sync().await;
}

#[tokio::test]
async fn a_sid_in_use_keeps_its_first_subject() {
    let broker = plain().await;
    let mut client = broker.greeted(QUIET).await;
    client
        .send("SUB a 1\r\nSUB b 1\r\nPUB b 0\r\n\r\nPUB a 0\r\n\r\n")
        .await;
    client.expect("MSG a 1 0\r\n\r\n").await;
    client.sync().await;
}

#[tokio::test]
async fn requests_nobody_listens_to_are_answered_with_503() {
    let broker = plain().await;
    let mut client = broker.greeted(MODERN).await;
    client.send("SUB r.* 5\r\nPUB nobody r.1 0\r\n\r\n").await;
    client
        .expect("HMSG r.1 5 16 16\r\nNATS/1.0 503\r\n\r\n\r\n")
        .await;
    client
        .send("HPUB nobody r.2 12 13\r\nNATS/1.0\r\n\r\nx\r\n")
        .await;
    client
        .expect("HMSG r.2 5 16 16\r\nNATS/1.0 503\r\n\r\n\r\n")
        .await;
    // Somebody listens; no reply; nobody to tell.
    client
        .send("SUB nobody 6\r\nPUB nobody r.3 0\r\n\r\n")
        .await;
    client.expect("MSG nobody 6 r.3 0\r\n\r\n").await;
    client
        .send("UNSUB 6\r\nPUB nobody 0\r\n\r\nPUB nobody x.1 0\r\n\r\n")
        .await;
    client.sync().await;
    // And one who did not ask for it.
    let mut quiet = broker.greeted(QUIET).await;
    quiet.send("SUB r 1\r\nPUB nobody r 0\r\n\r\n").await;
    quiet.sync().await;
}

#[tokio::test]
async fn odd_subjects_are_routed_as_they_stand() {
    let broker = plain().await;
    let mut client = broker.greeted(QUIET).await;
    client
        .send("SUB foo* 1\r\nSUB foo.* 2\r\nSUB a.>.b 3\r\n")
        .await;
    client.expect("-ERR 'Invalid Subject'\r\n").await;
    client
        .send("PUB foox 0\r\n\r\nPUB foo* 0\r\n\r\nPUB foo.* 0\r\n\r\nPUB foo. 0\r\n\r\n")
        .await;
    client
        .expect("MSG foo* 1 0\r\n\r\nMSG foo.* 2 0\r\n\r\n")
        .await;
    client.sync().await;
}

#[tokio::test]
async fn violations_end_the_connection_with_the_exact_words() {
    let broker = plain().await;
    for (said, heard) in [
        ("XY", "-ERR 'Unknown Protocol Operation'\r\n"),
        ("\r\n", "-ERR 'Unknown Protocol Operation'\r\n"),
        (
            "MSG a 1 1\r\nx\r\n",
            "-ERR 'Unknown Protocol Operation'\r\n",
        ),
        (
            "PUB a 3\r\nabcdef\r\n",
            "-ERR 'Unknown Protocol Operation'\r\n",
        ),
        ("PUB a 2000000\r\n", "-ERR 'Maximum Payload Violation'\r\n"),
        ("PUB a\r\n", ""),
        ("PUB a -1\r\n", ""),
        ("PUB a 12345678901\r\n", ""),
        ("SUB a b c d\r\n", ""),
        ("HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n", ""),
        ("CONNECT {bad\r\n", ""),
        ("-ERR 'I give up'\r\n", ""),
        (
            "CONNECT {\"protocol\":2}\r\n",
            "-ERR 'invalid client protocol'\r\n",
        ),
        (
            "CONNECT {\"no_responders\":true}\r\n",
            "-ERR 'no responders requires headers support'\r\n",
        ),
    ] {
        let mut client = broker.greeted(QUIET).await;
        client.send(said).await;
        client.ends_with(heard).await;
    }
    for long in [
        format!("PUB {} 0\r\n\r\n", "a".repeat(4095)),
        format!("SUB {}", "a".repeat(8000)),
        format!(
            "CONNECT {{\"verbose\":false,\"name\":\"{}\"}}\r\n",
            "a".repeat(5000)
        ),
    ] {
        let mut client = broker.greeted(QUIET).await;
        client.send(long).await;
        client
            .ends_with("-ERR 'maximum control line exceeded'\r\n")
            .await;
    }
    let mut client = broker.greeted(QUIET).await;
    client
        .send(format!("PUB {} 0\r\n\r\n", "a".repeat(4094)))
        .await;
    client.sync().await;
}

#[tokio::test]
async fn the_refused_hear_why_even_while_they_send() {
    let broker = plain().await;
    for _ in 0..20 {
        let mut client = broker.greeted(QUIET).await;
        client.send("PUB a 2000000\r\n").await;
        // The payload that was announced is on its way while the answer is.
        client.send(vec![b'x'; 200_000]).await;
        client
            .ends_with("-ERR 'Maximum Payload Violation'\r\n")
            .await;
    }
}

#[tokio::test]
async fn messages_up_to_the_limit_come_whole() {
    let broker = plain().await;
    let mut sub = broker.greeted(QUIET).await;
    sub.send("SUB big 1\r\n").await;
    sub.sync().await;
    let mut publisher = broker.greeted(QUIET).await;
    for size in [
        0,
        1,
        100,
        32 << 10,
        (64 << 10) - 9,
        64 << 10,
        100_000,
        1 << 20,
    ] {
        let body: Vec<u8> = (0..size)
            .map(|n: usize| u8::try_from(n * 7 % 251).unwrap())
            .collect();
        publisher.send(format!("PUB big {size}\r\n")).await;
        publisher.send(&body).await;
        publisher.send("\r\n").await;
        let (_, _, _, got) = sub.message().await;
        assert!(got == body, "a message of {size} bytes came mangled");
    }
}

#[tokio::test]
async fn a_stray_ok_info_or_pong_means_nothing() {
    let broker = plain().await;
    let mut client = broker.greeted(QUIET).await;
    client.send("+OK\r\nINFO {}\r\nPONG\r\nping\n").await;
    client.expect("PONG\r\n").await;
}

#[tokio::test]
async fn numbers_are_kept_and_shown() {
    let broker = super::support::broker(
        serde_json::json!({ "monitor": "127.0.0.1:0", "server_name": "one" }),
    )
    .await;
    let mut client = broker.greeted(QUIET).await;
    client
        .send("SUB a 1\r\nSUB a 2\r\nPUB a 3\r\nabc\r\n")
        .await;
    client
        .expect("MSG a 1 3\r\nabc\r\nMSG a 2 3\r\nabc\r\n")
        .await;
    let url = broker.monitor.unwrap();
    let varz = get(url, "/varz").await;
    assert!(varz.starts_with("HTTP/1.1 200"), "{varz}");
    let varz: serde_json::Value =
        serde_json::from_str(varz.split_once("\r\n\r\n").unwrap().1).unwrap();
    for (key, value) in [
        ("connections", 1),
        ("in_msgs", 1),
        ("in_bytes", 3),
        ("out_msgs", 2),
        ("out_bytes", 6),
        ("subscriptions", 2),
        ("slow_consumers", 0),
    ] {
        assert_eq!(varz[key], value, "{key}");
    }
    assert_eq!(varz["server_name"], "one");
    drop(client);
    super::support::eventually("the client is gone", || {
        broker.handle.stats().connections == 0
    })
    .await;
    // What it did is not forgotten.
    let stats = broker.handle.stats();
    assert_eq!((stats.traffic.out_msgs, stats.subscriptions.len), (2, 0));
    assert!(get(url, "/healthz").await.contains("{\"status\":\"ok\"}"));
    assert!(get(url, "/nothing").await.starts_with("HTTP/1.1 404"));
}

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}
