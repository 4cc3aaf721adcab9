//! Limits and timers.

use super::support::{QUIET, Raw, broker, eventually};

#[tokio::test]
async fn connections_above_the_limit_hear_so() {
    let broker = broker(serde_json::json!({ "limits": { "max_connections": 2 } })).await;
    let one = broker.greeted(QUIET).await;
    let _two = broker.greeted(QUIET).await;
    let mut three = Raw::dial(broker.address).await;
    three
        .ends_with("-ERR 'maximum connections exceeded'\r\n")
        .await;
    drop(one);
    eventually("a place is free", || broker.handle.stats().connections == 1).await;
    broker.greeted(QUIET).await;
}

#[tokio::test]
async fn a_flood_of_connections_stays_bounded() {
    let broker = broker(serde_json::json!({ "limits": { "max_connections": 4 } })).await;
    let kept = broker.greeted(QUIET).await;
    let mut flood = Vec::new();
    for _ in 0..300 {
        flood.push(
            tokio::net::TcpStream::connect(broker.address)
                .await
                .unwrap(),
        );
    }
    assert!(broker.handle.stats().connections <= 4);
    drop(flood);
    eventually("the flood is over", || {
        broker.handle.stats().connections == 1
    })
    .await;
    drop(kept);
}

#[tokio::test]
async fn subscriptions_above_the_limit_are_refused() {
    let broker = broker(serde_json::json!({ "limits": { "max_subscriptions": 2 } })).await;
    let mut client = broker.greeted(QUIET).await;
    client
        .send("SUB a 1\r\nSUB b 2\r\nSUB c 3\r\nPUB c 0\r\n\r\n")
        .await;
    client
        .expect("-ERR 'maximum subscriptions exceeded'\r\n")
        .await;
    client.sync().await;
    client.send("UNSUB 1\r\nSUB c 3\r\nPUB c 0\r\n\r\n").await;
    client.expect("MSG c 3 0\r\n\r\n").await;
}

#[tokio::test]
async fn payloads_above_the_limit_end_the_connection() {
    let broker = broker(serde_json::json!({ "limits": { "max_payload": 100 } })).await;
    let mut client = broker.greeted(QUIET).await;
    assert_eq!(client.info["max_payload"], 100);
    client.send("PUB a 101\r\n").await;
    client
        .ends_with("-ERR 'Maximum Payload Violation'\r\n")
        .await;
}

#[tokio::test]
async fn the_silent_are_pinged_and_given_up() {
    let broker =
        broker(serde_json::json!({ "limits": { "ping_interval": "50ms", "ping_max": 2 } })).await;
    let mut client = broker.greeted(QUIET).await;
    client.expect("PING\r\nPING\r\n").await;
    client.ends_with("-ERR 'Stale Connection'\r\n").await;
}

#[tokio::test]
async fn who_answers_pings_stays() {
    let broker =
        broker(serde_json::json!({ "limits": { "ping_interval": "20ms", "ping_max": 1 } })).await;
    let mut client = broker.greeted(QUIET).await;
    for _ in 0..10 {
        client.expect("PING\r\n").await;
        client.send("PONG\r\n").await;
    }
}

#[tokio::test]
async fn shutdown_ends_connections_and_frees_the_port() {
    let broker = super::support::plain().await;
    let mut client = broker.greeted(QUIET).await;
    broker.shutdown.cancel();
    client.ends_with("").await;
    broker.running.await.unwrap().unwrap();
    assert!(std::net::TcpListener::bind(broker.address).is_ok());
}

#[tokio::test]
async fn subjects_of_too_many_tokens_are_refused() {
    let broker = broker(serde_json::json!({ "limits": { "max_subject_tokens": 3 } })).await;
    let mut raw = broker.greeted(QUIET).await;
    raw.send("SUB a.b.c 1\r\nSUB a.b.c.d 2\r\nPUB a.b.c 0\r\n\r\nPUB a.b.c.d 0\r\n\r\n")
        .await;
    raw.expect(
        "-ERR 'Permissions Violation for Subscription to \"a.b.c.d\", too many tokens'\r\n\
         MSG a.b.c 1 0\r\n\r\n",
    )
    .await;
    raw.sync().await;
}

#[tokio::test]
async fn one_who_only_answers_is_pinged_each_time() {
    let broker = broker(serde_json::json!({ "limits": { "ping_interval": "1s" } })).await;
    let mut client = broker.greeted(QUIET).await;
    client.expect("PING\r\n").await;
    client.send("PONG\r\n").await;
    let answered = std::time::Instant::now();
    client.expect("PING\r\n").await;
    let passed = answered.elapsed().as_millis();
    assert!(passed < 1900, "a ping was left out: {passed} ms");
}

#[tokio::test]
async fn a_smaller_limit_of_the_account_is_told_after_the_first_pong() {
    let broker = broker(serde_json::json!({ "accounts": [{
        "name": "A", "limits": { "max_payload": 77 }, "users": [{ "user": "a", "password": "p" }] }] }))
    .await;
    let hello = |protocol: u8| {
        format!(
            "CONNECT {{\"verbose\":false,\"user\":\"a\",\"pass\":\"p\",\"protocol\":{protocol}}}\r\n"
        )
    };
    let mut client = broker.greeted(&hello(1)).await;
    let line = client.line().await;
    let info: serde_json::Value =
        serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
    assert_eq!(info["max_payload"], 77);
    client.sync().await;
    let mut old = broker.greeted(&hello(0)).await;
    old.sync().await;
}
