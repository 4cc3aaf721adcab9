//! What becomes of headers on their way through.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{
    CONNECTION, CONTENT_LENGTH, Entry, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::ForwardedProto;
use crate::registry::Endpoint;

/// Headers that the `http` crate does not know.
pub(crate) mod names {
    use http::HeaderName;

    macro_rules! header_names {
        ($($name:ident = $text:literal;)+) => {$(
            pub(crate) static $name: HeaderName = HeaderName::from_static($text);
        )+};
    }

    header_names! {
        APP_ID = "x-cf-applicationid";
        INSTANCE_ID = "x-cf-instanceid";
        INSTANCE_INDEX = "x-cf-instanceindex";
        APP_INSTANCE = "x-cf-app-instance";
        ROUTER_ERROR = "x-cf-routererror";
        ROUTE_ENDPOINT = "x-cf-routeendpoint";
        VCAP_REQUEST_ID = "x-vcap-request-id";
        VCAP_TRACE = "x-vcap-trace";
        VCAP_ROUTER = "x-vcap-router";
        VCAP_BACKEND = "x-vcap-backend";
        FORWARDED_FOR = "x-forwarded-for";
        FORWARDED_PROTO = "x-forwarded-proto";
        REQUEST_START = "x-request-start";
        PROXY_SIGNATURE = "x-cf-proxy-signature";
        PROXY_METADATA = "x-cf-proxy-metadata";
        FORWARDED_URL = "x-cf-forwarded-url";
        PROXY_CONNECTION = "proxy-connection";
        KEEP_ALIVE = "keep-alive";
        IDEMPOTENCY_KEY = "idempotency-key";
        X_IDEMPOTENCY_KEY = "x-idempotency-key";
        CONTENT_TYPE_OPTIONS = "x-content-type-options";
    }
}

/// The rules of requests, as configured.
#[derive(Debug, Clone)]
pub(crate) struct RequestRules {
    pub(crate) forwarded_proto: ForwardedProto,
    /// Headers that stay although `Connection` names them.
    pub(crate) kept: Vec<HeaderName>,
}

/// Which headers that need care a message has. Most have few; looking through the names once is cheaper
/// than asking for each.
#[derive(Debug, Clone, Copy, Default)]
struct Present {
    connection: bool,
    /// `Keep-Alive`, `Proxy-…`, `TE`, `Upgrade`.
    hop_by_hop: bool,
    /// `X-CF-…`.
    platform: bool,
}

// === impl Present ===

impl Present {
    fn in_headers(headers: &HeaderMap) -> Self {
        let mut present = Self::default();
        for name in headers.keys() {
            let name = name.as_str();
            match name.as_bytes().first() {
                Some(b'c') => present.connection |= name == "connection",
                Some(b'k' | b'p' | b't' | b'u') => {
                    present.hop_by_hop |= matches!(name, "keep-alive" | "te" | "upgrade")
                        || name.starts_with("proxy-");
                }
                Some(b'x') => present.platform |= name.starts_with("x-cf-"),
                _ => {}
            }
        }
        present
    }
}

// === impl RequestRules ===

impl RequestRules {
    /// Makes a client's headers those that any endpoint may see. `peer` is the client's address, and
    /// `upgrade` whether it asked for one.
    pub(crate) fn apply(
        &self,
        headers: &mut HeaderMap,
        peer: &HeaderValue,
        request_id: &HeaderValue,
        upgrade: bool,
    ) {
        let present = Present::in_headers(headers);
        self.strip_hop_by_hop(headers, present, upgrade);
        if present.platform {
            for name in [
                &names::APP_ID,
                &names::INSTANCE_ID,
                &names::INSTANCE_INDEX,
                &names::APP_INSTANCE,
                // Nobody but a router may sign for a route service.
                &names::PROXY_SIGNATURE,
                &names::PROXY_METADATA,
                &names::FORWARDED_URL,
            ] {
                headers.remove(name);
            }
        }
        append_forwarded_for(headers, peer);
        match self.forwarded_proto {
            ForwardedProto::Keep => {
                if let Entry::Vacant(place) = headers.entry(&names::FORWARDED_PROTO) {
                    place.insert(HeaderValue::from_static("http"));
                }
            }
            ForwardedProto::Sanitize => {
                headers.insert(&names::FORWARDED_PROTO, HeaderValue::from_static("http"));
            }
            ForwardedProto::ForceHttps => {
                headers.insert(&names::FORWARDED_PROTO, HeaderValue::from_static("https"));
            }
        }
        headers.insert(&names::VCAP_REQUEST_ID, request_id.clone());
        if let Entry::Vacant(place) = headers.entry(&names::REQUEST_START) {
            place.insert(now_ms());
        }
    }

