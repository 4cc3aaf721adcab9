//! How a build ended.

use cupola_blobstore::Bucket;
use cupola_messages::staging::{Completed, StagingFailureKind};
use cupola_types::PackageState;

use super::app_life;
use crate::controller::Controller;
use crate::dispatch;
use crate::error::Fail;
use crate::model::{app, buildpack, staging};

/// A stager says how a build ended. What is said of a task that is not open (any more) is dropped.
pub(crate) async fn completed(
    controller: &Controller,
    task: &str,
    result: Completed,
) -> Result<(), Fail> {
    if let Some(failure) = &result.error_info {
        let reason = failure.kind.as_str();
        return dispatch::fail_staging(controller, task, reason, &failure.message).await;
    }
    let wanted = task.to_owned();
    let open = controller
        .read(move |c| Ok(staging::find(c, &wanted)?))
        .await?;
    let Some(open) = open else { return Ok(()) };
    if result.droplet_sha1.is_none() || open.droplet_sha1 != result.droplet_sha1 {
        let reason = StagingFailureKind::StagingError.as_str();
        let what = "Staging error: the droplet did not arrive as it was sent";
        return dispatch::fail_staging(controller, task, reason, what).await;
    }
    let task = task.to_owned();
    let staged = controller
        .decide(move |c, orders| {
            let Some(open) = staging::find(c, &task)? else {
                return Ok(None);
            };
            staging::end(c, &task)?;
            let found = app::find(c, &open.app_guid)?;
            let Some(mut app) = found.filter(|app| app.staging_task_id.as_deref() == Some(&*task))
            else {
                orders.drop_blob(&open.app_guid, Bucket::Droplets, Some(&task));
                return Ok(None);
            };
            orders.drop_blob(&app.guid, Bucket::Droplets, app.droplet_key.as_deref());
            app.droplet_key = Some(task.clone());
            app.droplet_sha1.clone_from(&open.droplet_sha1);
            app.package_state = PackageState::Staged.as_str().to_owned();
            app.staging_failed_reason = None;
            app.staging_failed_description = None;
            app.detected_buildpack
                .clone_from(&result.detected_buildpack);
            app.detected_start_command
                .clone_from(&result.detected_start_command);
            app.detected_buildpack_guid = match &result.buildpack_key {
                Some(key) => buildpack::find_by_name(c, key)?.map(|buildpack| buildpack.guid),
                None => None,
            };
            if app.is_started() {
                app_life::run_indices(orders, &app, 0..app.wanted());
            }
            Ok(Some(app::save(c, &app)?))
        })
        .await?;
    if let Some(app) = staged {
        controller.say(&app.guid, "Staging complete");
    }
    Ok(())
}

/// A stager has sent the droplet of a build.
pub(crate) async fn uploaded(
    controller: &Controller,
    task: &str,
    sha1: &str,
) -> Result<bool, Fail> {
    let (task, sha1) = (task.to_owned(), sha1.to_owned());
    controller
        .write(move |c| Ok(staging::uploaded(c, &task, &sha1)? > 0))
        .await
}
