//! One who does not read is cut off, and nobody else notices.

use std::time::Instant;

use super::support::{PATIENCE, QUIET, broker, eventually};

#[tokio::test]
async fn too_much_pending_is_cut_off_without_stalling_others() {
    let broker = broker(serde_json::json!({ "limits": { "max_pending": "2MiB" } })).await;
    let mut stuck = broker.greeted(QUIET).await;
    stuck.send("SUB flood 1\r\n").await;
    stuck.sync().await;
    let mut healthy = broker.greeted(QUIET).await;
    healthy.send("SUB flood 1\r\n").await;
    healthy.sync().await;
    let mut publisher = broker.greeted(QUIET).await;
    let body = "x".repeat(8000);
    let started = Instant::now();
    // 32 MB: far more than sockets hold.
    for _ in 0..4000 {
        publisher
            .send(format!("PUB flood 8000\r\n{body}\r\n"))
            .await;
        healthy.expect("MSG flood 1 8000\r\n").await;
        assert_eq!(healthy.bytes(8002).await.len(), 8002);
    }
    assert!(started.elapsed() < PATIENCE);
    eventually("the stuck one is cut off", || {
        broker.handle.stats().connections == 2
    })
    .await;
    assert_eq!(broker.handle.stats().slow_consumers, 1);
    assert_eq!(broker.handle.stats().subscriptions.len, 1);
    drop(stuck);
}

#[tokio::test]
async fn a_socket_that_takes_nothing_is_cut_off_at_the_deadline() {
    let broker = broker(serde_json::json!({ "limits": { "write_deadline": "300ms" } })).await;
    let mut stuck = broker.greeted(QUIET).await;
    stuck.send("SUB flood 1\r\n").await;
    stuck.sync().await;
    let mut publisher = broker.greeted(QUIET).await;
    let body = "x".repeat(100_000);
    for _ in 0..150 {
        publisher
            .send(format!("PUB flood 100000\r\n{body}\r\n"))
            .await;
    }
    publisher.sync().await;
    eventually("the stuck one is cut off", || {
        broker.handle.stats().connections == 1
    })
    .await;
    assert_eq!(broker.handle.stats().slow_consumers, 1);
    publisher.sync().await;
}

#[tokio::test]
async fn one_who_is_slow_but_reads_loses_nothing() {
    // The publisher is held back a little instead.
    let broker = broker(serde_json::json!({ "limits": { "max_pending": "16MiB" } })).await;
    let mut slow = broker.greeted(QUIET).await;
    slow.send("SUB flood 1\r\n").await;
    slow.sync().await;
    let mut publisher = broker.greeted(QUIET).await;
    const COUNT: usize = 5000;
    let sending = tokio::spawn(async move {
        // Mostly padding that costs neither side anything: it is the broker that is to be measured.
        let padding = "x".repeat(7992);
        for n in 0..COUNT {
            publisher
                .send(format!("PUB flood 8000\r\n{n:08}{padding}\r\n"))
                .await;
        }
        publisher.sync().await;
    });
    for n in 0..COUNT {
        let (_, _, _, body) = slow.message().await;
        assert_eq!(body[..8], *format!("{n:08}").as_bytes());
    }
    sending.await.unwrap();
    assert_eq!(broker.handle.stats().slow_consumers, 0);
}

#[tokio::test]
async fn one_who_is_behind_can_be_made_to_miss_messages_instead() {
    let limits = serde_json::json!({ "max_pending": "2MiB", "stall_producers": false });
    let broker = broker(serde_json::json!({ "limits": limits })).await;
    let mut stuck = broker.greeted(QUIET).await;
    stuck.send("SUB flood 1\r\n").await;
    stuck.sync().await;
    let mut publisher = broker.greeted(QUIET).await;
    let body = "x".repeat(8000);
    for _ in 0..4000 {
        publisher
            .send(format!("PUB flood 8000\r\n{body}\r\n"))
            .await;
    }
    publisher.sync().await;
    // It is still here, and what it gets is whole, but not all.
    assert_eq!(broker.handle.stats().connections, 2);
    assert_eq!(broker.handle.stats().slow_consumers, 0);
    stuck.send("UNSUB 1\r\nPING\r\n").await;
    let mut count = 0;
    loop {
        match stuck.line().await.as_str() {
            "PONG" => break,
            "MSG flood 1 8000" => assert_eq!(stuck.bytes(8002).await.len(), 8002),
            other => panic!("{other:?}"),
        }
        count += 1;
    }
    assert!((1..4000).contains(&count), "{count}");
}
