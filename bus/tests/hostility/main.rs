//! Those who mean harm: whatever they do, the others are served in time and memory stays bounded.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[path = "../front_door/certificates.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod certificates;
mod descriptors;
mod leaving;
mod memory;
mod monitoring;
mod program;
mod requests;
#[path = "../front_door/spoken.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod spoken;
#[path = "../front_door/support.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod support;
mod turns;
mod wires;

use support::{PATIENCE, QUIET, Raw, TestBroker, broker, eventually, plain};

/// How long a round trip of somebody innocent may take on a busy machine.
const PROMPT: Duration = Duration::from_secs(2);

/// One who publishes to itself; measures how long that takes.
async fn round_trip(witness: &mut Raw) -> Duration {
    let begun = Instant::now();
    witness.send("PUB calm 2\r\nok\r\n").await;
    witness.expect("MSG calm 1 2\r\nok\r\n").await;
    begun.elapsed()
}

async fn witness(broker: &TestBroker) -> Raw {
    let mut witness = broker.greeted(QUIET).await;
    witness.send("SUB calm 1\r\n").await;
    witness.sync().await;
    witness
}

/// Sends all of it, or as much as the server wants to read.
async fn push(address: std::net::SocketAddr, bytes: Vec<u8>) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let sent = tokio::time::timeout(PATIENCE, socket.write_all(&bytes)).await;
    assert!(sent.is_ok(), "it is neither read nor refused");
    socket
}

