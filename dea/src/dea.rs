//! What every part of a running dea shares.

use std::sync::Arc;

use cupola_component::{AppLog, Bus};
use cupola_messages::dea::{Hello, Shutdown};
use cupola_messages::logs::LogStream;
use cupola_types::DeaId;
use cupola_warden::aio::Depot;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::containers::Containers;
use crate::droplet::DropletCache;
use crate::exits::Exits;
use crate::instance::Instance;
use crate::output::Positions;
use crate::registry::Registry;
use crate::routes::Routes;

/// A running dea: its parts, shared by all its tasks.
#[derive(Debug)]
pub(crate) struct Dea {
    pub(crate) id: DeaId,
    pub(crate) config: Config,
    pub(crate) bus: Bus,
    /// Whether the bus is there and everybody has come back to it.
    pub(crate) settled: watch::Receiver<bool>,
    pub(crate) registry: Registry,
    pub(crate) routes: Routes,
    pub(crate) droplets: DropletCache,
    pub(crate) depot: Depot,
    pub(crate) containers: Containers,
    pub(crate) positions: Positions,
    /// Tells of ends.
    pub(crate) exits: Exits,
    /// Speaks as the dea in apps' log streams.
    pub(crate) log: AppLog,
    /// Turns for making containers and unpacking droplets: work for processor and disk, of which a
    /// hundred at a time would only make each other late.
    pub(crate) launches: Semaphore,
    /// The tasks of instances: shutdown waits for them.
    pub(crate) lives: TaskTracker,
    /// Cancelled when the room stops serving; instances' tasks go on until they are done.
    pub(crate) closing: CancellationToken,
}

// === impl Dea ===

impl Dea {
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            id: self.id.clone(),
            ip: self.config.ip.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The message that takes this dea out of placement.
    pub(crate) fn farewell(&self) -> Shutdown {
        Shutdown {
            id: self.id.clone(),
            ip: self.config.ip.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            app_id_to_count: self.registry.read(|book| book.count_by_app()),
        }
    }

    /// Says something about an instance in its app's log stream.
    pub(crate) fn tell(&self, instance: &Instance, stream: LogStream, text: &str) {
        self.log
            .line(&instance.app, stream, &instance.index.to_string(), text);
    }

    /// Publishes what a later message will make up for when it is lost.
    pub(crate) async fn hint<M: cupola_messages::Message>(
        &self,
        topic: &cupola_messages::Topic<M>,
        message: &M,
    ) {
        if let Err(error) = self.bus.publish(topic, message).await {
            tracing::debug!("not said: {error}");
        }
    }
}

/// The handle that tasks hold.
pub(crate) type Shared = Arc<Dea>;
