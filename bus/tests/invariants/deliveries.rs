//! What clients are promised, checked over real sockets: order per publisher and receiver, one member of
//! each group, nothing lost, nothing twice, and exactly as many as an auto-unsubscribe says, while others
//! come and go and streams arrive in pieces.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Barrier;

use super::plan::{Plan, Sub};
use super::reader::{Reader, Received};
use super::support::{TestBroker, broker};

/// What one client got, and what it had asked for.
struct Log {
    echo: Option<usize>,
    subs: Vec<Sub>,
    received: Vec<Received>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promises_hold_under_random_traffic() {
    for seed in super::seeds(10) {
        let workers = 1 + seed % 3;
        let broker = broker(serde_json::json!({ "workers": workers })).await;
        let plan = Arc::new(Plan::new(seed));
        let (members, drifters) = run(&broker, &plan, seed).await;
        for log in &members {
            check_order(log);
            for (sid, sub) in log.subs.iter().enumerate() {
                check_complete(&plan, log, sid, sub);
            }
        }
        for log in &drifters {
            check_order(log);
            for (sid, sub) in log.subs.iter().enumerate() {
                check_gapless(&plan, log, sid, sub);
            }
        }
        for group in ["red", "blue"] {
            check_group(&plan, &members, &drifters, group);
        }
        assert_eq!(broker.handle.stats().slow_consumers, 0);
    }
}

/// Runs the plan; gives what those who were always there got, and those who came and went.
async fn run(broker: &TestBroker, plan: &Arc<Plan>, seed: u64) -> (Vec<Log>, Vec<Log>) {
    let phase = Arc::new(Barrier::new(plan.clients.len()));
    let over = Arc::new(AtomicBool::new(false));
    let drifting: Vec<_> = (0..plan.drifters)
        .map(|n| {
            let (plan, over) = (Arc::clone(plan), Arc::clone(&over));
            let rng = StdRng::seed_from_u64(seed ^ (7000 + n as u64));
            tokio::spawn(drift(broker.address, plan, rng, over))
        })
        .collect();
    let taking_part: Vec<_> = (0..plan.clients.len())
        .map(|me| {
            let (plan, phase) = (Arc::clone(plan), Arc::clone(&phase));
            tokio::spawn(take_part(broker.address, plan, me, seed, phase))
        })
        .collect();
    let mut members = Vec::new();
    for task in taking_part {
        members.push(task.await.unwrap());
    }
    over.store(true, Ordering::Relaxed);
    let mut drifters = Vec::new();
    for task in drifting {
        drifters.extend(task.await.unwrap());
    }
    (members, drifters)
}

async fn connect(
    address: std::net::SocketAddr,
    headers: bool,
    echo: bool,
) -> (Reader, OwnedWriteHalf) {
    let socket = TcpStream::connect(address).await.unwrap();
    let (read, mut write) = socket.into_split();
    let mut reader = Reader::new(read, headers);
    assert!(reader.line().await.starts_with("INFO "));
    let hello = format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":{headers},\"echo\":{echo}}}\r\n"
    );
    write.write_all(hello.as_bytes()).await.unwrap();
    (reader, write)
}

/// A client of the plan: subscribes, publishes and reads at the same time, and leaves when all is said.
async fn take_part(
    address: std::net::SocketAddr,
    plan: Arc<Plan>,
    me: usize,
    seed: u64,
    phase: Arc<Barrier>,
) -> Log {
    let who = &plan.clients[me];
    let (mut reader, mut writer) = connect(address, who.headers, who.echo).await;
    let mut setup: String = (who.subs.iter().enumerate())
        .map(|(sid, sub)| sub.lines(sid))
        .collect();
    setup.push_str("PING\r\n");
    writer.write_all(setup.as_bytes()).await.unwrap();
    let early = reader.until_pong(&plan, &who.subs).await;
    assert_eq!(early, [], "nobody has published yet");
    phase.wait().await;
    let (own_done, own) = tokio::sync::oneshot::channel();
    let reading = {
        let plan = Arc::clone(&plan);
        tokio::spawn(async move {
            let subs = &plan.clients[me].subs;
            let mut received = reader.until_pong(&plan, subs).await;
            own_done.send(()).unwrap();
            received.extend(reader.until_pong(&plan, subs).await);
            received
        })
    };
    let mut rng = StdRng::seed_from_u64(seed ^ (9000 + me as u64));
    publish(&mut writer, &plan, me, &mut rng).await;
    own.await.unwrap();
    // Once everybody's messages are delivered, what is for this one lies before the next PONG.
    phase.wait().await;
    writer.write_all(b"PING\r\n").await.unwrap();
    let received = reading.await.unwrap();
    Log {
        echo: (!who.echo).then_some(me),
        subs: who.subs.clone(),
        received,
    }
}

/// Publishes all of a client's messages, in bursts that are cut anywhere.
async fn publish(writer: &mut OwnedWriteHalf, plan: &Plan, me: usize, rng: &mut StdRng) {
    let headers = plan.clients[me].headers;
    let mut next = 0;
    while next < plan.messages[me].len() {
        let mut burst = Vec::new();
        for _ in 0..rng.random_range(1..30) {
            if let Some(message) = plan.messages[me].get(next) {
                burst.extend(message.frame(me, next, headers));
                next += 1;
            }
        }
        let mut rest = burst.as_slice();
        while !rest.is_empty() {
            let most = if rng.random_bool(0.3) { 20 } else { 100_000 };
            let (head, tail) = rest.split_at(rng.random_range(0..most).min(rest.len()));
            writer.write_all(head).await.unwrap();
            tokio::task::yield_now().await;
            rest = tail;
        }
    }
    writer.write_all(b"PING\r\n").await.unwrap();
}

