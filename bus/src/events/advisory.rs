//! Events about clients and accounts.

use std::sync::Arc;

use rand::Rng as _;
use serde::Serialize;

use super::answer::ServerInfo;
use crate::monitor::{AccountStat, Sample, Volume, human};

/// What every event begins with.
#[derive(Debug, Serialize)]
pub(crate) struct Head {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    timestamp: String,
}

/// `$SYS.ACCOUNT.<a>.CONNECT`.
#[derive(Debug, Serialize)]
pub(crate) struct Connect {
    #[serde(flatten)]
    head: Head,
    server: ServerInfo,
    client: ClientInfo,
}

/// `$SYS.ACCOUNT.<a>.DISCONNECT` and `$SYS.SERVER.<id>.CLIENT.AUTH.ERR`.
#[derive(Debug, Serialize)]
pub(crate) struct Disconnect {
    #[serde(flatten)]
    head: Head,
    server: ServerInfo,
    client: ClientInfo,
    /// From the client's side.
    sent: Volume,
    received: Volume,
    reason: &'static str,
}

/// `$SYS.ACCOUNT.<a>.SERVER.CONNS`.
#[derive(Debug, Serialize)]
pub(crate) struct AccountConnections {
    #[serde(flatten)]
    head: Head,
    server: ServerInfo,
    #[serde(flatten)]
    stat: AccountStat,
}

/// A client in an event.
#[derive(Debug, Serialize)]
pub(crate) struct ClientInfo {
    start: String,
    host: String,
    id: u64,
    acc: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lang: Option<Arc<str>>,
    #[serde(rename = "ver", skip_serializing_if = "Option::is_none")]
    version: Option<Arc<str>>,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_key: Option<Arc<str>>,
    name_tag: Arc<str>,
    kind: &'static str,
    client_type: &'static str,
}

// === impl Head ===

impl Head {
    fn new(kind: &'static str) -> Self {
        Head {
            kind,
            id: unique(),
            timestamp: human::time(std::time::SystemTime::now()),
        }
    }
}

impl Connect {
    pub(crate) fn new(server: ServerInfo, sample: &Sample, account: &Arc<str>) -> Self {
        let mut client = ClientInfo::new(sample, account);
        // Nobody has answered anything yet.
        client.rtt = None;
        Connect {
            head: Head::new("io.nats.server.advisory.v1.client_connect"),
            server,
            client,
        }
    }
}

impl Disconnect {
    pub(crate) fn new(server: ServerInfo, last: &Sample, account: &Arc<str>) -> Self {
        Disconnect {
            head: Head::new("io.nats.server.advisory.v1.client_disconnect"),
            server,
            client: ClientInfo::new(last, account),
            sent: last.traffic.received(),
            received: last.traffic.sent(),
            reason: last.stop.map_or("", |(_, reason)| reason),
        }
    }
}

impl AccountConnections {
    pub(crate) fn new(server: ServerInfo, stat: AccountStat) -> Self {
        AccountConnections {
            head: Head::new("io.nats.server.advisory.v1.account_connections"),
            server,
            stat,
        }
    }
}

impl ClientInfo {
    fn new(sample: &Sample, account: &Arc<str>) -> Self {
        let who = &sample.who;
        ClientInfo {
            start: human::time(sample.start),
            host: sample.peer.ip().to_string(),
            id: sample.cid,
            acc: Arc::clone(account),
            user: who.user.clone(),
            name: who.name.clone(),
            lang: who.lang.clone(),
            version: who.version.clone(),
            rtt: sample.rtt.map(human::nanos),
            stop: sample.stop.map(|(at, _)| human::time(at)),
            name_tag: Arc::clone(who.label.as_ref().unwrap_or(account)),
            issuer_key: who.issuer_key.clone(),
            kind: "Client",
            client_type: sample.transport,
        }
    }
}

/// 22 letters and digits that no other event has.
fn unique() -> String {
    let mut rng = rand::rng();
    (0..22)
        .map(|_| char::from(rng.sample(rand::distr::Alphanumeric)))
        .collect()
}
