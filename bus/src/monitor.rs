//! `/healthz` and `/varz` over HTTP.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Handle;
use crate::hub::Hub;
use crate::protocol;

/// Connections at a time; more wait in the listen queue.
const CONNECTIONS: usize = 64;
/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may live; monitors come back.
const LIFE: Duration = Duration::from_secs(300);

/// Serves until `stop`; without a listener it only waits for it.
pub(crate) async fn serve(
    listener: Option<TcpListener>,
    handle: Handle,
    stop: CancellationToken,
) -> io::Result<()> {
    let Some(listener) = listener else {
        stop.cancelled().await;
        return Ok(());
    };
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let tasks = TaskTracker::new();
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            place = std::sync::Arc::clone(&places).acquire_owned() => place.map_err(io::Error::other)?,
        };
        let socket = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a monitoring connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let (handle, stop) = (handle.clone(), stop.clone());
        tasks.spawn(async move {
            let _place = place;
            let service = service_fn(move |request| {
                let response = respond(&handle, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(socket), service);
            tokio::select! {
                () = stop.cancelled() => {}
                _ = tokio::time::timeout(LIFE, connection) => {}
            }
        });
    }
}

fn respond(handle: &Handle, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "only GET\n".to_owned(),
        );
    }
    let body = match request.uri().path() {
        "/" => return text(StatusCode::OK, "text/plain", "/healthz\n/varz\n".to_owned()),
        "/healthz" => json!({ "status": "ok" }),
        "/varz" => handle.varz(),
        _ => {
            return text(
                StatusCode::NOT_FOUND,
                "text/plain",
                "not found\n".to_owned(),
            );
        }
    };
    text(StatusCode::OK, "application/json", format!("{body:#}"))
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

/// The broker in numbers, in nats-server's words.
pub(crate) fn varz(hub: &Hub) -> Value {
    let stats = hub.stats();
    let settings = hub.settings();
    let limits = &settings.limits;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    json!({
        "server_id": hub.id,
        "server_name": hub.name,
        "version": protocol::VERSION,
        "proto": protocol::PROTO,
        "go": concat!("cupola-bus ", env!("CARGO_PKG_VERSION")),
        "host": hub.address.ip().to_string(),
        "port": hub.address.port(),
        "auth_required": settings.users.required(),
        "tls_required": false,
        "max_connections": limits.max_connections,
        "max_subscriptions": limits.max_subscriptions,
        "ping_interval": nanos(limits.ping_interval),
        "ping_max": limits.ping_max,
        "max_control_line": limits.max_control_line,
        "max_payload": limits.max_payload,
        "max_pending": limits.max_pending,
        "connect_urls": settings.connect_urls,
        "auth_timeout": limits.auth_timeout.as_secs_f64(),
        "write_deadline": nanos(limits.write_deadline),
        "start": DateTime::<Utc>::from(hub.started_at).to_rfc3339_opts(SecondsFormat::Nanos, true),
        "now": Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true),
        "uptime": uptime(hub.started.elapsed()),
        "mem": resident_bytes(),
        "cores": cores,
        "gomaxprocs": cores,
        "connections": stats.connections,
        "total_connections": stats.total_connections,
        "routes": 0,
        "remotes": 0,
        "leafnodes": 0,
        "in_msgs": stats.traffic.in_msgs,
        "out_msgs": stats.traffic.out_msgs,
        "in_bytes": stats.traffic.in_bytes,
        "out_bytes": stats.traffic.out_bytes,
        "slow_consumers": stats.slow_consumers,
        "slow_consumer_stats": { "clients": stats.slow_consumers, "routes": 0, "gateways": 0, "leafs": 0 },
        "subscriptions": stats.subscriptions.len,
    })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// As nats-server writes it: `1d2h3m4s`, without leading zeros.
fn uptime(up: Duration) -> String {
    let seconds = up.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let rest = seconds % 60;
    if days > 0 {
        format!("{days}d{hours}h{minutes}m{rest}s")
    } else if hours > 0 {
        format!("{hours}h{minutes}m{rest}s")
    } else if minutes > 0 {
        format!("{minutes}m{rest}s")
    } else {
        format!("{rest}s")
    }
}

/// What the process holds in memory; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let read = || -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    read().unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_reads_like_the_original() {
        for (seconds, text) in [
            (0, "0s"),
            (61, "1m1s"),
            (3600, "1h0m0s"),
            (90_061, "1d1h1m1s"),
        ] {
            assert_eq!(uptime(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn memory_is_known_here() {
        assert!(resident_bytes() > 0);
    }
}
