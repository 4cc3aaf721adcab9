//! Those who make the broker keep things: all together may hold so much, and who holds most has to go.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::{QUIET, Raw, TestBroker, broker, eventually};
use super::{PROMPT, memory_of_this_process, page, round_trip, witness};

/// What all connections of these tests may hold.
const MOST: usize = 24 << 20;

async fn modest() -> TestBroker {
    broker(json!({ "monitor": "127.0.0.1:0", "limits": { "max_memory": MOST } })).await
}

/// A number of the page for Prometheus.
async fn metric(broker: &TestBroker, name: &str) -> usize {
    let page = page(broker.monitor.unwrap(), "/metrics").await;
    let name = format!("cupola_bus_{name} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn many_who_do_not_read() {
    let broker = modest().await;
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let mut raw = broker.greeted(QUIET).await;
        raw.send("SUB flood 1\r\n").await;
        raw.sync().await;
        stuck.push(raw);
    }
    let mut innocent = witness(&broker).await;
    innocent.send("SUB flood 2\r\n").await;
    innocent.sync().await;
    let mut publisher = broker.greeted(QUIET).await;
    let frame = format!("PUB flood 100000\r\n{}\r\n", "x".repeat(100_000));
    // Far below what each of them may hold, and far above what all may: 20 MB for each, 400 together.
    for _ in 0..200 {
        publisher.send(&frame).await;
        innocent.expect("MSG flood 2 100000\r\n").await;
        innocent.bytes(100_002).await;
        assert!(metric(&broker, "waiting_bytes").await <= MOST + (4 << 20));
    }
    publisher.sync().await;
    assert!(round_trip(&mut innocent).await < PROMPT);
    let cut = metric(&broker, "cut_for_memory_total").await;
    assert!(cut > 0 && broker.handle.stats().slow_consumers >= cut as u64);
    drop(stuck);
    eventually("they are gone", || broker.handle.stats().connections == 2).await;
    assert!(metric(&broker, "waiting_bytes").await < 1 << 20);
}

#[tokio::test]
async fn many_who_begin_and_do_not_go_on() {
    let broker = modest().await;
    let mut innocent = witness(&broker).await;
    let frame = format!("PUB big 1000000\r\n{}", "x".repeat(900_000));
    let mut waiting = Vec::new();
    for _ in 0..60 {
        let mut raw = broker.greeted(QUIET).await;
        // It may be cut off before all is sent.
        let _ = raw.socket.write_all(frame.as_bytes()).await;
        waiting.push(raw);
        assert!(metric(&broker, "waiting_bytes").await <= MOST + (1 << 20));
    }
    eventually("some are gone", || broker.handle.stats().slow_consumers > 0).await;
    assert!(round_trip(&mut innocent).await < PROMPT);
    // One whose frame does become complete is let do so, as it has not waited for long.
    let mut honest = broker.greeted(QUIET).await;
    honest.send("SUB big 1\r\n").await;
    honest
        .send(format!("PUB big 900000\r\n{}\r\n", "y".repeat(900_000)))
        .await;
    honest.expect("MSG big 1 900000\r\n").await;
    drop((honest, waiting));
    eventually("they are gone", || broker.handle.stats().connections == 1).await;
    assert_eq!(metric(&broker, "waiting_bytes").await, 0);
}

#[tokio::test]
async fn subscriptions_take_half_of_it_at_most() {
    let broker = modest().await;
    let own = metric(&broker, "subscription_bytes").await;
    let mut greedy = broker.greeted(QUIET).await;
    let tokens = vec!["a"; 500].join(".");
    // About 50 KB each.
    for n in 0..500 {
        greedy.send(format!("SUB {n}.{tokens}.* {n}\r\n")).await;
    }
    let refusal = "-ERR 'maximum subscriptions exceeded'";
    assert_eq!(greedy.line().await, refusal);
    let taken = metric(&broker, "subscription_bytes").await;
    assert!((MOST / 2..MOST / 2 + 100_000).contains(&taken), "{taken}");
    let mut late = broker.greeted(QUIET).await;
    late.send("SUB a 1\r\n").await;
    assert_eq!(late.line().await, refusal);
    drop(greedy);
    eventually("they are gone", || {
        broker.handle.stats().subscriptions.len == 0
    })
    .await;
    late.send("SUB a 1\r\nPUB a 0\r\n\r\n").await;
    late.expect("MSG a 1 0\r\n\r\n").await;
    drop::<Raw>(late);
    eventually("they are gone", || broker.handle.stats().connections == 0).await;
    assert_eq!(metric(&broker, "subscription_bytes").await, own);
}

#[tokio::test]
async fn what_is_remembered_of_those_who_are_gone() {
    const COUNT: usize = 800;
    let broker = modest().await;
    let mut innocent = witness(&broker).await;
    let name = "n".repeat(3000);
    let hello = format!("CONNECT {{\"verbose\":false,\"name\":\"{name}\"}}\r\n");
    let long = "s".repeat(4000);
    let lines = (0..16).map(|n| format!("SUB {n}.{long} {n}\r\n"));
    let lines: String = lines.collect();
    let before = memory_of_this_process();
    for _ in 0..COUNT {
        let mut raw = broker.greeted(&hello).await;
        raw.send(&lines).await;
        raw.sync().await;
    }
    eventually("they are gone", || broker.handle.stats().connections == 1).await;
    let each = memory_of_this_process().saturating_sub(before) / COUNT;
    assert!(each < 16 << 10, "{each} bytes of each are remembered");
    assert!(round_trip(&mut innocent).await < PROMPT);
    // Names are cut, not lost.
    let page = page(broker.monitor.unwrap(), "/connz?state=closed&limit=1").await;
    assert!(page.contains("\"nnnnnnnn") && page.len() < 2000, "{page}");
}

/// The most memory this process has had since it was last asked to count anew.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib = line.trim().trim_end_matches(" kB");
    kib.parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn one_message_to_very_many() {
    let broker = modest().await;
    let mut readers = Vec::new();
    for _ in 0..100 {
        let mut raw = broker.greeted(QUIET).await;
        raw.send("SUB all 1\r\n").await;
        raw.sync().await;
        readers.push(raw.socket);
    }
    let frame = format!("PUB all 1000000\r\n{}\r\n", "x".repeat(1_000_000));
    let wanted = "MSG all 1 1000000\r\n".len() + 1_000_002;
    let mut publisher = broker.greeted(QUIET).await;
    let reading = readers.into_iter().map(|mut socket| {
        tokio::spawn(async move {
            let mut scrap = [0; 16 << 10];
            let mut count = 0;
            while count < wanted {
                count += socket.read(&mut scrap).await.unwrap();
            }
            socket
        })
    });
    let reading: Vec<_> = reading.collect();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    // A hundred megabytes, of which a part is on its way before the last of it is made.
    publisher.send(frame).await;
    for reader in reading {
        reader.await.unwrap();
    }
    let more = peak() - before;
    assert!(more < 50 << 20, "{} MiB were held", more >> 20);
    assert_eq!(metric(&broker, "cut_for_memory_total").await, 0);
}
