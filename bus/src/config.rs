//! What a broker is told: where to listen, whom to let in, and how much of everything.

pub mod accounts;
mod cluster;
mod lame_duck;
mod tls;
mod units;
mod websocket;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

pub use cluster::{
    Cluster, ClusterAuthorization, ParseRouteError, ROUTE_PORT, RoutePermissions, RouteUrl,
};
pub use lame_duck::LameDuck;
pub use tls::{CertificatePair, HandshakeFirst, ParseTlsError, Tls, TlsVersion};
pub(crate) use units::unit_power;
pub use units::{ParseUnitError, parse_duration, parse_size};
pub use websocket::Websocket;

/// Everything the broker needs to know.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen for clients when no socket is handed in. Default `127.0.0.1:4222`.
    pub listen: SocketAddr,
    /// Where to serve monitoring over HTTP; nowhere by default.
    pub monitor: Option<SocketAddr>,
    /// Where to serve it over HTTPS, with the certificates of `tls`; nowhere by default.
    pub monitor_https: Option<SocketAddr>,
    /// What the paths of monitoring begin with; nothing by default.
    pub monitor_base_path: String,
    /// Closed connections that monitoring remembers. Default 10 000.
    pub max_closed_clients: usize,
    /// Words that describe this server to those who look for one (`region:eu`).
    pub server_tags: Vec<String>,
    /// The name in INFO and `/varz`; the server's id by default.
    pub server_name: Option<String>,
    /// The `host:port` clients are told to use, when it is not the one they came by.
    pub client_advertise: Option<String>,
    /// Worker threads. Default: one per core, at most eight.
    pub workers: Option<usize>,
    /// Whether a worker whose work comes in quick succession looks out for more instead of sleeping, which takes a
    /// third off the time of requests and uses more of a core. By default it does where there are several cores.
    pub stay_awake: Option<bool>,
    /// Whether messages may have headers. Default true; else clients are told that they may not.
    pub headers: bool,
    /// Bounds.
    pub limits: Limits,
    /// Who may connect and do what. Everybody may do everything when there are no users and no token.
    pub authorization: Authorization,
    /// How client connections are secured; they are in clear when absent.
    pub tls: Option<Tls>,
    /// With `tls`: clients may also come in clear.
    pub allow_non_tls: bool,
    /// Where websockets are served; nowhere by default.
    pub websocket: Option<Websocket>,
    /// Subject spaces of their own, beside the global one.
    pub accounts: Vec<accounts::Account>,
    /// What messages of the global account are renamed to on the way in.
    pub mappings: Vec<accounts::Mapping>,
    /// The account that sees events of the server; `$SYS` when absent.
    pub system_account: Option<String>,
    /// Leaves the system account out: no events, no requests.
    pub no_system_account: bool,
    /// Whose signatures count; accounts and users then come as JWTs.
    pub operator: Option<accounts::Operator>,
    /// How the server leaves when it is told to.
    pub lame_duck: LameDuck,
    /// The peers to share clients with; none by default.
    pub cluster: Option<Cluster>,
}

/// How much of everything. Sizes are in bytes; text like `1MB` and `2s` is understood.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest message, headers included. Default 1 MiB.
    #[serde(deserialize_with = "units::size")]
    pub max_payload: usize,
    /// Bytes that may wait for one client before it is cut off. Default 64 MiB.
    #[serde(deserialize_with = "units::size")]
    pub max_pending: usize,
    /// Bytes that all connections together may make the broker keep: what waits for them, what they have sent
    /// of unfinished frames, and (at most half of it) their subscriptions. When it is used up, those go who
    /// hold most. 0, the default, means half of the memory there is.
    #[serde(deserialize_with = "units::size")]
    pub max_memory: usize,
    /// Longest control line. Default 4096.
    #[serde(deserialize_with = "units::size")]
    pub max_control_line: usize,
    /// Connections at a time. Default 65 536.
    pub max_connections: usize,
    /// Subscriptions of one connection; 0, the default, means as many as it likes.
    pub max_subscriptions: usize,
    /// Tokens of the subject of a subscription; 0, the default, means as many as it likes.
    pub max_subject_tokens: usize,
    /// How often a silent client is pinged. Default 2 min.
    #[serde(deserialize_with = "units::duration")]
    pub ping_interval: Duration,
    /// When a new client is pinged first, to measure the round trip; never later than
    /// `ping_interval`. Default 2 s.
    #[serde(deserialize_with = "units::duration")]
    pub first_ping: Duration,
    /// Unanswered pings after which a client is given up. Default 2.
    pub ping_max: u32,
    /// How long a write may make no progress. Default 10 s.
    #[serde(deserialize_with = "units::duration")]
    pub write_deadline: Duration,
    /// How long a client may take to say who it is. Default 2 s.
    #[serde(deserialize_with = "units::duration")]
    pub auth_timeout: Duration,
    /// Whether a publisher waits a moment for a receiver that is behind. Default: it does. Otherwise that
    /// receiver misses messages.
    pub stall_producers: bool,
    /// Bytes of a control line or payload that the log of the protocol shows; 0, the default, means all.
    pub max_traced: usize,
}

