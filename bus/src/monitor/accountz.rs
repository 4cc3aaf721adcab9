//! `/accountz`: the subject spaces, by name or one in detail.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::query::Query;
use super::subsz::SublistStats;
use crate::config::accounts::{self as config, Crossing, ResponseType, Sampling};
use crate::exchange::Exchange;

/// What is asked. As JSON it is the payload of a `$SYS.REQ.….ACCOUNTZ` request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    /// This account in detail.
    pub(crate) account: String,
}

impl Options {
    /// From the parameters of a URL.
    pub(crate) fn parse(query: &Query) -> Self {
        Options {
            account: query.text("acc").to_owned(),
        }
    }
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Accountz {
    pub(crate) server_id: String,
    pub(crate) now: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) system_account: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) accounts: Vec<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account_detail: Option<Account>,
}

/// One account.
#[derive(Debug, Serialize)]
pub(crate) struct Account {
    pub(crate) account_name: Arc<str>,
    pub(crate) update_time: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_system: bool,
    pub(crate) expired: bool,
    pub(crate) complete: bool,
    pub(crate) jetstream_enabled: bool,
    pub(crate) leafnode_connections: usize,
    pub(crate) client_connections: usize,
    pub(crate) subscriptions: usize,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) mappings: BTreeMap<String, Vec<Destination>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) exports: Vec<Export>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) imports: Vec<Import>,
    /// Who signed its JWT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issuer_key: Option<String>,
    pub(crate) name_tag: Arc<str>,
    pub(crate) sublist_stats: SublistStats,
}

/// What an account offers to others.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Export {
    pub(crate) subject: String,
    /// `stream` or `service`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Importers need a token.
    #[serde(rename = "token_req", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) token_required: bool,
    /// How a service answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response_type: Option<&'static str>,
    #[serde(rename = "service_latency", skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Latency>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) approved_accounts: Vec<String>,
}

/// How long a service takes is measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latency {
    /// Percent; 0 when headers decide.
    pub(crate) sampling: u8,
    /// Where the samples go.
    pub(crate) results: String,
}

/// Where a mapping leads.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Destination {
    pub(crate) subject: String,
    /// Its share in percent.
    pub(crate) weight: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
}

impl Latency {
    fn new(sampling: Sampling, subject: &[u8]) -> Self {
        Latency {
            sampling: match sampling {
                Sampling::Headers => 0,
                Sampling::Percent(percent) => percent,
            },
            results: String::from_utf8_lossy(subject).into_owned(),
        }
    }
}

/// The mappings of an account, by what is mapped.
pub(crate) fn mappings(exchange: &Exchange) -> BTreeMap<String, Vec<Destination>> {
    let destination = |to: &config::Destination| Destination {
        subject: to.subject.clone(),
        weight: to.weight,
        cluster: to.cluster.clone(),
    };
    let all = exchange.configured_mappings.iter();
    all.map(|mapping| {
        let to = mapping.destinations.iter().map(destination).collect();
        (mapping.subject.clone(), to)
    })
    .collect()
}

impl Export {
    /// An export as it was configured, or signed.
    pub(crate) fn of(export: &config::Export) -> Self {
        Export {
            subject: export.subject.clone(),
            kind: kind(export.kind),
            token_required: export.token_required,
            latency: export
                .latency
                .as_ref()
                .map(|latency| Latency::new(latency.sampling, latency.subject.as_bytes())),
            approved_accounts: export.accounts.clone().unwrap_or_default(),
            response_type: (export.kind == Crossing::Service).then_some(match export.response {
                ResponseType::Singleton => "Singleton",
                ResponseType::Stream => "Streamed",
                ResponseType::Chunked => "Chunked",
            }),
        }
    }
}

impl Import {
    /// All that an account takes from others.
    pub(crate) fn all(exchange: &Exchange) -> Vec<Self> {
        let text = |subject: &[u8]| String::from_utf8_lossy(subject).into_owned();
        let streams = exchange.streams.iter().map(|import| Import {
            subject: text(&import.pairing.remote),
            account: import.exporter.name.to_string(),
            to: String::new(),
            local_subject: text(&import.pairing.local),
            kind: kind(Crossing::Stream),
            invalid: false,
            share: false,
            tracking: false,
            latency: None,
        });
        let services = exchange.services.iter().map(|(import, _)| Import {
            subject: text(&import.pairing.remote),
            account: import.exporter.name.to_string(),
            to: text(&import.pairing.local),
            local_subject: text(&import.pairing.local),
            kind: kind(Crossing::Service),
            invalid: false,
            share: import.share,
            tracking: false,
            latency: import
                .export
                .latency
                .as_ref()
                .map(|latency| Latency::new(latency.sampling, &latency.subject)),
        });
        streams.chain(services).collect()
    }
}

fn kind(crossing: Crossing) -> &'static str {
    match crossing {
        Crossing::Stream => "stream",
        Crossing::Service => "service",
    }
}

/// What an account takes from another.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Import {
    pub(crate) subject: String,
    pub(crate) account: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) to: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) local_subject: String,
    /// `stream` or `service`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) invalid: bool,
    pub(crate) share: bool,
    /// Whether this very import waits for an answer that is measured; only those of answers do.
    pub(crate) tracking: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Latency>,
}
