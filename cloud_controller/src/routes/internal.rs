//! `/internal`: blobs and results, for stagers and DEAs. Every path is opened by a signed URL alone.

use std::time::{Duration, SystemTime};

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use actix_web::web::{self, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use cupola_blobstore::{BlobError, Bucket};
use cupola_http::signed_url::SignatureError;
use cupola_http::{ApiError, api_error, body, envelope};
use cupola_messages::staging::Completed;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;

use super::{Answer, Api};
use crate::access::SpaceRight;
use crate::action::{app as apps, staging};
use crate::actor::Actor;
use crate::error::{Fail, chain};
use crate::model::staging as tasks;

const MB: u64 = 1024 * 1024;
/// How long a link to a package or droplet is good for a user.
const DOWNLOAD_VALID: Duration = Duration::from_secs(300);
/// Largest result of a build.
const MAX_RESULT_BYTES: usize = 1024 * 1024;

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::resource("/internal/blobs/{bucket}/{key}")
            .route(web::get().to(download))
            .route(web::post().to(upload))
            .route(web::put().to(upload)),
    )
    .service(web::resource("/internal/staging/{task}/completed").route(web::post().to(completed)));
}

/// Checks that the URL was signed by us, for this method.
fn check(api: &Api, request: &HttpRequest, method: &str) -> Result<(), ApiError> {
    let (path, query) = (request.path(), request.query_string());
    match api.signer.verify(method, path, query, SystemTime::now()) {
        Ok(()) => Ok(()),
        Err(error @ SignatureError::Missing) => {
            Err(api_error::NOT_AUTHENTICATED.bare().caused_by(error))
        }
        Err(error) => Err(api_error::NOT_AUTHORIZED.bare().caused_by(error)),
    }
}

fn bucket_of(name: &str) -> Result<Bucket, ApiError> {
    Bucket::from_name(name).ok_or_else(|| api_error::NOT_FOUND.bare())
}

fn blob_error(error: BlobError) -> ApiError {
    match error {
        BlobError::NotFound { .. } | BlobError::Key(_) => api_error::NOT_FOUND.bare(),
        BlobError::TooLarge { limit_bytes } => api_error::UNPROCESSABLE_ENTITY
            .with(format!("the upload is larger than {limit_bytes} bytes"))
            .with_status(StatusCode::PAYLOAD_TOO_LARGE),
        BlobError::WrongDigest { .. } => {
            api_error::UNPROCESSABLE_ENTITY.with("the upload did not arrive as it was sent")
        }
        BlobError::Source(_) => api_error::INVALID_REQUEST.bare().caused_by(error),
        other => ApiError::internal(other),
    }
}

async fn download(api: Api, path: Path<(String, String)>, request: HttpRequest) -> Answer {
    check(&api, &request, "GET")?;
    let (bucket, key) = path.into_inner();
    let contents = api
        .blobs
        .get(bucket_of(&bucket)?, &key)
        .await
        .map_err(blob_error)?;
    let stream = contents.stream.inspect_err(|error| {
        tracing::warn!(error = %chain(error), "a download broke off");
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/octet-stream"))
        .no_chunking(contents.size_bytes)
        .streaming(stream.map_err(std::io::Error::other)))
}

/// Takes a droplet or a build cache. `Content-Length` is checked beforehand, the bytes as they
/// come, and the SHA-1 in `X-Content-Sha1`, if there is one, at the end.
async fn upload(
    api: Api,
    path: Path<(String, String)>,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer {
    check(&api, &request, "POST")?;
    let (bucket, key) = path.into_inner();
    let uploads = &api.config.uploads;
    let (bucket, limit) = match bucket_of(&bucket)? {
        Bucket::Droplets => (Bucket::Droplets, uploads.droplet_mb * MB),
        Bucket::BuildpackCaches => (Bucket::BuildpackCaches, uploads.cache_mb * MB),
        _ => return Err(api_error::NOT_AUTHORIZED.bare().into()),
    };
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit) {
        return Err(blob_error(BlobError::TooLarge { limit_bytes: limit }).into());
    }
    if bucket == Bucket::Droplets {
        refuse_closed(&api, &key).await?;
    }
    let expected = request
        .headers()
        .get("x-content-sha1")
        .and_then(|v| v.to_str().ok());
    let chunks = payload.map_err(std::io::Error::other).boxed_local();
    let stored = api
        .blobs
        .put_checked(bucket, &key, chunks, limit, expected)
        .await
        .map_err(blob_error)?;
    if bucket == Bucket::Droplets && !staging::uploaded(&api, &key, &stored.sha1).await? {
        // The build was given up meanwhile: nobody refers to what it made.
        api.blobs.delete(bucket, &key).await.map_err(blob_error)?;
        return Err(closed(&key).into());
    }
    let value = json!({"sha1": stored.sha1, "size": stored.size_bytes});
    Ok(envelope::json(StatusCode::CREATED, &value)?)
}

async fn refuse_closed(api: &Api, task: &str) -> Result<(), Fail> {
    let wanted = task.to_owned();
    if api
        .read(move |c| Ok(tasks::find(c, &wanted)?.is_some()))
        .await?
    {
        return Ok(());
    }
    Err(closed(task).into())
}

fn closed(task: &str) -> ApiError {
    let what = format!("staging task {task} is over");
    api_error::UNPROCESSABLE_ENTITY
        .with(what)
        .with_status(StatusCode::CONFLICT)
}

/// Takes the result of a build. One that comes twice, or too late, is taken and dropped.
async fn completed(
    api: Api,
    task: Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer {
    check(&api, &request, "POST")?;
    let bytes = payload
        .to_bytes_limited(MAX_RESULT_BYTES)
        .await
        .map_err(|_| api_error::MESSAGE_PARSE_ERROR.with("the result is too large"))?
        .map_err(|error| api_error::MESSAGE_PARSE_ERROR.with(error))?;
    let result: Completed = body::parse(&bytes)?;
    if result.task_id.as_str() != task.as_str() {
        return Err(api_error::MESSAGE_PARSE_ERROR
            .with("the result is of another task")
            .into());
    }
    staging::completed(&api, &task, result).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// `GET /v2/apps/:guid/download`
pub(super) async fn download_package(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let who = actor.clone();
    let wanted = guid.clone();
    let (app, _) = api
        .read(move |c| apps::find(c, &who, &wanted, SpaceRight::Develop))
        .await?;
    let key = app
        .package_key
        .ok_or_else(|| api_error::APP_PACKAGE_NOT_FOUND.with(&*guid))?;
    redirect(&api, Bucket::Packages, &key)
}

/// `GET /v2/apps/:guid/droplet/download`
pub(super) async fn download_droplet(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let who = actor.clone();
    let (app, _) = api
        .read(move |c| apps::find(c, &who, &guid, SpaceRight::Develop))
        .await?;
    let key = app.droplet_key.ok_or_else(|| {
        api_error::RESOURCE_NOT_FOUND
            .with(format!("Droplet not found for app with guid {}", app.guid))
    })?;
    redirect(&api, Bucket::Droplets, &key)
}

fn redirect(api: &Api, bucket: Bucket, key: &str) -> Answer {
    let path = crate::dispatch::blob_path(bucket, key);
    let signed = api
        .signer
        .sign("GET", &path, SystemTime::now(), DOWNLOAD_VALID);
    let location = format!("{}{signed}", api.config.external_base());
    Ok(HttpResponse::Found()
        .insert_header((LOCATION, location))
        .finish())
}
