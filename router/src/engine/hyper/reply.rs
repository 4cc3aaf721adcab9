//! What the client gets: an endpoint's answer made fit, or the router's own.

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, SET_COOKIE};
use hyper::{HeaderMap, Response, StatusCode, Version};

use super::exchange::Exchange;
use super::forward::Asked;
use super::relay::{AnswerBody, Relay};
use super::tunnel::Tunnel;
use super::upstream::Upstream;
use super::{HyperEngine, Link};
use crate::failure::{Cause, Failure};
use crate::headers::{self, names};
use crate::registry::Endpoint;
use crate::target;

// === impl HyperEngine ===

impl HyperEngine {
    /// Makes an endpoint's answer the one that the client gets.
    #[expect(
        clippy::result_large_err,
        reason = "both arms are moved once, and rarely the second"
    )]
    pub(super) fn deliver(
        &self,
        link: &Link,
        mut exchange: Exchange,
        asked: &Asked,
        answer: Response<Incoming>,
        upstream: Box<Upstream>,
    ) -> Result<Response<AnswerBody>, (Failure, Exchange)> {
        let (mut parts, body) = answer.into_parts();
        let switches = parts.status == StatusCode::SWITCHING_PROTOCOLS;
        if !target::is_framed_once(&parts.headers, parts.version) {
            return Err((Failure::Endpoint(Cause::Malformed), exchange));
        }
        if switches && !asked.upgrade {
            return Err((Failure::Endpoint(Cause::UnexpectedUpgrade), exchange));
        }
        let status = parts.status.as_u16();
        headers::clean_answer(&mut parts.headers, status, &asked.request_id);
        if let Some(endpoint) = exchange.endpoint() {
            let cookie = self.core.stickiness.binding(
                &parts.headers,
                &endpoint.identity.instance,
                asked.bound.as_deref(),
                asked.pool.route().context_path(),
            );
            if let Some(cookie) = cookie {
                parts.headers.append(SET_COOKIE, cookie);
            }
            if asked.traced {
                self.trace(&mut parts.headers, endpoint);
            }
        }
        parts.version = Version::HTTP_11;
        if self.core.is_draining() && !switches {
            parts
                .headers
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        exchange.answers(status);
        let body = if switches {
            self.core.stats.upgrades.count();
            *link.tunnel.borrow_mut() = Some(Tunnel::new(upstream, exchange));
            AnswerBody::Empty
        } else {
            Relay::begin(body, upstream, exchange, &self.idle)
        };
        Ok(Response::from_parts(parts, body))
    }

    /// The router's own answer.
    pub(super) fn refuse(
        &self,
        mut exchange: Exchange,
        failure: &Failure,
        host: &str,
        request_id: &HeaderValue,
    ) -> Response<AnswerBody> {
        let body = failure.body(host);
        exchange.fails(failure, body.len());
        let mut answer = Response::new(AnswerBody::Text(Some(Bytes::from(body))));
        *answer.status_mut() = failure.status();
        *answer.headers_mut() = failure.headers();
        answer
            .headers_mut()
            .insert(&names::VCAP_REQUEST_ID, request_id.clone());
        if self.core.is_draining() {
            answer
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    /// What a load balancer is told.
    pub(super) fn health(&self, mut exchange: Exchange) -> Response<AnswerBody> {
        let healthy = !self.core.is_draining();
        let (status, text) = if healthy {
            (StatusCode::OK, "ok\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        };
        exchange.answers(status.as_u16());
        let mut answer = Response::new(AnswerBody::Text(Some(Bytes::from_static(text.as_bytes()))));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        for (name, value) in [
            ("cache-control", "private, max-age=0"),
            ("expires", "0"),
            ("connection", "close"),
            ("content-type", "text/plain; charset=utf-8"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        answer
    }

    /// Says who answered.
    fn trace(&self, headers: &mut HeaderMap, endpoint: &Endpoint) {
        let address = endpoint.address.to_string();
        for (name, text) in [
            (&names::VCAP_ROUTER, self.core.own_address.as_str()),
            (&names::VCAP_BACKEND, address.as_str()),
            (&names::ROUTE_ENDPOINT, address.as_str()),
        ] {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        }
    }
}