    fn strip_hop_by_hop(&self, headers: &mut HeaderMap, present: Present, upgrade: bool) {
        if present.connection {
            for name in named_in_connection(headers) {
                // What frames or addresses the message is not a hop's to drop.
                let needed = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, TE];
                if !needed.contains(&name) && !self.kept.contains(&name) {
                    headers.remove(name);
                }
            }
            headers.remove(CONNECTION);
        }
        if present.hop_by_hop {
            strip_always(headers);
            headers.remove(PROXY_AUTHORIZATION);
            let trailers = headers
                .get_all(TE)
                .iter()
                .any(|te| has_token(te, "trailers"));
            headers.remove(TE);
            if trailers {
                headers.insert(TE, HeaderValue::from_static("trailers"));
            }
            if !upgrade {
                headers.remove(UPGRADE);
            }
        }
        if upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
    }
}

/// Tells an endpoint which one it is.
pub(crate) fn address_to(headers: &mut HeaderMap, endpoint: &Endpoint) {
    for (name, value) in [
        (&names::APP_ID, &endpoint.app_header),
        (&names::INSTANCE_ID, &endpoint.instance_header),
        (&names::INSTANCE_INDEX, &endpoint.index_header),
    ] {
        match value {
            Some(value) => headers.insert(name, value.clone()),
            None => headers.remove(name),
        };
    }
}

