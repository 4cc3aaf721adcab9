//! `/healthz`, `/varz` and `/metrics` of every process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::metrics::Metrics;

/// Connections served at a time; further ones wait in the socket's queue.
const MAX_CONNECTIONS: usize = 32;
/// How long one connection may live. Each is for one question, so that no idle one keeps the
/// supervisor from asking.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(10);

/// What the status server tells of its process.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) kind: &'static str,
    pub(crate) index: u32,
    pub(crate) uuid: String,
    pub(crate) address: SocketAddr,
    pub(crate) started: String,
    pub(crate) since: Instant,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
}

impl Status {
    /// Time since the start as `0d:0h:0m:0s` (bus contract §1.8).
    pub(crate) fn uptime(&self) -> String {
        let s = self.since.elapsed().as_secs();
        format!(
            "{}d:{}h:{}m:{}s",
            s / 86_400,
            s / 3_600 % 24,
            s / 60 % 60,
            s % 60
        )
    }

    fn varz(&self) -> Value {
        let mut document = self.metrics.varz_document();
        let common = json!({
            "type": self.kind,
            "index": self.index,
            "uuid": self.uuid,
            "host": self.address.to_string(),
            "start": self.started,
            "uptime": self.uptime(),
            "num_cores": std::thread::available_parallelism().map_or(1, usize::from),
            "mem_bytes": resident_bytes(),
            "healthy": self.health.failures().is_empty(),
        });
        if let Value::Object(common) = common {
            document.extend(common);
        }
        Value::Object(document)
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n");
        }
        match path {
            "/healthz" => match &*self.health.failures() {
                [] => {
                    let text = format!("ok\n{}", lines(&self.health.advisories()));
                    respond(StatusCode::OK, "text/plain", text)
                }
                failures => respond(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "text/plain",
                    lines(failures),
                ),
            },
            "/varz" => respond(StatusCode::OK, "application/json", self.varz().to_string()),
            "/metrics" => respond(
                StatusCode::OK,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                self.metrics.text(),
            ),
            _ => respond(
                StatusCode::NOT_FOUND,
                "text/plain",
                "/healthz, /varz or /metrics\n",
            ),
        }
    }
}

/// Serves until `shutdown`.
pub(crate) async fn serve(listener: TcpListener, status: Arc<Status>, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let (permit, accepted) = tokio::select! {
            () = shutdown.cancelled() => return,
            next = next => match next {
                Some(next) => next,
                None => return,
            },
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await; // out of descriptors, likely
            continue;
        };
        let status = Arc::clone(&status);
        // Ends with its connection, its deadline or the process: nothing waits for it.
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = status.answer(request.method(), request.uri().path());
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .header_read_timeout(Duration::from_secs(5))
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(CONNECTION_LIFETIME, connection).await;
            drop(permit);
        });
    }
}

fn lines(checks: &[(String, String)]) -> String {
    checks
        .iter()
        .map(|(check, why)| format!("{check}: {why}\n"))
        .collect()
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    response
}

/// Resident memory of this process in bytes; 0 when the kernel does not say.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|p| p.parse::<u64>().ok())
        .unwrap_or(0);
    pages * 4096
}
