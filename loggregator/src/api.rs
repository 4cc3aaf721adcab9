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
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

use crate::access::Access;
use crate::archive::{Archive, Follower, Window};
use crate::envelope::{self, Generation};
use crate::multipart;

/// How often a silent stream is pinged, so that proxies keep it and dead readers are noticed.
const PING_EVERY: Duration = Duration::from_secs(25);
/// A reader from whom nothing came for so long, not even answers to pings, is gone.
const GONE_AFTER: Duration = Duration::from_secs(80);
/// A reader that takes longer for one message is cut off.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// Most lines that one log-cache read returns.
const MAX_READ: usize = 1_000;
/// Lines that a log-cache read returns when it does not say how many it wants.
const USUAL_READ: usize = 100;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) archive: Archive,
    pub(crate) access: Access,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) figures: Figures,
    pub(crate) shutdown: CancellationToken,
}

/// What streams are doing, for operators.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Streams that are open.
    pub(crate) open: Gauge,
    /// Lines that readers were too slow for.
    pub(crate) missed: Counter,
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

/// What a log-cache client wants to read.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    start_ns: i64,
    end_ns: i64,
    limit: usize,
    descending: bool,
    logs: bool,
}

impl Read {
    /// Reads the query. Parameters that are of no use here are passed over.
    fn of(query: &str) -> Result<Self, ApiError> {
        let mut read = Self {
            start_ns: i64::MIN,
            end_ns: i64::MAX,
            limit: USUAL_READ,
            descending: false,
            logs: true,
        };
        let mut types = Vec::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let number = || value.parse::<i64>().map_err(|_| unusable(&key, &value));
            match &*key {
                "start_time" => read.start_ns = number()?,
                "end_time" => read.end_ns = number()?,
                "limit" => {
                    let limit = usize::try_from(number()?).map_err(|_| unusable(&key, &value))?;
                    read.limit = match limit {
                        0 => USUAL_READ,
                        limit => limit.min(MAX_READ),
                    };
                }
                "descending" => {
                    read.descending = value.parse().map_err(|_| unusable(&key, &value))?;
                }
                "envelope_types" => types.extend(value.split(',').map(str::to_owned)),
                _ => {}
            }
        }
        read.logs = types.is_empty() || types.iter().any(|t| matches!(&**t, "LOG" | "ANY"));
        Ok(read)
    }
}

fn unusable(key: &str, value: &str) -> ApiError {
    api_error::INVALID_REQUEST
        .bare()
        .with_description(format!("the query parameter {key} cannot be {value:?}"))
}

async fn log_cache_read(
    request: HttpRequest,
    shared: web::Data<Shared>,
    app: web::Path<String>,
    _who: Authenticated,
) -> Result<HttpResponse, ApiError> {
    let read = Read::of(request.query_string())?;
    let app = readable(&request, &shared, &app).await?;
    let window = Window {
        start_ns: read.start_ns,
        end_ns: read.end_ns,
        limit: read.limit,
        descending: read.descending,
    };
    let lines = if read.logs {
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
    let reader = Reader {
        session,
        app: shared.archive.follow(&app),
        generation,
        missed: shared.figures.missed.clone(),
    };
    let (shutdown, open) = (shared.shutdown.clone(), shared.figures.open.clone());
    let guid = app;
    open.inc();
    // Ends with the reader, or with the server, which tells its readers.
    actix_web::rt::spawn(async move {
        reader.follow(&guid, incoming, shutdown).await;
        open.dec();
        drop(permit);
    });
    Ok(response)
}

/// Whoever reads a stream.
struct Reader {
    session: Session,
    app: Follower,
    generation: Generation,
    missed: Counter,
}

impl Reader {
    /// Sends lines until the reader goes, is too slow or the server stops.
    async fn follow(
        mut self,
        app: &AppGuid,
        mut incoming: MessageStream,
        shutdown: CancellationToken,
    ) {
        let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        let mut heard_at = Instant::now();
        let reason = loop {
            let sent = tokio::select! {
                () = shutdown.cancelled() => break Some(CloseCode::Away),
                message = incoming.next() => {
                    heard_at = Instant::now();
                    match message {
                        Some(Ok(Message::Ping(bytes))) => in_time(self.session.pong(&bytes)).await,
                        Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                        Some(Ok(_)) => continue,
                    }
                }
                _ = ping.tick() => {
                    if heard_at.elapsed() > GONE_AFTER {
                        break Some(CloseCode::Policy);
                    }
                    in_time(self.session.ping(b"")).await
                }
                news = self.app.next() => {
                    let Some(news) = news else {
                        break Some(CloseCode::Away);
                    };
                    let missed = (news.missed > 0).then(|| Arc::new(missed(news.missed)));
                    self.missed.inc_by(news.missed as u64);
                    self.send(app, missed.into_iter().chain(news.lines)).await
                }
            };
            match sent {
                Ok(()) => {}
                Err(Unsent::Closed) => break None,
                Err(Unsent::TooSlow) => break Some(CloseCode::Policy),
            }
        };
        // A reader that does not read does not take the farewell either.
        let _ = in_time(self.session.close(reason.map(CloseReason::from))).await;
    }

    async fn send(
        &mut self,
        app: &AppGuid,
        lines: impl Iterator<Item = Arc<LogLine>>,
    ) -> Result<(), Unsent> {
        for line in lines {
            in_time(self.session.binary(self.generation.encode(app, &line))).await?;
        }
        Ok(())
    }
}

/// Why something was not sent.
#[derive(Debug)]
enum Unsent {
    Closed,
    TooSlow,
}

async fn in_time(
    sending: impl Future<Output = Result<(), actix_ws::Closed>>,
) -> Result<(), Unsent> {
    match tokio::time::timeout(SEND_WITHIN, sending).await {
        Ok(sent) => sent.map_err(|_| Unsent::Closed),
        Err(_) => Err(Unsent::TooSlow),
    }
}

/// What a reader is told that was slower than the app.
fn missed(lines: usize) -> LogLine {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    LogLine {
        message: format!("{lines} lines came faster than they were read and are left out here"),
        stream: LogStream::Err,
        timestamp_ns: i64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX),
        source_type: LogSource::Loggregator,
        source_instance: "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_read_is_understood_as_log_cache_does() {
        let read = Read::of("").unwrap();
        assert_eq!((read.limit, read.descending, read.logs), (100, false, true));
        let read = Read::of(
            "start_time=-6795364578871345152&end_time=9&limit=5000&descending=true\
             &envelope_types=GAUGE&envelope_types=LOG&name_filter=x",
        )
        .unwrap();
        assert_eq!(
            (read.start_ns, read.end_ns),
            (-6_795_364_578_871_345_152, 9)
        );
        assert_eq!(
            (read.limit, read.descending, read.logs),
            (1_000, true, true)
        );
        assert_eq!(Read::of("limit=0").unwrap().limit, 100);
        assert!(!Read::of("envelope_types=EVENT,TIMER").unwrap().logs);
        for bad in ["limit=-1", "limit=x", "start_time=now", "descending=maybe"] {
            assert!(Read::of(bad).is_err(), "{bad}");
        }
    }
}
