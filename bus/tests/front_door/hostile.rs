//! Those who mean harm, or send rubbish: they end, the others notice nothing.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::io::AsyncWriteExt as _;

use super::support::{MODERN, QUIET, Raw, broker, eventually, plain};

#[tokio::test]
async fn rubbish_of_all_kinds_ends_only_its_sender() {
    let broker = plain().await;
    let mut witness = broker.greeted(QUIET).await;
    witness.send("SUB calm 1\r\n").await;
    witness.sync().await;
    let mut rng = StdRng::seed_from_u64(7);
    let words: [&[u8]; 16] = [
        b"PUB ",
        b"HPUB ",
        b"SUB ",
        b"UNSUB ",
        b"CONNECT ",
        b"PING\r\n",
        b"\r\n",
        b" ",
        b"a.b",
        b"*",
        b">",
        b"999999999",
        b"5",
        b"{\"verbose\":true",
        b"}",
        b"\0\xff\xfe",
    ];
    for round in 0..300 {
        let mut raw = broker.raw().await;
        raw.send(if round % 2 == 0 { QUIET } else { MODERN }).await;
        let mut rubbish = Vec::new();
        for _ in 0..rng.random_range(1..40) {
            if rng.random_bool(0.8) {
                rubbish.extend_from_slice(words[rng.random_range(0..words.len())]);
            } else {
                rubbish.extend((0..rng.random_range(0..20)).map(|_| rng.random::<u8>()));
            }
        }
        // It may be over before all is sent.
        let _ = raw.socket.write_all(&rubbish).await;
        drop(raw);
    }
    witness.send("PUB calm 2\r\nok\r\n").await;
    witness.expect("MSG calm 1 2\r\nok\r\n").await;
    eventually("the rubbish is gone", || {
        broker.handle.stats().connections == 1
    })
    .await;
    assert_eq!(broker.handle.stats().subscriptions.len, 1);
}

#[tokio::test]
async fn half_a_frame_costs_only_what_was_sent() {
    let broker = plain().await;
    let mut waiting = Vec::new();
    for _ in 0..200 {
        let mut raw = broker.greeted(QUIET).await;
        raw.send("PUB big 1000000\r\nonly this").await;
        waiting.push(raw);
    }
    let mut witness = broker.greeted(QUIET).await;
    witness.sync().await;
    drop(waiting);
    eventually("they are gone", || broker.handle.stats().connections == 1).await;
}

#[tokio::test]
async fn deep_and_many_subscriptions_come_and_go() {
    let broker = plain().await;
    let mut client = broker.greeted(QUIET).await;
    let deep = vec!["a"; 2000].join(".");
    client
        .send(format!(
            "SUB {deep}.* 0\r\nSUB {deep}.> 00\r\nPUB {deep}.x 0\r\n\r\n"
        ))
        .await;
    for _ in 0..2 {
        assert_eq!(client.message().await.0, format!("{deep}.x"));
    }
    for chunk in 0..20 {
        let mut lines = String::new();
        for n in 0..1000 {
            let n = chunk * 1000 + n;
            lines.push_str(&format!(
                "SUB many.{n}.{} {n}x\r\n",
                if n % 3 == 0 { "*" } else { "y" }
            ));
        }
        client.send(lines).await;
    }
    client.sync().await;
    assert_eq!(broker.handle.stats().subscriptions.len, 20_002);
    client
        .send("PUB many.300.y 0\r\n\r\nPUB many.301.y 0\r\n\r\n")
        .await;
    client
        .expect("MSG many.300.y 300x 0\r\n\r\nMSG many.301.y 301x 0\r\n\r\n")
        .await;
    drop(client);
    eventually("all are gone", || {
        broker.handle.stats().subscriptions.len == 0
    })
    .await;
}

#[tokio::test]
async fn connect_again_and_again_is_cheap_and_pipelined_frames_wait_for_it() {
    let broker = plain().await;
    let mut client = broker.raw().await;
    let mut burst = String::from(QUIET);
    for n in 0..4000 {
        burst.push_str(&format!(
            "SUB s.{n} {n}\r\nCONNECT {{}}\r\nPUB s.{n} 1\r\nx\r\nUNSUB {n}\r\n"
        ));
    }
    burst.push_str("PING\r\n");
    client.send(burst).await;
    for n in 0..4000 {
        client.expect(&format!("MSG s.{n} {n} 1\r\nx\r\n")).await;
    }
    client.expect("PONG\r\n").await;
}

#[tokio::test]
async fn the_silent_do_not_take_places_for_ever() {
    let broker = broker(serde_json::json!({
        "limits": { "auth_timeout": "100ms", "max_connections": 10 },
        "authorization": { "token": "t" },
    }))
    .await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(Raw::dial(broker.address).await);
    }
    eventually("places are free", || broker.handle.stats().connections == 0).await;
    let mut client = broker.raw().await;
    client
        .send("CONNECT {\"verbose\":false,\"auth_token\":\"t\"}\r\n")
        .await;
    client.sync().await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    client.sync().await;
}
