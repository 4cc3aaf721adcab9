//! Those who make work: whatever one turn of theirs would take, the others have theirs in between.

use serde_json::json;

use super::support::{PATIENCE, QUIET, Raw, TestBroker, broker};
use super::{PROMPT, round_trip, witness};

/// All connections share one worker, so that nobody is spared.
async fn crowded() -> TestBroker {
    broker(json!({ "workers": 1 })).await
}

/// What `attack` makes the broker do takes long; others are served meanwhile. Returns the attacker, who has
/// not heard that all is done.
async fn others_are_served(
    broker: &TestBroker,
    mut attacker: Raw,
    attack: impl AsRef<[u8]>,
) -> Raw {
    let mut innocent = witness(broker).await;
    attacker.send(attack).await;
    for _ in 0..20 {
        assert!(round_trip(&mut innocent).await < PROMPT);
    }
    attacker
}

/// One who has sent `lines` and been heard.
async fn prepared(broker: &TestBroker, hello: &str, lines: impl Iterator<Item = String>) -> Raw {
    let mut raw = broker.greeted(hello).await;
    let lines: String = lines.collect();
    raw.send(lines).await;
    raw.sync().await;
    raw
}

const DEAF: &str = "CONNECT {\"verbose\":false,\"echo\":false}\r\n";

#[tokio::test]
async fn messages_to_very_many() {
    let broker = crowded().await;
    let many = (0..30_000).map(|n| format!("SUB f {n}\r\n"));
    let attacker = prepared(&broker, DEAF, many).await;
    let attacker = others_are_served(&broker, attacker, "PUB f 0\r\n\r\n".repeat(20_000)).await;
    // Nobody waits for what is left of it.
    drop(attacker);
    broker.shutdown.cancel();
    let ended = tokio::time::timeout(PATIENCE, broker.running).await;
    assert!(ended.is_ok(), "it goes on and on");
}

#[tokio::test]
async fn messages_to_very_many_who_are_gone() {
    let broker = crowded().await;
    let many = (0..30_000).map(|n| format!("SUB f {n}\r\n"));
    // It does not read, and so is cut off by its own messages; the rest of them reaches nobody.
    let attacker = prepared(&broker, QUIET, many).await;
    let _attacker = others_are_served(&broker, attacker, "PUB f 0\r\n\r\n".repeat(20_000)).await;
}

#[tokio::test]
async fn subjects_that_match_halfway_in_every_way() {
    let broker = crowded().await;
    // All combinations of `a` and `*`: each token of a subject doubles the ways to go on.
    let patterns = (0..1 << 12).map(|n: u32| {
        let tokens = (0..12).map(|bit| if n >> bit & 1 == 0 { "a." } else { "*." });
        format!("SUB {}b {n}\r\n", tokens.collect::<String>())
    });
    let attacker = prepared(&broker, QUIET, patterns).await;
    let subjects = (0..6000).map(|n| format!("PUB {}c{n} 0\r\n\r\n", "a.".repeat(12)));
    others_are_served(&broker, attacker, subjects.collect::<String>()).await;
}

#[tokio::test]
async fn very_many_queue_groups_of_one_subject() {
    let broker = crowded().await;
    let groups = (0..10_000).flat_map(|n| {
        ["*", ">"].map(|wildcard| format!("SUB g.{wildcard} {wildcard}{n} {wildcard}{n}\r\n"))
    });
    let attacker = prepared(&broker, DEAF, groups).await;
    let mut attacker = others_are_served(&broker, attacker, "PUB g.x 0\r\n\r\n".repeat(5)).await;
    attacker.sync().await;
}

#[tokio::test]
async fn changes_where_very_many_listen() {
    let broker = crowded().await;
    let many = (0..30_000).map(|n| format!("SUB c {n}\r\n"));
    let attacker = prepared(&broker, DEAF, many).await;
    // What a message has found is not to be changed: it would have to be copied each time.
    let changes = (0..3000).map(|n| format!("PUB c 0\r\n\r\nPUB c 0\r\n\r\nSUB c x{n}\r\n"));
    others_are_served(&broker, attacker, changes.collect::<String>()).await;
}

#[tokio::test]
async fn many_groups_are_still_one_member_each() {
    let broker = crowded().await;
    let mut client = broker.greeted(QUIET).await;
    let mut lines = String::new();
    for n in 0..100 {
        lines.push_str(&format!("SUB g.* q{n} {n}a\r\nSUB g.> q{n} {n}b\r\n"));
    }
    lines.push_str("PUB g.x 0\r\n\r\n");
    client.send(lines).await;
    let mut groups = Vec::new();
    for _ in 0..100 {
        let (_, sid, _, _) = client.message().await;
        groups.push(sid[..sid.len() - 1].parse::<u32>().unwrap());
    }
    client.sync().await;
    groups.sort_unstable();
    assert_eq!(groups, (0..100).collect::<Vec<_>>());
}
