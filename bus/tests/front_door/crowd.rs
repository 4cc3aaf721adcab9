//! Many at once: order, completeness and exactly-once, under churn.

use std::collections::HashMap;

use super::support::{QUIET, plain};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_per_publisher_and_receiver_and_nothing_is_lost() {
    const PUBLISHERS: usize = 4;
    const RECEIVERS: usize = 5;
    const EACH: usize = 2000;
    let broker = plain().await;
    let mut receivers = Vec::new();
    for n in 0..RECEIVERS {
        let mut receiver = broker.greeted(QUIET).await;
        // Literal, wildcards of both kinds, and a group of two.
        let subject = ["SUB crowd.x 1\r\n", "SUB crowd.* 1\r\n", "SUB > 1\r\n"]
            .get(n)
            .copied()
            .unwrap_or("SUB crowd.x team 1\r\n");
        receiver.send(subject).await;
        receiver.sync().await;
        receivers.push(receiver);
    }
    // Somebody comes and goes all the time.
    let mut churn = broker.greeted(QUIET).await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let churning = tokio::spawn(async move {
        while stopped.try_recv().is_err() {
            churn
                .send("SUB crowd.y 1\r\nSUB *.y 2\r\nUNSUB 1\r\nUNSUB 2\r\n")
                .await;
            churn.sync().await;
        }
    });
    let mut sending = Vec::new();
    for p in 0..PUBLISHERS {
        let mut publisher = broker.greeted(QUIET).await;
        sending.push(tokio::spawn(async move {
            let mut n = 0;
            while n < EACH {
                let mut burst = String::new();
                for _ in 0..(1 + n % 37).min(EACH - n) {
                    let body = format!("{p} {n}");
                    burst.push_str(&format!("PUB crowd.x {}\r\n{body}\r\n", body.len()));
                    n += 1;
                }
                publisher.send(burst).await;
            }
            publisher.sync().await;
        }));
    }
    let mut reading = Vec::new();
    for (r, mut receiver) in receivers.into_iter().enumerate() {
        reading.push(tokio::spawn(async move {
            let mut last: HashMap<usize, usize> = HashMap::new();
            let mut count = 0;
            let mut seen = Vec::new();
            // Group members do not know how much is theirs; they read until a PONG after the end.
            while r >= 3 || count < PUBLISHERS * EACH {
                let line = receiver.line().await;
                if line.is_empty() {
                    break;
                }
                assert!(line.starts_with("MSG crowd.x 1 "), "{line}");
                let body = receiver.line().await;
                if body == "end" {
                    break;
                }
                let (p, n) = body.split_once(' ').unwrap();
                let (p, n): (usize, usize) = (p.parse().unwrap(), n.parse().unwrap());
                if let Some(before) = last.insert(p, n) {
                    assert!(
                        before < n && (r >= 3 || before + 1 == n),
                        "out of order: {before} {n}"
                    );
                }
                seen.push((p, n));
                count += 1;
            }
            seen
        }));
    }
    for task in sending {
        task.await.unwrap();
    }
    // Ends the reading of the group's members, one "end" each: they get them in turn.
    let mut team: Vec<(usize, usize)> = Vec::new();
    let mut last = broker.greeted(QUIET).await;
    let members: Vec<_> = reading.split_off(3);
    while members.iter().any(|member| !member.is_finished()) {
        last.send("PUB crowd.x 3\r\nend\r\n").await;
        last.sync().await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    for member in members {
        team.extend(member.await.unwrap());
    }
    for reader in reading {
        assert_eq!(reader.await.unwrap().len(), PUBLISHERS * EACH);
    }
    team.sort_unstable();
    let all: Vec<_> = (0..PUBLISHERS)
        .flat_map(|p| (0..EACH).map(move |n| (p, n)))
        .collect();
    assert!(team == all, "a group's message came twice or never");
    stop.send(()).unwrap();
    churning.await.unwrap();
}

#[tokio::test]
async fn a_subscription_counts_as_soon_as_it_is_confirmed() {
    let broker = plain().await;
    let mut publisher = broker.greeted(QUIET).await;
    let mut subscriber = broker.greeted(QUIET).await;
    for n in 0..300 {
        let (subject, sid) = (if n % 2 == 0 { "now" } else { "*" }, n);
        // Published before: into the cache without it.
        publisher.send("PUB now 0\r\n\r\nPUB now 0\r\n\r\n").await;
        publisher.sync().await;
        subscriber.send(format!("SUB {subject} {sid}\r\n")).await;
        subscriber.sync().await;
        publisher.send("PUB now 0\r\n\r\n").await;
        subscriber.expect(&format!("MSG now {sid} 0\r\n\r\n")).await;
        subscriber.send(format!("UNSUB {sid}\r\n")).await;
        subscriber.sync().await;
    }
}
