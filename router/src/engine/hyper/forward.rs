//! One request: find its route, ask an endpoint, and another if need be.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, EXPECT, HeaderValue};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Version};
use tokio::time::sleep;

use super::exchange::Exchange;
use super::relay::AnswerBody;
use super::request_body::{Gate, Latch, RequestBody};
use super::upstream::{Lost, Upstream};
use super::{HyperEngine, Link};
use crate::access_log::RequestNote;
use crate::core::Stage;
use crate::failure::{Cause, Failure};
use crate::headers;
use crate::registry::{Endpoint, Pool, Refusal, Wanted};
use crate::target;

/// How often a route that may be on its way is looked for.
const SETTLE_POLL: Duration = Duration::from_millis(10);

/// What the choice of an endpoint and the answer depend on.
pub(super) struct Asked {
    pub(super) pool: Arc<Pool>,
    /// One instance and no other.
    exactly: Option<(String, String)>,
    /// The instance that the client's session is bound to.
    pub(super) bound: Option<String>,
    pub(super) upgrade: bool,
    /// Whether the client is to learn who answered.
    pub(super) traced: bool,
    pub(super) request_id: HeaderValue,
}

/// An endpoint that gave no answer.
struct Miss {
    failure: Failure,
    /// The request, when another endpoint may have it.
    request: Option<Box<Request<RequestBody>>>,
    /// Whether to pass the endpoint over for a while.
    mark: bool,
}

// === impl HyperEngine ===

impl HyperEngine {
    /// Answers one request, always.
    pub(super) async fn answer(
        &self,
        link: &Link,
        request: Request<Incoming>,
    ) -> Response<AnswerBody> {
        let mut exchange = Exchange::begin(&self.core, &link.watch);
        let (mut parts, body) = request.into_parts();
        link.request_open.set(!body.is_end_stream());
        let request_id = self.core.request_id();
        if self.core.is_health_check(&parts.headers) {
            return self.health(exchange);
        }
        let traced = self.core.is_traced(&parts.headers);
        let host = match target::normalise(&mut parts) {
            Ok(host) => host,
            Err(failure) => return self.refuse(exchange, &failure, "", &request_id),
        };
        let asked = match self.look_up(&host, &parts, traced, &request_id).await {
            Ok(asked) => asked,
            Err(failure) => return self.refuse(exchange, &failure, &host, &request_id),
        };
        let request = self.prepare(link, &mut exchange, &host, parts, body, &asked);
        match self.ask_around(link, &mut exchange, &asked, request).await {
            Ok((answer, upstream)) => {
                match self.deliver(link, exchange, &asked, answer, upstream) {
                    Ok(answer) => answer,
                    Err((failure, exchange)) => self.refuse(exchange, &failure, &host, &request_id),
                }
            }
            Err(failure) => self.refuse(exchange, &failure, &host, &request_id),
        }
    }

    async fn look_up(
        &self,
        host: &str,
        parts: &Parts,
        traced: bool,
        request_id: &HeaderValue,
    ) -> Result<Asked, Failure> {
        let pool = self
            .find_pool(host, parts.uri.path())
            .await
            .ok_or(Failure::UnknownRoute)?;
        let upgrade = headers::asks_upgrade(&parts.headers);
        if pool.has_route_service() {
            return Err(Failure::RouteService { upgrade });
        }
        Ok(Asked {
            exactly: target::instance(&parts.headers)?,
            bound: self.core.stickiness.bound_to(&parts.headers),
            pool,
            upgrade,
            traced,
            request_id: request_id.clone(),
        })
    }

    /// The pool of a route. Just after the start, a route that is not known may be one that has not
    /// been heard of yet: it is waited for instead of denied.
    async fn find_pool(&self, host: &str, path: &str) -> Option<Arc<Pool>> {
        loop {
            let pool = self.core.registry.lookup(host, path);
            if pool.is_some() || self.core.stage.get() != Stage::Settling {
                return pool;
            }
            sleep(SETTLE_POLL).await;
        }
    }

    /// Makes the client's request the one that endpoints get.
    fn prepare(
        &self,
        link: &Link,
        exchange: &mut Exchange,
        host: &str,
        mut parts: Parts,
        body: Incoming,
        asked: &Asked,
    ) -> Request<RequestBody> {
        let version = std::mem::replace(&mut parts.version, Version::HTTP_11);
        let rules = &self.core.request_rules;
        rules.apply(
            &mut parts.headers,
            &link.peer_value,
            &asked.request_id,
            asked.upgrade,
        );
        parts.extensions.remove::<OnUpgrade>();
        if self.core.access_log.is_on() {
            let mut note = RequestNote {
                began: SystemTime::now(),
                method: parts.method.clone(),
                target: parts.uri.clone(),
                version,
                host: host.to_owned(),
                peer: link.peer,
                referer: None,
                user_agent: None,
                forwarded_for: None,
                forwarded_proto: None,
                request_id: asked.request_id.clone(),
            };
            note.take_headers(&parts.headers);
            exchange.note = Some(Box::new(note));
        }
        let expects = !body.is_end_stream()
            && parts
                .headers
                .get(EXPECT)
                .is_some_and(|e| headers::has_token(e, "100-continue"));
        let latch = expects.then(|| {
            // The body may never be asked for; the connection is in an odd state then.
            parts
                .headers
                .insert(CONNECTION, HeaderValue::from_static("close"));
            Arc::new(Latch::default())
        });
        let body = RequestBody::new(
            body,
            latch.clone().map(Gate::new),
            exchange.received(),
            Rc::clone(&link.request_open),
        );
        let mut request = Request::from_parts(parts, body);
        if let Some(latch) = latch {
            hyper::ext::on_informational(&mut request, move |answer| {
                if answer.status() == StatusCode::CONTINUE {
                    latch.open();
                }
            });
        }
        request
    }

