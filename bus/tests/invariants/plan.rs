//! What a random run does, made from its seed: who subscribes to what, and who publishes what.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Tokens of published subjects; few, so that many subscriptions overlap.
const TOKENS: [&str; 4] = ["a", "b", "c", "dd"];

/// A whole run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) clients: Vec<Member>,
    /// The messages of each client, in order.
    pub(crate) messages: Vec<Vec<Message>>,
    /// How many clients come and go beside them.
    pub(crate) drifters: usize,
}

/// A client that is there from the beginning to the end.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) headers: bool,
    pub(crate) echo: bool,
    pub(crate) subs: Vec<Sub>,
}

/// A subscription.
#[derive(Clone, Debug)]
pub(crate) struct Sub {
    pub(crate) pattern: String,
    pub(crate) queue: Option<&'static str>,
    /// It ends by itself after this many messages.
    pub(crate) max: Option<usize>,
}

/// A message; its payload follows from who sent it, and as which.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) headers: bool,
    pub(crate) size: usize,
}

// === impl Plan ===

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = rng.random_range(3..7);
        let clients = (0..count)
            .map(|_| Member {
                headers: rng.random_bool(0.6),
                echo: rng.random_bool(0.7),
                subs: (0..rng.random_range(0..6))
                    .map(|_| Sub::random(&mut rng))
                    .collect(),
            })
            .collect();
        let messages = (0..count)
            .map(|_| {
                let most = [0, 50, 400][rng.random_range(0..3)];
                (0..most).map(|_| Message::random(&mut rng)).collect()
            })
            .collect();
        Plan {
            clients,
            messages,
            drifters: rng.random_range(0..4),
        }
    }
}

// === impl Sub ===

impl Sub {
    pub(crate) fn random(rng: &mut StdRng) -> Self {
        let depth = rng.random_range(1..4);
        let mut tokens = vec!["d"];
        for at in 0..depth {
            tokens.push(match rng.random_range(0..10) {
                0..3 => "*",
                3 if at + 1 == depth => ">",
                _ => TOKENS[rng.random_range(0..TOKENS.len())],
            });
        }
        if rng.random_bool(0.15) {
            tokens[0] = "*";
        }
        let queue = rng
            .random_bool(0.35)
            .then(|| ["red", "blue"][rng.random_range(0..2)]);
        let max = (queue.is_none() && rng.random_bool(0.2)).then(|| rng.random_range(1..80));
        Sub {
            pattern: tokens.join("."),
            queue,
            max,
        }
    }

    /// Whether it gets messages on `subject`: the naive way.
    pub(crate) fn wants(&self, subject: &str) -> bool {
        let mut wanted = self.pattern.split('.');
        let mut given = subject.split('.');
        loop {
            match (wanted.next(), given.next()) {
                (None, None) | (Some(">"), Some(_)) => return true,
                (Some("*"), Some(_)) => {}
                (Some(one), Some(other)) if one == other => {}
                _ => return false,
            }
        }
    }

    /// The control lines that set it up.
    pub(crate) fn lines(&self, sid: usize) -> String {
        let queue = self
            .queue
            .map_or_else(String::new, |queue| format!("{queue} "));
        let mut lines = format!("SUB {} {queue}{sid}\r\n", self.pattern);
        if let Some(max) = self.max {
            lines.push_str(&format!("UNSUB {sid} {max}\r\n"));
        }
        lines
    }
}

// === impl Message ===

impl Message {
    fn random(rng: &mut StdRng) -> Self {
        let mut tokens = vec!["d"];
        for _ in 0..rng.random_range(1..4) {
            tokens.push(TOKENS[rng.random_range(0..TOKENS.len())]);
        }
        let most = match rng.random_range(0..200) {
            0 => 300_000,
            1..4 => 50_000,
            4..40 => 3_000,
            _ => 60,
        };
        Message {
            subject: tokens.join("."),
            headers: rng.random_bool(0.3),
            size: rng.random_range(0..most),
        }
    }

    /// Its payload: who sent it and as which, then bytes in which line ends are frequent.
    pub(crate) fn payload(&self, from: usize, number: usize) -> Vec<u8> {
        let mut payload = format!("{from} {number} ").into_bytes();
        let mut state = u32::try_from(from * 7919 + number * 104_729 + 1).unwrap();
        payload.extend((0..self.size).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"\r\n \0PUBMSG01+\xff"[(state >> 24) as usize % 14]
        }));
        payload
    }

    /// Its header block.
    pub(crate) fn block(&self, from: usize, number: usize) -> Vec<u8> {
        format!("NATS/1.0\r\nFrom: {from}\r\nNumber: {number}\r\n\r\n").into_bytes()
    }

    /// The frame that publishes it.
    pub(crate) fn frame(&self, from: usize, number: usize, headers: bool) -> Vec<u8> {
        let payload = self.payload(from, number);
        let mut frame = if self.headers && headers {
            let block = self.block(from, number);
            let (len, total) = (block.len(), block.len() + payload.len());
            let mut frame = format!("HPUB {} {len} {total}\r\n", self.subject).into_bytes();
            frame.extend(block);
            frame
        } else {
            format!("PUB {} {}\r\n", self.subject, payload.len()).into_bytes()
        };
        frame.extend(payload);
        frame.extend_from_slice(b"\r\n");
        frame
    }
}
