//! What one account is told about a client of another one.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use crate::client::{Client, Kind};

/// A client as services and latency samples see it. Little, unless its account shares more.
#[derive(Debug, Default, Serialize)]
struct ClientInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    acc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    svc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lang: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_type: Option<&'static str>,
}

/// Whether a client is described fully.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Its account and how far away it is.
    Little,
    /// All that is known, and by the server of this id.
    Full,
}

impl Detail {
    pub(crate) fn shared(share: bool) -> Self {
        if share { Detail::Full } else { Detail::Little }
    }
}

/// A client as JSON, and its round trip time. Other servers and this one itself are nobody.
pub(crate) fn client_info(
    client: &Client,
    server: &str,
    detail: Detail,
) -> Option<(Value, Duration)> {
    let (info, rtt) = describe(client, server, detail)?;
    Some((json!(info), rtt))
}

/// The value of `Nats-Request-Info`. `known` is what an earlier step of the way said: then the account
/// in whose name the request goes on is added.
pub(crate) fn request_info(
    client: &Client,
    server: &str,
    detail: Detail,
    known: Option<&str>,
    importer: &str,
) -> Option<String> {
    if let Some(known) = known
        && let Ok(Value::Object(mut info)) = serde_json::from_str(known)
    {
        info.insert("svc".to_owned(), importer.into());
        return Some(Value::Object(info).to_string());
    }
    let (info, _) = describe(client, server, detail)?;
    serde_json::to_string(&info).ok()
}

fn describe(client: &Client, server: &str, detail: Detail) -> Option<(ClientInfo, Duration)> {
    if client.kind != Kind::Client {
        return None;
    }
    let rtt = client.rtt().unwrap_or_default();
    let about = client.about();
    let mut info = ClientInfo {
        acc: about.account.name.to_string(),
        rtt: u64::try_from(rtt.as_nanos())
            .ok()
            .filter(|nanos| *nanos > 0),
        ..ClientInfo::default()
    };
    if detail == Detail::Full {
        let start = DateTime::<Utc>::from(client.started);
        info.start = Some(start.to_rfc3339_opts(SecondsFormat::Nanos, true));
        info.host = Some(client.peer.ip().to_string());
        info.id = Some(client.id);
        info.name = about.name.as_deref().map(str::to_owned);
        info.lang = about.lang.as_deref().map(str::to_owned);
        info.ver = about.version.as_deref().map(str::to_owned);
        info.server = Some(server.to_owned());
        info.kind = Some("Client");
        info.client_type = Some("nats");
        if let Some(identity) = &about.identity {
            info.user = Some(identity.name.clone());
            info.issuer_key.clone_from(&identity.issuer_key);
            info.name_tag.clone_from(&identity.name_tag);
        }
    }
    Some((info, rtt))
}