/// Who may connect, and what they may do.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authorization {
    /// The known users.
    pub users: Vec<User>,
    /// A token that lets anybody in who knows it.
    pub token: Option<SecretString>,
    /// Permissions of users without their own.
    pub default_permissions: Option<Permissions>,
    /// The user that clients without credentials become.
    pub no_auth_user: Option<String>,
}

/// One user, known by an nkey or by name and password.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct User {
    /// Public user nkey (`U…`).
    pub nkey: Option<String>,
    /// Name, for those with a password.
    pub user: Option<String>,
    /// Password, plain or as a bcrypt hash (`$2a$…`).
    pub password: Option<SecretString>,
    /// File that holds the password, in place of it; a final line end is not part of it.
    pub password_file: Option<PathBuf>,
    /// What it may do; everything (or the default permissions) when absent.
    pub permissions: Option<Permissions>,
    /// The ways it may come (`STANDARD`, `WEBSOCKET`, …); all when absent.
    pub connection_types: Option<Vec<String>>,
}

/// What a user may do.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Permissions {
    /// Subjects it may publish to; all when absent.
    pub publish: Option<SubjectRules>,
    /// Subjects it may subscribe to; all when absent. `"subject queue"` names a queue group.
    pub subscribe: Option<SubjectRules>,
    /// Whether it may answer on the reply subject of a message it received.
    #[serde(deserialize_with = "units::responses")]
    pub allow_responses: Option<AllowResponses>,
}

/// Allowed and denied subjects; a deny wins over an allow.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct SubjectRules {
    /// When present, nothing else is allowed; when present and empty, nothing is.
    pub allow: Option<Vec<String>>,
    /// Exceptions.
    pub deny: Vec<String>,
}

/// How often and how long a received reply subject may be answered.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct AllowResponses {
    /// Answers per request; 0 means any number. Default 1.
    pub max: u32,
    /// How long after the request. Default 2 min.
    #[serde(deserialize_with = "units::duration")]
    pub expires: Duration,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 4222)),
            monitor: None,
            monitor_https: None,
            monitor_base_path: String::new(),
            max_closed_clients: 10_000,
            server_tags: Vec::new(),
            server_name: None,
            client_advertise: None,
            workers: None,
            stay_awake: None,
            headers: true,
            limits: Limits::default(),
            authorization: Authorization::default(),
            tls: None,
            allow_non_tls: false,
            websocket: None,
            accounts: Vec::new(),
            mappings: Vec::new(),
            system_account: None,
            no_system_account: false,
            operator: None,
            lame_duck: LameDuck::default(),
            cluster: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_payload: 1 << 20,
            max_pending: 64 << 20,
            max_memory: 0,
            max_control_line: 4096,
            max_connections: 65_536,
            max_subscriptions: 0,
            max_subject_tokens: 0,
            ping_interval: Duration::from_secs(120),
            first_ping: Duration::from_secs(2),
            ping_max: 2,
            write_deadline: Duration::from_secs(10),
            auth_timeout: Duration::from_secs(2),
            stall_producers: true,
            max_traced: 0,
        }
    }
}

impl Default for AllowResponses {
    fn default() -> Self {
        AllowResponses {
            max: 1,
            expires: Duration::from_secs(120),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_role_section_reads_as_documented() {
        let config: Config = serde_json::from_value(serde_json::json!({
            "listen": "127.0.0.1:0",
            "limits": { "max_payload": "2MB", "ping_interval": "500ms", "max_pending": 1000 },
            "authorization": {
                "no_auth_user": "guest",
                "users": [
                    { "nkey": "UABC", "permissions": { "publish": { "allow": ["a.>"] }, "allow_responses": true } },
                    { "user": "guest", "password": "x", "permissions": { "allow_responses": { "max": 3, "expires": "1m" } } },
                ],
            },
        }))
        .unwrap();
        assert_eq!(config.limits.max_payload, 2 << 20);
        assert_eq!(config.limits.ping_interval, Duration::from_millis(500));
        let [first, second] = &config.authorization.users[..] else {
            panic!()
        };
        let answers = first.permissions.as_ref().unwrap().allow_responses;
        assert_eq!(answers, Some(AllowResponses::default()));
        let answers = second
            .permissions
            .as_ref()
            .unwrap()
            .allow_responses
            .unwrap();
        assert_eq!((answers.max, answers.expires), (3, Duration::from_secs(60)));
    }

    #[test]
    fn unknown_keys_are_errors_and_secrets_stay_out_of_debug() {
        assert!(serde_json::from_str::<Config>(r#"{"lisen": "127.0.0.1:1"}"#).is_err());
        let config: Config =
            serde_json::from_str(r#"{"authorization": {"token": "hunter2"}}"#).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
