//! The HTTP side: connections, paths, bodies.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::absent;
use super::accountz;
use super::accstatz;
use super::connz;
use super::endpoint::Endpoint;
use super::healthz::{self, Healthz};
use super::jsonp::Callback;
use super::query::{BadRequest, Query};
use super::report::Report;
use super::routez;
use super::subsz;
use super::{index, metrics};
use crate::hub::Hub;

/// Connections at a time; more wait in the listen queue.
const CONNECTIONS: usize = 64;
/// Answers made at a time: one about all connections can take megabytes and milliseconds.
const ANSWERS: usize = 2;
/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may live; monitors come back.
const LIFE: Duration = Duration::from_secs(300);
/// Longest query that is looked at.
const QUERY: usize = 8 << 10;

const JSON: &str = "application/json";
const SCRIPT: &str = "application/javascript";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The body of an answer, before it is wrapped.
struct Body {
    status: StatusCode,
    kind: &'static str,
    bytes: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Bad(#[from] BadRequest),
    #[error("the answer cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// How monitors come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// In clear.
    Http,
    /// Over TLS, with the certificates that clients see.
    Https,
}

/// Serves until `stop`; without a listener it only waits for it.
///
/// # Errors
/// The listener cannot be used.
pub(crate) async fn serve(
    listener: Option<TcpListener>,
    scheme: Scheme,
    hub: Arc<Hub>,
    stop: CancellationToken,
) -> io::Result<()> {
    let Some(listener) = listener else {
        stop.cancelled().await;
        return Ok(());
    };
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let tasks = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let answers = Arc::new(Semaphore::new(ANSWERS));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            place = Arc::clone(&places).acquire_owned() => place.map_err(io::Error::other)?,
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
        let (hub, answers, stop) = (Arc::clone(&hub), Arc::clone(&answers), stop.clone());
        tasks.spawn(async move {
            let _place = place;
            let conversation = async {
                match scheme {
                    Scheme::Http => converse(socket, hub, answers).await,
                    Scheme::Https => {
                        // Looked up for each, so that a reload replaces the certificates.
                        if let Some(socket) = secure(socket, &hub).await {
                            converse(socket, hub, answers).await;
                        }
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                _ = tokio::time::timeout(LIFE, conversation) => {}
            }
        });
    }
}

/// The handshake with a monitor.
async fn secure(socket: TcpStream, hub: &Hub) -> Option<TlsStream<TcpStream>> {
    let (config, timeout) = {
        let settings = hub.settings();
        let acceptor = settings.security.monitor.as_ref()?;
        (acceptor.config(), acceptor.timeout)
    };
    let handshake = TlsAcceptor::from(config).accept(socket);
    match tokio::time::timeout(timeout, handshake).await {
        Ok(Ok(socket)) => Some(socket),
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake of a monitoring connection");
            None
        }
        Err(_) => None,
    }
}

/// Answers the requests of one connection.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    hub: Arc<Hub>,
    answers: Arc<Semaphore>,
) {
    let service = service_fn(move |request| {
        let (hub, answers) = (Arc::clone(&hub), Arc::clone(&answers));
        async move { Ok::<_, Infallible>(respond(hub, &answers, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(socket), service);
    // Monitors that hang up are no news.
    let _ = connection.await;
}

/// Answers one request, whatever its method: as with nats-server, all read.
async fn respond(
    hub: Arc<Hub>,
    answers: &Semaphore,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let uri = request.uri();
    let path = percent_decode_str(uri.path()).decode_utf8_lossy();
    let Some(endpoint) = Endpoint::parse(&path, &hub.monitor.facts.base_path) else {
        return response(Body::text(StatusCode::NOT_FOUND, "404 page not found\n"));
    };
    hub.monitor.count(endpoint);
    let query = uri.query().unwrap_or_default();
    if query.len() > QUERY {
        return response(Body::text(
            StatusCode::URI_TOO_LONG,
            "the query is longer than 8 KiB\n",
        ));
    }
    let query = Query::parse(query);
    let Ok(_turn) = answers.acquire().await else {
        return response(Body::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "shutting down\n",
        ));
    };
    // Neither the messages nor the other monitors wait for it.
    let made = tokio::task::spawn_blocking(move || {
        let callback = Callback::new(query.text("callback"))?;
        let body = body(&hub, endpoint, &query)?;
        Ok::<_, Failure>(match callback {
            Some(callback) if body.kind == JSON => Body {
                kind: SCRIPT,
                bytes: callback.wrap(&body.bytes),
                ..body
            },
            _ => body,
        })
    });
    response(match made.await {
        Ok(Ok(body)) => body,
        Ok(Err(Failure::Bad(error))) => Body::text(StatusCode::BAD_REQUEST, &error.to_string()),
        Ok(Err(error)) => Body::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(_) => Body::text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the answer was not made\n",
        ),
    })
}

fn body(hub: &Hub, endpoint: Endpoint, query: &Query) -> Result<Body, Failure> {
    let report = Report::new(hub);
    match endpoint {
        Endpoint::Index => Ok(Body {
            status: StatusCode::OK,
            kind: HTML,
            bytes: index::page(&hub.monitor.facts.base_path).into_bytes(),
        }),
        Endpoint::Metrics => Ok(Body {
            status: StatusCode::OK,
            kind: PROMETHEUS,
            bytes: metrics::page(hub).into_bytes(),
        }),
        Endpoint::Healthz => {
            let options = healthz::Options::parse(query)?;
            let answer = Healthz::new(hub.monitor.health(), &options);
            Ok(Body {
                status: StatusCode::from_u16(answer.code())
                    .unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
                kind: JSON,
                bytes: serde_json::to_vec(&answer)?,
            })
        }
        Endpoint::Varz => Body::json(&report.varz()),
        Endpoint::Connz => Body::json(&report.connz(&connz::Options::parse(query)?)?),
        Endpoint::Subsz => Body::json(&report.subsz(&subsz::Options::parse(query)?)?),
        Endpoint::Routez => Body::json(&report.routez(routez::Options::parse(query)?)),
        Endpoint::Accountz => Body::json(&report.accountz(&accountz::Options::parse(query))?),
        Endpoint::Accstatz => Body::json(&report.accstatz(&accstatz::Options::parse(query)?)),
        Endpoint::Gatewayz => {
            absent::check_gatewayz(query)?;
            Body::json(&report.gatewayz())
        }
        Endpoint::Leafz => {
            absent::check_leafz(query)?;
            Body::json(&report.leafz())
        }
        Endpoint::Jsz => {
            absent::Options::parse(query)?;
            Body::json(&report.jsz())
        }
    }
}

// === impl Body ===

impl Body {
    fn json<T: Serialize>(value: &T) -> Result<Self, Failure> {
        Ok(Body {
            status: StatusCode::OK,
            kind: JSON,
            bytes: serde_json::to_vec_pretty(value)?,
        })
    }

    fn text(status: StatusCode, text: &str) -> Self {
        Body {
            status,
            kind: TEXT,
            bytes: text.as_bytes().to_vec(),
        }
    }
}

fn response(body: Body) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.bytes)));
    *response.status_mut() = body.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(body.kind));
    if body.kind == JSON {
        // As nats-server does: dashboards of other origins read it.
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        );
    }
    response
}
