//! The life of an app: what follows from wanting it started, stopped, scaled, staged or gone.
//!
//! Every function here changes one row and gives the orders that follow, inside the caller's
//! transaction. A version stands for one revision of what runs: it is drawn anew when an
//! app is started, so that whatever still runs of an earlier one is known to be too much.

use cupola_blobstore::Bucket;
use cupola_db::{Conn, now};
use cupola_http::api_error;
use cupola_types::{AppState, AppVersion, InstanceIndex, PackageState, StagingTaskId};

use crate::config::StagingConfig;
use crate::controller::Orders;
use crate::error::Fail;
use crate::model::app::{self, App};
use crate::model::order::Order;
use crate::model::{org, quota, space, staging as tasks};

/// Wants the app to run. Stages it first when there is no droplet of the newest bits.
pub(crate) fn start(
    c: &mut Conn,
    orders: &mut Orders,
    app: &mut App,
    staging: &StagingConfig,
) -> Result<(), Fail> {
    let was_started = app.is_started();
    if was_started && app.is_staged() {
        return Ok(());
    }
    if was_started && !tasks::of_app(c, &app.guid)?.is_empty() {
        return Ok(()); // Being staged already; it starts when that is done.
    }
    if !app.is_staged() && app.package_key.is_none() {
        return Err(api_error::APP_PACKAGE_INVALID
            .with("bits have not been uploaded")
            .into());
    }
    app.state = AppState::Started.as_str().to_owned();
    app.version = AppVersion::generate().into_string();
    if app.is_staged() {
        run_indices(orders, app, 0..app.wanted());
    } else {
        stage(c, orders, app, staging)?;
    }
    Ok(())
}

/// Wants the app not to run.
pub(crate) fn stop(c: &mut Conn, orders: &mut Orders, app: &mut App) -> Result<(), Fail> {
    if !app.is_started() {
        return Ok(());
    }
    app.state = AppState::Stopped.as_str().to_owned();
    let version = Some(AppVersion::new(&*app.version));
    orders.give(
        &app.guid,
        Order::Stop {
            version,
            indices: None,
            instances: None,
        },
    );
    give_up_staging(c, orders, app)
}

/// Wants another number of instances.
pub(crate) fn scale(orders: &mut Orders, app: &mut App, instances: i32) {
    let before = app.wanted();
    app.instances = instances;
    let after = app.wanted();
    if !app.is_started() || !app.is_staged() {
        return;
    }
    if after > before {
        run_indices(orders, app, before..after);
    } else if after < before {
        let version = Some(AppVersion::new(&*app.version));
        let indices = Some((after..before).map(InstanceIndex).collect());
        orders.give(
            &app.guid,
            Order::Stop {
                version,
                indices,
                instances: None,
            },
        );
    }
}

/// Builds the app anew from the bits there are, and runs the result.
pub(crate) fn restage(
    c: &mut Conn,
    orders: &mut Orders,
    app: &mut App,
    staging: &StagingConfig,
) -> Result<(), Fail> {
    if app.instances < 1 {
        let what = "App must have at least 1 instance to stage.";
        return Err(api_error::STAGING_ERROR.with(what).into());
    }
    if app.package_state == PackageState::Pending.as_str() {
        return Err(api_error::NOT_STAGED.bare().into());
    }
    if app.package_key.is_none() {
        return Err(api_error::APP_PACKAGE_INVALID
            .with("bits have not been uploaded")
            .into());
    }
    stop(c, orders, app)?;
    app.state = AppState::Started.as_str().to_owned();
    app.version = AppVersion::generate().into_string();
    stage(c, orders, app, staging)
}

/// The newest bits are these now; what runs goes on running.
pub(crate) fn replace_package(
    c: &mut Conn,
    orders: &mut Orders,
    app: &mut App,
    key: &str,
    sha1: &str,
) -> Result<(), Fail> {
    give_up_staging(c, orders, app)?;
    orders.drop_blob(&app.guid, Bucket::Packages, app.package_key.as_deref());
    app.package_key = Some(key.to_owned());
    app.package_sha1 = Some(sha1.to_owned());
    app.package_updated_at = Some(now());
    needs_staging(app);
    Ok(())
}

/// There is no droplet of the newest bits any more.
pub(crate) fn needs_staging(app: &mut App) {
    app.package_state = PackageState::Pending.as_str().to_owned();
    app.staging_failed_reason = None;
    app.staging_failed_description = None;
}

