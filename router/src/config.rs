//! The `[router]` section.

use std::net::SocketAddr;
use std::time::Duration;

use cupola_component::duration;
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

    /// How long an endpoint stays without a refresh. Default 120 s, six times the interval that is
    /// asked for.
    #[serde(deserialize_with = "duration::deserialize")]
    pub stale_after: Duration,
    /// How often to look for stale endpoints. Default 30 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub prune_every: Duration,
    /// How often endpoints are asked to register again; whole seconds. Default 20 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub register_every: Duration,
    /// How long a route whose last endpoint went away is answered with 503 `no_endpoints` instead of
    /// 404. Default 0 s: at once 404.
    #[serde(deserialize_with = "duration::deserialize")]
    pub keep_empty: Duration,
    /// At start, clients are served as soon as registrations have come in and then none new for this
    /// long. Default 100 ms.
    #[serde(deserialize_with = "duration::deserialize")]
    pub warm_up_quiet: Duration,
    /// Longest wait for the first registrations once the bus is there. Default 1 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub warm_up_limit: Duration,
    /// How long after that a request for an unknown route waits for it to be registered before it is
    /// denied. Default 1 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub settle: Duration,

    /// Most endpoints that one request is tried on. Default 3.
    pub max_attempts: u32,
    /// How long an endpoint that could not be dialled is passed over. Default 30 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub failed_mark: Duration,
    /// How long a dial may take. Default 5 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub dial_timeout: Duration,
    /// How long an exchange may go without a byte in either direction; 0 s for ever. Not for upgraded
    /// connections. Default 900 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub endpoint_timeout: Duration,
    /// The status that a client sees when its endpoint took too long: 504 (default), or 502 as of old.
    pub endpoint_timeout_status: u16,
    /// Requests that one endpoint may have at a time, by this router; 0 for any. Default 500.
    pub max_requests_per_endpoint: u32,
    /// Idle connections kept to one endpoint, per core; 0 keeps none. Default 100.
    pub max_idle_per_endpoint: usize,
    /// How long an idle connection to an endpoint is kept. Default 90 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub endpoint_idle: Duration,

    /// Client connections at a time; further ones are answered 503. Default 16384.
    pub max_connections: usize,
    /// How long a client may take to send the head of a request. Default 60 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub head_timeout: Duration,
    /// How long a client connection may idle between requests. Default 900 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub client_idle: Duration,
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
    /// balancer looks away first. Default 0 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub drain_wait: Duration,
    /// How long requests in flight may take then. Default 10 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub drain_timeout: Duration,
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
            stale_after: Duration::from_secs(120),
            prune_every: Duration::from_secs(30),
            register_every: Duration::from_secs(20),
            keep_empty: Duration::ZERO,
            warm_up_quiet: Duration::from_millis(100),
            warm_up_limit: Duration::from_secs(1),
            settle: Duration::from_secs(1),
            max_attempts: 3,
            failed_mark: Duration::from_secs(30),
            dial_timeout: Duration::from_secs(5),
            endpoint_timeout: Duration::from_secs(900),
            endpoint_timeout_status: 504,
            max_requests_per_endpoint: 500,
            max_idle_per_endpoint: 100,
            endpoint_idle: Duration::from_secs(90),
            max_connections: 16_384,
            head_timeout: Duration::from_secs(60),
            client_idle: Duration::from_secs(900),
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
            drain_wait: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
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
        let every = self.register_every;
        must(
            every >= Duration::from_secs(1) && every.subsec_nanos() == 0,
            "register_every",
            format!("{every:?}"),
            "1s or more, in whole seconds",
        )?;
        let stale = self.stale_after;
        must(
            stale > every,
            "stale_after",
            format!("{stale:?}"),
            "more than register_every",
        )?;
        let every = self.prune_every;
        must(
            !every.is_zero(),
            "prune_every",
            format!("{every:?}"),
            "more than 0s",
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
        let config = Config {
            register_every: Duration::from_millis(500),
            ..Config::default()
        };
        assert_eq!(config.validate().unwrap_err().key, "register_every");
    }

    #[test]
    fn unknown_keys_are_refused() {
        let parsed: Result<Config, _> = serde_json::from_str(r#"{"max_atempts": 2}"#);
        assert!(parsed.unwrap_err().to_string().contains("max_atempts"));
    }
}
