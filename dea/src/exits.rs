//! Tells of ends, once each: unlike the rest of what a dea says, nothing repeats them.
//!
//! While the bus is away they wait. When too many wait, the newest are let go: the next heartbeat
//! shows what is not there any more.

use std::time::Duration;

use cupola_component::Bus;
use cupola_messages::dea::{EXITED, Exited};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Ends that wait for the bus: all instances of a dea, a few times over.
const WAITING: usize = 1024;

/// Pause before another try; the bus client's own limit on a try comes on top.
const AGAIN: Duration = Duration::from_millis(100);

/// Where instances leave word of their end.
#[derive(Debug)]
pub(crate) struct Exits {
    queue: mpsc::Sender<Exited>,
}

// === impl Exits ===

impl Exits {
    /// The way in, and the task that carries on until `closing` and then sends what is left.
    pub(crate) fn new(
        bus: Bus,
        settled: watch::Receiver<bool>,
        closing: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, waiting) = mpsc::channel(WAITING);
        (Self { queue }, send(bus, waiting, settled, closing))
    }

    pub(crate) fn tell(&self, exited: Exited) {
        if let Err(error) = self.queue.try_send(exited) {
            warn!("the end of an instance is not told: {error}");
        }
    }
}

async fn send(
    bus: Bus,
    mut waiting: mpsc::Receiver<Exited>,
    mut settled: watch::Receiver<bool>,
    closing: CancellationToken,
) {
    loop {
        let next = tokio::select! {
            next = waiting.recv() => next,
            () = closing.cancelled() => {
                waiting.close();
                waiting.recv().await
            }
        };
        let Some(exited) = next else { return };
        loop {
            tokio::select! {
                _ = settled.wait_for(|up| *up) => {}
                () = closing.cancelled() => {}
            }
            match bus.publish(&EXITED, &exited).await {
                Ok(()) => break,
                Err(error) => debug!(instance.guid = %exited.instance, "not told: {error}"),
            }
            if closing.is_cancelled() {
                break;
            }
            sleep(AGAIN).await;
        }
    }
}
