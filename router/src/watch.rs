//! Deadlines of client connections: one sweep per core instead of a timer per request.
//!
//! A connection notes which phase it is in and when it last moved, both plain stores. Twice a second
//! the core looks through its connections and wakes those whose phase has lasted too long.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// How often connections are looked through; deadlines are kept to this precision.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// What a client connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Between requests.
    Idle,
    /// The first bytes of a head have come, and not yet the last.
    Head,
    /// An endpoint has not answered yet.
    Waiting,
    /// The answer is on its way to the client.
    Answering,
    /// No longer HTTP.
    Tunnel,
}

/// How long each phase may last. Zero is for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) idle: Duration,
    pub(crate) head: Duration,
    /// Without a byte in either direction.
    pub(crate) exchange: Duration,
}

/// One connection's state.
#[derive(Debug)]
pub(crate) struct Watch {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    expired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// The core's coarse clock, set at each sweep.
    clock: Rc<Cell<Instant>>,
}

/// All connections of a core.
#[derive(Debug)]
pub(crate) struct Watches {
    watches: RefCell<HashMap<u64, Rc<Watch>>>,
    last: Cell<u64>,
    clock: Rc<Cell<Instant>>,
}

/// A connection's place among the watched; it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Watched {
    watches: Rc<Watches>,
    number: u64,
    watch: Rc<Watch>,
}

// === impl Watch ===

impl Watch {
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Begins a phase, with all its time before it.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.expired.set(false);
        self.since.set(self.clock.get());
    }

    /// Bytes came from the client.
    pub(crate) fn received(&self) {
        match self.phase.get() {
            Phase::Idle => self.enter(Phase::Head),
            Phase::Head | Phase::Tunnel => {}
            Phase::Waiting | Phase::Answering => self.since.set(self.clock.get()),
        }
    }

    /// Bytes went to the client, or the endpoint showed life.
    pub(crate) fn moved(&self) {
        if self.phase.get() != Phase::Head {
            self.since.set(self.clock.get());
        }
    }

    /// Remembers whom to wake when time is up.
    pub(crate) fn heed(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(present) if present.will_wake(cx.waker()) => {}
            present => *present = Some(cx.waker().clone()),
        }
    }

    /// Whether the present phase has lasted too long.
    pub(crate) fn expired(&self) -> bool {
        self.expired.get()
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

// === impl Watches ===

impl Watches {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            watches: RefCell::default(),
            last: Cell::new(0),
            clock: Rc::new(Cell::new(Instant::now())),
        })
    }

    pub(crate) fn enlist(self: &Rc<Self>) -> Watched {
        let number = self.last.get() + 1;
        self.last.set(number);
        let watch = Rc::new(Watch {
            phase: Cell::new(Phase::Head), // a connection is made for a request
            since: Cell::new(self.clock.get()),
            expired: Cell::new(false),
            waker: RefCell::new(None),
            clock: Rc::clone(&self.clock),
        });
        self.watches.borrow_mut().insert(number, Rc::clone(&watch));
        Watched {
            watches: Rc::clone(self),
            number,
            watch,
        }
    }

    /// Wakes every connection whose phase has lasted too long.
    pub(crate) fn sweep(&self, limits: &Limits) {
        let now = Instant::now();
        self.clock.set(now);
        for watch in self.watches.borrow().values() {
            let limit = match watch.phase.get() {
                Phase::Idle => limits.idle,
                Phase::Head => limits.head,
                Phase::Waiting | Phase::Answering => limits.exchange,
                Phase::Tunnel => Duration::ZERO,
            };
            if !limit.is_zero() && now.saturating_duration_since(watch.since.get()) > limit {
                watch.expired.set(true);
                watch.wake();
            }
        }
    }

    /// Wakes every connection, so that it sees that the router stops.
    pub(crate) fn wake_all(&self) {
        for watch in self.watches.borrow().values() {
            watch.wake();
        }
    }
}

// === impl Watched ===

impl Watched {
    pub(crate) fn watch(&self) -> &Rc<Watch> {
        &self.watch
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watches.watches.borrow_mut().remove(&self.number);
    }
}