/// Removes an app and whatever it has.
pub(crate) fn delete(c: &mut Conn, orders: &mut Orders, app: &App) -> Result<(), Fail> {
    orders.give(&app.guid, Order::StopStaging);
    orders.give(
        &app.guid,
        Order::Stop {
            version: None,
            indices: None,
            instances: None,
        },
    );
    // A droplet that is being uploaded this moment has the task's key, not the app's.
    for task in tasks::of_app(c, &app.guid)? {
        orders.drop_blob(&app.guid, Bucket::Droplets, Some(&task.guid));
    }
    orders.drop_blob(&app.guid, Bucket::Packages, app.package_key.as_deref());
    orders.drop_blob(&app.guid, Bucket::Droplets, app.droplet_key.as_deref());
    orders.drop_blob(&app.guid, Bucket::BuildpackCaches, Some(&app.guid));
    app::delete(c, &app.guid)?;
    Ok(())
}

/// Orders these instances of the app's version to be started.
pub(crate) fn run_indices(orders: &mut Orders, app: &App, indices: std::ops::Range<u32>) {
    if indices.is_empty() {
        return;
    }
    let version = AppVersion::new(&*app.version);
    let indices = indices.map(InstanceIndex).collect();
    orders.give(&app.guid, Order::Start { version, indices });
}

fn stage(
    c: &mut Conn,
    orders: &mut Orders,
    app: &mut App,
    staging: &StagingConfig,
) -> Result<(), Fail> {
    give_up_staging(c, orders, app)?;
    needs_staging(app);
    let task = StagingTaskId::generate();
    let package = app.package_key.clone().unwrap_or_default();
    let deadline = now() + staging.patience();
    tasks::insert(c, task.as_str(), &app.guid, &package, deadline)?;
    app.staging_task_id = Some(task.as_str().to_owned());
    orders.give(&app.guid, Order::Stage { task });
    Ok(())
}

/// Ends a staging that is under way; its answer, should it come, finds no task.
fn give_up_staging(c: &mut Conn, orders: &mut Orders, app: &App) -> Result<(), Fail> {
    let tasks = tasks::of_app(c, &app.guid)?;
    if tasks.is_empty() {
        return Ok(());
    }
    orders.give(&app.guid, Order::StopStaging);
    for task in tasks {
        tasks::end(c, &task.guid)?;
        orders.drop_blob(&app.guid, Bucket::Droplets, Some(&task.guid));
    }
    Ok(())
}

/// Refuses an app as it would be now if its organization's quota does not allow it.
pub(crate) fn check_quota(c: &mut Conn, app: &App) -> Result<(), Fail> {
    let space = space::find(c, &app.space_guid)?
        .ok_or_else(|| api_error::SPACE_NOT_FOUND.with(&app.space_guid))?;
    let org = org::find(c, &space.org_guid)?
        .ok_or_else(|| api_error::ORGANIZATION_NOT_FOUND.with(&space.org_guid))?;
    let quota = quota::find(c, &org.quota_guid)?
        .ok_or_else(|| api_error::QUOTA_DEFINITION_NOT_FOUND.with(&org.quota_guid))?;
    if quota.instance_memory_limit >= 0 && app.memory > quota.instance_memory_limit {
        return Err(api_error::QUOTA_INSTANCE_MEMORY_LIMIT_EXCEEDED
            .bare()
            .into());
    }
    if !app.is_started() {
        return Ok(());
    }
    let others = app::usage_of_org(c, &org.guid, Some(&app.guid))?;
    let all = others.into_iter().chain([(app.memory, app.instances)]);
    let (mut memory, mut instances) = (0_i64, 0_i64);
    for (each, count) in all {
        memory += i64::from(each) * i64::from(count);
        instances += i64::from(count);
    }
    if quota.memory_limit >= 0 && memory > i64::from(quota.memory_limit) {
        let what = format!("{memory} MB wanted, {} MB allowed", quota.memory_limit);
        return Err(api_error::APP_MEMORY_QUOTA_EXCEEDED.with(what).into());
    }
    if quota.app_instance_limit >= 0 && instances > i64::from(quota.app_instance_limit) {
        return Err(api_error::QUOTA_INSTANCE_LIMIT_EXCEEDED.bare().into());
    }
    Ok(())
}
