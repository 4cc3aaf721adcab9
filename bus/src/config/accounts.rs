//! Accounts: subject spaces of their own, and what crosses between them.
//!
//! An account *exports* subjects; another one *imports* them. A **stream** crosses from the exporter to
//! the importer, a **service** request crosses from the importer to the exporter and its answers cross back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{Permissions, User, units};

/// One account and whoever belongs to it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Account {
    /// Its name; unique.
    pub name: String,
    /// Its users.
    pub users: Vec<User>,
    /// Permissions of users without their own.
    pub default_permissions: Option<Permissions>,
    /// What others may import.
    pub exports: Vec<Export>,
    /// What it takes from others.
    pub imports: Vec<Import>,
    /// What its clients' messages are renamed to on the way in.
    pub mappings: Vec<Mapping>,
    /// Bounds for all its clients together or each.
    pub limits: AccountLimits,
    /// Traces messages that carry a sampled `traceparent`.
    pub trace: Option<MessageTrace>,
}

/// How much an account may use; `None` is without a bound of its own.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct AccountLimits {
    /// Connections of all its users together.
    pub max_connections: Option<u32>,
    /// Subscriptions of any of its clients.
    pub max_subscriptions: Option<u32>,
    /// Largest message of any of its clients, in bytes.
    pub max_payload: Option<usize>,
}

/// Which way messages cross.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Crossing {
    /// From the exporter to the importer.
    Stream,
    /// From the importer to the exporter, and answers back.
    Service,
}

/// A subject others may import.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Which way it goes.
    pub kind: Crossing,
    /// The subject in the exporter's space; may have wildcards.
    pub subject: String,
    /// Who may import it; everybody when absent. Their names, or public keys with JWTs.
    #[serde(default)]
    pub accounts: Option<Vec<String>>,
    /// Importers need an activation token signed by the exporter (JWTs only).
    #[serde(default)]
    pub token_required: bool,
    /// The token of the subject, from 1, that must be the importer's name; 0 means none.
    #[serde(default)]
    pub account_token_position: usize,
    /// How many answers a request may get (services).
    #[serde(default)]
    pub response: ResponseType,
    /// How long an answer may take (services). Default 2 min.
    #[serde(default, deserialize_with = "units::optional_duration")]
    pub response_threshold: Option<Duration>,
    /// Publishes how long answers took (services).
    #[serde(default)]
    pub latency: Option<Latency>,
    /// Lets traces of messages cross.
    #[serde(default)]
    pub allow_trace: bool,
}

/// How many answers a request gets.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ResponseType {
    /// One.
    #[default]
    Singleton,
    /// Any number, for as long as they come.
    Stream,
    /// Parts of one answer, ended by an empty one.
    Chunked,
}

/// Samples of how long a service took.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Which requests are sampled.
    pub sampling: Sampling,
    /// Where in the exporter's space the samples go.
    pub subject: String,
}

/// Which requests are measured.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// Those whose headers ask for it (`Nats-Trace-…`, `traceparent`, `X-B3-Sampled`, `Uber-Trace-Id`).
    Headers,
    /// So many of a hundred.
    Percent(u8),
}

/// A subject taken from another account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Which way it goes.
    pub kind: Crossing,
    /// The exporter's name.
    pub account: String,
    /// The subject in the exporter's space; covered by an export.
    pub subject: String,
    /// The subject in the importer's space, with `$1` for the wildcards of `subject`; the same when absent.
    #[serde(default)]
    pub to: Option<String>,
    /// What is put before the subject in the importer's space (streams).
    #[serde(default)]
    pub prefix: Option<String>,
    /// Tells the exporter who asks (services).
    #[serde(default)]
    pub share: bool,
    /// Lets traces of messages cross (streams).
    #[serde(default)]
    pub allow_trace: bool,
    /// The exporter's consent, for exports that need one (JWTs only).
    #[serde(default)]
    pub token: Option<String>,
}

/// Renames what is published on a subject, as a whole or by shares.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// What it is about; may have wildcards.
    pub subject: String,
    /// Where it goes. Whatever is missing from 100 percent stays where it is, unless `subject` is among them.
    pub destinations: Vec<Destination>,
}

/// One of the ways a mapping takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// The new subject; `$1`, `{{wildcard(1)}}`, `{{partition(10,1,2)}}` and the like are understood.
    pub subject: String,
    /// Its share in percent.
    #[serde(default = "whole")]
    pub weight: u8,
    /// Only on servers of this cluster.
    #[serde(default)]
    pub cluster: Option<String>,
}

/// Where traces of an account's messages go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageTrace {
    /// The subject.
    pub destination: String,
    /// How many of a hundred.
    #[serde(default = "whole")]
    pub sampling: u8,
}

/// Trust by signature: operators vouch for accounts, accounts for users.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Operator {
    /// The operators' JWTs.
    pub jwts: Vec<String>,
    /// Public operator nkeys (`O…`), where there is no JWT.
    pub trusted_keys: Vec<String>,
    /// The accounts' JWTs, by public key (`A…`).
    pub preload: BTreeMap<String, String>,
    /// Where else accounts are found.
    pub resolver: Resolver,
}

/// Where the JWT of an account comes from.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Resolver {
    /// What was preloaded is all there is.
    #[default]
    Memory,
    /// Files `<public key>.jwt` in a folder, read at the start and at each reload.
    Directory(PathBuf),
}

fn whole() -> u8 {
    100
}
