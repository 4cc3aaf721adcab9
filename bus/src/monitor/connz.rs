//! `/connz`: who is connected, and who was.

mod order;

use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize};

use super::human;
use super::page::Page;
use super::query::{BadRequest, Query, shorten};
use super::sample::{Certificate, Sample, Subscribed};

pub(crate) use order::Order;

/// What is asked. As JSON it is the payload of a `$SYS.REQ.….CONNZ` request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    sort: String,
    /// User and account of each.
    #[serde(rename = "auth")]
    pub(crate) username: bool,
    pub(crate) subscriptions: bool,
    pub(crate) subscriptions_detail: bool,
    offset: i64,
    limit: i64,
    /// This connection only.
    pub(crate) cid: u64,
    mqtt_client: String,
    pub(crate) state: State,
    user: String,
    pub(crate) acc: String,
    /// Those with a subscription that may get what this subject, or pattern, gets. Needs `acc`.
    pub(crate) filter_subject: String,
}

/// Which connections are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    Open,
    Closed,
    All,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Connz {
    server_id: String,
    now: String,
    num_connections: usize,
    total: usize,
    offset: usize,
    limit: usize,
    connections: Vec<Connection>,
}

/// One connection.
#[derive(Debug, Serialize)]
pub(crate) struct Connection {
    cid: u64,
    kind: &'static str,
    #[serde(rename = "type")]
    transport: &'static str,
    ip: String,
    port: u16,
    start: String,
    last_activity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt: Option<String>,
    uptime: String,
    idle: String,
    pending_bytes: usize,
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
    subscriptions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lang: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cipher_suite: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_peer_certs: Option<[Arc<Certificate>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorized_user: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions_list: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions_list_detail: Option<Vec<Subscribed>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_key: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_tag: Option<Arc<str>>,
}

// === impl Options ===

impl Options {
    /// From the parameters of a URL.
    ///
    /// # Errors
    /// One of them cannot be what it should.
    pub(crate) fn parse(query: &Query) -> Result<Self, BadRequest> {
        let detail = query.text("subs").eq_ignore_ascii_case("detail");
        Ok(Options {
            sort: query.text("sort").to_owned(),
            username: query.flag("auth")?,
            subscriptions: !detail && query.flag("subs")?,
            subscriptions_detail: detail,
            offset: query.number("offset")?,
            limit: query.number("limit")?,
            cid: query.number("cid")?,
            mqtt_client: query.text("mqtt_client").to_owned(),
            state: State::parse(query.text("state"))?,
            user: query.text("user").to_owned(),
            acc: query.text("acc").to_owned(),
            filter_subject: query.text("filter_subject").to_owned(),
        })
    }

    /// Whether it can be answered.
    ///
    /// # Errors
    /// The order does not exist, or not for these connections; or subjects are asked for without an
    /// account.
    pub(crate) fn check(&self) -> Result<(), BadRequest> {
        self.order()?;
        if self.subject_filter().is_some() && self.acc.is_empty() {
            return Err(BadRequest::FilterNeedsAccount);
        }
        Ok(())
    }

    fn order(&self) -> Result<Order, BadRequest> {
        let order =
            Order::parse(&self.sort).ok_or_else(|| BadRequest::Sort(shorten(&self.sort)))?;
        match order.needs_closed() {
            Some(name) if self.state != State::Closed => Err(BadRequest::SortClosed(name)),
            _ => Ok(order),
        }
    }

    /// The subject filter, when there is one that leaves anything out.
    pub(crate) fn subject_filter(&self) -> Option<&[u8]> {
        let counts = !matches!(self.filter_subject.as_str(), "" | ">");
        counts.then_some(self.filter_subject.as_bytes())
    }

    fn wants(&self, sample: &Sample) -> bool {
        (self.cid == 0 || self.cid == sample.cid)
            && (self.user.is_empty() || sample.who.user.as_deref() == Some(self.user.as_str()))
            // There are no MQTT clients here.
            && self.mqtt_client.is_empty()
    }

