//! The loop that carries out orders: per app one after the other, several apps at once.

use std::time::Duration;

use cupola_blobstore::Bucket;
use cupola_component::BusError;
use cupola_messages::{dea, health, staging};
use cupola_types::AppGuid;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::start::{self, Interrupted};
use super::watch;
use crate::controller::Controller;
use crate::error::{Fail, chain};
use crate::model::order::{self, Order, OrderRow};
use crate::model::{app, route};

/// Apps that are worked on at the same time.
const APPS: i64 = 500;
/// How often to look for orders that nobody was nudged for: another controller's that died.
const PERIOD: Duration = Duration::from_secs(10);
/// How long to wait before an order that could not be sent is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Carries out orders until the controller stops.
pub(crate) async fn work(controller: Controller) {
    let mut period = interval_at(Instant::now() + PERIOD, PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut adopt = true;
    loop {
        if let Err(error) = round(&controller, adopt).await {
            tracing::warn!(error = %chain(&error), "cannot read the orders");
        }
        adopt = tokio::select! {
            () = controller.stopping.cancelled() => return,
            () = controller.dispatcher.nudged.notified() => false,
            _ = period.tick() => true,
        };
    }
}

async fn round(controller: &Controller, adopt: bool) -> Result<(), Fail> {
    let owner = controller.owner.clone();
    if adopt {
        let owner = owner.clone();
        let any = controller.read(|c| Ok(order::any(c)?)).await?;
        if any {
            controller
                .write(move |c| {
                    order::renew(c, &owner)?;
                    order::adopt(c, &owner)?;
                    Ok(())
                })
                .await?;
        }
    }
    let apps = controller
        .read(move |c| Ok(order::subjects_of(c, &owner, APPS)?))
        .await?;
    for app in apps {
        if !controller.dispatcher.busy.lock().insert(app.clone()) {
            continue; // Its worker has us look again when it is done.
        }
        let controller = controller.clone();
        controller.tasks.clone().spawn(async move {
            if let Err(error) = work_on(&controller, &app).await {
                tracing::warn!(app.guid = app, error = %chain(&error), "cannot read an app's orders");
                controller.pause(AGAIN).await;
            }
            controller.dispatcher.busy.lock().remove(&app);
            controller.dispatcher.nudge();
        });
    }
    Ok(())
}

/// Carries out an app's orders. They are read only now, when nobody else works on the app: a list
/// from before may hold what its last worker has carried out meanwhile.
async fn work_on(controller: &Controller, app: &str) -> Result<(), Fail> {
    let (owner, subject) = (controller.owner.clone(), app.to_owned());
    let rows = controller
        .read(move |c| Ok(order::of_owner(c, &owner, &subject)?))
        .await?;
    for row in rows {
        match obey(controller, app, &row).await {
            Obeyed::Done => remove(controller, row.id).await,
            Obeyed::TakenOver => {}
            Obeyed::Stopping => return Ok(()),
        }
        controller.dispatcher.placing.lock().remove(&row.id);
    }
    Ok(())
}

/// What became of an order.
enum Obeyed {
    Done,
    /// Another controller has it now.
    TakenOver,
    /// The controller stops; the order stays.
    Stopping,
}

async fn obey(controller: &Controller, app: &str, row: &OrderRow) -> Obeyed {
    while let Err(Interrupted) = carry_out(controller, app, row).await {
        let mut connected = controller.bus.connected();
        tokio::select! {
            _ = connected.changed() => {}
            () = controller.pause(AGAIN) => {}
        }
        if controller.stopping.is_cancelled() {
            return Obeyed::Stopping;
        }
        let (owner, id) = (controller.owner.clone(), row.id);
        match controller
            .read(move |c| Ok(order::is_open(c, &owner, id)?))
            .await
        {
            Ok(true) => {}
            Ok(false) => return Obeyed::TakenOver,
            Err(error) => tracing::warn!(error = %chain(&error), "cannot look for an order"),
        }
    }
    Obeyed::Done
}

/// Removes an order that was carried out, however long the database takes: as long as it is there
/// it would be carried out again.
async fn remove(controller: &Controller, id: i64) {
    while !controller.stopping.is_cancelled() {
        let removed = controller
            .write(move |c| {
                order::done(c, id)?;
                Ok(())
            })
            .await;
        match removed {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "cannot remove an order that is done");
                controller.pause(AGAIN).await;
            }
        }
    }
}

async fn carry_out(controller: &Controller, guid: &str, row: &OrderRow) -> Result<(), Interrupted> {
    let order = &row.body.0;
    let droplet = AppGuid::new(guid);
    tracing::debug!(app.guid = guid, ?order, "carrying out");
    match order {
        Order::Stage { task } => {
            tell_updated(controller, &droplet).await?;
            watch::begin_staging(controller, task).await
        }
        Order::StopStaging => {
            let stop = staging::StopStaging { app_id: droplet };
            sent(controller.bus.publish(&staging::STOP, &stop).await)
        }
        Order::Start { version, indices } => {
            tell_updated(controller, &droplet).await?;
            start::instances(controller, &droplet, version, indices, row).await
        }
        Order::Stop {
            version,
            indices,
            instances,
        } => {
            let filter = dea::InstanceFilter {
                version: version.clone(),
                indices: indices.clone(),
                instances: instances.clone(),
                ..dea::InstanceFilter::app(droplet.clone())
            };
            sent(controller.bus.publish(&dea::STOP, &filter).await)?;
            tell_updated(controller, &droplet).await
        }
        Order::Routes => tell_routes(controller, droplet).await,
        Order::DropBlob { bucket, key } => {
            if let Some(bucket) = Bucket::from_name(bucket)
                && let Err(error) = controller.blobs.delete(bucket, key).await
            {
                // Wasted room is no reason to hold up the app's other orders.
                tracing::warn!(blob.bucket = %bucket, blob.key = %key, error = %chain(&error), "cannot remove a blob");
            }
            Ok(())
        }
    }
}

/// Tells the health manager to read the app's row again.
async fn tell_updated(controller: &Controller, app: &AppGuid) -> Result<(), Interrupted> {
    let updated = health::AppUpdated {
        droplet: app.clone(),
        cc_partition: "default".to_owned(),
    };
    sent(controller.bus.publish(&health::UPDATED, &updated).await)
}

async fn tell_routes(controller: &Controller, droplet: AppGuid) -> Result<(), Interrupted> {
    let guid = droplet.as_str().to_owned();
    let found = controller
        .read(move |c| match app::find(c, &guid)? {
            Some(app) => Ok(Some((
                app.is_started(),
                app.version,
                route::uris_of_app(c, &guid)?,
            ))),
            None => Ok(None),
        })
        .await
        .map_err(|error| interrupted(&error))?;
    let Some((true, version, uris)) = found else {
        return Ok(());
    };
    let update = dea::UpdateRoutes {
        droplet,
        uris,
        version: Some(cupola_types::AppVersion::new(version)),
    };
    sent(controller.bus.publish(&dea::UPDATE, &update).await)
}

/// A message that did not get out is tried again; one that cannot be written never will.
fn sent(outcome: Result<(), BusError>) -> Result<(), Interrupted> {
    match outcome {
        Ok(()) => Ok(()),
        Err(error) if error.is_transient() => Err(Interrupted),
        Err(error) => {
            tracing::error!(error = %chain(&error), "an order cannot be sent");
            Ok(())
        }
    }
}

/// The database failed while an order was carried out.
pub(super) fn interrupted(error: &Fail) -> Interrupted {
    tracing::warn!(error = %chain(error), "an order has to wait for the database");
    Interrupted
}
