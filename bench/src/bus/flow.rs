//! Publishers and subscribers, each a thread, and a phase of traffic between them.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};

use super::sample::Latencies;
use super::server::Server;
use super::wire::{Connection, END, Inflow, publish};

/// How far, in bytes per subscriber, publishers may be ahead of the slowest one. Far below what a server
/// cuts a slow consumer off for, far above what keeps everybody busy.
const WINDOW: u64 = 4 << 20;
/// How much is written at once.
const BLOCK: usize = 64 << 10;
/// How long a phase may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who publishes.
#[derive(Debug)]
pub(crate) struct Publisher {
    connection: Connection,
    blocks: Vec<Block>,
    next: usize,
}

/// Whole frames that are written at once.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    frames: u64,
}

/// Somebody who listens.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) connection: Connection,
    inflow: Inflow,
    frame_len: usize,
    /// Messages in this phase.
    got: AtomicU64,
    latencies: Latencies,
}

/// A phase of traffic, as it went.
#[derive(Debug, Default)]
pub(crate) struct Phase {
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) seconds: f64,
    /// Of the server's CPU time.
    pub(crate) cpu: f64,
    /// Of messages that carry the time of their departure.
    pub(crate) latencies: Latencies,
}

// === impl Publisher ===

impl Publisher {
    /// One who repeats `frames`, in order.
    pub(crate) fn new(
        server: &Server,
        frames: impl Iterator<Item = Vec<u8>>,
    ) -> anyhow::Result<Self> {
        let mut blocks = Vec::new();
        let mut block = Block {
            bytes: Vec::new(),
            frames: 0,
        };
        for frame in frames {
            if block.bytes.len() + frame.len() > BLOCK && block.frames > 0 {
                blocks.push(std::mem::replace(
                    &mut block,
                    Block {
                        bytes: Vec::new(),
                        frames: 0,
                    },
                ));
            }
            block.bytes.extend_from_slice(&frame);
            block.frames += 1;
        }
        if blocks.is_empty() || block.frames > 0 {
            blocks.push(block);
        }
        Ok(Publisher {
            connection: Connection::open(server.port)?,
            blocks,
            next: 0,
        })
    }

    /// One who repeats the same message.
    pub(crate) fn of(server: &Server, subject: &str, size: usize) -> anyhow::Result<Self> {
        let frame = publish(subject, size);
        let count = (BLOCK / frame.len()).max(1);
        Publisher::new(server, std::iter::repeat_n(frame, count))
    }

    /// Publishes at least `count` messages, never far ahead of `receivers`.
    fn run(
        &mut self,
        count: u64,
        stamp: Option<Instant>,
        receivers: &[(&AtomicU64, u64)],
        per_receiver: f64,
        stop: &AtomicBool,
    ) -> anyhow::Result<u64> {
        let until = Instant::now() + PATIENCE;
        let mut sent = 0u64;
        while sent < count {
            let at = self.next;
            self.next = (at + 1) % self.blocks.len();
            let block = &mut self.blocks[at];
            if let Some(base) = stamp {
                block.stamp(base);
            }
            self.connection.send(&block.bytes)?;
            sent += block.frames;
            while receivers.iter().any(|(got, frame_len)| {
                let due = (sent as f64 * per_receiver) as u64;
                due.saturating_sub(got.load(Ordering::Relaxed)) * frame_len > WINDOW
            }) {
                ensure!(
                    !stop.load(Ordering::Relaxed),
                    "stopped, as another thread has failed"
                );
                ensure!(Instant::now() < until, "subscribers get nothing any more");
                thread::sleep(Duration::from_micros(100));
            }
        }
        Ok(sent)
    }
}

impl Block {
    /// Writes the time into the first eight bytes of each payload. All frames are alike.
    fn stamp(&mut self, base: Instant) {
        let now = (base.elapsed().as_nanos() as u64).to_le_bytes();
        // A byte that ends a line or a frame cannot disturb: payloads are counted, not searched.
        let Some(len) = self.bytes.len().checked_div(self.frames as usize) else {
            return;
        };
        for frame in self.bytes.chunks_exact_mut(len) {
            if let Some(place) = payload_of(frame) {
                frame[place..place + 8].copy_from_slice(&now);
            }
        }
    }
}

// === impl Subscriber ===

impl Subscriber {
    /// One with these subscriptions (`subject sid` or `subject queue sid`), whose deliveries have
    /// `frame_len` bytes.
    pub(crate) fn new(
        server: &Server,
        subscriptions: impl Iterator<Item = String>,
        frame_len: usize,
    ) -> anyhow::Result<Self> {
        let mut connection = Connection::open(server.port)?;
        let mut text = String::new();
        for subscription in subscriptions {
            text.push_str("SUB ");
            text.push_str(&subscription);
            text.push_str("\r\n");
            if text.len() > BLOCK {
                connection.send(text.as_bytes())?;
                text.clear();
            }
        }
        connection.send(text.as_bytes())?;
        connection.subscribe(&format!("{END} end"))?;
        Ok(Subscriber {
            connection,
            inflow: Inflow::new(frame_len),
            frame_len,
            got: AtomicU64::new(0),
            latencies: Latencies::default(),
        })
    }