/// Makes an endpoint's headers those that a client may see. `status` decides whether `Upgrade` means
/// something.
pub(crate) fn clean_answer(headers: &mut HeaderMap, status: u16, request_id: &HeaderValue) {
    let upgrade = matches!(status, 101 | 426);
    let present = Present::in_headers(headers);
    if present.connection {
        for name in named_in_connection(headers) {
            if ![CONTENT_LENGTH, UPGRADE].contains(&name) {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    headers.remove(TRANSFER_ENCODING); // the engine frames the body anew
    if present.hop_by_hop {
        strip_always(headers);
        if !upgrade {
            headers.remove(UPGRADE);
        }
    }
    if present.platform {
        headers.remove(&names::PROXY_SIGNATURE);
    }
    if upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    if let Entry::Vacant(place) = headers.entry(&names::VCAP_REQUEST_ID) {
        place.insert(request_id.clone());
    }
}

/// Whether the client asks for another protocol.
pub(crate) fn asks_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
        && headers
            .get_all(CONNECTION)
            .iter()
            .any(|value| has_token(value, "upgrade"))
}

/// Whether a comma-separated list has `token`, in any case.
pub(crate) fn has_token(value: &HeaderValue, token: &str) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

fn strip_always(headers: &mut HeaderMap) {
    headers.remove(&names::KEEP_ALIVE);
    headers.remove(&names::PROXY_CONNECTION);
    headers.remove(PROXY_AUTHENTICATE);
}

/// The header names listed in `Connection`; `close` and the like among them do no harm.
fn named_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .collect()
}

fn append_forwarded_for(headers: &mut HeaderMap, peer: &HeaderValue) {
    if !headers.contains_key(&names::FORWARDED_FOR) {
        headers.insert(&names::FORWARDED_FOR, peer.clone());
        return;
    }
    let mut chain = Vec::with_capacity(64);
    for value in headers.get_all(&names::FORWARDED_FOR) {
        chain.extend_from_slice(value.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(peer.as_bytes());
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(chain)) {
        headers.insert(&names::FORWARDED_FOR, value);
    }
}

/// A client's address as `X-Forwarded-For` shows it.
pub(crate) fn peer_value(peer: IpAddr) -> HeaderValue {
    let text = peer.to_canonical().to_string();
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("unknown"))
}

fn now_ms() -> HeaderValue {
    let millis = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    HeaderValue::from(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const ID: HeaderValue = HeaderValue::from_static("the-id");

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    fn applied(lines: &[(&'static str, &'static str)], upgrade: bool) -> HeaderMap {
        let rules = RequestRules {
            forwarded_proto: ForwardedProto::Keep,
            kept: vec![names::FORWARDED_PROTO.clone()],
        };
        let mut headers = headers(lines);
        let peer = peer_value("192.0.2.9".parse().unwrap());
        rules.apply(&mut headers, &peer, &ID, upgrade);
        headers
    }

    #[test]
    fn a_client_cannot_pass_itself_off_as_a_router() {
        let out = applied(
            &[
                ("x-cf-applicationid", "forged"),
                ("x-cf-instanceid", "forged"),
                ("x-vcap-request-id", "forged"),
                ("x-cf-proxy-signature", "forged"),
                ("x-cf-app-instance", "g:1"),
            ],
            false,
        );
        assert_eq!(out[&names::VCAP_REQUEST_ID], "the-id");
        for name in [&names::APP_ID, &names::INSTANCE_ID, &names::PROXY_SIGNATURE] {
            assert!(!out.contains_key(name), "{name}");
        }
        assert!(!out.contains_key(&names::APP_INSTANCE));
    }

    #[test]
    fn forwarding_headers_tell_the_way() {
        let out = applied(
            &[
                ("x-forwarded-for", "10.1.1.1"),
                ("x-forwarded-for", "10.2.2.2"),
            ],
            false,
        );
        assert_eq!(out[&names::FORWARDED_FOR], "10.1.1.1, 10.2.2.2, 192.0.2.9");
        assert_eq!(out[&names::FORWARDED_PROTO], "http");
        assert!(
            out[&names::REQUEST_START]
                .to_str()
                .unwrap()
                .parse::<u64>()
                .unwrap()
                > 1 << 40
        );
        let out = applied(
            &[("x-forwarded-proto", "https"), ("x-request-start", "12")],
            false,
        );
        assert_eq!(out[&names::FORWARDED_PROTO], "https");
        assert_eq!(out[&names::REQUEST_START], "12");
    }

    #[test]
    fn hop_by_hop_headers_stay_behind() {
        let out = applied(
            &[
                ("connection", "close, X-Private, host, x-forwarded-proto"),
                ("x-private", "1"),
                ("x-forwarded-proto", "https"),
                ("host", "a.test"),
                ("keep-alive", "timeout=5"),
                ("proxy-authorization", "Basic eA=="),
                ("te", "gzip"),
                ("upgrade", "h2c"),
                ("accept-encoding", "gzip"),
            ],
            false,
        );
        for name in [
            "connection",
            "x-private",
            "keep-alive",
            "proxy-authorization",
            "te",
            "upgrade",
        ] {
            assert!(!out.contains_key(name), "{name}");
        }
        assert_eq!(out["host"], "a.test");
        assert_eq!(out["x-forwarded-proto"], "https");
        assert_eq!(out["accept-encoding"], "gzip");
    }

    #[test]
    fn upgrades_and_trailers_are_passed_on() {
        let lines = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("te", "trailers"),
        ];
        assert!(asks_upgrade(&headers(&lines)));
        let out = applied(&lines, true);
        assert_eq!(out["connection"], "Upgrade");
        assert_eq!(out["upgrade"], "websocket");
        assert_eq!(out["te"], "trailers");
        assert!(!asks_upgrade(&headers(&[("connection", "upgrade")])));
        assert!(!asks_upgrade(&headers(&[("upgrade", "websocket")])));
    }

    #[test]
    fn an_answer_loses_what_was_meant_for_the_router() {
        let mut answer = headers(&[
            ("connection", "close, x-internal"),
            ("x-internal", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("content-type", "text/html"),
        ]);
        clean_answer(&mut answer, 200, &ID);
        assert_eq!(answer.len(), 2);
        assert_eq!(answer["content-type"], "text/html");
        assert_eq!(answer[&names::VCAP_REQUEST_ID], "the-id");
        let mut own = headers(&[("x-vcap-request-id", "from-app")]);
        clean_answer(&mut own, 200, &ID);
        assert_eq!(own[&names::VCAP_REQUEST_ID], "from-app");
    }
}
