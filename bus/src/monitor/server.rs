//! The HTTP side: connections, paths, bodies.

mod socket;

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::absent;
use super::accountz;
use super::accstatz;
use super::answers::{Answers, Draft, Finished, Refusal};
use super::connz;
use super::endpoint::Endpoint;
use super::healthz::{self, Healthz};
use super::jsonp::Callback;
use super::query::{BadRequest, Query};
use super::report::Report;
use super::routez;
use super::seats::{Seat, Seats, Stage};
use super::subsz;
use super::{index, metrics};
use crate::complaint::Complaint;
use crate::descriptors::{self, For};
use crate::hub::Hub;
use socket::Counted;

/// How long a client may take to send a request's head, or to begin with the next.
const HEAD: Duration = Duration::from_secs(5);
/// Longest head; of its headers there may be a hundred.
const HEAD_MAX: usize = 32 << 10;
/// Bytes of an answer the system keeps for a socket: what it has taken should have been read, more or less.
const SENDING: usize = 128 << 10;
/// How long a connection may live; monitors come back.
const LIFE: Duration = Duration::from_secs(300);
/// How often it is looked whether a connection is late.
const LOOK: Duration = Duration::from_secs(1);
/// First and longest pause after a failed accept (usually: no file descriptors left).
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// Connections that have to go when no descriptors are left.
const AT_ONCE: usize = 8;
/// Longest query that is looked at.
const QUERY: usize = 8 << 10;

const JSON: &str = "application/json";
const SCRIPT: &str = "application/javascript";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An answer on its way.
type Answer = Response<Finished<Attended>>;

/// How an answer begins.
#[derive(Clone, Copy, Debug)]
struct Kind {
    status: StatusCode,
    content: &'static str,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Bad(#[from] BadRequest),
    #[error("the answer cannot be written: {0}")]
    Write(#[from] io::Error),
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

/// What the requests of a connection need.
#[derive(Clone, Debug)]
struct Host {
    hub: Arc<Hub>,
    answers: Arc<Answers>,
    seat: Arc<Seat>,
}

/// A connection that is busy as long as this lives.
#[derive(Debug)]
struct Attended(Arc<Seat>);

/// Serves until `stop`; without a listener it only waits for it.
///
/// # Errors
/// The listener cannot be used.
pub(crate) async fn serve(
    listener: Option<TcpListener>,
    scheme: Scheme,
    hub: Arc<Hub>,
    answers: Arc<Answers>,
    stop: CancellationToken,
) -> io::Result<()> {
    let Some(listener) = listener else {
        stop.cancelled().await;
        return Ok(());
    };
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let tasks = TaskTracker::new();
    let seats = Seats::new();
    let mut pause = ACCEPT_PAUSE.0;
    let mut refused = Complaint::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(times) = refused.again(Instant::now()) {
                    tracing::warn!(%error, times, "cannot accept monitoring connections; trying again");
                }
                seats.make_room(AT_ONCE);
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(ACCEPT_PAUSE.1);
                continue;
            }
        };
        pause = ACCEPT_PAUSE.0;
        if descriptors::is_kept(&socket, For::Monitors) {
            seats.make_room(1);
            // It has to go before the next comes.
            tokio::task::yield_now().await;
        }
        // Or it will do with more.
        let _ = setsockopt(&socket, sockopt::SndBuf, &SENDING);
        let host = Host {
            hub: Arc::clone(&hub),
            answers: Arc::clone(&answers),
            seat: Arc::new(seats.take(peer.ip().to_canonical())),
        };
        let stop = stop.clone();
        tasks.spawn(async move {
            let seat = Arc::clone(&host.seat);
            tokio::select! {
                () = stop.cancelled() => {}
                () = seat.end.cancelled() => {}
                () = until_late(&seat) => {}
                () = converse(socket, scheme, host) => {}
            }
        });
    }
}

/// Waits until a connection takes too long, or has lived long enough.
async fn until_late(seat: &Seat) {
    let end = Instant::now() + LIFE;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = Instant::now();
        if now > end || seat.is_overdue(now) {
            return;
        }
    }
}

/// One connection from its first byte to its last.
async fn converse(socket: TcpStream, scheme: Scheme, host: Host) {
    let seat = Arc::clone(&host.seat);
    match scheme {
        Scheme::Http => answer_all(Counted::new(socket, seat), host).await,
        Scheme::Https => {
            // Looked up for each, so that a reload replaces the certificates.
            if let Some(socket) = secure(Counted::new(socket, seat), &host.hub).await {
                answer_all(socket, host).await;
            }
        }
    }
}

