//! `GET /routes`: the table, for operators with the password.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::registry::{Clock, Pool, Registry};

/// Lists sent at a time; further requests wait in the socket's queue.
const MAX_CONNECTIONS: usize = 8;
/// How long one may take.
const LIFETIME: Duration = Duration::from_secs(60);

/// Serves the list.
#[derive(Debug)]
pub(crate) struct RoutesList {
    registry: Arc<Registry>,
    clock: Clock,
    /// What `Authorization` must say; nothing is listed without it.
    credentials: Option<secrecy::SecretString>,
}

/// The table as one JSON object, a part of the table at a time, so that its size does not matter.
struct Listing {
    list: Option<Arc<RoutesList>>,
    part: usize,
    first: bool,
}

// === impl RoutesList ===

impl RoutesList {
    pub(crate) fn new(config: &Config, registry: Arc<Registry>, clock: Clock) -> Self {
        let credentials = config.routes_password.as_ref().map(|password| {
            let pair = format!("{}:{}", config.routes_user, password.expose_secret());
            format!("Basic {}", STANDARD.encode(pair)).into()
        });
        Self {
            registry,
            clock,
            credentials,
        }
    }

    /// Serves, for ever.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let list = Arc::new(self);
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            let Ok((stream, _)) = listener.accept().await else {
                sleep(Duration::from_millis(50)).await; // out of descriptors, likely
                continue;
            };
            let list = Arc::clone(&list);
            // Ends with its connection, its deadline or the process: nothing waits for it.
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let answer = answer(&list, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(5))
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service);
                let _ = timeout(LIFETIME, connection).await;
                drop(permit);
            });
        }
    }

    fn admits(&self, header: Option<&HeaderValue>) -> bool {
        let (Some(credentials), Some(header)) = (&self.credentials, header) else {
            return false;
        };
        let expected = credentials.expose_secret().as_bytes();
        verify_slices_are_equal(expected, header.as_bytes()).is_ok()
    }

    fn rows(&self, pool: &Pool) -> Value {
        let row =
            |(endpoint, age, lifetime): (Arc<crate::registry::Endpoint>, Duration, Duration)| {
                let tags = endpoint.tags.iter();
                let tags = tags.map(|(name, value)| (name.to_string(), Value::from(&**value)));
                json!({
                    "address": endpoint.address.to_string(),
                    "tls": false,
                    "ttl": lifetime.as_secs(),
                    "age": age.as_secs(),
                    "app": &*endpoint.identity.app,
                    "private_instance_id": &*endpoint.identity.instance,
                    "private_instance_index": &*endpoint.index,
                    "in_flight": endpoint.standing.in_flight(),
                    "tags": tags.collect::<Map<_, _>>(),
                })
            };
        pool.snapshot(self.clock.now())
            .into_iter()
            .map(row)
            .collect()
    }
}

// === impl Listing ===

impl Body for Listing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(list) = self.list.clone() else {
            return Poll::Ready(None);
        };
        let mut text = String::from(if self.part == 0 { "{" } else { "" });
        // Parts are small; some together make a frame.
        while text.len() < 16 * 1024 {
            let Some(pools) = list.registry.part(self.part) else {
                text.push_str("}\n");
                self.list = None;
                break;
            };
            self.part += 1;
            for pool in pools {
                if !std::mem::take(&mut self.first) {
                    text.push(',');
                }
                text.push_str(&Value::from(pool.route().to_string()).to_string());
                text.push(':');
                text.push_str(&list.rows(&pool).to_string());
            }
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))))
    }
}

fn answer(list: &Arc<RoutesList>, request: &Request<Incoming>) -> Response<Listing> {
    let nothing = Listing {
        list: None,
        part: 0,
        first: true,
    };
    let mut answer = Response::new(nothing);
    if !list.admits(request.headers().get(AUTHORIZATION)) {
        *answer.status_mut() = StatusCode::UNAUTHORIZED;
        let realm = HeaderValue::from_static("Basic realm=\"routes\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
    } else if request.uri().path() != "/routes" {
        *answer.status_mut() = StatusCode::NOT_FOUND;
    } else if request.method() != Method::GET {
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    } else {
        answer
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer.body_mut().list = Some(Arc::clone(list));
    }
    answer
}
