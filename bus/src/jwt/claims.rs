//! What tokens contain. Unknown members are ignored, absent and null ones are empty.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::key::KeyKind;
use super::token::Kind;

/// What an operator says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OperatorClaims {
    #[serde(deserialize_with = "nullable")]
    pub signing_keys: Vec<String>,
    pub system_account: String,
    /// Its own key must not sign accounts.
    pub strict_signing_key_usage: bool,
}

/// What an account is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AccountClaims {
    #[serde(deserialize_with = "nullable")]
    pub imports: Vec<ImportClaim>,
    #[serde(deserialize_with = "nullable")]
    pub exports: Vec<ExportClaim>,
    #[serde(deserialize_with = "nullable")]
    pub limits: LimitsClaim,
    #[serde(deserialize_with = "nullable")]
    pub signing_keys: Vec<SigningKey>,
    #[serde(deserialize_with = "nullable")]
    pub revocations: BTreeMap<String, i64>,
    #[serde(deserialize_with = "nullable")]
    pub default_permissions: PermissionsClaim,
    #[serde(deserialize_with = "nullable")]
    pub mappings: BTreeMap<String, Vec<WeightedClaim>>,
    #[serde(deserialize_with = "nullable")]
    pub tags: Vec<String>,
    pub trace: Option<TraceClaim>,
}

/// How much an account may use; -1 is without limit.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LimitsClaim {
    pub subs: i64,
    pub payload: i64,
    pub imports: i64,
    pub exports: i64,
    pub wildcards: bool,
    pub disallow_bearer: bool,
    pub conn: i64,
}

/// A key that signs users in an account's stead.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum SigningKey {
    /// Any users.
    Plain(String),
    /// Users that are all alike.
    Scoped(Box<Scope>),
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Scope {
    pub key: String,
    #[serde(default)]
    pub template: UserClaims,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ImportClaim {
    pub subject: String,
    pub account: String,
    pub token: String,
    pub to: String,
    pub local_subject: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub share: bool,
    pub allow_trace: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ExportClaim {
    pub subject: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub token_req: bool,
    #[serde(deserialize_with = "nullable")]
    pub revocations: BTreeMap<String, i64>,
    pub response_type: String,
    /// In nanoseconds.
    pub response_threshold: i64,
    pub service_latency: Option<LatencyClaim>,
    pub account_token_position: usize,
    pub allow_trace: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LatencyClaim {
    /// `"headers"`, or a percentage.
    pub sampling: serde_json::Value,
    pub results: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WeightedClaim {
    pub subject: String,
    pub weight: u8,
    pub cluster: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TraceClaim {
    pub dest: String,
    pub sampling: u8,
}

/// What a user is; also what all users of a scoped key are.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(super) struct UserClaims {
    #[serde(flatten)]
    pub permissions: PermissionsClaim,
    /// Networks it may come from, as a list or separated by commas.
    #[serde(deserialize_with = "networks")]
    pub src: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub times: Vec<TimeRange>,
    pub times_location: String,
    pub subs: i64,
    pub data: i64,
    pub payload: i64,
    pub bearer_token: bool,
    pub proxy_required: bool,
    #[serde(deserialize_with = "nullable")]
    pub allowed_connection_types: Vec<String>,
    pub issuer_account: String,
    #[serde(deserialize_with = "nullable")]
    pub tags: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(super) struct PermissionsClaim {
    #[serde(rename = "pub", deserialize_with = "nullable")]
    pub publish: RulesClaim,
    #[serde(rename = "sub", deserialize_with = "nullable")]
    pub subscribe: RulesClaim,
    pub resp: Option<ResponsesClaim>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(super) struct RulesClaim {
    #[serde(deserialize_with = "nullable")]
    pub allow: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub deny: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(super) struct ResponsesClaim {
    pub max: i64,
    /// In nanoseconds.
    pub ttl: i64,
}

/// A part of each day, as `hh:mm:ss`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(super) struct TimeRange {
    pub start: String,
    pub end: String,
}

/// An exporter's consent to one importer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ActivationClaims {
    pub subject: String,
    pub kind: String,
    pub issuer_account: String,
}

impl Kind for OperatorClaims {
    const TYPE: &'static str = "operator";
    const ISSUERS: &'static [KeyKind] = &[KeyKind::Operator];
    const SUBJECT: KeyKind = KeyKind::Operator;
}

impl Kind for AccountClaims {
    const TYPE: &'static str = "account";
    const ISSUERS: &'static [KeyKind] = &[KeyKind::Account, KeyKind::Operator];
    const SUBJECT: KeyKind = KeyKind::Account;
}

impl Kind for UserClaims {
    const TYPE: &'static str = "user";
    const ISSUERS: &'static [KeyKind] = &[KeyKind::Account];
    const SUBJECT: KeyKind = KeyKind::User;
}

impl Kind for ActivationClaims {
    const TYPE: &'static str = "activation";
    const ISSUERS: &'static [KeyKind] = &[KeyKind::Account, KeyKind::Operator];
    const SUBJECT: KeyKind = KeyKind::Account;
}

fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Option::deserialize(from)? {
        None => Vec::new(),
        Some(Either::List(list)) => list,
        Some(Either::Text(text)) => text
            .split(',')
            .map(|network| network.trim().to_owned())
            .filter(|network| !network.is_empty())
            .collect(),
    })
}