/// What monitoring has to say.
async fn page(monitor: std::net::SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(monitor).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Bytes of memory this process has, and with it the broker in it.
fn memory_of_this_process() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn connections_that_come_and_go_at_once() {
    let broker = plain().await;
    let mut innocent = witness(&broker).await;
    for round in 0..20 {
        let mut flood = Vec::new();
        for _ in 0..100 {
            let mut socket = TcpStream::connect(broker.address).await.unwrap();
            // Some say hello, some half of it, some nothing.
            let hello = &QUIET.as_bytes()[..QUIET.len() * (round % 3) / 2];
            socket.write_all(hello).await.unwrap();
            flood.push(socket);
        }
        assert!(round_trip(&mut innocent).await < PROMPT);
    }
    eventually("the flood is over", || {
        broker.handle.stats().connections == 1
    })
    .await;
}

#[tokio::test]
async fn one_byte_at_a_time_does_not_put_off_the_deadline() {
    let broker = broker(json!({
        "limits": { "auth_timeout": "300ms" },
        "authorization": { "token": "t" },
    }))
    .await;
    let begun = Instant::now();
    let mut slow = Raw::dial(broker.address).await;
    // It always has something to say, and never comes to its end.
    for byte in "CONNECT {\"name\":\""
        .bytes()
        .chain(std::iter::repeat(b'a'))
    {
        if slow.socket.write_all(&[byte]).await.is_err() || broker.handle.stats().connections == 0 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it may go on for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn lines_without_end() {
    let broker = plain().await;
    let mut innocent = witness(&broker).await;
    for start in [
        "",
        "SUB ",
        "PUB ",
        "CONNECT {",
        "PING",
        "-ERR ",
        "+OK",
        "UNSUB ",
    ] {
        for filler in [b'a', b' ', b'.', b'\0', 0xff] {
            let mut line = start.as_bytes().to_vec();
            line.resize(1 << 20, filler);
            let mut socket = TcpStream::connect(broker.address).await.unwrap();
            // It is hung up on long before all of it is sent.
            let _ = socket.write_all(&line).await;
            let mut rest = Vec::new();
            let ended = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "{start} and then {filler:#04x} goes on");
        }
    }
    assert!(round_trip(&mut innocent).await < PROMPT);
    eventually("they are gone", || broker.handle.stats().connections == 1).await;
}

#[tokio::test]
async fn the_refused_who_go_on_talking() {
    let token = json!({ "authorization": { "token": "t" }, "workers": 1 });
    let broker = broker(token).await;
    let hello = "CONNECT {\"verbose\":false,\"auth_token\":\"t\"}\r\n";
    let mut innocent = broker.greeted(hello).await;
    innocent.send("SUB calm 1\r\n").await;
    innocent.sync().await;
    let mut talk = b"CONNECT {\"auth_token\":\"no\"}\r\n".to_vec();
    talk.extend(b"PING\r\n".repeat(10_000));
    let talk = std::sync::Arc::new(talk);
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (talk, address) = (std::sync::Arc::clone(&talk), broker.address);
        // Those who are sent away come again.
        flood.spawn(async move {
            loop {
                let mut socket = TcpStream::connect(address).await.unwrap();
                while socket.write_all(&talk).await.is_ok() {}
            }
        });
    }
    let (begun, mut trips) = (Instant::now(), 0);
    while begun.elapsed() < PROMPT {
        assert!(round_trip(&mut innocent).await < PROMPT);
        trips += 1;
    }
    // Not one for each quarter of a second, for which they are heard out.
    assert!(trips > 50, "{trips} round trips");
}

#[tokio::test]
async fn json_of_all_evil_kinds() {
    let broker = plain().await;
    let mut innocent = witness(&broker).await;
    let deep = |open: &str, close: &str| open.repeat(600) + &close.repeat(600);
    for json in [
        deep("[", "]"),
        format!("{{\"name\":{}}}", deep("{\"a\":", "1}")),
        "{\"name\":\"\\ud800\"}".to_owned(),
        "{\"protocol\":1e999}".to_owned(),
        "{\"protocol\":99999999999999999999}".to_owned(),
        "{\"verbose\":\"yes\"}".to_owned(),
        "{\"name\":\"".to_owned() + &"é".repeat(1500) + "\"}",
        "{} {}".to_owned(),
        String::new(),
    ] {
        let mut raw = broker.raw().await;
        let _ = raw
            .socket
            .write_all(format!("CONNECT {json}\r\nPING\r\n").as_bytes())
            .await;
        drop(raw);
    }
    assert!(round_trip(&mut innocent).await < PROMPT);
    eventually("they are gone", || broker.handle.stats().connections == 1).await;
}

#[tokio::test]
async fn bytes_that_are_no_text_are_subjects_like_others() {
    let broker = plain().await;
    let mut innocent = witness(&broker).await;
    let mut odd = broker.greeted(QUIET).await;
    odd.send(b"SUB \xff\xfe.\x80 \xc3\r\nPUB \xff\xfe.\x80 3\r\n\0\xff\xf0\r\n")
        .await;
    let wanted = b"MSG \xff\xfe.\x80 \xc3 3\r\n\0\xff\xf0\r\n";
    assert_eq!(odd.bytes(wanted.len()).await, wanted);
    odd.sync().await;
    assert!(round_trip(&mut innocent).await < PROMPT);
}

#[tokio::test]
async fn subjects_of_very_many_tokens() {
    let broker = broker(json!({ "limits": { "max_control_line": "1MB" } })).await;
    let mut innocent = witness(&broker).await;
    let mut deep = broker.greeted(QUIET).await;
    let tokens = 30_000;
    let literal = vec!["a"; tokens].join(".");
    // Each level is open both ways, the worst there is for a trie.
    for n in 0..20 {
        let mut pattern = vec!["a"; tokens];
        pattern[n] = "*";
        pattern[tokens - 1 - n] = "*";
        deep.send(format!("SUB {} {n}\r\n", pattern.join(".")))
            .await;
    }
    deep.send(format!("PUB {literal} 0\r\n\r\n")).await;
    for _ in 0..20 {
        assert!(deep.line().await.starts_with("MSG a.a."));
        deep.line().await;
    }
    assert!(round_trip(&mut innocent).await < PROMPT);
    drop(deep);
    eventually("they are gone", || {
        broker.handle.stats().subscriptions.len == 1
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_subscriptions() {
    let broker = broker(json!({ "workers": 1 })).await;
    let mut innocent = witness(&broker).await;
    let mut flood = Vec::new();
    for n in 0..100_000 {
        flood.extend_from_slice(format!("SUB f.{n}.* {n}\r\n").as_bytes());
    }
    let flooding = tokio::spawn(push(broker.address, flood));
    while !flooding.is_finished() {
        assert!(round_trip(&mut innocent).await < PROMPT);
    }
    let socket = flooding.await.unwrap();
    eventually("all are there", || {
        broker.handle.stats().subscriptions.len == 100_001
    })
    .await;
    drop(socket);
    eventually("all are gone", || {
        broker.handle.stats().subscriptions.len == 1
    })
    .await;
    assert!(round_trip(&mut innocent).await < PROMPT);
}

#[tokio::test]
async fn one_who_reads_slowly_does_not_hold_up_the_others() {
    let broker = broker(json!({ "limits": { "max_pending": "4MiB" } })).await;
    let mut slow = broker.greeted(QUIET).await;
    slow.send("SUB flood 1\r\n").await;
    slow.sync().await;
    let dripping = tokio::spawn(async move {
        let mut drop = [0; 512];
        while slow
            .socket
            .read(&mut drop)
            .await
            .is_ok_and(|count| count > 0)
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let mut healthy = witness(&broker).await;
    let mut publisher = broker.greeted(QUIET).await;
    let frame = format!(
        "PUB flood 8000\r\n{}\r\nPUB calm 2\r\nok\r\n",
        "x".repeat(8000)
    );
    let mut longest = Duration::ZERO;
    for _ in 0..2000 {
        let begun = Instant::now();
        publisher.send(&frame).await;
        healthy.expect("MSG calm 1 2\r\nok\r\n").await;
        longest = longest.max(begun.elapsed());
    }
    assert!(longest < PROMPT, "a message took {longest:?}");
    dripping.abort();
}
