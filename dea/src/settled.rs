//! Whether the bus is there and everybody has had time to come back to it.
//!
//! When a broker restarts, its clients return one by one over half a second. What is said once and
//! not repeated waits until the others are there to hear it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long everybody takes to come back: twice the longest pause between two tries.
const RETURN: Duration = Duration::from_secs(1);

/// Keeps `settled` true while the bus has been there for a while, until `closing`.
pub(crate) async fn keep(
    mut connected: watch::Receiver<bool>,
    settled: watch::Sender<bool>,
    closing: CancellationToken,
) {
    let mut first = true;
    let watching = async {
        loop {
            if connected.wait_for(|up| *up).await.is_err() {
                return;
            }
            // At the very start there is nothing to make up for.
            let gone_again = !first && timeout(RETURN, connected.wait_for(|up| !up)).await.is_ok();
            if gone_again {
                continue;
            }
            first = false;
            settled.send_replace(true);
            let gone = connected.wait_for(|up| !up).await.is_err();
            settled.send_replace(false);
            if gone {
                return;
            }
        }
    };
    tokio::select! {
        () = watching => {}
        () = closing.cancelled() => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[tokio::test]
    async fn it_is_settled_at_once_at_first_and_after_a_while_later() {
        let (connected, seen) = watch::channel(false);
        let (settle, mut settled) = watch::channel(false);
        let task = tokio::spawn(keep(seen, settle, CancellationToken::new()));
        let within = |ms| Duration::from_millis(ms);
        connected.send_replace(true);
        timeout(within(500), settled.wait_for(|up| *up))
            .await
            .unwrap()
            .unwrap();
        connected.send_replace(false);
        timeout(within(500), settled.wait_for(|up| !up))
            .await
            .unwrap()
            .unwrap();
        connected.send_replace(true);
        assert!(
            timeout(within(500), settled.wait_for(|up| *up))
                .await
                .is_err()
        );
        timeout(within(1500), settled.wait_for(|up| *up))
            .await
            .unwrap()
            .unwrap();
        drop(connected);
        timeout(within(500), task).await.unwrap().unwrap();
    }
}
