//! Connections to endpoints that wait for their next request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::upstream::Upstream;

/// Idle connections of one core, by who is at the other end: an address that has changed hands has
/// another key, so a connection to its former owner is never found.
#[expect(
    clippy::vec_box,
    reason = "a connection is large and moves with each request"
)]
#[derive(Debug)]
pub(super) struct IdlePool {
    idle: RefCell<HashMap<u64, Vec<Box<Upstream>>>>,
    most: usize,
    lifetime: Duration,
}

impl IdlePool {
    /// Keeps up to `most` per endpoint, each for `lifetime`.
    pub(super) fn new(most: usize, lifetime: Duration) -> Self {
        Self {
            idle: RefCell::default(),
            most,
            lifetime,
        }
    }

    /// The connection to endpoint `id` that was used last, when it still stands. `certainly` asks the
    /// kernel: for a request that cannot be repeated.
    pub(super) fn take(&self, id: u64, certainly: bool) -> Option<Box<Upstream>> {
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.get_mut(&id)?;
        let mut cx = Context::from_waker(Waker::noop());
        while let Some(mut upstream) = waiting.pop() {
            if upstream.is_reusable(&mut cx) && (!certainly || upstream.is_quiet()) {
                return Some(upstream);
            }
        }
        None
    }

    /// Keeps a connection that `is_reusable`.
    pub(super) fn park(&self, mut upstream: Box<Upstream>) {
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.entry(upstream.standing().id()).or_default();
        if waiting.len() < self.most {
            upstream.parked_at = Instant::now();
            waiting.push(upstream);
        }
    }

    /// Closes what has waited too long, was closed by the other side, or leads to an endpoint that is
    /// no more.
    pub(super) fn tidy(&self) {
        let now = Instant::now();
        let mut cx = Context::from_waker(Waker::noop());
        self.idle.borrow_mut().retain(|_, waiting| {
            waiting.retain_mut(|upstream| {
                now.saturating_duration_since(upstream.parked_at) < self.lifetime
                    && upstream.is_reusable(&mut cx)
            });
            !waiting.is_empty()
        });
    }
}
