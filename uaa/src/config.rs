//! What can be set, with defaults.

use std::fmt;
use std::net::SocketAddr;

use cupola_db::DatabaseConfig;
use cupola_http::server::Limits;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

pub use crate::model::client::AutoApprove;
pub use crate::model::login_failure::Lockout;

/// The `[uaa]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Users, clients, refresh tokens and signing keys.
    pub database: DatabaseConfig,
    /// Base URL under which clients reach this server, for example `http://127.0.0.1:8081`. It is
    /// written into every token (`iss`), so all UAAs of a platform have the same.
    pub issuer: Url,
    /// Base URL for logins where it differs from `issuer`.
    #[serde(default)]
    pub login_url: Option<Url>,
    /// Where to listen when no supervisor holds the socket `http`.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// The platform's domain: the routers get `uaa.<domain>` and `login.<domain>`. Absent: none.
    #[serde(default)]
    pub domain: Option<String>,
    /// Address that routers dial, where it differs from the one listened on.
    #[serde(default)]
    pub advertise: Option<SocketAddr>,
    /// Encrypts signing keys in the database; at least 32 random characters, the same on all UAAs
    /// of a platform. Losing it ends all tokens but no password.
    pub encryption_key: SecretString,
    /// The first user, made when nobody has his name yet. His password is not touched later.
    #[serde(default)]
    pub admin: Option<FirstAdmin>,
    /// Clients that exist from the start, beside `cf`. Changed here, they are changed at the next
    /// start; taken out here, they stay.
    #[serde(default)]
    pub clients: Vec<SeedClient>,
    /// Seconds that an access token lives where its client says nothing. Default 43200.
    #[serde(default = "default_access_validity")]
    pub access_token_seconds: u32,
    /// Seconds that a refresh token lives where its client says nothing. Default 2592000 (30 days).
    #[serde(default = "default_refresh_validity")]
    pub refresh_token_seconds: u32,
    /// Whether each refresh gives a new refresh token and ends the old one. Default false, as
    /// command-line clients that run side by side share one.
    #[serde(default)]
    pub rotate_refresh_tokens: bool,
    /// After how many days a new signing key takes over; 0 keeps the first for ever. Default 90.
    #[serde(default = "default_key_days")]
    pub signing_key_days: u32,
    /// When failed logins lock an account.
    #[serde(default)]
    pub lockout: Lockout,
    /// Shortest password that is accepted for a new one. Default 0, as in the original.
    #[serde(default)]
    pub password_min_length: usize,
    /// What the HTTP server puts up with.
    #[serde(default)]
    pub http: Limits,
}

/// The first user.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstAdmin {
    /// Name. Default `admin`.
    #[serde(default = "default_admin_name")]
    pub user_name: String,
    /// Password at the first start.
    pub password: SecretString,
    /// Email. Default the name.
    #[serde(default)]
    pub email: Option<String>,
}

/// A client that exists from the start. For the ids the platform knows (`cloud_controller`,
/// `doppler`, `gorouter`, `ssh-proxy`, `admin`, …) id and secret suffice; what else is given
/// replaces the known value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedClient {
    /// Client id.
    pub id: String,
    /// Secret; may be empty for a public client.
    pub secret: SecretString,
    /// What it may do for a user.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
    /// What it may do for itself.
    #[serde(default)]
    pub authorities: Option<Vec<String>>,
    /// How it gets tokens.
    #[serde(default)]
    pub grant_types: Option<Vec<String>>,
    /// Where codes may be sent.
    #[serde(default)]
    pub redirect_uris: Option<Vec<String>>,
    /// Which scopes need no approval.
    #[serde(default)]
    pub auto_approve: Option<AutoApprove>,
    /// Seconds that its access tokens live.
    #[serde(default)]
    pub access_token_seconds: Option<u32>,
    /// Seconds that its refresh tokens live.
    #[serde(default)]
    pub refresh_token_seconds: Option<u32>,
}

// === impl Config ===

impl Config {
    /// A config with defaults and the three things that have none.
    #[must_use]
    pub fn new(database: DatabaseConfig, issuer: Url, encryption_key: SecretString) -> Self {
        Self {
            database,
            issuer,
            login_url: None,
            listen: None,
            domain: None,
            advertise: None,
            encryption_key,
            admin: None,
            clients: Vec::new(),
            access_token_seconds: default_access_validity(),
            refresh_token_seconds: default_refresh_validity(),
            rotate_refresh_tokens: false,
            signing_key_days: default_key_days(),
            lockout: Lockout::default(),
            password_min_length: 0,
            http: Limits::default(),
        }
    }
}

// === impl SeedClient ===

impl SeedClient {
    /// A client that is known by its id, or may do nothing.
    #[must_use]
    pub fn new(id: &str, secret: SecretString) -> Self {
        Self {
            id: id.to_owned(),
            secret,
            scopes: None,
            authorities: None,
            grant_types: None,
            redirect_uris: None,
            auto_approve: None,
            access_token_seconds: None,
            refresh_token_seconds: None,
        }
    }
}

/// A base URL without the slash at its end, so that paths can be put behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseUrl(String);

impl BaseUrl {
    pub(crate) fn new(url: &Url) -> Self {
        Self(url.as_str().trim_end_matches('/').to_owned())
    }

    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn default_access_validity() -> u32 {
    43_200
}

fn default_refresh_validity() -> u32 {
    2_592_000
}

fn default_key_days() -> u32 {
    90
}

fn default_admin_name() -> String {
    "admin".to_owned()
}
