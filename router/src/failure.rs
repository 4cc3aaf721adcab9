//! The answers that the router makes itself.

use std::fmt::Write as _;

use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::headers::names;

/// Why a request got no answer from an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No host to look up.
    EmptyHost,
    /// The request cannot be what its sender meant, or means two things.
    Malformed(&'static str),
    /// A method that a reverse proxy does not serve.
    Connect,
    /// No such route.
    UnknownRoute,
    /// The route has no endpoint for now.
    NoEndpoints,
    /// Every endpoint has as many requests as it may.
    Overloaded,
    /// `X-CF-App-Instance` is not `<guid>:<index>`.
    BadInstanceHeader,
    /// There is no such instance behind the route.
    NoSuchInstance,
    /// The route wants a route service; we have none.
    RouteService {
        /// Whether the request is for an upgrade.
        upgrade: bool,
    },
    /// No endpoint answered.
    Endpoint(Cause),
    /// The endpoint took too long.
    Timeout {
        /// 502 or 504.
        status: u16,
    },
}

/// What an endpoint did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It could not be dialled.
    Dial,
    /// Dialling took too long.
    DialTimeout,
    /// It closed the connection before it answered.
    Closed,
    /// It reset the connection.
    Reset,
    /// Its answer is not HTTP, or means two things.
    Malformed,
    /// The head of its answer is too large.
    TooLarge,
    /// It agreed to an upgrade nobody asked for.
    UnexpectedUpgrade,
}

// === impl Cause ===

impl Cause {
    /// In few words, for `X-Cf-RouterError`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Dial => "dial failed",
            Self::DialTimeout => "dial timed out",
            Self::Closed => "closed before an answer",
            Self::Reset => "connection reset",
            Self::Malformed => "malformed answer",
            Self::TooLarge => "answer head too large",
            Self::UnexpectedUpgrade => "unexpected upgrade",
        }
    }
}

// === impl Failure ===

impl Failure {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::EmptyHost
            | Self::Malformed(_)
            | Self::BadInstanceHeader
            | Self::NoSuchInstance => StatusCode::BAD_REQUEST,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnknownRoute => StatusCode::NOT_FOUND,
            Self::NoEndpoints | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::RouteService { upgrade: true } => StatusCode::SERVICE_UNAVAILABLE,
            Self::RouteService { upgrade: false } | Self::Endpoint(_) => StatusCode::BAD_GATEWAY,
            Self::Timeout { status } => {
                StatusCode::from_u16(*status).unwrap_or(StatusCode::GATEWAY_TIMEOUT)
            }
        }
    }

    /// What `X-Cf-RouterError` says.
    pub(crate) fn error(&self) -> String {
        match self {
            Self::EmptyHost => "empty_host".to_owned(),
            Self::Malformed(what) => format!("bad_request ({what})"),
            Self::Connect => "bad_request (method CONNECT)".to_owned(),
            Self::UnknownRoute | Self::NoSuchInstance => "unknown_route".to_owned(),
            Self::NoEndpoints => "no_endpoints".to_owned(),
            Self::Overloaded => "Connection Limit Reached".to_owned(),
            Self::BadInstanceHeader => "invalid_cf_app_instance_header".to_owned(),
            Self::RouteService { .. } => "route_service_unsupported".to_owned(),
            Self::Endpoint(cause) => format!("endpoint_failure ({})", cause.as_str()),
            Self::Timeout { .. } => "endpoint_failure (timed out)".to_owned(),
        }
    }

    /// Whether the connection can go on: not when we and the client may disagree where the request
    /// ends.
    pub(crate) fn closes(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::Connect)
    }

    /// The headers of the answer.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert(
            &names::CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if let Ok(error) = HeaderValue::from_str(&self.error()) {
            headers.insert(&names::ROUTER_ERROR, error);
        }
        let cache = match self {
            Self::EmptyHost | Self::NoEndpoints => Some("public,max-age=2"),
            Self::UnknownRoute | Self::BadInstanceHeader | Self::NoSuchInstance => {
                Some("no-cache, no-store")
            }
            _ => None,
        };
        if let Some(cache) = cache {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
        }
        if self.closes() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        headers
    }

    /// The body: `<code> <reason>: <text>`. `host` has passed the parser, so it can be shown.
    pub(crate) fn body(&self, host: &str) -> String {
        let status = self.status();
        let mut body = format!(
            "{} {}: ",
            status.as_u16(),
            status.canonical_reason().unwrap_or("Unknown")
        );
        // Writing into a String cannot fail.
        let _ = match self {
            Self::EmptyHost => write!(body, "Request had empty Host header"),
            Self::Malformed(what) => write!(body, "Request is malformed ({what})."),
            Self::Connect => write!(body, "This is no forward proxy."),
            Self::UnknownRoute => write!(body, "Requested route ('{host}') does not exist."),
            Self::NoEndpoints => {
                write!(
                    body,
                    "Requested route ('{host}') has no available endpoints."
                )
            }
            Self::Overloaded => {
                write!(
                    body,
                    "Requested route ('{host}') has reached the connection limit."
                )
            }
            Self::BadInstanceHeader => {
                write!(
                    body,
                    "The X-CF-App-Instance header is not '<app guid>:<index>'."
                )
            }
            Self::NoSuchInstance => write!(
                body,
                "Requested instance of route ('{host}') does not exist; see X-CF-App-Instance."
            ),
            Self::RouteService { .. } => {
                write!(
                    body,
                    "Support for route services is disabled for route ('{host}')."
                )
            }
            Self::Endpoint(_) => {
                write!(body, "Registered endpoint failed to handle the request.")
            }
            Self::Timeout { .. } => {
                write!(
                    body,
                    "Registered endpoint failed to handle the request in time."
                )
            }
        };
        body.push('\n');
        body
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn answers_say_what_clients_and_tests_look_for() {
        let failure = Failure::Endpoint(Cause::Dial);
        assert_eq!(failure.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(
            failure.body("a.test"),
            "502 Bad Gateway: Registered endpoint failed to handle the request.\n"
        );
        let headers = failure.headers();
        assert_eq!(
            headers[&names::ROUTER_ERROR],
            "endpoint_failure (dial failed)"
        );

        let failure = Failure::UnknownRoute;
        assert_eq!(
            failure.body("a.test"),
            "404 Not Found: Requested route ('a.test') does not exist.\n"
        );
        assert_eq!(failure.headers()[CACHE_CONTROL], "no-cache, no-store");
        assert_eq!(failure.headers()[&names::CONTENT_TYPE_OPTIONS], "nosniff");
    }
}
