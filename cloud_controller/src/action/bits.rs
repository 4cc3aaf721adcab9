//! Uploading and copying the bits of an app.

use std::collections::HashMap;
use std::path::PathBuf;

use cupola_blobstore::{BlobError, Bucket};
use cupola_http::{ApiError, api_error};
use cupola_types::JobGuid;
use serde_json::json;
use tempfile::TempDir;

use super::{app as apps, app_life, flag};
use crate::access::SpaceRight;
use crate::actor::Actor;
use crate::bits::{Assembled, BitsError, BitsLimits, Resource, assemble, known_fields};
use crate::controller::Controller;
use crate::error::{Fail, chain};
use crate::model::app;

const MB: u64 = 1024 * 1024;
/// Most entries of one question to the resource pool.
const MAX_MATCH: usize = 5_000;

/// An upload that has arrived and lies in a folder of its own.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) folder: TempDir,
    pub(crate) zip: Option<PathBuf>,
    pub(crate) resources: Vec<Resource>,
}

// === impl From<BitsError> ===

impl From<BitsError> for ApiError {
    fn from(error: BitsError) -> Self {
        match error {
            BitsError::Invalid(what) => api_error::APP_BITS_UPLOAD_INVALID.with(what),
            BitsError::BadPath(what) => api_error::APP_RESOURCES_FILE_PATH_INVALID.with(what),
            BitsError::BadMode(what) => api_error::APP_RESOURCES_FILE_MODE_INVALID.with(what),
            BitsError::Io { .. } => ApiError::internal(error),
        }
    }
}

/// Checks, before the body is read, that the actor may send bits for an app.
pub(crate) async fn admit(controller: &Controller, actor: &Actor, guid: &str) -> Result<(), Fail> {
    let (actor, guid) = (actor.clone(), guid.to_owned());
    controller
        .read(move |c| {
            apps::find(c, &actor, &guid, SpaceRight::Develop)?;
            flag::require(c, &actor, "app_bits_upload")
        })
        .await
}

/// Makes an upload the app's package.
pub(crate) async fn accept(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
    upload: Upload,
) -> Result<(), ApiError> {
    let fetched = fetch(controller, &upload).await?;
    let limits = BitsLimits {
        bytes: controller.config.uploads.package_mb * MB,
        entries: controller.config.uploads.entries,
        pool_bytes: (
            controller.config.uploads.pool_minimum_bytes,
            controller.config.uploads.pool_maximum_bytes,
        ),
    };
    let permit = controller
        .unpacking
        .acquire()
        .await
        .map_err(ApiError::internal)?;
    let (upload, made) = tokio::task::spawn_blocking(move || {
        let (zip, folder) = (upload.zip.as_deref(), upload.folder.path());
        let made = assemble(zip, &upload.resources, &fetched, folder, &limits);
        (upload, made)
    })
    .await
    .map_err(ApiError::internal)?;
    drop(permit);
    let made = made?;
    let key = JobGuid::generate().into_string();
    let stored = store(
        controller
            .blobs
            .put_file(Bucket::Packages, &key, &made.zip)
            .await,
    )?;
    pool(controller, &made).await;
    drop(upload);
    replace(
        controller,
        actor,
        guid,
        &key,
        &stored.sha1,
        "audit.app.upload-bits",
    )
    .await?;
    controller.say(guid, "Uploaded bits");
    Ok(())
}

/// Makes a stored package the app's.
async fn replace(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
    key: &str,
    sha1: &str,
    kind: &'static str,
) -> Result<(), ApiError> {
    let (who, wanted, new_key, sha1) = (
        actor.clone(),
        guid.to_owned(),
        key.to_owned(),
        sha1.to_owned(),
    );
    let replaced = controller
        .decide(move |c, orders| {
            let (mut app, space) = apps::find(c, &who, &wanted, SpaceRight::Develop)?;
            app_life::replace_package(c, orders, &mut app, &new_key, &sha1)?;
            let app = app::save(c, &app)?;
            apps::audit(c, kind, &who, &app, &space, &json!({}))
        })
        .await;
    if let Err(error) = replaced {
        if let Err(error) = controller.blobs.delete(Bucket::Packages, key).await {
            tracing::warn!(blob.key = key, error = %chain(&error), "cannot remove a package that nobody wants");
        }
        return Err(error.into_api());
    }
    Ok(())
}

