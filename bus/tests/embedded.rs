//! A broker inside a program of somebody else's, which goes on when the broker has ended.
//!
//! Alone in its process, as it counts what the process has.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use cupola_bus::{Config, Listeners};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

/// How many sockets and means to wait for them are open, by kind, and how many of the broker's threads there are.
fn possessions() -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        // One may have gone, as that of this folder will have.
        let Ok(target) = std::fs::read_link(entry.unwrap().path()) else {
            continue;
        };
        let target = target.to_string_lossy();
        let kind = target.split_once(":[").map_or(&*target, |(kind, _)| kind);
        if matches!(kind, "anon_inode" | "socket") {
            let kind = if kind == "socket" { kind } else { &target };
            *counts.entry(kind.to_owned()).or_default() += 1;
        }
    }
    for entry in std::fs::read_dir("/proc/self/task").unwrap() {
        let name = std::fs::read_to_string(entry.unwrap().path().join("comm")).unwrap_or_default();
        if name.starts_with("bus-") {
            *counts.entry("threads".to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Asks again and again, so that connections come together with whom is awake, and hears each answer.
fn chat(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = BufReader::new(client.try_clone().unwrap());
    let mut line = String::new();
    heard.read_line(&mut line).unwrap();
    client
        .write_all(b"CONNECT {\"verbose\":false}\r\n")
        .unwrap();
    for _ in 0..1000 {
        client.write_all(b"PING\r\n").unwrap();
        line.clear();
        heard.read_line(&mut line).unwrap();
        assert_eq!(line, "PONG\r\n");
    }
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_a_broker_that_has_ended() {
    let live = async || {
        let config: Config = serde_json::from_value(serde_json::json!({
            "listen": "127.0.0.1:0", "workers": 2, "stay_awake": true,
            "monitor": "127.0.0.1:0",
        }))
        .unwrap();
        let broker = cupola_bus::build(config, Listeners::default())
            .await
            .unwrap();
        let address = broker.client_address().unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(broker.run(stop.clone()));
        let chats: Vec<_> = (0..4)
            .map(|_| tokio::task::spawn_blocking(move || chat(address)))
            .collect();
        for chat in chats {
            drop(chat.await.unwrap());
        }
        stop.cancel();
        running.await.unwrap().unwrap();
    };
    let before = possessions();
    for _ in 0..4 {
        live().await;
    }
    let deadline = Instant::now() + PATIENCE;
    while possessions() != before {
        let now = possessions();
        assert!(Instant::now() < deadline, "{before:?} became {now:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