/// The handshake with a monitor.
async fn secure<S: AsyncRead + AsyncWrite + Unpin>(socket: S, hub: &Hub) -> Option<TlsStream<S>> {
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

/// Answers the requests of one connection, one after the other.
async fn answer_all<S: AsyncRead + AsyncWrite + Unpin>(socket: S, host: Host) {
    let service = service_fn(move |request| {
        let host = host.clone();
        async move { Ok::<_, Infallible>(respond(host, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_MAX)
        // Who has asked and says nothing more still wants to hear, as with nats-server.
        .half_close(true)
        .serve_connection(TokioIo::new(socket), service);
    // Monitors that hang up are no news.
    let _ = connection.await;
}

/// Answers one request, whatever its method: as with nats-server, all read.
async fn respond(host: Host, request: Request<Incoming>) -> Answer {
    let attended = Attended::to(&host.seat);
    let hub = &host.hub;
    let uri = request.uri();
    let path = percent_decode_str(uri.path()).decode_utf8_lossy();
    let Some(endpoint) = Endpoint::parse(&path, &hub.monitor.facts.base_path) else {
        return host.text(StatusCode::NOT_FOUND, "404 page not found\n", attended);
    };
    hub.monitor.count(endpoint);
    let query = uri.query().unwrap_or_default();
    if query.len() > QUERY {
        let text = "the query is longer than 8 KiB\n";
        return host.text(StatusCode::URI_TOO_LONG, text, attended);
    }
    let query = Query::parse(query);
    let Some(turn) = host.answers.turn(endpoint).await else {
        let text = "too many ask for this: try again\n";
        return host.text(StatusCode::SERVICE_UNAVAILABLE, text, attended);
    };
    // Neither the messages nor the other monitors wait for it.
    let maker = host.clone();
    let made = tokio::task::spawn_blocking(move || {
        // Also when nobody waits for it any more: so many are made at a time and no more.
        let _turn = turn;
        let mut draft = maker.answers.draft(maker.seat.end.clone());
        let made = make(&maker.hub, endpoint, &query, &mut draft);
        match (made, draft.refusal()) {
            (Ok(kind), _) => Ok((kind, draft)),
            (_, Some(Refusal::TooLong)) => Err((
                StatusCode::INTERNAL_SERVER_ERROR,
                Refusal::TooLong.to_string(),
            )),
            (_, Some(refusal)) => Err((StatusCode::SERVICE_UNAVAILABLE, refusal.to_string())),
            (Err(Failure::Bad(error)), None) => Err((StatusCode::BAD_REQUEST, error.to_string())),
            (Err(error), None) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        }
    });
    match made.await {
        Ok(Ok((kind, draft))) => {
            host.seat.enter(Stage::Reading);
            respond_with(kind, draft.finish(attended))
        }
        Ok(Err((status, text))) => host.text(status, &text, attended),
        Err(_) => host.text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the answer was not made\n",
            attended,
        ),
    }
}

/// Writes an answer, as JSON or, for those who give a callback, as a script.
fn make(hub: &Hub, endpoint: Endpoint, query: &Query, draft: &mut Draft) -> Result<Kind, Failure> {
    let Some(callback) = Callback::new(query.text("callback"))? else {
        return body(hub, endpoint, query, draft);
    };
    if matches!(endpoint, Endpoint::Index | Endpoint::Metrics) {
        return body(hub, endpoint, query, draft);
    }
    draft.write_all(callback.head().as_bytes())?;
    let kind = body(hub, endpoint, query, draft)?;
    draft.write_all(b")")?;
    Ok(Kind {
        content: SCRIPT,
        ..kind
    })
}

fn body(hub: &Hub, endpoint: Endpoint, query: &Query, draft: &mut Draft) -> Result<Kind, Failure> {
    let report = Report::new(hub);
    match endpoint {
        Endpoint::Index => {
            draft.write_all(index::page(&hub.monitor.facts.base_path).as_bytes())?;
            Ok(Kind::ok(HTML))
        }
        Endpoint::Metrics => {
            draft.write_all(metrics::page(hub).as_bytes())?;
            Ok(Kind::ok(PROMETHEUS))
        }
        Endpoint::Healthz => {
            let options = healthz::Options::parse(query)?;
            let answer = Healthz::new(hub.monitor.health(), &options);
            serde_json::to_writer(draft, &answer)?;
            let status = StatusCode::from_u16(answer.code());
            Ok(Kind {
                status: status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
                content: JSON,
            })
        }
        Endpoint::Varz => json(draft, &report.varz()),
        Endpoint::Connz => json(draft, &report.connz(&connz::Options::parse(query)?)?),
        Endpoint::Subsz => json(draft, &report.subsz(&subsz::Options::parse(query)?)?),
        Endpoint::Routez => json(draft, &report.routez(routez::Options::parse(query)?)),
        Endpoint::Accountz => json(draft, &report.accountz(&accountz::Options::parse(query))?),
        Endpoint::Accstatz => json(draft, &report.accstatz(&accstatz::Options::parse(query)?)),
        Endpoint::Gatewayz => {
            absent::check_gatewayz(query)?;
            json(draft, &report.gatewayz())
        }
        Endpoint::Leafz => {
            absent::check_leafz(query)?;
            json(draft, &report.leafz())
        }
        Endpoint::Jsz => {
            absent::Options::parse(query)?;
            json(draft, &report.jsz())
        }
    }
}

fn json<T: Serialize>(draft: &mut Draft, value: &T) -> Result<Kind, Failure> {
    serde_json::to_writer_pretty(draft, value)?;
    Ok(Kind::ok(JSON))
}

fn respond_with(kind: Kind, body: Finished<Attended>) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = kind.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind.content));
    if kind.content == JSON {
        // As nats-server does: dashboards of other origins read it.
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        );
    }
    response
}

// === impl Kind ===

impl Kind {
    fn ok(content: &'static str) -> Self {
        Kind {
            status: StatusCode::OK,
            content,
        }
    }
}

// === impl Host ===

impl Host {
    /// An answer that only says something, whoever else has however much to read.
    fn text(&self, status: StatusCode, text: &str, attended: Attended) -> Answer {
        self.seat.enter(Stage::Reading);
        let kind = Kind {
            status,
            content: TEXT,
        };
        respond_with(kind, Finished::short(text, attended))
    }
}

// === impl Attended ===

impl Attended {
    fn to(seat: &Arc<Seat>) -> Self {
        seat.enter(Stage::Asking);
        Attended(Arc::clone(seat))
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        self.0.enter(Stage::Waiting);
    }
}
