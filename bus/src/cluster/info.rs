//! The JSON of the protocol between servers: INFO and CONNECT.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::rights::Told;

/// How news of a server travels. The numbers are on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Gossip {
    /// Whoever hears of it dials it, and tells nobody else.
    #[default]
    Default,
    /// It need not be told on: whoever dialled has told the others.
    Disabled,
    /// Whoever hears of it dials it, and tells the others.
    Override,
}

/// What a server says of itself, or passes on about another.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct RouteInfo {
    /// Unique per process.
    pub server_id: String,
    /// For people, and unique in a cluster.
    pub server_name: String,
    /// The version of nats-server it is like.
    pub version: String,
    /// The version of the protocol between servers.
    pub proto: i64,
    /// The implementation.
    pub go: String,
    /// Where it listens for routes.
    pub host: String,
    /// Where it listens for routes; 0 when it does not.
    pub port: u16,
    /// The route URL others should dial, when it is not host and port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// Headers are understood.
    pub headers: bool,
    /// Routes need credentials.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// Routes need TLS.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// Routes need a certificate.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// Largest message of its clients.
    pub max_payload: usize,
    /// Not used between servers, but expected.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// The name of its cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// That name was made up.
    #[serde(skip_serializing_if = "is_false")]
    pub cluster_dynamic: bool,
    /// Where its clients connect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// Where its websocket clients connect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ws_connect_urls: Vec<String>,
    /// It is about to go.
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
    /// Interest of leaf clusters may name its origin when it comes …
    #[serde(skip_serializing_if = "is_false")]
    pub lnoc: bool,
    /// … and when it goes.
    #[serde(skip_serializing_if = "is_false")]
    pub lnocu: bool,
    /// See [`Gossip`].
    #[serde(skip_serializing_if = "is_zero")]
    pub gossip_mode: u8,
    /// What it asks its peers for; everything when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<Told>,
    /// What its peers may ask it for; everything when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Told>,
    /// How many connections it wants to each peer; we say nothing, and so get one.
    #[serde(skip_serializing_if = "is_zero")]
    pub route_pool_size: i64,
    /// The account this connection is for; never one of ours.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route_account: String,
    /// What else is said, to be passed on.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What the one who dials says of itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RouteConnect {
    /// Name of the user.
    pub user: Option<String>,
    /// Its password.
    pub pass: Option<SecretString>,
    /// A token; only between servers of ours.
    pub auth_token: Option<SecretString>,
    /// The server's id.
    pub name: String,
    /// The name of its cluster.
    pub cluster: String,
    /// That name was made up.
    pub cluster_dynamic: bool,
    /// Headers are understood.
    pub headers: bool,
    /// Every client library says its language; no server does.
    pub lang: Option<String>,
    /// Set by gateways, which have a port of their own.
    pub gateway: Option<String>,
}

/// The CONNECT this server sends.
#[derive(Debug, Serialize)]
struct OurConnect<'a> {
    echo: bool,
    verbose: bool,
    pedantic: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'a str>,
    tls_required: bool,
    headers: bool,
    name: &'a str,
    cluster: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    cluster_dynamic: bool,
    lnoc: bool,
    lnocu: bool,
}

/// What goes into the CONNECT of this server.
#[derive(Debug)]
pub(crate) struct Greeting<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) password: Option<&'a SecretString>,
    pub(crate) token: Option<&'a SecretString>,
    pub(crate) tls: bool,
    pub(crate) headers: bool,
    pub(crate) id: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) dynamic: bool,
}

// === impl RouteInfo ===

impl RouteInfo {
    /// Reads what a peer said.
    ///
    /// # Errors
    /// It is no such JSON.
    pub(crate) fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The INFO frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut frame = b"INFO ".to_vec();
        frame.extend_from_slice(&serde_json::to_vec(self).expect("strings and numbers make JSON"));
        // With the blank before the line end that nats-server sends.
        frame.extend_from_slice(b" \r\n");
        frame
    }

    /// How news of this server travels.
    pub(crate) fn gossip(&self) -> Gossip {
        match self.gossip_mode {
            1 => Gossip::Disabled,
            2 => Gossip::Override,
            _ => Gossip::Default,
        }
    }

    /// The same, to be told to others.
    pub(crate) fn passed_on(&self, gossip: Gossip) -> Self {
        RouteInfo {
            nonce: String::new(),
            gossip_mode: gossip as u8,
            ..self.clone()
        }
    }
}

// === impl Greeting ===

impl Greeting<'_> {
    /// The CONNECT frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let connect = OurConnect {
            echo: true,
            verbose: false,
            pedantic: false,
            user: self.user,
            pass: self.password.map(|secret| secret.expose_secret()),
            auth_token: self.token.map(|secret| secret.expose_secret()),
            tls_required: self.tls,
            headers: self.headers,
            name: self.id,
            cluster: self.cluster,
            cluster_dynamic: self.dynamic,
            lnoc: true,
            lnocu: true,
        };
        let mut frame = b"CONNECT ".to_vec();
        frame.extend_from_slice(
            &serde_json::to_vec(&connect).expect("strings and numbers make JSON"),
        );
        frame.extend_from_slice(b"\r\n");
        frame
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero<N: Default + PartialEq>(value: &N) -> bool {
    *value == N::default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    /// As 2.15.1 says it, shortened.
    const GENUINE: &[u8] =
        br#"{"server_id":"NB","server_name":"alpha","version":"2.15.1","proto":3,
        "go":"go1.27.2","host":"127.0.0.1","port":16001,"headers":true,"max_payload":1048576,
        "nonce":"dGO9","cluster":"west","connect_urls":["192.0.2.2:14001"],"compression":"accept",
        "lnoc":true,"lnocu":true,"ln":true,"route_pool_size":3}"#;

    #[test]
    fn the_info_of_a_genuine_server_is_read_and_passed_on_whole() {
        let info = RouteInfo::read(GENUINE).unwrap();
        assert_eq!((info.server_id.as_str(), info.port), ("NB", 16001));
        assert_eq!(info.gossip(), Gossip::Default);
        let on = info.passed_on(Gossip::Override);
        let frame = on.frame();
        let json = frame.strip_prefix(b"INFO ").unwrap();
        let read: Value = serde_json::from_slice(json).unwrap();
        assert_eq!(read["compression"], "accept");
        assert_eq!(read["gossip_mode"], 2);
        assert!(read.get("nonce").is_none() && read.get("ip").is_none());
        assert_eq!(RouteInfo::read(json).unwrap().gossip(), Gossip::Override);
    }

    #[test]
    fn our_greeting_is_what_a_server_of_before_pools_says() {
        let password = SecretString::from("pw");
        let greeting = Greeting {
            user: Some("r"),
            password: Some(&password),
            token: None,
            tls: false,
            headers: true,
            id: "NA",
            cluster: "west",
            dynamic: true,
        };
        assert_eq!(
            String::from_utf8(greeting.frame()).unwrap(),
            "CONNECT {\"echo\":true,\"verbose\":false,\"pedantic\":false,\"user\":\"r\",\"pass\":\"pw\",\
             \"tls_required\":false,\"headers\":true,\"name\":\"NA\",\"cluster\":\"west\",\
             \"cluster_dynamic\":true,\"lnoc\":true,\"lnocu\":true}\r\n"
        );
    }
}
