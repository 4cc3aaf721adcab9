//! The cluster a broker is part of: where its peers reach it, and which of them it dials.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};

use super::{SubjectRules, Tls, units};

/// A full mesh of brokers over which messages travel at most one hop.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// Name of the cluster; peers of another name are refused. A name is made up when absent, which
    /// then yields to that of a peer.
    pub name: Option<String>,
    /// Where to listen for routes; port 0 lets the system choose. Without it only `routes` are dialled,
    /// and no peer can dial back. Not used when a socket is handed in.
    pub listen: Option<SocketAddr>,
    /// Peers to dial, for ever.
    pub routes: Vec<RouteUrl>,
    /// What crosses between this server and its peers; everything when absent.
    pub permissions: Option<RoutePermissions>,
    /// What a peer must say to be let in; also said to peers whose URL has no credentials.
    pub authorization: ClusterAuthorization,
    /// How routes are secured, in both directions; they are in clear when absent.
    pub tls: Option<Tls>,
    /// The `host:port` peers are told to dial, when it is not the one listened on.
    pub advertise: Option<String>,
    /// Whether clients are kept from learning the addresses of this server's peers, and the other way
    /// round.
    pub no_advertise: bool,
    /// How often a peer is dialled that was heard of but is not in `routes`, beyond the first time.
    /// Default 0, as with nats-server.
    pub connect_retries: u32,
    /// Whether the pause between two attempts doubles, up to 30 s. Default false: about 1 s.
    pub connect_backoff: bool,
    /// How often a silent peer is pinged. Default 30 s, or the clients' interval when that is shorter.
    #[serde(deserialize_with = "optional_duration")]
    pub ping_interval: Option<Duration>,
    /// Unanswered pings after which a route is given up. Default: as for clients.
    pub ping_max: Option<u32>,
    /// Longest control line of a peer. Default 2 MiB, and never less than that of clients. Routes need
    /// more room than clients, as their lines name an account and all queues.
    #[serde(deserialize_with = "optional_size")]
    pub max_control_line: Option<usize>,
    /// Bytes that may wait for one peer. Default: four times what may wait for a client.
    #[serde(deserialize_with = "optional_size")]
    pub max_pending: Option<usize>,
    /// How long a write to a peer may make no progress. Default: as for clients.
    #[serde(deserialize_with = "optional_duration")]
    pub write_deadline: Option<Duration>,
}

/// Which subjects cross routes, in all accounts. Patterns only, without queue groups.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct RoutePermissions {
    /// What peers are asked for on behalf of clients here; everything when absent.
    pub import: Option<SubjectRules>,
    /// What peers may ask for; everything when absent.
    pub export: Option<SubjectRules>,
}

/// Who may open a route.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterAuthorization {
    /// Name of the user.
    pub user: Option<String>,
    /// Its password, plain or as a bcrypt hash.
    pub password: Option<SecretString>,
    /// A token instead of both.
    pub token: Option<SecretString>,
    /// How long a peer may take to say who it is. Default 2 s.
    #[serde(deserialize_with = "units::duration")]
    pub timeout: Duration,
}

/// Where a peer is dialled: `nats://[user:password@]host:port`.
#[derive(Clone)]
pub struct RouteUrl {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port. Default 6222.
    pub port: u16,
    /// User name, or the token when there is no password.
    pub user: Option<String>,
    /// Password.
    pub password: Option<SecretString>,
}

/// Text that is no route URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{shown:?} is not a route like nats://host:6222 or nats://user:password@host:6222")]
pub struct ParseRouteError {
    /// The text without its credentials.
    shown: String,
}

/// The port of routes.
pub const ROUTE_PORT: u16 = 6222;

// === impl ClusterAuthorization ===

impl Default for ClusterAuthorization {
    fn default() -> Self {
        ClusterAuthorization {
            user: None,
            password: None,
            token: None,
            timeout: Duration::from_secs(2),
        }
    }
}

// === impl RouteUrl ===

