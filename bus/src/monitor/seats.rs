//! Who sits at monitoring's table: a bounded number of connections, each with a state and a deadline.
//!
//! Whoever asks something finds a seat, also when all are taken: then one has to go who only sits there.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Connections at a time. One that waits holds some 20 KiB, over TLS 60.
const SEATS: usize = 256;
/// How long one may have nothing to ask, or be about to.
const WAIT: Duration = Duration::from_secs(15);
/// How long one may take to read so many bytes of an answer: slower is nobody who wants to know.
const PATIENCE: Duration = Duration::from_secs(10);
const PACE: u64 = 64 << 10;

/// All of them.
#[derive(Debug)]
pub(super) struct Seats {
    taken: Mutex<HashMap<u64, Sitter>>,
    next: AtomicU64,
    most: usize,
}

/// One connection's place, as long as this lives.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    id: u64,
    /// Cancelled when it has to go.
    pub(super) end: CancellationToken,
    /// Bytes its socket has taken.
    pub(super) written: AtomicU64,
}

#[derive(Debug)]
struct Sitter {
    peer: IpAddr,
    stage: Stage,
    since: Instant,
    /// How much its socket had taken, and when.
    progress: (u64, Instant),
    end: CancellationToken,
}

/// What a connection is at; who has to go first comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Its answer is being made.
    Asking,
    /// It has an answer to read.
    Reading,
    /// It has asked nothing yet, or nothing since.
    Waiting,
}

// === impl Seats ===

impl Seats {
    pub(super) fn new() -> Arc<Self> {
        Self::with(SEATS)
    }

    fn with(most: usize) -> Arc<Self> {
        Arc::new(Seats {
            taken: Mutex::default(),
            next: AtomicU64::new(0),
            most,
        })
    }

    /// A seat for one who has just come; if there is none, somebody gets up.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Seat {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let end = CancellationToken::new();
        let now = Instant::now();
        let sitter = Sitter {
            peer,
            stage: Stage::Waiting,
            since: now,
            progress: (0, now),
            end: end.clone(),
        };
        let mut taken = self.taken.lock();
        if taken.len() >= self.most {
            dismiss(&mut taken);
        }
        taken.insert(id, sitter);
        drop(taken);
        Seat {
            seats: Arc::clone(self),
            id,
            end,
            written: AtomicU64::new(0),
        }
    }

    /// Has so many get up, as there is no room for sockets.
    pub(super) fn make_room(&self, count: usize) {
        let mut taken = self.taken.lock();
        for _ in 0..count {
            dismiss(&mut taken);
        }
    }
}

/// Has one go, if there is any.
fn dismiss(taken: &mut HashMap<u64, Sitter>) {
    let sitter = least_missed(taken).and_then(|id| taken.remove(&id));
    if let Some(sitter) = sitter {
        sitter.end.cancel();
    }
}

/// Who has to go: of the address that has most seats one who does least, for the longest time.
fn least_missed(taken: &HashMap<u64, Sitter>) -> Option<u64> {
    let mut of_address: HashMap<IpAddr, usize> = HashMap::new();
    for sitter in taken.values() {
        *of_address.entry(sitter.peer).or_default() += 1;
    }
    let rank = |(id, sitter): &(&u64, &Sitter)| {
        let seats = of_address.get(&sitter.peer).copied();
        (seats, sitter.stage, std::cmp::Reverse((sitter.since, **id)))
    };
    taken.iter().max_by_key(rank).map(|(id, _)| *id)
}

// === impl Seat ===

impl Seat {
    /// From now on it is at this.
    pub(super) fn enter(&self, stage: Stage) {
        if let Some(sitter) = self.seats.taken.lock().get_mut(&self.id) {
            sitter.stage = stage;
            sitter.since = Instant::now();
            sitter.progress = (self.written.load(Ordering::Relaxed), sitter.since);
        }
    }

    /// Whether it has to go, as it takes too long. To be asked again and again.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let mut taken = self.seats.taken.lock();
        let Some(sitter) = taken.get_mut(&self.id) else {
            return true;
        };
        match sitter.stage {
            // That has deadlines of its own.
            Stage::Asking => false,
            Stage::Reading => {
                let written = self.written.load(Ordering::Relaxed);
                let (before, at) = sitter.progress;
                if written - before >= PACE {
                    sitter.progress = (written, now);
                    return false;
                }
                now.saturating_duration_since(at) > PATIENCE
            }
            Stage::Waiting => now.saturating_duration_since(sitter.since) > WAIT,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.lock().remove(&self.id);
        // What is being made for it is for nobody.
        self.end.cancel();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn who_only_sits_there_makes_room_for_who_comes() {
        let seats = Seats::with(3);
        let [first, second, third] = std::array::from_fn(|_| seats.take(HERE));
        first.enter(Stage::Asking);
        second.enter(Stage::Reading);
        let fourth = seats.take(HERE);
        assert!(third.end.is_cancelled(), "it had asked nothing");
        fourth.enter(Stage::Asking);
        let fifth = seats.take(HERE);
        assert!(second.end.is_cancelled() && !first.end.is_cancelled());
        fifth.enter(Stage::Asking);
        let _sixth = seats.take(HERE);
        assert!(first.end.is_cancelled(), "it has asked for longest");
        // Who has gone leaves a seat.
        drop(fourth);
        let _seventh = seats.take(HERE);
        assert!(!fifth.end.is_cancelled());
    }

    #[test]
    fn the_address_with_most_seats_gives_one_up() {
        let seats = Seats::with(3);
        let lonely = seats.take("192.0.2.1".parse().unwrap());
        let [busy, other] = std::array::from_fn(|_| seats.take(HERE));
        busy.enter(Stage::Asking);
        other.enter(Stage::Asking);
        let _new = seats.take(HERE);
        assert!(busy.end.is_cancelled() && !lonely.end.is_cancelled());
    }

    #[test]
    fn everything_but_asking_has_a_deadline() {
        let seats = Seats::with(3);
        let seat = seats.take(HERE);
        let begun = Instant::now();
        let late =
            |seconds: u64| seat.is_overdue(begun + Duration::from_millis(seconds * 1000 - 500));
        assert!(!late(15) && late(16));
        seat.enter(Stage::Asking);
        assert!(!late(3600));
        seat.enter(Stage::Reading);
        assert!(!late(10) && late(11));
        seat.written.fetch_add(PACE, Ordering::Relaxed);
        assert!(!late(11) && !late(20), "it reads slowly");
        seat.written.fetch_add(PACE - 1, Ordering::Relaxed);
        assert!(late(22), "too slowly");
        seat.enter(Stage::Reading);
        assert!(!late(10) && late(11), "the next answer is another one");
    }
}
