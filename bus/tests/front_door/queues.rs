//! Queue groups: exactly one member per message.

use std::collections::HashMap;

use super::support::{QUIET, plain};

#[tokio::test]
async fn one_member_of_each_group_gets_each_message() {
    const MESSAGES: usize = 3000;
    let broker = plain().await;
    let mut members = Vec::new();
    for (n, line) in [
        "SUB job work 1\r\n",
        "SUB job work 1\r\n",
        "SUB job.* other 9\r\nSUB job work 1\r\nSUB job work 2\r\n",
        "SUB job audit 1\r\n",
        "SUB job 1\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let mut member = broker.greeted(QUIET).await;
        member.send(line).await;
        member.sync().await;
        members.push((n, member));
    }
    let mut publisher = broker.greeted(QUIET).await;
    for n in 0..MESSAGES {
        let body = n.to_string();
        publisher
            .send(format!("PUB job {}\r\n{body}\r\n", body.len()))
            .await;
    }
    publisher.sync().await;
    let mut counts = HashMap::new();
    let mut work = vec![0; MESSAGES];
    for (n, member) in &mut members {
        // A PING of its own marks the end of what there is for it.
        member.send("PING\r\n").await;
        let mut last = None;
        loop {
            let line = member.line().await;
            if line == "PONG" {
                break;
            }
            assert!(line.starts_with("MSG job "), "{line}");
            let number: usize = member.line().await.parse().unwrap();
            assert!(last < Some(number), "out of order");
            last = Some(number);
            *counts.entry(*n).or_insert(0) += 1;
            if *n < 3 {
                work[number] += 1;
            }
        }
    }
    assert!(
        work.iter().all(|count| *count == 1),
        "a message came twice or never"
    );
    assert_eq!((counts[&3], counts[&4]), (MESSAGES, MESSAGES));
    // Random choice: nobody is left out (member 2 has two subscriptions of four).
    assert!(counts[&0] > MESSAGES / 8 && counts[&1] > MESSAGES / 8 && counts[&2] > MESSAGES / 3);
}

#[tokio::test]
async fn a_group_of_one_name_is_one_group_across_subjects() {
    let broker = plain().await;
    let mut client = broker.greeted(QUIET).await;
    client
        .send("SUB foo.* q 1\r\nSUB foo.bar q 1\r\nSUB foo.bar r 2\r\n")
        .await;
    client.send("SUB foo.> q 3\r\n").await;
    for _ in 0..20 {
        client.send("PUB foo.bar 0\r\n\r\n").await;
    }
    client.sync_after(40).await;
}

#[tokio::test]
async fn a_member_that_cannot_take_it_is_passed_over() {
    let broker = plain().await;
    let mut deaf = broker
        .greeted("CONNECT {\"verbose\":false,\"echo\":false}\r\n")
        .await;
    let mut other = broker.greeted(QUIET).await;
    deaf.send("SUB job q 1\r\n").await;
    deaf.sync().await;
    other.send("SUB job q 1\r\n").await;
    other.sync().await;
    for _ in 0..50 {
        deaf.send("PUB job 0\r\n\r\n").await;
    }
    deaf.sync().await;
    for _ in 0..50 {
        other.expect("MSG job 1 0\r\n\r\n").await;
    }
    other.sync().await;
}

impl super::support::Raw {
    /// Exactly `count` messages come, then the answer to a PING.
    async fn sync_after(&mut self, count: usize) {
        self.send("PING\r\n").await;
        for _ in 0..count {
            self.message().await;
        }
        self.expect("PONG\r\n").await;
    }
}