    /// Reads until the marker.
    fn run(
        socket: &mut TcpStream,
        inflow: &mut Inflow,
        got: &AtomicU64,
        mut latencies: Option<(&mut Latencies, Instant)>,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut total = 0;
        loop {
            let (messages, ended) = inflow.read(socket, |frame| {
                if let Some((latencies, base)) = &mut latencies
                    && let Some(at) = payload_of(frame)
                    && let Some(stamp) = frame.get(at..at + 8)
                {
                    let mut word = [0; 8];
                    word.copy_from_slice(stamp);
                    let now = base.elapsed().as_nanos() as u64;
                    latencies.push(now.saturating_sub(u64::from_le_bytes(word)));
                }
            })?;
            total += messages;
            got.store(total, Ordering::Relaxed);
            if ended {
                return Ok(());
            }
            ensure!(Instant::now() < until, "the end never comes");
        }
    }
}

/// Where the payload of a frame begins.
fn payload_of(frame: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', frame).map(|at| at + 1)
}

/// Who takes part, and how.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    pub(crate) publishers: Vec<Publisher>,
    pub(crate) subscribers: Vec<Subscriber>,
    /// How many deliveries a message causes.
    pub(crate) fan_out: u64,
    /// Whether payloads carry the time of departure.
    pub(crate) stamped: bool,
    /// A server whose CPU time counts as well.
    pub(crate) beside: Option<Server>,
}

// === impl Crowd ===

impl Crowd {
    /// A tenth of the load without measuring, then the load.
    pub(crate) fn measure(&mut self, server: &Server, messages: usize) -> anyhow::Result<Phase> {
        self.phase(server, messages / 10 + 1)?;
        self.phase(server, messages)
    }

    /// Publishes at least `messages` from all publishers together, and waits until all have come.
    pub(crate) fn phase(&mut self, server: &Server, messages: usize) -> anyhow::Result<Phase> {
        let each = (messages / self.publishers.len().max(1)) as u64;
        let subscribers = self.subscribers.len().max(1) as f64;
        // Of the messages of one publisher, how many come to each of all subscribers.
        let per_receiver = self.fan_out as f64 / subscribers * self.publishers.len() as f64;
        let stamped = self.stamped;
        let base = Instant::now();
        let stop = AtomicBool::new(false);
        let (mut sockets, mut counters) = (Vec::new(), Vec::new());
        for subscriber in &mut self.subscribers {
            subscriber.got.store(0, Ordering::Relaxed);
            let Subscriber {
                connection,
                inflow,
                got,
                latencies,
                frame_len,
                ..
            } = subscriber;
            let got: &AtomicU64 = got;
            counters.push((got, *frame_len as u64));
            sockets.push((&mut connection.socket, inflow, got, latencies));
        }
        let first = self.publishers.first();
        let mut last_words = first
            .map(|first| first.connection.socket.try_clone())
            .transpose()?;
        let cpu = || anyhow::Ok(server.cpu()? + self.beside.as_ref().map_or(Ok(0.0), Server::cpu)?);
        let before = cpu()?;
        let started = Instant::now();
        let published = thread::scope(|scope| -> anyhow::Result<u64> {
            let (stop, counters) = (&stop, &counters);
            let listeners: Vec<_> = sockets
                .into_iter()
                .map(|(socket, inflow, got, latencies)| {
                    scope.spawn(move || {
                        let latencies = stamped.then_some((latencies, base));
                        Subscriber::run(socket, inflow, got, latencies)
                            .inspect_err(|_| stop.store(true, Ordering::Relaxed))
                    })
                })
                .collect();
            let speakers: Vec<_> = self
                .publishers
                .iter_mut()
                .map(|publisher| {
                    scope.spawn(move || {
                        let stamp = stamped.then_some(base);
                        let sent = publisher.run(each, stamp, counters, per_receiver, stop)?;
                        publisher.connection.sync()?;
                        anyhow::Ok(sent)
                    })
                })
                .collect();
            let mut published = 0;
            let mut failure = None;
            for speaker in speakers {
                match speaker
                    .join()
                    .map_err(|_| anyhow!("a publisher panicked"))?
                {
                    Ok(sent) => published += sent,
                    Err(error) => failure = Some(error),
                }
            }
            if failure.is_none()
                && !listeners.is_empty()
                && let Some(socket) = &mut last_words
            {
                // All publishers have been heard: this comes after all they have said.
                socket.write_all(&publish(END, 0))?;
            }
            for listener in listeners {
                listener
                    .join()
                    .map_err(|_| anyhow!("a subscriber panicked"))??;
            }
            failure.map_or(Ok(published), Err)
        })
        .context("a phase of traffic")?;
        let seconds = started.elapsed().as_secs_f64();
        let cpu = cpu()? - before;
        let mut phase = Phase {
            published,
            seconds,
            cpu,
            ..Phase::default()
        };
        for subscriber in &mut self.subscribers {
            phase.delivered += subscriber.got.load(Ordering::Relaxed);
            phase
                .latencies
                .append(std::mem::take(&mut subscriber.latencies));
        }
        let due = published * self.fan_out;
        ensure!(
            phase.delivered == due,
            "{} of {due} messages came",
            phase.delivered
        );
        Ok(phase)
    }
}
