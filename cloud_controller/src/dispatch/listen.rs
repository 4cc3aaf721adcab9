//! What the controller hears on the bus.

use std::time::Instant;

use cupola_component::BusError;
use cupola_messages::dea::{self, ExitReason, Exited};
use cupola_messages::health::{self, CONTROLLERS, CRASH_EVENTS};
use cupola_messages::{Nothing, staging};
use serde_json::json;

use super::proposals;
use crate::controller::Controller;
use crate::error::{Fail, chain};
use crate::model::event::{self, Actee, Who};
use crate::model::{app, space};

/// Subscribes to everything, asks everybody to speak, and starts the tasks that listen.
///
/// # Errors
/// When a subscription cannot be made.
pub(crate) async fn listen(controller: &Controller) -> Result<(), BusError> {
    let bus = &controller.bus;
    let stopping = &controller.stopping;
    let tasks = &controller.tasks;

    let mut deas = bus.subscribe(&dea::ADVERTISE).await?;
    let mut gone = bus.subscribe(&dea::SHUTDOWN).await?;
    let mut stagers = bus.subscribe(&staging::ADVERTISE).await?;
    let mut starts = bus.subscribe_group(&health::START, CONTROLLERS).await?;
    let mut stops = bus.subscribe_group(&health::STOP, CONTROLLERS).await?;
    let mut exits = bus.subscribe_group(&dea::EXITED, CRASH_EVENTS).await?;

    let (this, stop) = (controller.clone(), stopping.clone());
    tasks.spawn(stop.run_until_cancelled_owned(async move {
        loop {
            tokio::select! {
                Some(said) = deas.next() => {
                    this.dispatcher.deas.lock().hear(said, Instant::now());
                    this.dispatcher.arrived.notify_waiters();
                }
                Some(said) = gone.next() => this.dispatcher.deas.lock().remove(&said.id),
                Some(said) = stagers.next() => {
                    this.dispatcher.stagers.lock().hear(said, Instant::now());
                    this.dispatcher.arrived.notify_waiters();
                }
                else => return,
            }
        }
    }));

    let (this, stop) = (controller.clone(), stopping.clone());
    tasks.spawn(stop.run_until_cancelled_owned(async move {
        loop {
            let outcome = tokio::select! {
                Some(proposal) = starts.next() => proposals::start(&this, proposal).await,
                Some(proposal) = stops.next() => proposals::stop(&this, proposal).await,
                Some(exited) = exits.next() => record_exit(&this, exited).await,
                else => return,
            };
            if let Err(error) = outcome {
                // A proposal is made again; a crash that is not written down is a lost line.
                tracing::warn!(error = %chain(&error), "cannot act on what was heard");
            }
        }
    }));

    let (this, stop) = (controller.clone(), stopping.clone());
    tasks.spawn(stop.run_until_cancelled_owned(async move {
        let mut connected = this.bus.connected();
        while connected.wait_for(|up| *up).await.is_ok() {
            let deas = this.bus.publish(&dea::LOCATE, &Nothing).await;
            let stagers = this.bus.publish(&staging::LOCATE, &Nothing).await;
            if let Err(error) = deas.and(stagers) {
                tracing::debug!("cannot ask who is there: {error}");
            }
            if connected.wait_for(|up| !*up).await.is_err() {
                return;
            }
        }
    }));
    Ok(())
}

/// An instance ended by itself: the owner of the app wants to know.
async fn record_exit(controller: &Controller, exited: Exited) -> Result<(), Fail> {
    if exited.reason != ExitReason::Crashed {
        return Ok(());
    }
    controller
        .write(move |c| {
            let Some(app) = app::find(c, exited.droplet.as_str())? else {
                return Ok(());
            };
            let Some(space) = space::find(c, &app.space_guid)? else {
                return Ok(());
            };
            let who = Who {
                guid: app.guid.clone(),
                kind: "app",
                name: app.name.clone(),
            };
            let actee = Actee {
                guid: &app.guid,
                kind: "app",
                name: &app.name,
                space_guid: &space.guid,
                org_guid: &space.org_guid,
            };
            let metadata = json!({
                "instance": exited.instance,
                "index": exited.index,
                "reason": "CRASHED",
                "exit_status": exited.exit_status,
                "exit_description": exited.exit_description,
                "cell_id": exited.dea,
            });
            Ok(event::record(c, "app.crash", &who, actee, &metadata)?)
        })
        .await
}
