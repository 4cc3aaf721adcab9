//! `/v2/resource_match` and the bits of an app

use std::path::PathBuf;
use std::time::Duration;

use actix_multipart::{Field, Multipart};
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{self, Path, ServiceConfig};
use cupola_http::body::{Json, JsonLimit};
use cupola_http::{ApiError, ListQuery, api_error, envelope};
use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::{Answer, Api, created, is_true, ok};
use crate::action::bits::{self as actions, Upload};
use crate::action::{flag, job};
use crate::actor::Actor;
use crate::bits::parse_list;
use crate::error::chain;
use crate::model::job as jobs;
use crate::present;

const MB: u64 = 1024 * 1024;
/// Longest list of resources, in bytes: 65 000 files with long names.
const MAX_LIST_BYTES: usize = 16 * 1024 * 1024;
/// Parts of an upload beyond these two are not read.
const MAX_PARTS: usize = 8;
/// How long a sender may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How long an answer waits for the job to end: a small push then needs no polling.
const WAIT_FOR_JOB: Duration = Duration::from_secs(2);

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::resource("/resource_match")
            .app_data(JsonLimit(MAX_LIST_BYTES))
            .route(web::put().to(resource_match)),
    );
}

/// The subset of these files that need not be sent.
async fn resource_match(
    api: Api,
    actor: Actor,
    Json(list): Json<Vec<Map<String, Value>>>,
) -> Answer {
    api.read(move |c| flag::require(c, &actor, "app_bits_upload"))
        .await?;
    let known = actions::known(&api, list).await?;
    ok(&json!(known))
}

/// `PUT /v2/apps/:guid/bits`
pub(super) async fn bits(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    query: ListQuery,
    request: HttpRequest,
    payload: Multipart,
) -> Answer {
    actions::admit(&api, &actor, &guid).await?;
    let most = api.config.uploads.package_mb * MB;
    let announced: Option<u64> = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length| length > most + MAX_LIST_BYTES as u64) {
        return Err(too_large(most).into());
    }
    let upload = receive(&api, payload, most).await?;
    if !is_true(&query, "async") {
        actions::accept(&api, &actor, &guid, upload).await?;
        return Ok(envelope::json(StatusCode::CREATED, &json!({}))?);
    }
    let begun = job::begin(&api).await?;
    let (this, job_guid) = (api.get_ref().clone(), begun.guid.clone());
    let work = api.tasks.spawn(async move {
        let outcome = actions::accept(&this, &actor, &guid, upload).await;
        if let Err(error) = &outcome {
            tracing::info!(app.guid = %guid, error = %chain(error), "an upload was not accepted");
        }
        if let Err(error) = job::end(&this, &job_guid, outcome).await {
            tracing::warn!(job.guid = %job_guid, error = %chain(&error), "cannot end a job");
        }
    });
    // Whether it ends in this time or later, the row says how the job stands.
    let _ = timeout(WAIT_FOR_JOB, work).await;
    let wanted = begun.guid.clone();
    let now = api.read(move |c| Ok(jobs::find(c, &wanted)?)).await?;
    created(&present::job(&now.unwrap_or(begun)))
}

/// Reads the parts of an upload into a folder of its own.
async fn receive(api: &Api, mut payload: Multipart, most: u64) -> Result<Upload, ApiError> {
    let folder = work_folder(api)?;
    let (mut zip, mut resources) = (None, None);
    let mut parts = 0;
    while let Some(field) = next(&mut payload).await? {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(invalid("the upload has too many parts"));
        }
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "resources" => resources = Some(parse_list(&text(field).await?)?),
            "application" => {
                let path = folder.path().join("upload.zip");
                if save(field, &path, most).await? > 0 {
                    zip = Some(path);
                }
            }
            _ => {}
        }
    }
    let resources = resources.ok_or_else(|| invalid("the upload has no part named resources"))?;
    if zip.is_none() && resources.is_empty() {
        return Err(invalid("the upload has no files"));
    }
    Ok(Upload {
        folder,
        zip,
        resources,
    })
}

fn work_folder(api: &Api) -> Result<TempDir, ApiError> {
    let made = match &api.config.work_folder {
        Some(parent) => tempfile::Builder::new()
            .prefix("upload-")
            .tempdir_in(parent),
        None => tempfile::Builder::new().prefix("cupola-upload-").tempdir(),
    };
    made.map_err(ApiError::internal)
}

async fn next(payload: &mut Multipart) -> Result<Option<Field>, ApiError> {
    match timeout(SILENCE, payload.next()).await {
        Ok(Some(Ok(field))) => Ok(Some(field)),
        Ok(Some(Err(error))) => Err(invalid(&format!("the upload cannot be read: {error}"))),
        Ok(None) => Ok(None),
        Err(_) => Err(invalid("the upload stopped half-way")),
    }
}

async fn text(mut field: Field) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = chunk(&mut field).await? {
        if bytes.len() + chunk.len() > MAX_LIST_BYTES {
            return Err(too_large(MAX_LIST_BYTES as u64));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn save(mut field: Field, path: &PathBuf, most: u64) -> Result<u64, ApiError> {
    let mut file = File::create(path).await.map_err(ApiError::internal)?;
    let mut bytes = 0;
    while let Some(chunk) = chunk(&mut field).await? {
        bytes += chunk.len() as u64;
        if bytes > most {
            return Err(too_large(most));
        }
        file.write_all(&chunk).await.map_err(ApiError::internal)?;
    }
    file.flush().await.map_err(ApiError::internal)?;
    Ok(bytes)
}

async fn chunk(field: &mut Field) -> Result<Option<bytes::Bytes>, ApiError> {
    match timeout(SILENCE, field.next()).await {
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(error))) => Err(invalid(&format!("the upload cannot be read: {error}"))),
        Ok(None) => Ok(None),
        Err(_) => Err(invalid("the upload stopped half-way")),
    }
}

fn invalid(what: &str) -> ApiError {
    api_error::APP_BITS_UPLOAD_INVALID.with(what)
}

fn too_large(most: u64) -> ApiError {
    let what = format!("the upload is larger than {} MB", most / MB);
    api_error::APP_BITS_UPLOAD_INVALID
        .with(what)
        .with_status(StatusCode::PAYLOAD_TOO_LARGE)
}
