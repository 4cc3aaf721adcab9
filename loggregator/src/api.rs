//! The HTTP face: recent lines, streams, log-cache reads.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{CloseCode, CloseReason, Message, MessageStream, Session};
use cupola_http::api_error::{self, ApiError};
use cupola_http::bearer::Authenticated;
use cupola_messages::logs::{LogLine, LogSource, LogStream};
use cupola_types::AppGuid;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, broadcast};
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::archive::{Archive, Window};
use crate::envelope::{self, Generation};
use crate::multipart;

/// How often a silent stream is pinged, so that proxies keep it and dead readers are noticed.
const PING_EVERY: Duration = Duration::from_secs(25);
/// A reader that takes longer for one message is cut off.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// Most lines that one log-cache read returns.
const MAX_READ: usize = 1_000;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) archive: Archive,
    pub(crate) access: Access,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) shutdown: CancellationToken,
}

/// Adds the routes.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/apps/{app}/recentlogs", web::get().to(recent_logs))
        .route("/apps/{app}/stream", web::get().to(stream))
        .route("/recent", web::get().to(old_recent))
        .route("/dump", web::get().to(old_recent))
        .route("/tail", web::get().to(old_tail))
        .route("/api/v1/info", web::get().to(log_cache_info))
        .route("/api/v1/read/{app}", web::get().to(log_cache_read))
        .route("/v1/read/{app}", web::get().to(log_cache_read))
        .default_service(web::to(api_error::unknown_path));
}

#[derive(Debug, Deserialize)]
struct AppQuery {
    app: String,
}

async fn recent_logs(
    request: HttpRequest,
    shared: web::Data<Shared>,
    app: web::Path<String>,
    _who: Authenticated,
) -> Result<HttpResponse, ApiError> {
    recent(&request, &shared, &app, Generation::Doppler).await
}

async fn old_recent(
    request: HttpRequest,
    shared: web::Data<Shared>,
    query: web::Query<AppQuery>,
    _who: Authenticated,
) -> Result<HttpResponse, ApiError> {
    recent(&request, &shared, &query.app, Generation::Loggregator).await
}

async fn stream(
    request: HttpRequest,
    body: web::Payload,
    shared: web::Data<Shared>,
    app: web::Path<String>,
    _who: Authenticated,
) -> Result<HttpResponse, ApiError> {
    tail(&request, body, &shared, &app, Generation::Doppler).await
}

async fn old_tail(
    request: HttpRequest,
    body: web::Payload,
    shared: web::Data<Shared>,
    query: web::Query<AppQuery>,
    _who: Authenticated,
) -> Result<HttpResponse, ApiError> {
    tail(&request, body, &shared, &query.app, Generation::Loggregator).await
}

async fn log_cache_info() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "version": "2.11.4", "vm_uptime": "0" }))
}

#[derive(Debug, Deserialize)]
struct ReadQuery {
    start_time: Option<i64>,
    end_time: Option<i64>,
    limit: Option<usize>,
    descending: Option<bool>,
    envelope_types: Option<String>,
}

async fn log_cache_read(
    request: HttpRequest,
    shared: web::Data<Shared>,
    app: web::Path<String>,
    query: web::Query<ReadQuery>,
    _who: Authenticated,
) -> Result<HttpResponse, ApiError> {
    let app = readable(&request, &shared, &app).await?;
    let wants_logs = query
        .envelope_types
        .as_deref()
        .is_none_or(|types| types.split(',').any(|t| matches!(t, "LOG" | "ANY")));
    let window = Window {
        start_ns: query.start_time.unwrap_or(i64::MIN),
        end_ns: query.end_time.unwrap_or(i64::MAX),
        limit: query.limit.unwrap_or(100).min(MAX_READ),
        descending: query.descending.unwrap_or(false),
    };
    let lines = if wants_logs {
        shared.archive.read(&app, window)
    } else {
        Vec::new()
    };
    let batch: Vec<Value> = lines
        .iter()
        .map(|line| envelope::log_cache(&app, line))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "envelopes": { "batch": batch } })))
}

/// The app, when whoever asks may read it.
async fn readable(request: &HttpRequest, shared: &Shared, app: &str) -> Result<AppGuid, ApiError> {
    let app: AppGuid = app
        .parse()
        .map_err(|_| api_error::APP_NOT_FOUND.with(app))?;
    let authorization = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let authorization = authorization.ok_or_else(|| api_error::NOT_AUTHENTICATED.bare())?;
    shared.access.check(authorization, &app).await?;
    Ok(app)
}

async fn recent(
    request: &HttpRequest,
    shared: &Shared,
    app: &str,
    generation: Generation,
) -> Result<HttpResponse, ApiError> {
    let app = readable(request, shared, app).await?;
    let lines = shared.archive.read(&app, Window::everything());
    let parts = lines.iter().map(|line| generation.encode(&app, line));
    Ok(HttpResponse::Ok()
        .content_type(multipart::content_type())
        .body(multipart::body(parts)))
}

async fn tail(
    request: &HttpRequest,
    body: web::Payload,
    shared: &web::Data<Shared>,
    app: &str,
    generation: Generation,
) -> Result<HttpResponse, ApiError> {
    let app = readable(request, shared, app).await?;
    let Ok(permit) = Arc::clone(&shared.streams).try_acquire_owned() else {
        return Err(api_error::SERVER_ERROR
            .bare()
            .with_status(actix_web::http::StatusCode::SERVICE_UNAVAILABLE)
            .with_description(
                "as many log streams are open as this server allows; try again later",
            ));
    };
    let (response, session, incoming) = actix_ws::handle(request, body).map_err(|error| {
        api_error::INVALID_REQUEST
            .bare()
            .with_description(format!("no websocket request: {error}"))
    })?;
    let lines = shared.archive.follow(&app);
    let shutdown = shared.shutdown.clone();
    actix_web::rt::spawn(async move {
        follow(session, incoming, lines, &app, generation, shutdown).await;
        drop(permit);
    });
    Ok(response)
}

/// Sends lines until the reader goes, is too slow or the server stops.
async fn follow(
    mut session: Session,
    mut incoming: MessageStream,
    mut lines: broadcast::Receiver<Arc<LogLine>>,
    app: &AppGuid,
    generation: Generation,
    shutdown: CancellationToken,
) {
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    let reason = loop {
        let sent = tokio::select! {
            () = shutdown.cancelled() => break Some(CloseCode::Away),
            message = incoming.next() => match message {
                Some(Ok(Message::Ping(bytes))) => session.pong(&bytes).await,
                Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                Some(Ok(_)) => continue,
            },
            _ = ping.tick() => session.ping(b"").await,
            line = lines.recv() => {
                let bytes = match line {
                    Ok(line) => generation.encode(app, &line),
                    Err(broadcast::error::RecvError::Lagged(n)) => generation.encode(app, &missed(n)),
                    Err(broadcast::error::RecvError::Closed) => break Some(CloseCode::Away),
                };
                match tokio::time::timeout(SEND_WITHIN, session.binary(bytes)).await {
                    Ok(sent) => sent,
                    Err(_) => break Some(CloseCode::Policy),
                }
            }
        };
        if sent.is_err() {
            break None;
        }
    };
    let _ = session.close(reason.map(CloseReason::from)).await;
}

/// What a reader is told that was slower than the app.
fn missed(lines: u64) -> LogLine {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    LogLine {
        message: format!("{lines} lines came faster than they were read and are left out here"),
        stream: LogStream::Err,
        timestamp_ns: i64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX),
        source_type: LogSource::Loggregator,
        source_instance: "0".to_owned(),
    }
}
