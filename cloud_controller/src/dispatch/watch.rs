//! Builds: finding a stager for each, and noticing when one is lost or takes too long.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::NaiveDateTime;
use cupola_blobstore::Bucket;
use cupola_component::BusError;
use cupola_db::now;
use cupola_messages::Nothing;
use cupola_messages::dea::Refusal;
use cupola_messages::staging::{self, StartAnswer, StartStaging};
use cupola_types::{PackageState, StagerId, StagingTaskId};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::build;
use super::placement::Need;
use super::start::Interrupted;
use super::work::interrupted;
use crate::controller::Controller;
use crate::error::{Fail, chain};
use crate::model::order::Order;
use crate::model::staging::StagingTask;
use crate::model::{app, staging as tasks};

/// A stager answers within a second; a busy machine gets twice that.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Looks in a row that must find a build missing.
const MISSING_LOOKS: u32 = 3;

/// Finds a stager for a build.
pub(super) async fn begin_staging(
    controller: &Controller,
    task: &StagingTaskId,
) -> Result<(), Interrupted> {
    let (guid, this) = (task.as_str().to_owned(), controller.clone());
    let order = controller
        .read(move |c| {
            let Some(task) = tasks::find(c, &guid)? else {
                return Ok(None);
            };
            if task.stager_id.is_some() {
                return Ok(None); // Accepted before the controller was killed.
            }
            let Some(app) = app::find(c, &task.app_guid)? else {
                return Ok(None);
            };
            Ok(Some(build::staging_order(c, &this, &app, &task)?))
        })
        .await
        .map_err(|error| interrupted(&error))?;
    let Some(mut order) = order else {
        return Ok(());
    };
    // A first build has no cache to fetch; a store that cannot say costs the cache, not the build.
    let cache = controller
        .blobs
        .size(Bucket::BuildpackCaches, order.app_id.as_str())
        .await;
    if !matches!(cache, Ok(Some(_))) {
        order.buildpack_cache_download_uri = None;
    }
    match place(controller, &order).await? {
        Ok(stager) => {
            let (guid, stager) = (task.as_str().to_owned(), stager.into_string());
            controller
                .write(move |c| {
                    tasks::accepted(c, &guid, &stager)?;
                    Ok(())
                })
                .await
                .map_err(|error| interrupted(&error))
        }
        Err(why) => fail_staging(controller, task.as_str(), why.0, &why.1)
            .await
            .map_err(|error| interrupted(&error)),
    }
}

