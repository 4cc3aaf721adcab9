//! The JSON of the protocol (INFO, CONNECT) and its fixed texts.

use std::fmt::Write as _;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::wire::websocket::Cookies;

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

/// What a client said in CONNECT. Keys that are absent in a later one keep their value.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct ConnectOptions {
    /// `+OK` for everything.
    pub verbose: bool,
    /// Published subjects are checked.
    pub pedantic: bool,
    /// Own messages come back.
    pub echo: bool,
    /// Headers are understood.
    pub headers: bool,
    /// A request nobody listens to shall be answered with a 503.
    pub no_responders: bool,
    /// Whether INFO may come at any time.
    pub protocol: i64,
    /// Name of the client.
    pub name: Option<String>,
    /// Its language.
    pub lang: Option<String>,
    /// The version of its library.
    pub version: Option<String>,
    /// Credentials: user name.
    pub user: Option<String>,
    /// Credentials: password.
    pub pass: Option<SecretString>,
    /// Credentials: token.
    pub auth_token: Option<SecretString>,
    /// Credentials: public nkey.
    pub nkey: Option<String>,
    /// Credentials: the signed nonce.
    pub sig: Option<String>,
    /// Credentials: the user's JWT.
    pub jwt: Option<SecretString>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            verbose: true,
            pedantic: true,
            echo: true,
            headers: false,
            no_responders: false,
            protocol: 0,
            name: None,
            lang: None,
            version: None,
            user: None,
            pass: None,
            auth_token: None,
            nkey: None,
            sig: None,
            jwt: None,
        }
    }
}

/// The keys of one CONNECT; those it lacks stay as they are.
#[derive(Debug, Deserialize)]
struct ConnectChanges {
    verbose: Option<bool>,
    pedantic: Option<bool>,
    echo: Option<bool>,
    headers: Option<bool>,
    no_responders: Option<bool>,
    protocol: Option<i64>,
    name: Option<String>,
    lang: Option<String>,
    version: Option<String>,
    user: Option<String>,
    pass: Option<SecretString>,
    auth_token: Option<SecretString>,
    nkey: Option<String>,
    sig: Option<String>,
    jwt: Option<SecretString>,
}

impl ConnectOptions {
    /// Takes over what this CONNECT says.
    ///
    /// # Errors
    /// It is not the JSON of a CONNECT.
    pub(crate) fn update(&mut self, json: &[u8]) -> Result<(), serde_json::Error> {
        let said: ConnectChanges = serde_json::from_slice(json)?;
        replace(&mut self.verbose, said.verbose);
        replace(&mut self.pedantic, said.pedantic);
        replace(&mut self.echo, said.echo);
        replace(&mut self.headers, said.headers);
        replace(&mut self.no_responders, said.no_responders);
        replace(&mut self.protocol, said.protocol);
        keep(&mut self.name, said.name);
        keep(&mut self.lang, said.lang);
        keep(&mut self.version, said.version);
        keep(&mut self.user, said.user);
        keep(&mut self.pass, said.pass);
        keep(&mut self.auth_token, said.auth_token);
        keep(&mut self.nkey, said.nkey);
        keep(&mut self.sig, said.sig);
        keep(&mut self.jwt, said.jwt);
        Ok(())
    }

    /// Takes cookies for credentials that CONNECT does not bring.
    pub(crate) fn fill_in(&mut self, cookies: &Cookies) {
        fn fill<T: Clone>(place: &mut Option<T>, cookie: &Option<T>) {
            if place.is_none() {
                place.clone_from(cookie);
            }
        }
        fill(&mut self.user, &cookies.user);
        fill(&mut self.pass, &cookies.pass);
        fill(&mut self.auth_token, &cookies.token);
        fill(&mut self.jwt, &cookies.jwt);
    }

    /// Whether it says nothing of who it is.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.user.is_none()
            && self.auth_token.is_none()
            && self.nkey.is_none()
            && self.jwt.is_none()
    }

    /// Forgets the credentials once they have been checked.
    pub(crate) fn forget_secrets(&mut self) {
        self.pass = None;
        self.auth_token = None;
        self.sig = None;
        self.jwt = None;
    }
}

fn replace<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Empty strings count as absent: many clients send them for credentials they do not have.
fn keep<T: IsEmpty>(place: &mut Option<T>, value: Option<T>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        *place = Some(value);
    }
}

trait IsEmpty {
    fn is_empty(&self) -> bool;
}

impl IsEmpty for String {
    fn is_empty(&self) -> bool {
        str::is_empty(self)
    }
}

impl IsEmpty for SecretString {
    fn is_empty(&self) -> bool {
        secrecy::ExposeSecret::expose_secret(self).is_empty()
    }
}
