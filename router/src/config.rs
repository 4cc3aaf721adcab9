//! The `[router]` section.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

/// Hard ceiling of a head's size, in bytes.
const MAX_HEAD_BYTES: usize = 1024 * 1024;
/// The smallest buffer the HTTP engine works with, in bytes.
const MIN_HEAD_BYTES: usize = 8 * 1024;

/// How a router behaves. Every field has a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where clients connect when no supervisor holds the socket `http`. Default `127.0.0.1:8080`.
    pub address: SocketAddr,
    /// Threads that serve requests, each with all that it needs. 0, the default, means one per core.
    pub cores: usize,

    /// How long an endpoint stays without a refresh, in seconds. Default 120, six times the interval
    /// that is asked for.
    pub stale_after_seconds: u32,
    /// How often to look for stale endpoints, in seconds. Default 30.
    pub prune_every_seconds: u32,
    /// How often endpoints are asked to register again, in seconds. Default 20.
    pub register_interval_seconds: u32,
    /// How long a route whose last endpoint went away is answered with 503 `no_endpoints` instead of
    /// 404, in seconds. Default 0: at once 404.
    pub keep_empty_seconds: u32,
    /// At start, clients are served as soon as registrations have come in and then none new for this
    /// long, in milliseconds. Default 100.
    pub warm_up_quiet_ms: u64,
    /// Longest wait for the first registrations once the bus is there, in milliseconds. Default 1000.
    pub warm_up_limit_ms: u64,
    /// How long after that a request for an unknown route waits for it to be registered before it is
    /// denied, in milliseconds. Default 1000.
    pub settle_ms: u64,

    /// Most endpoints that one request is tried on. Default 3.
    pub max_attempts: u32,
    /// How long an endpoint that could not be dialled is passed over, in seconds. Default 30.
    pub failed_mark_seconds: u32,
    /// How long a dial may take, in milliseconds. Default 5000.
    pub dial_timeout_ms: u64,
    /// How long an exchange may go without a byte in either direction, in seconds; 0 for ever. Not for
    /// upgraded connections. Default 900.
    pub endpoint_timeout_seconds: u32,
    /// The status that a client sees when its endpoint took too long: 504 (default), or 502 as of old.
    pub endpoint_timeout_status: u16,
    /// Requests that one endpoint may have at a time, by this router; 0 for any. Default 500.
    pub max_requests_per_endpoint: u32,
    /// Idle connections kept to one endpoint, per core; 0 keeps none. Default 100.
    pub max_idle_per_endpoint: usize,
    /// How long an idle connection to an endpoint is kept, in seconds. Default 90.
    pub idle_endpoint_seconds: u32,

    /// Client connections at a time; further ones are answered 503. Default 16384.
    pub max_connections: usize,
    /// How long a client may take to send the head of a request, in seconds. Default 60.
    pub head_timeout_seconds: u32,
    /// How long a client connection may idle between requests, in seconds. Default 900.
    pub client_idle_seconds: u32,
    /// Largest head of a request, in bytes, 8 KiB to 1 MiB. Default 256 KiB.
    pub max_request_head_bytes: usize,
    /// Largest head of an answer, in bytes, 8 KiB to 1 MiB. Default 64 KiB.
    pub max_answer_head_bytes: usize,

    /// Cookies that mean a session: an answer that sets one binds the client to the instance. Default
    /// `JSESSIONID`.
    pub sticky_session_cookie_names: Vec<String>,
    /// Marks the router's own cookie `Secure` even if the app's is not. Default off.
    pub secure_cookies: bool,
    /// What becomes of a client's `X-Forwarded-Proto`.
    pub forwarded_proto: ForwardedProto,
    /// Headers that a client cannot have dropped by naming them in `Connection`.
    pub hop_by_hop_headers_to_filter: Vec<String>,
    /// Requests with this `User-Agent` are health checks. Default `HTTP-Monitor/1.1`; empty for none.
    pub health_check_user_agent: String,
    /// A request whose `X-Vcap-Trace` has this value learns who answered it. Default none.
    pub trace_key: Option<String>,
    /// One line per request into the app's log. Default on.
    pub access_log: bool,

    /// Where `GET /routes` lists the table, when no supervisor holds the socket `routes`. Default
    /// nowhere.
    pub routes_address: Option<SocketAddr>,
    /// User for `/routes`.
    pub routes_user: String,
    /// Password for `/routes`; without one nothing is listed.
    pub routes_password: Option<secrecy::SecretString>,

    /// How long to go on serving after the stop signal with the health check failing, so that a load
    /// balancer looks away first, in milliseconds. Default 0.
    pub drain_wait_ms: u64,
    /// How long requests in flight may take then, in milliseconds. Default 10000.
    pub drain_timeout_ms: u64,
}

