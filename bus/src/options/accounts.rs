//! `accounts { … }` and `mappings { … }`: subject spaces and what crosses between them.

use crate::conf::{ConfError, Entry, Kind, Map, Value};
use crate::config::accounts::{
    Account, AccountLimits, Crossing, Destination, Export, Import, Latency, Mapping, MessageTrace,
    ResponseType, Sampling,
};
use crate::jwt;
use crate::subject;

use super::auth;
use super::read::Field;

const ACCOUNT: [&str; 9] = [
    "users",
    "exports",
    "imports",
    "limits",
    "default_permissions",
    "mappings",
    "nkey",
    "jetstream",
    "msg_trace",
];

/// Reads the section: a map of accounts, or a list of their names.
pub(super) fn read(field: Field<'_>, ignored: &mut Vec<String>) -> Result<Vec<Account>, ConfError> {
    if matches!(field.value().kind, Kind::Array(_)) {
        let named = |name| Account {
            name,
            ..Account::default()
        };
        return Ok(field.texts()?.into_iter().map(named).collect());
    }
    // What variables stand for may be written here, too.
    let entries = field.map()?.entries().iter().filter(|entry| !entry.used);
    entries.map(|entry| account(entry, ignored)).collect()
}

fn account(entry: &Entry, ignored: &mut Vec<String>) -> Result<Account, ConfError> {
    let mut account = Account {
        name: entry.key.clone(),
        ..Account::default()
    };
    for entry in Field(entry).map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "users" => {
                for map in field.maps()? {
                    account.users.push(auth::user(field, map)?);
                }
            }
            "exports" => account.exports = list(field, export)?,
            "imports" => account.imports = list(field, import)?,
            "mappings" | "maps" => account.mappings = mappings(field)?,
            "default_permissions" => account.default_permissions = Some(auth::permissions(field)?),
            "limits" => account.limits = limits(field)?,
            "msg_trace" | "trace_dest" => account.trace = Some(trace(field)?),
            // A key of its own has no use without JWTs.
            "nkey" => {
                if !jwt::is_account_key(&field.text()?) {
                    return Err(field.wrong("Not a valid public nkey for an account"));
                }
            }
            "jetstream" | "cluster_traffic" => ignored.push(entry.key.clone()),
            _ => field.unknown(&ACCOUNT)?,
        }
    }
    Ok(account)
}

fn list<T>(
    field: Field<'_>,
    read: impl Fn(Field<'_>, &Map) -> Result<T, ConfError>,
) -> Result<Vec<T>, ConfError> {
    field
        .maps()?
        .into_iter()
        .map(|map| read(field, map))
        .collect()
}

fn limits(field: Field<'_>) -> Result<AccountLimits, ConfError> {
    let mut limits = AccountLimits::default();
    for entry in field.map()?.entries() {
        let field = Field(entry);
        let count =
            || -> Result<Option<u32>, ConfError> { Ok(u32::try_from(field.integer()?).ok()) };
        match entry.key.to_ascii_lowercase().as_str() {
            "max_connections" | "max_conn" => limits.max_connections = count()?,
            "max_subscriptions" | "max_subs" => limits.max_subscriptions = count()?,
            "max_payload" | "max_pay" => {
                let unlimited = matches!(field.value().kind, Kind::Integer(..0));
                limits.max_payload = if unlimited { None } else { Some(field.size()?) };
            }
            "max_leafnodes" | "max_leafs" => {
                field.integer()?;
            }
            _ => field.unknown(&["max_connections", "max_subscriptions", "max_payload"])?,
        }
    }
    Ok(limits)
}

fn trace(field: Field<'_>) -> Result<MessageTrace, ConfError> {
    let mut trace = MessageTrace {
        destination: String::new(),
        sampling: 100,
    };
    if matches!(field.value().kind, Kind::Text(_)) {
        trace.destination = destination_of_traces(field)?;
        return Ok(trace);
    }
    for entry in field.map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "dest" => trace.destination = destination_of_traces(field)?,
            "sampling" => trace.sampling = percent(field)?,
            _ => field.unknown(&["dest", "sampling"])?,
        }
    }
    Ok(trace)
}

