//! `websocket { … }`: a listener of its own for clients in browsers and behind proxies.

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use super::{Tls, units};

/// Where and how websockets are served.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Websocket {
    /// Where to listen when no socket is handed in. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// The `host:port` clients are told to use, when it is not the one they came by.
    pub advertise: Option<String>,
    /// Serves without TLS. Without this, `tls` is needed: credentials would cross the net in clear.
    pub no_tls: bool,
    /// Its certificates.
    pub tls: Option<Tls>,
    /// The `Origin` a browser sends must be the `Host` it asked.
    pub same_origin: bool,
    /// When not empty, the `Origin` must be one of these (`https://host[:port]`).
    pub allowed_origins: Vec<String>,
    /// Accepts permessage-deflate when a client offers it.
    pub compression: bool,
    /// How long TLS handshake and upgrade may take together. Default 2 s.
    #[serde(deserialize_with = "units::duration")]
    pub handshake_timeout: Duration,
    /// Credentials that are valid here in place of those of other listeners.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
    /// A token, in their place.
    pub token: Option<SecretString>,
    /// How long a client may take to say who it is; as elsewhere when absent.
    #[serde(deserialize_with = "units::optional_duration")]
    pub auth_timeout: Option<Duration>,
    /// How often a silent client is pinged; as elsewhere when absent.
    #[serde(deserialize_with = "units::optional_duration")]
    pub ping_interval: Option<Duration>,
    /// The user that clients without credentials become; as elsewhere when absent.
    pub no_auth_user: Option<String>,
    /// Cookie that stands in for `jwt` in CONNECT.
    pub jwt_cookie: Option<String>,
    /// Cookie that stands in for `user` in CONNECT.
    pub user_cookie: Option<String>,
    /// Cookie that stands in for `pass` in CONNECT.
    pub pass_cookie: Option<String>,
    /// Cookie that stands in for `auth_token` in CONNECT.
    pub token_cookie: Option<String>,
    /// Headers added to the answer to an upgrade.
    pub headers: Vec<(String, String)>,
}

// === impl Websocket ===

impl Websocket {
    /// How long an upgrade may take unless it is said.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
}

impl Default for Websocket {
    fn default() -> Self {
        Websocket {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            advertise: None,
            no_tls: false,
            tls: None,
            same_origin: false,
            allowed_origins: Vec::new(),
            compression: false,
            handshake_timeout: Self::HANDSHAKE_TIMEOUT,
            username: None,
            password: None,
            token: None,
            auth_timeout: None,
            ping_interval: None,
            no_auth_user: None,
            jwt_cookie: None,
            user_cookie: None,
            pass_cookie: None,
            token_cookie: None,
            headers: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_section_reads_as_documented() {
        let section: Websocket = serde_json::from_value(serde_json::json!({
            "listen": "127.0.0.1:0", "no_tls": true, "allowed_origins": ["https://a.example"],
            "handshake_timeout": "1s", "auth_timeout": "3s", "token": "hunter2",
        }))
        .unwrap();
        assert_eq!(section.handshake_timeout, Duration::from_secs(1));
        assert_eq!(section.auth_timeout, Some(Duration::from_secs(3)));
        assert!(!format!("{section:?}").contains("hunter2"));
        assert!(serde_json::from_str::<Websocket>(r#"{"port": 1}"#).is_err());
    }
}
