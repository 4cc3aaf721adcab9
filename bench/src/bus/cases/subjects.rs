//! Many subscriptions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::bus::Scale;
use crate::bus::flow::{Crowd, Publisher, Subscriber};
use crate::bus::peers::Peer;
use crate::bus::sample::Sample;
use crate::bus::server::Server;
use crate::bus::wire::{Connection, delivery_len, publish};

const SIZE: usize = 16;
/// Connections that share the subscriptions.
const HOLDERS: usize = 4;
/// How many subscriptions begin, and how many end, per second of churn.
const CHURN_PER_SECOND: usize = 50_000;
/// How often the churning client says something.
const BEAT: Duration = Duration::from_millis(2);

/// Publishes to random ones of `count` subjects, each with a subscription.
pub(super) fn random(
    peer: &Peer,
    count: usize,
    messages: usize,
    bar: f64,
) -> anyhow::Result<Vec<Sample>> {
    let server = Server::start(peer)?;
    let mut crowd = crowd(&server, count, messages)?;
    let phase = crowd.measure(&server, messages)?;
    Ok(vec![
        Sample::cpu(phase.cpu, phase.delivered, Some(bar)),
        Sample::rate(phase.delivered, phase.seconds),
    ])
}

/// The same with another client that subscribes and unsubscribes all the time.
pub(super) fn churn(peer: &Peer, scale: Scale) -> anyhow::Result<Vec<Sample>> {
    let server = Server::start(peer)?;
    let messages = scale.of(1_000_000);
    let mut crowd = crowd(&server, 1_000, messages)?;
    let quiet = crowd.measure(&server, messages)?;
    let stop = AtomicBool::new(false);
    let mut churner = Connection::open(server.port)?;
    let (phase, churned) = thread::scope(|scope| {
        let churning = scope.spawn(|| subscribe_and_unsubscribe(&mut churner, &stop));
        let phase = crowd.phase(&server, messages);
        stop.store(true, Ordering::Relaxed);
        let churned = churning
            .join()
            .map_err(|_| anyhow!("the churning client panicked"))??;
        anyhow::Ok((phase?, churned))
    })?;
    let rate = |messages: u64, seconds: f64| messages as f64 / seconds / 1e3;
    let before = rate(quiet.delivered, quiet.seconds);
    let during = rate(phase.delivered, phase.seconds);
    Ok(vec![
        Sample::more("rate quiet, k/s", before, None),
        Sample::more("rate under churn, k/s", during, Some(3.0)),
        Sample::more("of the quiet rate", during / before, None).within(0.8),
        Sample::less(
            "CPU quiet, µs",
            quiet.cpu / quiet.delivered as f64 * 1e6,
            None,
        ),
        Sample::less(
            "CPU under churn, µs",
            phase.cpu / phase.delivered as f64 * 1e6,
            None,
        ),
        Sample::more("churn, k/s", churned / 1e3, None),
    ])
}

/// Subscriptions that come and go, at a pace: half of them literal, half with a wildcard. Returns how
/// many per second did.
fn subscribe_and_unsubscribe(
    connection: &mut Connection,
    stop: &AtomicBool,
) -> anyhow::Result<f64> {
    let per_beat = CHURN_PER_SECOND * BEAT.as_millis() as usize / 1_000;
    let started = Instant::now();
    let mut done = 0usize;
    let mut text = String::new();
    while !stop.load(Ordering::Relaxed) {
        text.clear();
        for sid in done..done + per_beat {
            let star = if sid % 2 == 0 { "" } else { ".*" };
            text.push_str(&format!(
                "SUB _INBOX.churn{sid:08}{star} {sid}\r\nUNSUB {sid}\r\n"
            ));
        }
        connection.send(text.as_bytes())?;
        done += per_beat;
        let due = BEAT.mul_f64(done as f64 / per_beat as f64);
        thread::sleep(due.saturating_sub(started.elapsed()));
    }
    connection.sync()?;
    Ok(done as f64 / started.elapsed().as_secs_f64())
}

/// What 100 000 subscriptions of one client cost.
pub(super) fn memory(peer: &Peer, _: Scale) -> anyhow::Result<Vec<Sample>> {
    const COUNT: usize = 100_000;
    let server = Server::start(peer)?;
    let mut connection = Connection::open(server.port)?;
    let before = server.settled_memory()?;
    let cpu = server.cpu()?;
    let mut text = String::new();
    for sid in 0..COUNT {
        text.push_str(&format!("SUB bench.sub.{sid:06} {sid}\r\n"));
    }
    connection.send(text.as_bytes())?;
    connection.sync()?;
    let cpu = server.cpu()? - cpu;
    let bytes = (server.settled_memory()? - before) / COUNT as f64;
    Ok(vec![
        Sample::less("B a subscription", bytes, None).within(250.0),
        Sample::less("CPU, µs", cpu / COUNT as f64 * 1e6, None),
    ])
}

/// Subscribers to `count` subjects, and a publisher who picks at random.
fn crowd(server: &Server, count: usize, messages: usize) -> anyhow::Result<Crowd> {
    let subject = |number: usize| format!("bench.{number:06}.data");
    let frame_len = delivery_len(&subject(0), "000000", SIZE);
    let mut crowd = Crowd {
        fan_out: 1,
        ..Crowd::default()
    };
    for holder in 0..HOLDERS {
        let own = (holder..count).step_by(HOLDERS);
        let subscriptions = own.map(|number| format!("{} {number:06}", subject(number)));
        crowd
            .subscribers
            .push(Subscriber::new(server, subscriptions, frame_len)?);
    }
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let frames = (0..messages).map(|_| publish(&subject(dice.below(count)), SIZE));
    crowd.publishers.push(Publisher::new(server, frames)?);
    Ok(crowd)
}

/// The same numbers for every server.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((u128::from(self.0) * bound as u128) >> 64) as usize
    }
}
