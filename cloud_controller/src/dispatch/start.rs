//! Starting instances: ask a DEA that seems to have the room; ask the next when it refuses.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use cupola_component::BusError;
use cupola_messages::Nothing;
use cupola_messages::dea::{
    self, FindInstances, FoundInstance, InstanceFilter, Refusal, StartAnswer, StartInstance,
};
use cupola_types::{AppGuid, AppVersion, DeaId, InstanceGuid, InstanceIndex, InstanceState};
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, sleep_until};

use super::build;
use super::placement::Need;
use super::work::interrupted;
use crate::controller::Controller;
use crate::error::chain;
use crate::model::app;
use crate::model::order::OrderRow;

/// The controller stops, or something it needs is away: the order stays.
#[derive(Debug)]
pub(super) struct Interrupted;

/// A DEA answers within a second; a busy machine gets twice that.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long to look for room. Afterwards it is the health manager who asks again.
const LOOK_FOR: Duration = Duration::from_secs(10);
/// Instances of one app that are placed at the same time.
const AT_ONCE: usize = 8;

/// Starts these instances, as far as they are still wanted.
pub(super) async fn instances(
    controller: &Controller,
    app: &AppGuid,
    version: &AppVersion,
    indices: &[InstanceIndex],
    row: &OrderRow,
) -> Result<(), Interrupted> {
    let Some(order) = wanted(controller, app, version).await? else {
        return Ok(());
    };
    let (order, count) = (&order.0, order.1);
    let deadline = Instant::now() + LOOK_FOR;
    // Whoever wrote the order may have died half-way: what runs already is not started twice.
    let resumed = row.adopted || row.created_at < controller.since;
    let there = if resumed {
        running(controller, order, indices).await
    } else {
        BTreeSet::new()
    };
    let wanted_now: Vec<InstanceIndex> = indices
        .iter()
        .copied()
        .filter(|index| index.0 < count && !there.contains(index))
        .collect();
    let placing = &controller.dispatcher.placing;
    placing
        .lock()
        .insert(row.id, wanted_now.iter().copied().collect());
    let starts: Vec<_> = wanted_now
        .into_iter()
        .map(|index| async move {
            let order = StartInstance {
                index,
                ..order.clone()
            };
            let outcome = one(controller, order, deadline).await;
            if let Some(left) = placing.lock().get_mut(&row.id) {
                left.remove(&index);
            }
            outcome
        })
        .collect();
    let outcomes: Vec<Result<Option<InstanceGuid>, Interrupted>> = stream::iter(starts)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut started = Vec::new();
    let mut was_interrupted = false;
    for outcome in outcomes {
        match outcome {
            Ok(instance) => started.extend(instance),
            Err(Interrupted) => was_interrupted = true,
        }
    }
    // What was asked of the row meanwhile counts more than what has been ordered.
    if !started.is_empty() && wanted(controller, app, version).await?.is_none() {
        let filter = InstanceFilter {
            instances: Some(started),
            ..InstanceFilter::app(app.clone())
        };
        controller
            .bus
            .publish(&dea::STOP, &filter)
            .await
            .map_err(|_| Interrupted)?;
    }
    if was_interrupted && controller.stopping.is_cancelled() {
        return Err(Interrupted);
    }
    Ok(())
}

/// Which of these indices the DEAs have already.
async fn running(
    controller: &Controller,
    order: &StartInstance,
    indices: &[InstanceIndex],
) -> BTreeSet<InstanceIndex> {
    let question = FindInstances {
        filter: InstanceFilter {
            version: Some(order.version.clone()),
            indices: Some(indices.to_vec()),
            states: Some(vec![
                InstanceState::Born,
                InstanceState::Starting,
                InstanceState::Resuming,
                InstanceState::Running,
            ]),
            ..InstanceFilter::app(order.droplet.clone())
        },
        include_stats: false,
        path: None,
    };
    let distinct = |answers: &[FoundInstance]| -> BTreeSet<InstanceIndex> {
        answers.iter().map(|answer| answer.index).collect()
    };
    let enough = |answers: &[FoundInstance]| distinct(answers).len() >= indices.len();
    match controller
        .bus
        .request_many(&dea::FIND, &question, ANSWER_WITHIN, enough)
        .await
    {
        Ok(found) => distinct(&found),
        Err(error) => {
            // One too many is stopped by the health manager; one too few is an app that is down.
            tracing::debug!("cannot ask the DEAs what of an order was done: {error}");
            BTreeSet::new()
        }
    }
}