    fn page(&self) -> Page {
        // One connection by its number is a page of its own.
        if self.cid > 0 {
            return Page {
                offset: 0,
                limit: 1,
            };
        }
        Page::new(self.offset, self.limit)
    }
}

impl State {
    fn parse(text: &str) -> Result<Self, BadRequest> {
        match text.to_ascii_lowercase().as_str() {
            "" | "open" => Ok(State::Open),
            "closed" => Ok(State::Closed),
            "any" | "all" => Ok(State::All),
            _ => Err(BadRequest::State(shorten(text))),
        }
    }
}

impl<'de> Deserialize<'de> for State {
    /// In JSON a state is a number.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u8::deserialize(from)? {
            0 => Ok(State::Open),
            1 => Ok(State::Closed),
            2 => Ok(State::All),
            other => Err(serde::de::Error::custom(format!(
                "state {other}: one of 0 (open), 1 (closed), 2 (any)"
            ))),
        }
    }
}

/// The samples of the wanted page, in order. Those of other accounts, or without the wanted
/// subscription, are expected to be gone already.
///
/// # Errors
/// The order cannot be had.
pub(crate) fn select(
    mut samples: Vec<Arc<Sample>>,
    options: &Options,
    now: SystemTime,
) -> Result<Vec<Arc<Sample>>, BadRequest> {
    let order = options.order()?;
    samples.retain(|sample| options.wants(sample));
    order.sort(&mut samples, now);
    Ok(options.page().of(samples))
}

// === impl Connz ===

impl Connz {
    /// The answer about the samples of a page, out of `total`. `subscriptions` lists those of a sample.
    pub(crate) fn new(
        server_id: &str,
        samples: &[Arc<Sample>],
        total: usize,
        options: &Options,
        now: SystemTime,
        mut subscriptions: impl FnMut(&Sample) -> Vec<Subscribed>,
    ) -> Self {
        let page = options.page();
        let connections: Vec<_> = samples
            .iter()
            .map(|sample| {
                let wanted = options.subscriptions || options.subscriptions_detail;
                let list = wanted.then(|| subscriptions(sample));
                Connection::new(sample, options, now, list)
            })
            .collect();
        Connz {
            server_id: server_id.to_owned(),
            now: human::time(now),
            num_connections: connections.len(),
            total,
            offset: page.offset,
            limit: page.limit,
            connections,
        }
    }
}

impl Connection {
    fn new(
        sample: &Sample,
        options: &Options,
        now: SystemTime,
        list: Option<Vec<Subscribed>>,
    ) -> Self {
        let who = &sample.who;
        let tls = sample.tls.as_ref();
        let shown = |text: &Option<Arc<str>>| if options.username { text.clone() } else { None };
        let list = list.filter(|list| !list.is_empty());
        let (names, detail) = match list {
            Some(list) if options.subscriptions_detail => (None, Some(list)),
            Some(list) => (
                Some(list.into_iter().map(|sub| sub.subject).collect()),
                None,
            ),
            None => (None, None),
        };
        Connection {
            cid: sample.cid,
            kind: "Client",
            transport: sample.transport,
            ip: sample.peer.ip().to_string(),
            port: sample.peer.port(),
            start: human::time(sample.start),
            last_activity: human::time(sample.last),
            stop: sample.stop.map(|(at, _)| human::time(at)),
            reason: sample.stop.map(|(_, reason)| reason),
            rtt: sample.rtt.map(human::exact),
            uptime: human::elapsed(sample.uptime(now)),
            idle: human::elapsed(sample.idle(now)),
            pending_bytes: sample.pending,
            in_msgs: sample.traffic.in_msgs,
            out_msgs: sample.traffic.out_msgs,
            in_bytes: sample.traffic.in_bytes,
            out_bytes: sample.traffic.out_bytes,
            subscriptions: sample.subscriptions,
            name: who.name.clone(),
            lang: who.lang.clone(),
            version: who.version.clone(),
            tls_version: tls.map(|tls| tls.version),
            tls_cipher_suite: tls.map(|tls| Arc::clone(&tls.cipher)),
            tls_peer_certs: tls
                .and_then(|tls| tls.certificate.clone())
                .filter(|_| options.username)
                .map(|certificate| [certificate]),
            authorized_user: shown(&who.user),
            account: shown(&who.account),
            subscriptions_list: names,
            subscriptions_list_detail: detail,
            issuer_key: shown(&who.issuer_key),
            name_tag: shown(&who.label),
        }
    }
}

#[cfg(test)]
mod tests;
