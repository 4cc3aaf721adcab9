//! The JSON of the protocol (INFO, CONNECT) and its fixed texts.

mod connect;
mod quoted;

use std::fmt::Write as _;

use serde::Serialize;

pub(crate) use connect::ConnectOptions;
pub(crate) use quoted::Quoted;

/// What clients are told they talk to: they switch features on by it.
pub const VERSION: &str = "2.10.29";
/// The version of the client protocol: INFO may come at any time.
pub(crate) const PROTO: u8 = 1;

/// Fixed frames.
pub(crate) mod frame {
    /// A ping.
    pub(crate) const PING: &[u8] = b"PING\r\n";
    /// Its answer.
    pub(crate) const PONG: &[u8] = b"PONG\r\n";
    /// Success, for verbose clients.
    pub(crate) const OK: &[u8] = b"+OK\r\n";
    /// The header block that tells a requester nobody listens.
    pub(crate) const NO_RESPONDERS: &[u8] = b"NATS/1.0 503\r\n\r\n";
}

/// What the server says of itself.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Info {
    /// Unique per process.
    pub server_id: String,
    /// For people; the id by default.
    pub server_name: String,
    /// See [`VERSION`].
    pub version: &'static str,
    /// See [`PROTO`].
    pub proto: u8,
    /// Clients expect it; the name of the implementation.
    pub go: &'static str,
    /// Where it listens.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// Headers are understood.
    pub headers: bool,
    /// Credentials are needed.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// The client must start TLS.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// It must show a certificate.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// It may start TLS.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_available: bool,
    /// Largest message.
    pub max_payload: usize,
    /// The number of this connection.
    pub client_id: u64,
    /// The address it came from.
    pub client_ip: String,
    /// To be signed by nkey users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The name of its cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Other addresses to reach the system by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// This server is about to leave: clients had better go elsewhere.
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
}

impl Info {
    /// The INFO frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).expect("strings and numbers make JSON");
        let mut frame = String::with_capacity(json.len() + 8);
        // With the blank before the line end that nats-server sends.
        write!(frame, "INFO {json} \r\n").expect("a String takes it");
        frame.into_bytes()
    }
}

fn is_false(value: &bool) -> bool {
    !value
}