/// The order to start this version and how many instances there shall be; `None` when it is not
/// wanted (any more).
async fn wanted(
    controller: &Controller,
    app: &AppGuid,
    version: &AppVersion,
) -> Result<Option<(StartInstance, u32)>, Interrupted> {
    let (guid, version, this) = (
        app.as_str().to_owned(),
        version.as_str().to_owned(),
        controller.clone(),
    );
    controller
        .read(move |c| {
            let Some(app) = app::find(c, &guid)? else {
                return Ok(None);
            };
            let is_wanted = app.is_started() && app.is_staged() && app.version == version;
            if !is_wanted || app.droplet_key.is_none() {
                return Ok(None);
            }
            Ok(Some((build::start_order(c, &this, &app)?, app.wanted())))
        })
        .await
        .map_err(|error| interrupted(&error))
}

async fn one(
    controller: &Controller,
    order: StartInstance,
    deadline: Instant,
) -> Result<Option<InstanceGuid>, Interrupted> {
    let need = Need {
        memory: order.limits.mem,
        disk: order.limits.disk,
    };
    let mut refused: HashSet<DeaId> = HashSet::new();
    loop {
        if controller.stopping.is_cancelled() {
            return Err(Interrupted);
        }
        let arrived = controller.dispatcher.arrived.notified();
        let picked = controller.dispatcher.deas.lock().pick(
            &order.droplet,
            need,
            &order.stack,
            &refused,
            std::time::Instant::now(),
            &mut rand::rng(),
        );
        let Some(dea) = picked else {
            if Instant::now() >= deadline {
                give_up(controller, &order);
                return Ok(None);
            }
            // Perhaps nobody has spoken yet, or somebody has room by now.
            let _ = controller.bus.publish(&dea::LOCATE, &Nothing).await;
            refused.clear();
            let pause = (Instant::now() + Duration::from_secs(1)).min(deadline);
            tokio::select! {
                () = controller.stopping.cancelled() => return Err(Interrupted),
                () = arrived => {}
                () = sleep_until(pause) => {}
            }
            if let Ok(None) = wanted(controller, &order.droplet, &order.version).await {
                return Ok(None);
            }
            continue;
        };
        match controller
            .bus
            .request(&dea::start(&dea), &order, ANSWER_WITHIN)
            .await
        {
            Ok(StartAnswer::Accepted { instance }) => {
                tracing::info!(app.guid = %order.droplet, instance.index = order.index.0, dea.id = %dea, "instance placed");
                return Ok(Some(instance));
            }
            Ok(StartAnswer::Refused {
                reason: Refusal::Invalid,
                detail,
            }) => {
                tracing::error!(app.guid = %order.droplet, dea.id = %dea, detail, "a DEA calls a start order invalid");
                say(
                    controller,
                    &order,
                    &format!("could not be started: {detail}"),
                );
                return Ok(None);
            }
            Ok(StartAnswer::Refused { reason, detail }) => {
                tracing::info!(app.guid = %order.droplet, dea.id = %dea, ?reason, detail, "a DEA refuses an instance");
                refused.insert(dea);
            }
            Err(error @ BusError::Disconnected { .. }) => {
                tracing::warn!(error = %chain(&error), "a start order has to wait for the bus");
                let mut connected = controller.bus.connected();
                tokio::select! {
                    () = controller.stopping.cancelled() => return Err(Interrupted),
                    _ = connected.wait_for(|up| *up) => {}
                }
            }
            Err(error) => {
                tracing::warn!(dea.id = %dea, error = %chain(&error), "a DEA does not answer");
                controller.dispatcher.deas.lock().remove(&dea);
                refused.insert(dea);
            }
        }
    }
}

fn give_up(controller: &Controller, order: &StartInstance) {
    tracing::warn!(app.guid = %order.droplet, instance.index = order.index.0, memory_mb = order.limits.mem.0, disk_mb = order.limits.disk.0, "no DEA has room for an instance");
    let what = format!(
        "could not be started: no DEA has {} of memory and {} of disk free on stack {}",
        order.limits.mem, order.limits.disk, order.stack
    );
    say(controller, order, &what);
}

fn say(controller: &Controller, order: &StartInstance, what: &str) {
    controller.say(
        order.droplet.as_str(),
        &format!("Instance {} {what}", order.index.0),
    );
}
