//! What a DEA or a stager is told of an app.

use std::time::{Duration, SystemTime};

use cupola_blobstore::Bucket;
use cupola_db::Conn;
use cupola_messages::dea::{Limits, StartInstance, VcapApplication};
use cupola_messages::staging::{AdminBuildpack, Meta, Properties, StartStaging};
use cupola_types::{AppGuid, AppVersion, DiskMb, InstanceIndex, MemoryMb, StagingTaskId};
use serde_json::{Map, Value, json};

use crate::action::app_fields::environment_text;
use crate::controller::Controller;
use crate::error::Fail;
use crate::model::app::App;
use crate::model::staging::StagingTask;
use crate::model::{buildpack, org, route, setting, space, stack};

/// How long a droplet may be fetched after a start order: the slowest download, and a crash
/// loop's worth of restarts from the same order.
const DROPLET_URL_VALID: Duration = Duration::from_secs(3600);
/// The controller's name on the bus; there is one deployment a bus.
const PARTITION: &str = "default";

/// Where DEAs and stagers reach a blob.
pub(crate) fn blob_path(bucket: Bucket, key: &str) -> String {
    format!("/internal/blobs/{bucket}/{key}")
}

fn signed(controller: &Controller, method: &str, path: &str, valid: Duration) -> String {
    let signed = controller
        .signer
        .sign(method, path, SystemTime::now(), valid);
    format!("{}{signed}", controller.config.internal_base())
}

/// The start order for instance 0 of an app; the others differ in the index alone.
pub(crate) fn start_order(
    c: &mut Conn,
    controller: &Controller,
    app: &App,
) -> Result<StartInstance, Fail> {
    let uris = route::uris_of_app(c, &app.guid)?;
    let limits = limits(controller, app);
    let key = app.droplet_key.as_deref().unwrap_or_default();
    let droplet = blob_path(Bucket::Droplets, key);
    Ok(StartInstance {
        droplet: AppGuid::new(&*app.guid),
        version: AppVersion::new(&*app.version),
        name: app.name.clone(),
        index: InstanceIndex(0),
        vcap_application: description(c, controller, app, &uris)?,
        uris,
        sha1: app.droplet_sha1.clone().unwrap_or_default(),
        executable_uri: signed(controller, "GET", &droplet, DROPLET_URL_VALID),
        limits,
        env: environment_of(c, controller, app, "running")?,
        services: Vec::new(),
        cc_partition: PARTITION.to_owned(),
        start_command: app.command.clone(),
        health_check_timeout: app
            .health_check_timeout
            .and_then(|seconds| seconds.try_into().ok()),
        health_check_type: Some(health_check(app).to_owned()),
        stack: stack_name(c, app)?,
        egress_network_rules: controller.config.apps.egress_rules.clone(),
    })
}

/// The order to build an app.
pub(crate) fn staging_order(
    c: &mut Conn,
    controller: &Controller,
    app: &App,
    task: &StagingTask,
) -> Result<StartStaging, Fail> {
    let config = &controller.config.staging;
    let timeout = Duration::from_secs(u64::from(config.timeout_seconds));
    // The result is sent with retries after the build's own time is over.
    let valid = timeout + Duration::from_secs(1800);
    let sign = |method: &str, bucket, key: &str| {
        signed(controller, method, &blob_path(bucket, key), valid)
    };
    let uris = route::uris_of_app(c, &app.guid)?;
    let completed = format!("/internal/staging/{}/completed", task.guid);
    let mut properties = Properties {
        services: Vec::new(),
        environment: environment_of(c, controller, app, "staging")?,
        meta: Meta {
            command: app.command.clone(),
        },
        buildpack_git_url: None,
        buildpack_key: None,
        vcap_application: description(c, controller, app, &uris)?,
    };
    let known = buildpack::in_order(c)?;
    if let Some(wanted) = &app.buildpack {
        match known.iter().find(|buildpack| buildpack.name == *wanted) {
            Some(buildpack) => properties.buildpack_key = Some(key_of(buildpack)),
            None => properties.buildpack_git_url = Some(wanted.clone()),
        }
    }
    let admin_buildpacks = known
        .iter()
        .filter(|buildpack| buildpack.enabled)
        .map(|buildpack| {
            let key = key_of(buildpack);
            let url = buildpack
                .blob_key
                .as_deref()
                .map(|blob| sign("GET", Bucket::Buildpacks, blob));
            AdminBuildpack { key, url }
        });
    Ok(StartStaging {
        app_id: AppGuid::new(&*app.guid),
        task_id: StagingTaskId::new(&*task.guid),
        properties,
        download_uri: sign("GET", Bucket::Packages, &task.package_key),
        upload_uri: sign("POST", Bucket::Droplets, &task.guid),
        buildpack_cache_download_uri: Some(sign("GET", Bucket::BuildpackCaches, &app.guid)),
        buildpack_cache_upload_uri: Some(sign("POST", Bucket::BuildpackCaches, &app.guid)),
        completed_uri: signed(controller, "POST", &completed, valid),
        admin_buildpacks: admin_buildpacks.collect(),
        stack: stack_name(c, app)?,
        egress_network_rules: controller.config.apps.egress_rules.clone(),
        memory_limit: MemoryMb(config.minimum_memory_mb.max(limits(controller, app).mem.0)),
        disk_limit: DiskMb(config.minimum_disk_mb.max(limits(controller, app).disk.0)),
        timeout: config.timeout_seconds,
    })
}