    /// Tries endpoints until one answers, the attempts are used up, or the request may have been
    /// processed by one that then failed.
    async fn ask_around(
        &self,
        link: &Link,
        exchange: &mut Exchange,
        asked: &Asked,
        request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Box<Upstream>), Failure> {
        let core = &self.core;
        let limit = core.config.max_requests_per_endpoint;
        let mut request = Box::new(request);
        let mut tried = Vec::new();
        let mut attempts = 0;
        let mut last = None;
        loop {
            let wanted = match (&asked.exactly, &asked.bound) {
                (Some((app, index)), _) => Wanted::Exactly { app, index },
                (None, Some(instance)) => Wanted::Preferred(instance),
                (None, None) => Wanted::Any,
            };
            let lease = match asked.pool.choose(wanted, &tried, limit, core.clock.now()) {
                Ok(lease) => lease,
                Err(refusal) => return Err(last.unwrap_or_else(|| self.refusal(refusal))),
            };
            let endpoint = Arc::clone(lease.endpoint());
            exchange.asks(lease);
            let miss = match self.ask(link, &endpoint, request).await {
                Ok(answered) => return Ok(answered),
                Err(miss) => miss,
            };
            attempts += 1;
            tried.push(endpoint.standing.id());
            if miss.mark && asked.exactly.is_none() {
                let until = core.clock.now().after(core.config.failed_mark);
                endpoint.standing.mark_failed(until);
            }
            match miss.request {
                Some(again) if attempts < core.config.max_attempts => {
                    core.stats.retries.count();
                    request = again;
                    last = Some(miss.failure);
                }
                _ => return Err(miss.failure),
            }
        }
    }

    /// Asks one endpoint: on an idle connection if there is one, and on a fresh one when that turns out
    /// to have been closed meanwhile.
    async fn ask(
        &self,
        link: &Link,
        endpoint: &Endpoint,
        mut request: Box<Request<RequestBody>>,
    ) -> Result<(Response<Incoming>, Box<Upstream>), Miss> {
        let core = &self.core;
        let repeatable = request.body().is_end_stream() && target::is_idempotent(&request);
        let mut may_reuse = true;
        loop {
            headers::address_to(request.headers_mut(), endpoint);
            let parked = may_reuse
                .then(|| self.idle.take(endpoint.standing.id(), !repeatable))
                .flatten();
            let reused = parked.is_some();
            let mut upstream = match parked {
                Some(upstream) => upstream,
                None => {
                    core.stats.dials.count();
                    match self.dialer.dial(endpoint).await {
                        Ok(upstream) => upstream,
                        Err(cause) => {
                            core.stats.dial_failures.count();
                            return Err(Miss::before(cause, request));
                        }
                    }
                }
            };
            if endpoint.standing.retired() {
                // Its address may have a new owner, who must not see this request.
                return Err(Miss {
                    mark: false,
                    ..Miss::before(Cause::Dial, request)
                });
            }
            let spare = repeatable.then(|| spare(&request));
            let (cause, unsent) = match upstream.ask(*request, &link.watch).await {
                Ok(answer) => return Ok((answer, upstream)),
                Err(Lost::Endpoint(cause, unsent)) => (cause, unsent),
                Err(Lost::Timeout) => {
                    let status = core.config.endpoint_timeout_status;
                    return Err(Miss::after(Failure::Timeout { status }));
                }
                Err(Lost::Client) => return Err(Miss::after(Failure::Malformed("body"))),
            };
            let gone = matches!(cause, Cause::Closed | Cause::Reset);
            let again = unsent.or(spare.filter(|_| gone && (reused || cause == Cause::Closed)));
            match again {
                Some(again) if reused => {
                    request = again;
                    may_reuse = false;
                }
                request => {
                    let mark = cause == Cause::Reset;
                    return Err(Miss {
                        failure: Failure::Endpoint(cause),
                        request,
                        mark,
                    });
                }
            }
        }
    }

    fn refusal(&self, refusal: Refusal) -> Failure {
        match refusal {
            // Where empty routes are not kept, this one is being forgotten at this moment.
            Refusal::Empty if self.core.config.keep_empty.is_zero() => Failure::UnknownRoute,
            Refusal::Empty | Refusal::Exhausted => Failure::NoEndpoints,
            Refusal::Overloaded => Failure::Overloaded,
            Refusal::NoSuchInstance => Failure::NoSuchInstance,
        }
    }
}

// === impl Miss ===

impl Miss {
    /// Nothing of the request was sent.
    fn before(cause: Cause, request: Box<Request<RequestBody>>) -> Self {
        Self {
            failure: Failure::Endpoint(cause),
            request: Some(request),
            mark: true,
        }
    }

    /// The request may have been processed.
    fn after(failure: Failure) -> Self {
        Self {
            failure,
            request: None,
            mark: false,
        }
    }
}

/// A copy of a request without body, for a second try.
fn spare(request: &Request<RequestBody>) -> Box<Request<RequestBody>> {
    let mut copy = Request::new(RequestBody::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Box::new(copy)
}
