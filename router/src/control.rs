//! The control plane: what the bus says becomes the route table.

mod access_lines;
mod subscription;
mod warm_up;

pub(crate) use access_lines::{AccessLines, Tally};
pub(crate) use warm_up::warm_up;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use cupola_component::{Bus, Requests};
use cupola_messages::Nothing;
use cupola_messages::router::{self, RouterStart};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Config;
use crate::registry::{Clock, Registry};

/// One router's part of the conversation with everybody who has an address.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) bus: Bus,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    /// `<index>-<id>`.
    pub(crate) id: String,
    pub(crate) host: IpAddr,
    pub(crate) counts: Arc<Counts>,
}

/// What became of messages.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) registers: AtomicU64,
    pub(crate) unregisters: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) evicted: AtomicU64,
    pub(crate) pruned: AtomicU64,
}

// === impl Control ===

impl Control {
    fn start(&self) -> RouterStart {
        RouterStart {
            id: self.id.clone(),
            hosts: vec![self.host.to_string()],
            minimum_register_interval_in_seconds: whole_seconds(self.config.register_every),
            prune_threshold_in_seconds: Some(whole_seconds(self.config.stale_after)),
        }
    }

    /// Asks everybody to register, now and after every reconnect, for ever.
    pub(crate) async fn ask_on_connect(&self) {
        let mut connected = self.bus.connected();
        loop {
            if *connected.borrow_and_update() {
                match self.bus.publish(&router::START, &self.start()).await {
                    Ok(()) => tracing::info!("asked for registrations"),
                    // The connection went away again; its return wakes us.
                    Err(error) => tracing::debug!("could not ask for registrations: {error}"),
                }
            }
            if connected.changed().await.is_err() {
                return;
            }
        }
    }

    /// Answers whoever greets, until the bus is closed for good.
    pub(crate) async fn answer_greetings(&self, mut greetings: Requests<Nothing, RouterStart>) {
        while let Some(greeting) = greetings.next().await {
            if let Err(error) = greeting.answer(&self.start()).await {
                tracing::debug!("greeting not answered: {error}");
            }
        }
    }

    /// Drops stale endpoints, for ever. While the bus is away silence proves nothing, so nothing is
    /// dropped then; and when it is back everybody gets the full time to be heard again.
    pub(crate) async fn prune(&self) {
        let mut connected = self.bus.connected();
        let mut rounds = interval(self.config.prune_every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut suspended = false;
        loop {
            tokio::select! {
                _ = rounds.tick() => {}
                changed = connected.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    suspended |= !*connected.borrow_and_update();
                    continue;
                }
            }
            if !*connected.borrow() {
                suspended = true;
            } else if suspended {
                suspended = false;
                self.registry.refresh_all(self.clock.now());
            } else {
                let pruned = self.registry.prune(self.clock.now());
                if pruned > 0 {
                    tracing::info!(routes.pruned = pruned, "dropped stale endpoints");
                    let pruned = u64::try_from(pruned).unwrap_or(u64::MAX);
                    self.counts
                        .pruned
                        .fetch_add(pruned, std::sync::atomic::Ordering::Relaxed);
                }
            }
        }
    }
}

/// A time as the wire has it; a part of a second is cut off.
fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
