//! Leaving without hurry: nobody new is let in, everybody is told, and after a while the clients are
//! sent away one by one, so that the other servers are not overrun by all of them at once.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::{Client, Kind};
use crate::config::LameDuck;
use crate::hub::Hub;
use crate::session::End;

/// No shorter pause is made between two; more than one go at a time then.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// No longer one is made either: the last few need not take the whole time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether anybody is left.
const LOOK: Duration = Duration::from_millis(100);

/// Tells the clients, waits, and sends them away. Done when all have gone, or the time is over.
pub(super) async fn leave(hub: &Hub, pace: LameDuck) {
    tracing::info!("Entering lame duck mode, stop accepting new clients");
    hub.announce();
    let start = Instant::now();
    if !all_gone_by(hub, start + pace.grace_period).await {
        tracing::info!("Closing existing clients");
        send_away(hub, pace.duration.saturating_sub(pace.grace_period)).await;
        // Those who came in the very last moment, and the last words of the others.
        all_gone_by(hub, Instant::now() + LONGEST_PAUSE).await;
    }
}

/// Ends connections at an even pace, more or less.
async fn send_away(hub: &Hub, within: Duration) {
    let clients = clients(hub);
    let (pause, at_once) = pace(clients.len(), within);
    let mut groups = clients.chunks(at_once).peekable();
    while let Some(group) = groups.next() {
        for client in group {
            client.end(End::Shutdown);
        }
        if groups.peek().is_some() {
            // At random times, as they all come back somewhere else.
            let pause = pause.mul_f64(rand::rng().random_range(0.5..=1.0));
            sleep(pause).await;
        }
    }
}

/// The longest pause between two groups of clients, and how large those groups are.
fn pace(count: usize, within: Duration) -> (Duration, usize) {
    let count = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    let even = within / count;
    if even >= SHORTEST_PAUSE {
        return (even.min(LONGEST_PAUSE), 1);
    }
    let rounds = (within.as_millis() / SHORTEST_PAUSE.as_millis()).max(1);
    let at_once = (u128::from(count)).div_ceil(rounds);
    (
        SHORTEST_PAUSE,
        usize::try_from(at_once).unwrap_or(usize::MAX),
    )
}

/// Waits until no client is left; `false` when some are at the end.
async fn all_gone_by(hub: &Hub, end: Instant) -> bool {
    loop {
        if clients(hub).is_empty() {
            return true;
        }
        let now = Instant::now();
        if now >= end {
            return false;
        }
        sleep_until(end.min(now + LOOK)).await;
    }
}

fn clients(hub: &Hub) -> Vec<Arc<Client>> {
    let mut clients = hub.clients();
    clients.retain(|client| client.kind == Kind::Client);
    clients
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_leave_soon_and_many_in_time() {
        let minute = Duration::from_secs(60);
        assert_eq!(pace(0, minute), (LONGEST_PAUSE, 1));
        assert_eq!(pace(3, minute), (LONGEST_PAUSE, 1));
        assert_eq!(pace(600, minute), (Duration::from_millis(100), 1));
        let (pause, at_once) = pace(300_000, minute);
        assert_eq!((pause, at_once), (SHORTEST_PAUSE, 5));
        assert_eq!(pace(10, Duration::ZERO), (SHORTEST_PAUSE, 10));
    }
}
