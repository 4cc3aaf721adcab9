//! The loop that carries out orders: per app one after the other, several apps at once.

use std::collections::HashMap;
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

/// Orders that are read at a time.
const BATCH: i64 = 500;
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
    let rows = controller
        .read(move |c| Ok(order::of_owner(c, &owner, BATCH)?))
        .await?;
    let mut by_app: HashMap<String, Vec<OrderRow>> = HashMap::new();
    for row in rows {
        by_app.entry(row.subject.clone()).or_default().push(row);
    }
    for (app, rows) in by_app {
        if !controller.dispatcher.busy.lock().insert(app.clone()) {
            continue; // Its worker looks again when it is done.
        }
        let controller = controller.clone();
        controller.tasks.clone().spawn(async move {
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            carry_out_all(&controller, &app, rows).await;
            controller
                .dispatcher
                .placing
                .lock()
                .retain(|id, _| !ids.contains(id));
            controller.dispatcher.busy.lock().remove(&app);
            controller.dispatcher.nudge();
        });
    }
    Ok(())
}

async fn carry_out_all(controller: &Controller, app: &str, rows: Vec<OrderRow>) {
    for row in rows {
        loop {
            match carry_out(controller, app, &row).await {
                Ok(()) => break,
                Err(Interrupted) => {
                    let mut connected = controller.bus.connected();
                    tokio::select! {
                        () = controller.stopping.cancelled() => return,
                        _ = connected.changed() => {}
                        () = tokio::time::sleep(AGAIN) => {}
                    }
                }
            }
            let (owner, id) = (controller.owner.clone(), row.id);
            match controller
                .read(move |c| Ok(order::is_open(c, &owner, id)?))
                .await
            {
                Ok(true) => {}
                // Somebody else has taken it over meanwhile.
                Ok(false) => break,
                Err(error) => tracing::warn!(error = %chain(&error), "cannot look for an order"),
            }
        }
        let id = row.id;
        let removed = controller
            .write(move |c| {
                order::done(c, id)?;
                Ok(())
            })
            .await;
        if let Err(error) = removed {
            // It will be carried out once more, which every order bears.
            tracing::warn!(error = %chain(&error), "cannot remove an order that is done");
            return;
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