/// What becomes of a client's `X-Forwarded-Proto`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedProto {
    /// A client's own is kept.
    #[default]
    Keep,
    /// Always what the listener speaks.
    Sanitize,
    /// Always `https`.
    ForceHttps,
}

/// A value that is out of range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("router.{key} is {value}, allowed is {allowed}")]
pub struct ConfigError {
    /// The key.
    pub key: &'static str,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub allowed: &'static str,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            cores: 0,
            stale_after_seconds: 120,
            prune_every_seconds: 30,
            register_interval_seconds: 20,
            keep_empty_seconds: 0,
            warm_up_quiet_ms: 100,
            warm_up_limit_ms: 1000,
            settle_ms: 1000,
            max_attempts: 3,
            failed_mark_seconds: 30,
            dial_timeout_ms: 5000,
            endpoint_timeout_seconds: 900,
            endpoint_timeout_status: 504,
            max_requests_per_endpoint: 500,
            max_idle_per_endpoint: 100,
            idle_endpoint_seconds: 90,
            max_connections: 16_384,
            head_timeout_seconds: 60,
            client_idle_seconds: 900,
            max_request_head_bytes: 256 * 1024,
            max_answer_head_bytes: 64 * 1024,
            sticky_session_cookie_names: vec!["JSESSIONID".to_owned()],
            secure_cookies: false,
            forwarded_proto: ForwardedProto::Keep,
            hop_by_hop_headers_to_filter: vec![
                "X-Forwarded-For".to_owned(),
                "X-Forwarded-Proto".to_owned(),
            ],
            health_check_user_agent: "HTTP-Monitor/1.1".to_owned(),
            trace_key: None,
            access_log: true,
            routes_address: None,
            routes_user: "router".to_owned(),
            routes_password: None,
            drain_wait_ms: 0,
            drain_timeout_ms: 10_000,
        }
    }
}

impl Config {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first value that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let must = |holds: bool, key, value: String, allowed| {
            if holds {
                Ok(())
            } else {
                Err(ConfigError {
                    key,
                    value,
                    allowed,
                })
            }
        };
        let head = MIN_HEAD_BYTES..=MAX_HEAD_BYTES;
        let (request, answer) = (self.max_request_head_bytes, self.max_answer_head_bytes);
        let allowed = "8192 to 1048576";
        must(
            head.contains(&request),
            "max_request_head_bytes",
            request.to_string(),
            allowed,
        )?;
        must(
            head.contains(&answer),
            "max_answer_head_bytes",
            answer.to_string(),
            allowed,
        )?;
        let status = self.endpoint_timeout_status;
        must(
            matches!(status, 502 | 504),
            "endpoint_timeout_status",
            status.to_string(),
            "502 or 504",
        )?;
        must(
            self.cores <= 256,
            "cores",
            self.cores.to_string(),
            "0 to 256",
        )?;
        let stale = self.stale_after_seconds;
        must(
            stale > self.register_interval_seconds,
            "stale_after_seconds",
            stale.to_string(),
            "more than register_interval_seconds",
        )?;
        let every = self.prune_every_seconds;
        must(
            every > 0,
            "prune_every_seconds",
            every.to_string(),
            "1 or more",
        )?;
        let most = self.max_connections;
        must(most > 0, "max_connections", most.to_string(), "1 or more")
    }

    /// How many threads serve requests.
    #[must_use]
    pub fn threads(&self) -> usize {
        match self.cores {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            cores => cores,
        }
    }

    pub(crate) fn dial_timeout(&self) -> Duration {
        Duration::from_millis(self.dial_timeout_ms)
    }

    pub(crate) fn failed_mark(&self) -> Duration {
        seconds(self.failed_mark_seconds)
    }

    pub(crate) fn idle_endpoint(&self) -> Duration {
        seconds(self.idle_endpoint_seconds)
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}

/// Whole seconds as a duration.
pub(crate) fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn the_defaults_hold_and_a_bad_value_is_named() {
        assert_eq!(Config::default().validate(), Ok(()));
        let config = Config {
            max_request_head_bytes: 100,
            ..Config::default()
        };
        let error = config.validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            "router.max_request_head_bytes is 100, allowed is 8192 to 1048576"
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        let parsed: Result<Config, _> = serde_json::from_str(r#"{"max_atempts": 2}"#);
        assert!(parsed.unwrap_err().to_string().contains("max_atempts"));
    }
}