fn destination_of_traces(field: Field<'_>) -> Result<String, ConfError> {
    let subject = field.text()?;
    if !subject::is_literal(subject.as_bytes()) {
        return Err(field.wrong(format!("Trace destination {subject:?} is not valid")));
    }
    Ok(subject)
}

fn export(whole: Field<'_>, map: &Map) -> Result<Export, ConfError> {
    let mut kind = None;
    let mut export = Export {
        kind: Crossing::Stream,
        subject: String::new(),
        accounts: None,
        token_required: false,
        account_token_position: 0,
        response: ResponseType::default(),
        response_threshold: None,
        latency: None,
        allow_trace: false,
    };
    for entry in map.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "stream" => {
                (kind, export.subject) = (one(kind, field, Crossing::Stream)?, field.text()?)
            }
            "service" => {
                (kind, export.subject) = (one(kind, field, Crossing::Service)?, field.text()?)
            }
            "accounts" => export.accounts = Some(field.texts()?).filter(|names| !names.is_empty()),
            "response" | "response_type" => {
                export.response = match field.text()?.to_ascii_lowercase().as_str() {
                    "single" | "singleton" => ResponseType::Singleton,
                    "stream" => ResponseType::Stream,
                    "chunk" | "chunked" => ResponseType::Chunked,
                    _ => return Err(field.wrong("is none of singleton, stream and chunked")),
                };
            }
            "threshold" | "response_threshold" | "response_max_time" | "response_time" => {
                export.response_threshold = Some(field.duration()?);
            }
            "latency" => export.latency = Some(latency(field)?),
            "account_token_position" => export.account_token_position = field.count()?,
            "allow_trace" => export.allow_trace = field.boolean()?,
            _ => field.unknown(&[
                "stream",
                "service",
                "accounts",
                "response_type",
                "response_threshold",
                "latency",
                "account_token_position",
                "allow_trace",
            ])?,
        }
    }
    export.kind = kind.ok_or_else(|| whole.wrong("each needs a stream or a service"))?;
    let of_services = ["response", "response_type", "allow_trace"];
    match misplaced(map, &of_services) {
        Some(field) if export.kind == Crossing::Stream => {
            Err(field.wrong("is for exports of services only"))
        }
        _ => Ok(export),
    }
}

/// The first of these settings that is there.
fn misplaced<'a>(map: &'a Map, names: &[&str]) -> Option<Field<'a>> {
    let mut entries = map.entries().iter();
    let is_one = |entry: &&Entry| names.contains(&entry.key.to_ascii_lowercase().as_str());
    entries.find(is_one).map(Field)
}

/// An export or import is of one kind.
fn one(
    before: Option<Crossing>,
    field: Field<'_>,
    kind: Crossing,
) -> Result<Option<Crossing>, ConfError> {
    if before.is_some() {
        return Err(field.wrong("is beside another stream or service"));
    }
    Ok(Some(kind))
}

fn latency(field: Field<'_>) -> Result<Latency, ConfError> {
    let mut latency = Latency {
        sampling: Sampling::Percent(100),
        subject: String::new(),
    };
    if matches!(field.value().kind, Kind::Text(_)) {
        latency.subject = field.text()?;
        return Ok(latency);
    }
    for entry in field.map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "subject" => latency.subject = field.text()?,
            "sampling" => {
                let headers = matches!(&field.value().kind, Kind::Text(text) if text.eq_ignore_ascii_case("headers"));
                latency.sampling = if headers {
                    Sampling::Headers
                } else {
                    Sampling::Percent(percent(field)?)
                };
            }
            _ => field.unknown(&["subject", "sampling"])?,
        }
    }
    if latency.subject.is_empty() {
        return Err(field.wrong("needs a subject"));
    }
    Ok(latency)
}