type Why = (&'static str, String);

async fn place(
    controller: &Controller,
    order: &StartStaging,
) -> Result<Result<StagerId, Why>, Interrupted> {
    let need = Need {
        memory: order.memory_limit,
        disk: order.disk_limit,
    };
    let look_for = u64::from(controller.config.staging.find_seconds);
    let deadline = Instant::now() + Duration::from_secs(look_for);
    let mut refused: HashSet<StagerId> = HashSet::new();
    loop {
        if controller.stopping.is_cancelled() {
            return Err(Interrupted);
        }
        let arrived = controller.dispatcher.arrived.notified();
        let picked = controller.dispatcher.stagers.lock().pick(
            need,
            &order.stack,
            &refused,
            std::time::Instant::now(),
            &mut rand::rng(),
        );
        let Some(stager) = picked else {
            if Instant::now() >= deadline {
                return Ok(Err(no_room(controller, order)));
            }
            let _ = controller.bus.publish(&staging::LOCATE, &Nothing).await;
            refused.clear();
            let pause = (Instant::now() + Duration::from_secs(1)).min(deadline);
            tokio::select! {
                () = controller.stopping.cancelled() => return Err(Interrupted),
                () = arrived => {}
                () = sleep_until(pause) => {}
            }
            if !is_open(controller, &order.task_id).await? {
                return Ok(Ok(stager_of_nobody()));
            }
            continue;
        };
        match controller
            .bus
            .request(&staging::start(&stager), order, ANSWER_WITHIN)
            .await
        {
            Ok(StartAnswer::Accepted { .. }) => {
                tracing::info!(app.guid = %order.app_id, task.id = %order.task_id, stager.id = %stager, "build placed");
                return Ok(Ok(stager));
            }
            Ok(StartAnswer::Refused {
                reason: Refusal::Invalid,
                detail,
            }) => {
                return Ok(Err(("StagingError", detail)));
            }
            Ok(StartAnswer::Refused { reason, detail }) => {
                tracing::info!(stager.id = %stager, ?reason, detail, "a stager refuses a build");
                refused.insert(stager);
            }
            Err(error @ BusError::Disconnected { .. }) => {
                tracing::warn!(error = %chain(&error), "a build has to wait for the bus");
                return Err(Interrupted);
            }
            Err(error) => {
                tracing::warn!(stager.id = %stager, error = %chain(&error), "a stager does not answer");
                refused.insert(stager);
            }
        }
    }
}

/// What to write for a build that was given up while a stager was looked for: its row is gone, so
/// that nothing is written.
fn stager_of_nobody() -> StagerId {
    StagerId::new("none")
}

async fn is_open(controller: &Controller, task: &StagingTaskId) -> Result<bool, Interrupted> {
    let guid = task.as_str().to_owned();
    controller
        .read(move |c| Ok(tasks::find(c, &guid)?.is_some()))
        .await
        .map_err(|error| interrupted(&error))
}

fn no_room(controller: &Controller, order: &StartStaging) -> Why {
    if controller.dispatcher.stagers.lock().len() == 0 {
        return (
            "StagerError",
            "Stager error: no stager has been heard of; is one running?".into(),
        );
    }
    let what = format!(
        "Insufficient resources: no stager has {} of memory and {} of disk free on stack {}",
        order.memory_limit, order.disk_limit, order.stack
    );
    ("InsufficientResources", what)
}

/// Looks after builds until the controller stops.
pub(crate) async fn watch(controller: Controller) {
    let every = controller.config.staging.watch_period_ms.max(1);
    let mut period = interval(Duration::from_millis(every));
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut missing: HashMap<String, u32> = HashMap::new();
    loop {
        tokio::select! {
            () = controller.stopping.cancelled() => return,
            _ = period.tick() => {}
        }
        if let Err(error) = look(&controller, &mut missing).await {
            tracing::warn!(error = %chain(&error), "cannot look after the builds");
        }
    }
}

async fn look(controller: &Controller, missing: &mut HashMap<String, u32>) -> Result<(), Fail> {
    let open = controller.read(|c| Ok(tasks::open(c)?)).await?;
    missing.retain(|guid, _| open.iter().any(|task| task.guid == *guid));
    for task in open {
        if task.deadline_at < now() {
            let seconds = controller.config.staging.timeout_seconds;
            let what = format!("Staging time expired: the build took more than {seconds} s");
            fail_staging(controller, &task.guid, "StagingTimeExpired", &what).await?;
        } else if is_missing(controller, &task, now()) {
            let looks = missing.entry(task.guid.clone()).or_default();
            *looks += 1;
            if *looks >= MISSING_LOOKS {
                let what = "Stager error: the stager that built the app went away";
                fail_staging(controller, &task.guid, "StagerError", what).await?;
            }
        } else {
            missing.remove(&task.guid);
        }
    }
    Ok(())
}

/// Whether the task's stager is silent, or speaks and does not list it.
fn is_missing(controller: &Controller, task: &StagingTask, at: NaiveDateTime) -> bool {
    let (Some(stager), Some(accepted_at)) = (&task.stager_id, task.accepted_at) else {
        return false;
    };
    let within = i64::from(controller.config.staging.listed_within_seconds);
    if (at - accepted_at).num_seconds() < within {
        return false;
    }
    let listed = controller.dispatcher.stagers.lock().lists(
        &StagerId::new(&**stager),
        &StagingTaskId::new(&*task.guid),
        std::time::Instant::now(),
    );
    !matches!(listed, Some((_, true)))
}

/// Ends a build as failed; nothing happens when it has ended already.
pub(crate) async fn fail_staging(
    controller: &Controller,
    task: &str,
    reason: &str,
    description: &str,
) -> Result<(), Fail> {
    let (task, reason, description) = (task.to_owned(), reason.to_owned(), description.to_owned());
    let said = description.clone();
    let app_guid = controller
        .decide(move |c, orders| {
            let Some(found) = tasks::find(c, &task)? else {
                return Ok(None);
            };
            tasks::end(c, &task)?;
            orders.give(&found.app_guid, Order::StopStaging);
            orders.drop_blob(&found.app_guid, Bucket::Droplets, Some(&task));
            let Some(mut app) = app::find(c, &found.app_guid)? else {
                return Ok(None);
            };
            if app.staging_task_id.as_deref() != Some(&*task) {
                return Ok(None);
            }
            app.package_state = PackageState::Failed.as_str().to_owned();
            app.staging_failed_reason = Some(reason.clone());
            app.staging_failed_description = Some(description.clone());
            app::save(c, &app)?;
            Ok(Some(app.guid))
        })
        .await?;
    if let Some(guid) = app_guid {
        tracing::info!(app.guid = guid, "a build failed: {said}");
        controller.say(&guid, &format!("Staging failed: {said}"));
    }
    Ok(())
}