/// Brings the resources that the pool is said to have into the upload's folder.
async fn fetch(
    controller: &Controller,
    upload: &Upload,
) -> Result<HashMap<String, PathBuf>, ApiError> {
    let most = controller.config.uploads.package_mb * MB;
    let claimed: u64 = upload
        .resources
        .iter()
        .map(|r| r.size)
        .fold(0, u64::saturating_add);
    if claimed > most {
        let what = "the package is larger than it may be";
        return Err(api_error::APP_BITS_UPLOAD_INVALID.with(what));
    }
    let mut fetched = HashMap::new();
    for resource in &upload.resources {
        if fetched.contains_key(&resource.sha1) {
            continue;
        }
        let file = upload
            .folder
            .path()
            .join(format!("known-{}", resource.sha1));
        let unknown = || {
            let what = format!("the file {:?} is not known; send it", resource.name);
            api_error::APP_BITS_UPLOAD_INVALID.with(what)
        };
        // A size that was made up would slip past the limit.
        let size = store(
            controller
                .blobs
                .size(Bucket::Resources, &resource.sha1)
                .await,
        )?;
        if size != Some(resource.size) {
            return Err(unknown());
        }
        match controller
            .blobs
            .get_file(Bucket::Resources, &resource.sha1, &file)
            .await
        {
            Ok(_) => fetched.insert(resource.sha1.clone(), file),
            Err(error) if error.is_not_found() => return Err(unknown()),
            Err(error) => return Err(ApiError::internal(error)),
        };
    }
    Ok(fetched)
}

/// Keeps new files for later pushes. The pool is a convenience: its failure is no failure of the push.
async fn pool(controller: &Controller, made: &Assembled) {
    for pooled in &made.pooled {
        let known = controller.blobs.size(Bucket::Resources, &pooled.sha1).await;
        if matches!(known, Ok(Some(_))) {
            continue;
        }
        let put = controller
            .blobs
            .put_file(Bucket::Resources, &pooled.sha1, &pooled.file)
            .await;
        if let Err(error) = put {
            tracing::warn!(error = %chain(&error), "cannot keep a file in the resource pool");
            return;
        }
    }
}

/// Which of these files the pool has.
pub(crate) async fn known(
    controller: &Controller,
    list: Vec<serde_json::Map<String, serde_json::Value>>,
) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, ApiError> {
    if list.len() > MAX_MATCH {
        let what = format!("more than {MAX_MATCH} resources in one question");
        return Err(api_error::MESSAGE_PARSE_ERROR.with(what));
    }
    let limits = &controller.config.uploads;
    let mut known = Vec::new();
    for entry in list {
        let Some((sha1, size)) = known_fields(&entry) else {
            continue;
        };
        if size <= limits.pool_minimum_bytes || size >= limits.pool_maximum_bytes {
            continue;
        }
        if store(controller.blobs.size(Bucket::Resources, &sha1).await)? == Some(size) {
            known.push(entry);
        }
    }
    Ok(known)
}

/// Gives an app the bits of another.
pub(crate) async fn copy(
    controller: &Controller,
    actor: &Actor,
    from: &str,
    to: &str,
) -> Result<(), ApiError> {
    let (who, source, target) = (actor.clone(), from.to_owned(), to.to_owned());
    let source = controller
        .read(move |c| {
            apps::find(c, &who, &target, SpaceRight::Develop)?;
            Ok(apps::find(c, &who, &source, SpaceRight::Develop)?.0)
        })
        .await?;
    let (Some(old), Some(sha1)) = (source.package_key, source.package_sha1) else {
        let what = "the app to copy from has no bits";
        return Err(api_error::APP_BITS_COPY_INVALID.with(what));
    };
    let key = JobGuid::generate().into_string();
    store(controller.blobs.copy(Bucket::Packages, &old, &key).await)?;
    replace(controller, actor, to, &key, &sha1, "audit.app.copy-bits").await
}

fn store<T>(outcome: Result<T, BlobError>) -> Result<T, ApiError> {
    outcome.map_err(ApiError::internal)
}