/// Comes, listens for a while and goes, again and again: politely, or just like that.
async fn drift(
    address: std::net::SocketAddr,
    plan: Arc<Plan>,
    mut rng: StdRng,
    over: Arc<AtomicBool>,
) -> Vec<Log> {
    let mut logs = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let (mut reader, mut writer) = connect(address, rng.random_bool(0.5), true).await;
        let subs: Vec<Sub> = (0..rng.random_range(1..5))
            .map(|_| Sub {
                max: None,
                ..Sub::random(&mut rng)
            })
            .collect();
        // What is on its way to one who just goes is lost; members of groups do not do that.
        let polite = subs.iter().any(|sub| sub.queue.is_some()) || rng.random_bool(0.5);
        let mut lines: String = (subs.iter().enumerate())
            .map(|(sid, sub)| sub.lines(sid))
            .collect();
        lines.push_str("PING\r\n");
        writer.write_all(lines.as_bytes()).await.unwrap();
        let mut received = reader.until_pong(&plan, &subs).await;
        for _ in 0..rng.random_range(0..5) {
            writer.write_all(b"PING\r\n").await.unwrap();
            received.extend(reader.until_pong(&plan, &subs).await);
        }
        if polite {
            let mut lines: String = (0..subs.len())
                .map(|sid| format!("UNSUB {sid}\r\n"))
                .collect();
            lines.push_str("PING\r\n");
            writer.write_all(lines.as_bytes()).await.unwrap();
            received.extend(reader.until_pong(&plan, &subs).await);
        }
        logs.push(Log {
            echo: None,
            subs,
            received,
        });
    }
    logs
}

/// The numbers of the messages of `from` that came for a subscription, as they came.
fn numbers(log: &Log, sid: usize, from: usize) -> Vec<usize> {
    (log.received.iter())
        .filter(|received| received.sid == sid && received.from == from)
        .map(|received| received.number)
        .collect()
}

/// The numbers of the messages of `from` that a subscription is for.
fn wanted(plan: &Plan, log: &Log, sub: &Sub, from: usize) -> Vec<usize> {
    if log.echo == Some(from) {
        return Vec::new();
    }
    (plan.messages[from].iter().enumerate())
        .filter(|(_, message)| sub.wants(&message.subject))
        .map(|(number, _)| number)
        .collect()
}

/// Nothing of one publisher comes before what it sent earlier, whichever subscription it is for.
fn check_order(log: &Log) {
    let mut last: HashMap<usize, usize> = HashMap::new();
    for received in &log.received {
        let before = last.insert(received.from, received.number).unwrap_or(0);
        assert!(
            before <= received.number,
            "out of order: {before}, {received:?}"
        );
    }
}

/// A subscription that was always there got all there was for it, or as much as it asked for.
fn check_complete(plan: &Plan, log: &Log, sid: usize, sub: &Sub) {
    if sub.queue.is_some() {
        return;
    }
    let (mut all, mut got) = (0, 0);
    for from in 0..plan.clients.len() {
        let (wanted, came) = (wanted(plan, log, sub, from), numbers(log, sid, from));
        assert!(
            wanted.starts_with(&came),
            "from {from} for {sub:?}: {came:?} of {wanted:?}"
        );
        assert!(
            sub.max.is_some() || wanted == came,
            "from {from} for {sub:?}: {came:?} of {wanted:?}"
        );
        all += wanted.len();
        got += came.len();
    }
    assert_eq!(got, all.min(sub.max.unwrap_or(all)), "{sub:?}");
}

/// A subscription that was there for a while missed nothing in between.
fn check_gapless(plan: &Plan, log: &Log, sid: usize, sub: &Sub) {
    for from in 0..plan.clients.len() {
        let (wanted, came) = (wanted(plan, log, sub, from), numbers(log, sid, from));
        let Some(first) = came.first() else { continue };
        let start = wanted.binary_search(first).unwrap();
        if sub.queue.is_none() {
            assert!(
                wanted[start..].starts_with(&came),
                "from {from} for {sub:?}: {came:?} of {wanted:?}"
            );
        }
    }
}

/// Each message a group wants went to exactly one of its members.
fn check_group(plan: &Plan, members: &[Log], drifters: &[Log], group: &str) {
    let mut times: HashMap<(usize, usize), usize> = HashMap::new();
    for log in members.iter().chain(drifters) {
        for received in &log.received {
            if log.subs[received.sid].queue == Some(group) {
                *times.entry((received.from, received.number)).or_default() += 1;
            }
        }
    }
    for from in 0..plan.clients.len() {
        for (number, message) in plan.messages[from].iter().enumerate() {
            let certain = members.iter().any(|log| {
                log.echo != Some(from)
                    && (log.subs.iter())
                        .any(|sub| sub.queue == Some(group) && sub.wants(&message.subject))
            });
            let came = times.get(&(from, number)).copied().unwrap_or(0);
            assert!(
                came == 1 || (came == 0 && !certain),
                "message {number} of {from} on {} came {came} times to {group}",
                message.subject
            );
        }
    }
}
