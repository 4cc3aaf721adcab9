//! How an HTTP server of the platform starts, what it puts up with, and how it stops.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::KeepAlive;
use actix_web::middleware::{NormalizePath, from_fn};
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::request_id;

/// What a server puts up with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Threads that serve requests. Handlers are async and hand blocking work to pools, so one or
    /// two go a long way; each costs memory. Default 1.
    pub workers: usize,
    /// Connections served at once by each worker; further ones wait in the backlog. Default 2048.
    pub max_connections: usize,
    /// Seconds an idle connection is kept. Default 60.
    pub keep_alive_seconds: u64,
    /// Seconds a client has to send the head of its request. Default 10.
    pub head_timeout_seconds: u64,
    /// Seconds that requests in flight get when the server stops. Default 5.
    pub shutdown_seconds: u64,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            workers: 1,
            max_connections: 2048,
            keep_alive_seconds: 60,
            head_timeout_seconds: 10,
            shutdown_seconds: 5,
        }
    }
}

/// Threads per worker for actix's own blocking pool. Ours bring their own pools, so it stays idle.
const BLOCKING_THREADS: usize = 2;
/// How long a closing connection may linger.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves `routes` on `listeners` until `shutdown` is cancelled; then takes no more connections
/// and lets requests in flight finish within the limit.
///
/// Each worker calls `routes` once. Every request passes [`request_id::trace`]; trailing and
/// doubled slashes in paths are dropped before routing. Must be called inside a tokio runtime;
/// signals are left alone.
///
/// # Errors
/// When a listener cannot be used or a worker cannot start.
pub async fn serve<F>(
    listeners: Vec<TcpListener>,
    limits: Limits,
    shutdown: CancellationToken,
    routes: F,
) -> io::Result<()>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let mut running = start(listeners, &limits, routes)?;
    let handle = running.handle();
    tokio::select! {
        ended = &mut running => ended,
        () = shutdown.cancelled() => {
            // The stop is carried out by the server itself, which has to be polled for it.
            let (ended, ()) = tokio::join!(running, handle.stop(true));
            ended
        }
    }
}

fn start<F>(listeners: Vec<TcpListener>, limits: &Limits, routes: F) -> io::Result<Server>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let mut server = HttpServer::new(move || {
        App::new()
            .configure(routes.clone())
            .wrap(NormalizePath::trim())
            .wrap(from_fn(request_id::trace))
    })
    .workers(limits.workers.max(1))
    .worker_max_blocking_threads(BLOCKING_THREADS)
    .max_connections(limits.max_connections.max(1))
    .keep_alive(KeepAlive::Timeout(Duration::from_secs(
        limits.keep_alive_seconds,
    )))
    .client_request_timeout(Duration::from_secs(limits.head_timeout_seconds))
    .client_disconnect_timeout(DISCONNECT_TIMEOUT)
    .shutdown_timeout(limits.shutdown_seconds)
    .disable_signals();
    for listener in listeners {
        server = server.listen(listener)?;
    }
    Ok(server.run())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use actix_web::{HttpResponse, web};

    use super::*;
    use crate::{api_error, client};

    async fn slow() -> HttpResponse {
        tokio::time::sleep(Duration::from_millis(300)).await;
        HttpResponse::Ok().body("done")
    }

    fn routes(config: &mut ServiceConfig) {
        config
            .service(
                web::scope("/v2")
                    .wrap(from_fn(api_error::unknown_method_is_not_found))
                    .route("/slow", web::get().to(slow)),
            )
            .default_service(web::to(api_error::unknown_path));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn serves_normalises_refuses_and_stops_gracefully() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let server = serve(vec![listener], Limits::default(), shutdown.clone(), routes);
        let server = tokio::spawn(server);
        let client = client::loopback("test").unwrap();

        let answer = client
            .get(format!("{base}//v2/slow/"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().contains_key("x-vcap-request-id"));
        for request in [
            client.get(format!("{base}/nothing")),
            client.put(format!("{base}/v2/slow")),
        ] {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 404);
            let body: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(body["code"], 10000);
        }

        let in_flight = tokio::spawn(client.get(format!("{base}/v2/slow")).send());
        tokio::time::sleep(Duration::from_millis(100)).await;
        shutdown.cancel();
        assert_eq!(in_flight.await.unwrap().unwrap().status(), 200);
        let stopped = tokio::time::timeout(Duration::from_secs(10), server).await;
        stopped.unwrap().unwrap().unwrap();
        assert!(client.get(format!("{base}/v2/slow")).send().await.is_err());
    }
}