/// `50`, or `50%`.
fn percent(field: Field<'_>) -> Result<u8, ConfError> {
    let text = field.number_text()?;
    let number = text.trim().trim_end_matches('%').trim().parse::<u8>();
    number
        .ok()
        .filter(|percent| (1..=100).contains(percent))
        .ok_or_else(|| field.wrong("is not between 1 and 100 percent"))
}

fn import(whole: Field<'_>, map: &Map) -> Result<Import, ConfError> {
    let mut kind = None;
    let mut import = Import {
        kind: Crossing::Stream,
        account: String::new(),
        subject: String::new(),
        to: None,
        prefix: None,
        share: false,
        allow_trace: false,
        token: None,
    };
    for entry in map.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "stream" => {
                kind = one(kind, field, Crossing::Stream)?;
                (import.account, import.subject) = source(field)?;
            }
            "service" => {
                kind = one(kind, field, Crossing::Service)?;
                (import.account, import.subject) = source(field)?;
            }
            "to" => import.to = Some(field.text()?),
            "prefix" => import.prefix = Some(field.text()?),
            "share" => import.share = field.boolean()?,
            "allow_trace" => import.allow_trace = field.boolean()?,
            _ => field.unknown(&["stream", "service", "to", "prefix", "share", "allow_trace"])?,
        }
    }
    import.kind = kind.ok_or_else(|| whole.wrong("each needs a stream or a service"))?;
    if import.to.is_some() && import.prefix.is_some() {
        return Err(whole.wrong("takes \"to\" or \"prefix\", not both"));
    }
    if import.kind == Crossing::Service && import.prefix.is_some() {
        return Err(whole.wrong("takes \"prefix\" for streams only"));
    }
    if import.kind == Crossing::Service
        && let Some(field) = misplaced(map, &["allow_trace"])
    {
        return Err(field.wrong("is for imports of streams only"));
    }
    Ok(import)
}

/// `{account: A, subject: s}`.
fn source(field: Field<'_>) -> Result<(String, String), ConfError> {
    let (mut account, mut subject) = (None, None);
    for entry in field.map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "account" => account = Some(field.text()?),
            "subject" => subject = Some(field.text()?),
            _ => field.unknown(&["account", "subject"])?,
        }
    }
    account
        .zip(subject)
        .ok_or_else(|| field.wrong("needs an account and a subject"))
}

/// `{ subject: destination }`, `{ subject: { destination, weight, cluster } }`, or a list of these.
pub(super) fn mappings(field: Field<'_>) -> Result<Vec<Mapping>, ConfError> {
    let entries = field.map()?.entries().iter();
    entries
        .map(|entry| {
            let field = Field(entry);
            let destinations = match &field.value().kind {
                Kind::Array(items) => items
                    .iter()
                    .map(|item| destination(field, item))
                    .collect::<Result<_, _>>()?,
                _ => vec![destination(field, field.value())?],
            };
            Ok(Mapping {
                subject: entry.key.clone(),
                destinations,
            })
        })
        .collect()
}

fn destination(field: Field<'_>, value: &Value) -> Result<Destination, ConfError> {
    let mut to = Destination {
        subject: String::new(),
        weight: 100,
        cluster: None,
    };
    match &value.kind {
        Kind::Text(text) => to.subject.clone_from(text),
        Kind::Map(map) => {
            for entry in map.entries() {
                let field = Field(entry);
                match entry.key.to_ascii_lowercase().as_str() {
                    "dest" | "destination" => to.subject = field.text()?,
                    "weight" => {
                        to.weight = match field
                            .number_text()?
                            .trim()
                            .trim_end_matches('%')
                            .trim()
                            .parse()
                        {
                            Ok(weight @ 0..=100) => weight,
                            _ => return Err(field.wrong("is not between 0 and 100 percent")),
                        };
                    }
                    "cluster" => to.cluster = Some(field.text()?),
                    _ => field.unknown(&["destination", "weight", "cluster"])?,
                }
            }
        }
        _ => return Err(field.kind("a destination, or a list of them")),
    }
    if to.subject.is_empty() {
        return Err(field.wrong("needs a destination"));
    }
    Ok(to)
}