impl PartialEq for RouteUrl {
    fn eq(&self, other: &Self) -> bool {
        let secret = |url: &RouteUrl| {
            let password = url.password.as_ref();
            password.map(|password| password.expose_secret().to_owned())
        };
        (&self.host, self.port, &self.user) == (&other.host, other.port, &other.user)
            && secret(self) == secret(other)
    }
}

impl Eq for RouteUrl {}

impl FromStr for RouteUrl {
    type Err = ParseRouteError;

    fn from_str(text: &str) -> Result<Self, ParseRouteError> {
        let text = text.trim();
        let bare = ["nats-route://", "nats://", "tls://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .unwrap_or(text);
        let (credentials, address) = match bare.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, bare),
        };
        let wrong = || ParseRouteError {
            shown: address.to_owned(),
        };
        let decoded = |part: &str| {
            let text = percent_decode_str(part).decode_utf8();
            text.map(|text| text.into_owned()).map_err(|_| wrong())
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        let (host, port) = split_address(address).ok_or_else(wrong)?;
        let (user, password) = match credentials.map(|both| both.split_once(':').ok_or(both)) {
            None => (None, None),
            Some(Ok((user, password))) => (Some(decoded(user)?), Some(decoded(password)?.into())),
            Some(Err(user)) => (Some(decoded(user)?), None),
        };
        Ok(RouteUrl {
            host,
            port,
            user,
            password,
        })
    }
}

/// `host:port`, `[v6]:port` or `host`, as host and port.
fn split_address(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None => ROUTE_PORT,
    };
    let sound = !host.is_empty()
        && !host.contains(|letter: char| letter.is_whitespace() || "/@[]".contains(letter));
    sound.then(|| (host.to_owned(), port))
}

impl fmt::Display for RouteUrl {
    /// Without the credentials.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RouteUrl { host, port, .. } = self;
        if host.contains(':') {
            write!(to, "nats-route://[{host}]:{port}")
        } else {
            write!(to, "nats-route://{host}:{port}")
        }
    }
}

impl fmt::Debug for RouteUrl {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "RouteUrl({self})")
    }
}

impl<'de> Deserialize<'de> for RouteUrl {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn optional_duration<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Duration>, D::Error> {
    units::duration(source).map(Some)
}

fn optional_size<'de, D: Deserializer<'de>>(source: D) -> Result<Option<usize>, D::Error> {
    units::size(source).map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_section_reads_as_documented() {
        let cluster: Cluster = serde_json::from_value(serde_json::json!({
            "name": "west",
            "listen": "127.0.0.1:6222",
            "routes": ["nats://10.0.0.2:6222", "nats-route://ruser:top%3Asecret@db-1"],
            "authorization": { "user": "ruser", "password": "top:secret", "timeout": "3s" },
            "ping_interval": "5s",
        }))
        .unwrap();
        assert_eq!(cluster.routes[0].to_string(), "nats-route://10.0.0.2:6222");
        let second = &cluster.routes[1];
        assert_eq!((second.host.as_str(), second.port), ("db-1", 6222));
        assert_eq!(second.user.as_deref(), Some("ruser"));
        let password = second.password.as_ref().unwrap();
        assert_eq!(password.expose_secret(), "top:secret");
        assert!(!format!("{cluster:?}").contains("secret"));
        assert_eq!(cluster.ping_interval, Some(Duration::from_secs(5)));
        assert_eq!(cluster.authorization.timeout, Duration::from_secs(3));
    }

    #[test]
    fn routes_of_every_form() {
        for (text, shown) in [
            ("host", "nats-route://host:6222"),
            ("host:1", "nats-route://host:1"),
            ("nats://host:1/", "nats-route://host:1"),
            ("tls://token@host:1", "nats-route://host:1"),
            ("nats://[::1]:7", "nats-route://[::1]:7"),
            ("[::1]", "nats-route://[::1]:6222"),
        ] {
            assert_eq!(text.parse::<RouteUrl>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "nats://",
            "host:",
            "host:0",
            "host:70000",
            "a b:1",
            "http://h:1",
        ] {
            assert!(text.parse::<RouteUrl>().is_err(), "{text}");
        }
        let error = "nats://user:hunter2@:1".parse::<RouteUrl>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
