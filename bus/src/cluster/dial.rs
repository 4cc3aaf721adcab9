//! When to dial a peer again: the decisions, without the sockets.

use std::time::Duration;

/// Pause after a failed attempt, and after the end of a route.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause when pauses double.
const LONGEST: Duration = Duration::from_secs(30);
/// By how much a pause may be longer, so that two servers do not meet again and again.
const JITTER: f64 = 0.1;

/// How a peer came to be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It is configured: dialled for ever.
    Configured,
    /// It was heard of: dialled once, and so many times more.
    Gossip {
        /// How many.
        retries: u32,
    },
}

/// How an attempt, or the route that came of it, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nobody answered.
    Unreachable,
    /// It led to this very server.
    Own,
    /// There is a route to this server already.
    Duplicate(Box<str>),
    /// It ended before the peer had said who it is, or was refused.
    Refused,
    /// It had been in use.
    Ended,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Dial after this pause.
    Dial(Duration),
    /// Dial when there is no other route to this peer any more.
    DialWithout(Box<str>),
    /// Never dial again.
    Stop,
}

/// The attempts at one address.
#[derive(Debug)]
pub(crate) struct Attempts {
    cause: Cause,
    backoff: bool,
    failed: u32,
    pause: Duration,
}

// === impl Attempts ===

impl Attempts {
    pub(crate) fn new(cause: Cause, backoff: bool) -> Self {
        Attempts {
            cause,
            backoff,
            failed: 0,
            pause: PAUSE,
        }
    }

    /// Failures since the last success.
    pub(crate) fn failed(&self) -> u32 {
        self.failed
    }

    /// What to do after this outcome; `chance` is a random number from 0 to 1.
    pub(crate) fn after(&mut self, outcome: Outcome, chance: f64) -> Next {
        match (outcome, self.cause) {
            (Outcome::Own, _) => return Next::Stop,
            (Outcome::Duplicate(peer), Cause::Configured) => {
                self.succeeded();
                return Next::DialWithout(peer);
            }
            (Outcome::Duplicate(_), Cause::Gossip { .. }) => return Next::Stop,
            (Outcome::Ended, _) => self.succeeded(),
            (Outcome::Unreachable | Outcome::Refused, Cause::Configured) => {
                self.failed = self.failed.saturating_add(1);
            }
            (Outcome::Unreachable | Outcome::Refused, Cause::Gossip { retries }) => {
                self.failed = self.failed.saturating_add(1);
                if self.failed > retries {
                    return Next::Stop;
                }
            }
        }
        let pause = self.pause;
        if self.backoff && self.failed > 0 {
            self.pause = (pause * 2).min(LONGEST);
        }
        Next::Dial(pause.mul_f64(1.0 + JITTER * chance))
    }

    fn succeeded(&mut self) {
        self.failed = 0;
        self.pause = PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(next: Next) -> f64 {
        match next {
            Next::Dial(pause) => pause.as_secs_f64(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_configured_peer_is_dialled_for_ever() {
        let mut attempts = Attempts::new(Cause::Configured, false);
        for failed in 1..1000 {
            assert_eq!(seconds(attempts.after(Outcome::Unreachable, 0.0)), 1.0);
            assert_eq!(attempts.failed(), failed);
        }
        assert_eq!(seconds(attempts.after(Outcome::Ended, 1.0)), 1.1);
        assert_eq!(attempts.failed(), 0);
        let next = attempts.after(Outcome::Duplicate("B".into()), 0.0);
        assert_eq!(next, Next::DialWithout("B".into()));
        assert_eq!(attempts.after(Outcome::Own, 0.0), Next::Stop);
    }

    #[test]
    fn a_peer_heard_of_is_dialled_as_often_as_configured() {
        let mut attempts = Attempts::new(Cause::Gossip { retries: 2 }, false);
        for _ in 0..2 {
            seconds(attempts.after(Outcome::Unreachable, 0.5));
        }
        assert_eq!(attempts.after(Outcome::Unreachable, 0.5), Next::Stop);
        let mut attempts = Attempts::new(Cause::Gossip { retries: 0 }, false);
        seconds(attempts.after(Outcome::Ended, 0.0));
        assert_eq!(attempts.after(Outcome::Refused, 0.0), Next::Stop);
        let next = attempts.after(Outcome::Duplicate("B".into()), 0.0);
        assert_eq!(next, Next::Stop);
    }

    #[test]
    fn pauses_double_when_asked_to() {
        let mut attempts = Attempts::new(Cause::Configured, true);
        let pauses: Vec<f64> = (0..7)
            .map(|_| seconds(attempts.after(Outcome::Unreachable, 0.0)))
            .collect();
        assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!(seconds(attempts.after(Outcome::Ended, 0.0)), 1.0);
    }
}
