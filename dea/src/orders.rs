//! What the controller orders: start, stop, other routes.
//!
//! One task takes all orders, one after the other, and stops before starts: a stop that was said
//! before a start is then obeyed before it, so that a restart never stops its own new instance.

use std::sync::Arc;
use std::time::SystemTime;

use cupola_component::{Asked, Bus, BusError, Requests, Subscription};
use cupola_messages::dea::{
    self, InstanceFilter, Refusal, STOP, StartAnswer, StartInstance, UPDATE, UpdateRoutes,
};
use cupola_types::DeaId;
use tokio::sync::watch;
use tracing::{debug, info};

use crate::dea::Shared;
use crate::instance::Instance;
use crate::launch;
use crate::lifecycle::Life;
use crate::registry::{Refused, StopReason};

/// The orders of the controller.
#[derive(Debug)]
pub(crate) struct Orders {
    stops: Subscription<InstanceFilter>,
    updates: Subscription<UpdateRoutes>,
    starts: Requests<StartInstance, StartAnswer>,
}

// === impl Orders ===

impl Orders {
    pub(crate) async fn subscribe(bus: &Bus, id: &DeaId) -> Result<Self, BusError> {
        Ok(Self {
            stops: bus.subscribe(&STOP).await?,
            updates: bus.subscribe(&UPDATE).await?,
            starts: bus.serve(&dea::start(id)).await?,
        })
    }

    /// Obeys until the dea closes.
    pub(crate) async fn obey(mut self, dea: Shared) {
        loop {
            tokio::select! {
                biased;
                () = dea.closing.cancelled() => return,
                Some(filter) = self.stops.next() => stop(&dea, &filter),
                Some(order) = self.updates.next() => dea.routes.update(&order).await,
                Some(asked) = self.starts.next() => start(&dea, asked).await,
                else => return,
            }
        }
    }
}

fn stop(dea: &Shared, filter: &InstanceFilter) {
    let told = dea
        .registry
        .edit(|book| book.stop(filter, StopReason::Ordered));
    debug!(app.guid = %filter.droplet, instances = told.len(), "told to stop");
}

/// Answers at once; what was accepted has its room reserved.
async fn start(dea: &Shared, asked: Asked<StartInstance, StartAnswer>) {
    let answer = match admit(dea, &asked.question) {
        Err(Refused { reason, detail }) => {
            info!(app.guid = %asked.question.droplet, ?reason, detail, "start refused");
            StartAnswer::Refused { reason, detail }
        }
        Ok((instance, stop)) => {
            let answer = StartAnswer::Accepted {
                instance: instance.guid.clone(),
            };
            if let Err(error) = asked.answer(&answer).await {
                // Whoever asked will ask another dea.
                debug!(instance.guid = %instance.guid, %error, "accepted, but could not say so");
                dea.registry.edit(|book| book.remove(&instance.guid));
                return;
            }
            let life = Life::new(Arc::clone(dea), instance.guid, stop);
            dea.lives.spawn(life.run(asked.question));
            return;
        }
    };
    if let Err(error) = asked.answer(&answer).await {
        debug!(%error, "refused, but could not say so");
    }
}

/// Checks the order and reserves its room.
fn admit(
    dea: &Shared,
    order: &StartInstance,
) -> Result<(Instance, watch::Receiver<Option<StopReason>>), Refused> {
    launch::check(&dea.config, order)?;
    let born = Instance::born(order, dea.config.health_check_timeout, SystemTime::now());
    let instance = born.map_err(|error| Refused {
        reason: Refusal::Invalid,
        detail: error.to_string(),
    })?;
    let stop = dea.registry.edit(|book| book.admit(instance.clone()))?;
    Ok((instance, stop))
}