/// The name by which stagers know a buildpack: a built-in one's folder, or the blob of an uploaded one.
fn key_of(buildpack: &buildpack::Buildpack) -> String {
    buildpack
        .blob_key
        .clone()
        .unwrap_or_else(|| buildpack.name.clone())
}

fn limits(controller: &Controller, app: &App) -> Limits {
    Limits {
        mem: MemoryMb(u32::try_from(app.memory).unwrap_or_default()),
        disk: DiskMb(u32::try_from(app.disk_quota).unwrap_or_default()),
        fds: controller.config.apps.file_descriptors,
    }
}

/// DEAs know two checks; `process` is the old name of none beyond the process being alive.
fn health_check(app: &App) -> &'static str {
    if app.health_check_type == "port" {
        "port"
    } else {
        "none"
    }
}

fn stack_name(c: &mut Conn, app: &App) -> Result<String, Fail> {
    Ok(stack::find(c, &app.stack_guid)?
        .map(|stack| stack.name)
        .unwrap_or_default())
}

/// An app's environment as `NAME=value`, on top of the group of that name.
pub(crate) fn environment_of(
    c: &mut Conn,
    controller: &Controller,
    app: &App,
    group: &str,
) -> Result<Vec<String>, Fail> {
    let sealed = setting::env_group(c, group)?;
    let mut all = controller
        .sealer
        .open(&format!("env_groups/{group}"), sealed.as_deref())?;
    let place = crate::sealed::environment_of(&app.guid);
    all.extend(controller.sealer.open(&place, app.environment.as_deref())?);
    let pairs = all
        .iter()
        .filter_map(|(name, value)| environment_text(value).map(|text| format!("{name}={text}")));
    Ok(pairs.collect())
}

fn description(
    c: &mut Conn,
    controller: &Controller,
    app: &App,
    uris: &[String],
) -> Result<VcapApplication, Fail> {
    Ok(VcapApplication {
        fields: app_description(c, controller, app, uris)?,
    })
}

/// The controller's part of `VCAP_APPLICATION`.
pub(crate) fn app_description(
    c: &mut Conn,
    controller: &Controller,
    app: &App,
    uris: &[String],
) -> Result<Map<String, Value>, Fail> {
    let space = space::find(c, &app.space_guid)?;
    let org = match &space {
        Some(space) => org::find(c, &space.org_guid)?,
        None => None,
    };
    let limits = limits(controller, app);
    let described = json!({
        "cf_api": controller.config.external_base(),
        "limits": {"fds": limits.fds, "mem": limits.mem.0, "disk": limits.disk.0},
        "application_id": app.guid,
        "application_name": app.name,
        "application_version": app.version,
        "application_uris": uris,
        "version": app.version,
        "name": app.name,
        "uris": uris,
        "space_id": app.space_guid,
        "space_name": space.map(|space| space.name),
        "organization_id": org.as_ref().map(|org| org.guid.clone()),
        "organization_name": org.map(|org| org.name),
        "process_id": app.guid,
        "process_type": "web",
        "users": null,
    });
    match described {
        Value::Object(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}
