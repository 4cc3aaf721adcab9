//! Clusters of genuine nats-servers and ours, each server killed and cut off in turn.

use std::time::Duration;

use crate::support::{HELLO, PATIENCE, Raw, connected, line, sync};
use crate::town::{Program, Town, is_open, new, old, ours, visit, wait_for};

/// A cluster of three in this order; the last two only know the first.
macro_rules! cluster {
    ($($name:ident: $first:ident, $second:ident, $third:ident;)*) => {$(
        #[test]
        fn $name() {
            if let [Some(first), Some(second), Some(third)] = [$first(), $second(), $third()] {
                live([first, second, third]);
            }
        }
    )*};
}

cluster! {
    privileged_ours_joins_two_of_2_9: old, old, ours;
    privileged_two_of_2_9_join_ours: ours, old, old;
    privileged_ours_joins_two_of_2_15: new, new, ours;
    privileged_two_of_2_15_join_ours: ours, new, new;
    privileged_two_of_ours_join_2_9: old, ours, ours;
    privileged_two_of_ours_join_2_15: new, ours, ours;
    privileged_ours_and_2_15_join_ours: ours, new, ours;
    privileged_each_kind_once: old, ours, new;
    privileged_three_of_ours: ours, ours, ours;
}

fn live(programs: [Program; 3]) {
    visit(&programs, async |mut town: Town| {
        for at in 0..3 {
            wait_for(town.house(at).clients, PATIENCE);
        }
        all_hear_each_other(&mut town).await;
        each_message_comes_once(&mut town).await;
        groups_are_served_by_weight(&mut town).await;
        for at in 0..3 {
            killed_and_back(&mut town, at).await;
        }
        for at in 0..3 {
            cut_off_and_back(&mut town, at).await;
        }
        each_message_comes_once(&mut town).await;
    });
}

async fn client(town: &mut Town, at: usize) -> Raw {
    let mut raw = Raw::dial(town.house(at).clients).await;
    raw.send(HELLO).await;
    sync(&mut raw).await;
    raw
}

async fn all_hear_each_other(town: &mut Town) {
    for one in 0..3 {
        for other in 0..3 {
            let (mut from, mut to) = (client(town, one).await, client(town, other).await);
            connected(&mut from, &mut to).await;
        }
    }
}

async fn each_message_comes_once(town: &mut Town) {
    for at in 0..3 {
        let mut from = client(town, at).await;
        let mut all = Vec::new();
        for other in 0..3 {
            let mut to = client(town, other).await;
            to.send("SUB once.* 1\r\nSUB once.more 2\r\n").await;
            sync(&mut to).await;
            connected(&mut from, &mut to).await;
            all.push(to);
        }
        for n in 0..20 {
            from.send(format!(
                "PUB once.more r.{n} 1\r\nx\r\nHPUB once.x 12 13\r\nNATS/1.0\r\n\r\ny\r\n"
            ))
            .await;
        }
        sync(&mut from).await;
        for to in &mut all {
            let (mut plain, mut headed) = (0, 0);
            while plain < 40 || headed < 20 {
                match line(to).await.as_str() {
                    line if line.starts_with("MSG once.more ") => plain += 1,
                    "HMSG once.x 1 12 13" => headed += 1,
                    "x" | "y" | "NATS/1.0" | "" => {}
                    other => panic!("{other:?}"),
                }
            }
            // The last payload, and nothing after it.
            while line(to).await != "y" {}
            connected(&mut from, to).await;
        }
    }
}

async fn groups_are_served_by_weight(town: &mut Town) {
    let mut from = client(town, 0).await;
    let mut one = client(town, 1).await;
    let mut other = client(town, 2).await;
    one.send("SUB work q 1\r\n").await;
    sync(&mut one).await;
    other
        .send("SUB work q 1\r\nSUB work q 2\r\nSUB work q 3\r\n")
        .await;
    sync(&mut other).await;
    connected(&mut from, &mut one).await;
    connected(&mut from, &mut other).await;
    for _ in 0..400 {
        from.send("PUB work 0\r\n\r\n").await;
    }
    sync(&mut from).await;
    // What comes after them has come over the same routes.
    let (mut mark_one, mut mark_other) = (client(town, 1).await, client(town, 2).await);
    connected(&mut from, &mut mark_one).await;
    connected(&mut from, &mut mark_other).await;
    let (by_one, by_other) = (count(&mut one).await, count(&mut other).await);
    assert_eq!(by_one + by_other, 400);
    assert!(
        (50..150).contains(&by_one),
        "{by_one} of 400, a quarter is due"
    );
}

/// Messages that have come.
async fn count(raw: &mut Raw) -> usize {
    raw.send("PING\r\n").await;
    let mut messages = 0;
    loop {
        match line(raw).await.as_str() {
            "PONG" => return messages,
            line if line.starts_with("MSG ") => messages += 1,
            _ => {}
        }
    }
}

/// A server dies. The others go on, its clients are told where to go, and it is found again.
async fn killed_and_back(town: &mut Town, at: usize) {
    let (one, other) = ((at + 1) % 3, (at + 2) % 3);
    let told = Raw::dial(town.house(at).clients).await;
    let urls = told.info["connect_urls"].to_string();
    for there in [one, other] {
        let url = town.house(there).clients.to_string();
        assert!(urls.contains(&url), "{url} is not among {urls}");
    }
    let mut from = client(town, one).await;
    let mut to = client(town, other).await;
    connected(&mut from, &mut to).await;
    town.house(at).kill();
    connected(&mut from, &mut to).await;
    connected(&mut to, &mut from).await;
    town.house(at).start();
    let address = town.house(at).clients;
    wait_for(address, PATIENCE);
    all_hear_each_other(town).await;
}

/// A server cannot be reached for a while, longer than the others wait for it.
async fn cut_off_and_back(town: &mut Town, at: usize) {
    let (one, other) = ((at + 1) % 3, (at + 2) % 3);
    town.plug(at, false);
    assert!(!is_open(town.house(at).clients), "the plug is not pulled");
    let mut from = client(town, one).await;
    let mut to = client(town, other).await;
    for _ in 0..5 {
        connected(&mut from, &mut to).await;
        connected(&mut to, &mut from).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    town.plug(at, true);
    drop((from, to));
    all_hear_each_other(town).await;
}
