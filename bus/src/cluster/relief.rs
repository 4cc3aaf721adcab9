//! One connection to a peer takes over from another that is alive.
//!
//! Nothing may be lost, so what is listened to here is told on the new one first, and taken back on the old
//! one later. And nothing may come in another order than it was sent. Of the peer's side [`Elder`] takes
//! care: as long as anything has not been taken back, it sends all by the old connection. Here the new one
//! is not read from when that is done until the old one has been read.
//!
//! [`Elder`]: crate::subscription::Elder

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::node::Node;
use super::route::Route;

/// How long a second connection to a peer waits for the first one to end, or to prove alive; and by when
/// what was told on one will have been taken in.
pub(super) const GRACE: Duration = Duration::from_millis(700);
/// How long the old connection may have so much on its way that a PING is not answered within [`GRACE`].
const BUSY: Duration = Duration::from_secs(50);
/// How long the new one is left unread: less than any peer waits for an answer.
const HELD: Duration = Duration::from_secs(2);
/// How often it is looked whether the old one has been read; that takes a round trip.
const LOOK: Duration = Duration::from_millis(1);

/// A connection that is being relieved.
#[derive(Debug)]
pub(super) struct Relief {
    old: Arc<Route>,
    step: Step,
    /// When the next step is due.
    at: Instant,
    /// When the old one is relieved, however much is on its way.
    until: Instant,
}

/// How far it is; with the number of PONGs that the old connection will have had when it can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Both are told everything.
    Told(u64),
    /// It has been taken back on the old one, and the new one is not read.
    Held(u64),
    Done,
}

// === impl Relief ===

impl Relief {
    /// The new connection has been told everything by now.
    pub(super) fn begin(old: Arc<Route>, now: Instant) -> Self {
        Relief {
            step: Step::Told(old.ask()),
            old,
            at: now + GRACE,
            until: now + BUSY,
        }
    }

    /// Whether the new connection is to be left unread.
    pub(super) fn holds(&self) -> bool {
        matches!(self.step, Step::Held(_))
    }

    /// Whether there is nothing to be done any more.
    pub(super) fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    /// When to go on.
    pub(super) fn next(&self, now: Instant) -> Instant {
        if self.holds() { now + LOOK } else { self.at }
    }

    /// Takes the next step, if it is time.
    pub(super) fn go_on(&mut self, node: &Node, now: Instant) -> &Self {
        if !self.old.client.out().open {
            self.step = Step::Done;
        }
        let is_due = self.at <= now;
        match self.step {
            Step::Told(answers) if is_due => {
                if self.old.answered() >= answers || self.until <= now {
                    self.step = Step::Held(node.relieve(&self.old));
                    self.at = now + HELD;
                } else {
                    self.step = Step::Told(self.old.ask());
                    self.at = now + GRACE;
                }
            }
            Step::Held(answers) if is_due || self.old.answered() >= answers => {
                self.step = Step::Done;
            }
            Step::Told(_) | Step::Held(_) | Step::Done => {}
        }
        self
    }
}
