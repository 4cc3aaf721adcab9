//! `authorization { … }`: users and what they may do.

use std::time::Duration;

use crate::conf::{ConfError, Kind, Map};
use crate::config::{AllowResponses, Config, Limits, Permissions, SubjectRules, User};
use crate::subject;

use super::read::Field;

/// All ways to come that nats-server knows.
const CONNECTION_TYPES: [&str; 7] = [
    "STANDARD",
    "WEBSOCKET",
    "LEAFNODE",
    "LEAFNODE_WS",
    "MQTT",
    "MQTT_WS",
    "IN_PROCESS",
];
const KNOWN: [&str; 6] = [
    "user",
    "password",
    "token",
    "timeout",
    "users",
    "default_permissions",
];

/// Reads the section into the configuration; says whether it lists users.
pub(super) fn read(config: &mut Config, section: Field<'_>) -> Result<bool, ConfError> {
    let mut single = User::default();
    let mut listed = false;
    for entry in section.map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "user" | "username" => single.user = Some(field.text()?),
            "pass" | "password" => single.password = Some(field.text()?.into()),
            "token" => config.authorization.token = Some(field.text()?.into()),
            "timeout" => {
                config.limits.auth_timeout = field.duration_or(Limits::default().auth_timeout)?;
            }
            "users" => {
                listed = true;
                for map in field.maps()? {
                    config.authorization.users.push(user(field, map)?);
                }
            }
            "default_permissions" | "default_permission" | "permissions" => {
                config.authorization.default_permissions = Some(permissions(field)?);
            }
            "auth_callout" | "auth_hook" => return field.unsupported(),
            "proxy_required" => field.unsupported_if_true()?,
            _ => field.unknown(&KNOWN)?,
        }
    }
    let token = config.authorization.token.is_some();
    let lists_users = !config.authorization.users.is_empty();
    if single.user.is_some() || single.password.is_some() {
        if token {
            return Err(section.wrong("Cannot have a user/pass and token"));
        }
        if listed {
            return Err(section.wrong("Can not have a single user/pass and a users array"));
        }
        if single.user.is_none() {
            // nats-server lets everybody in then, which nobody who writes a password can want.
            return Err(section.wrong("a password needs a user"));
        }
        single.password.get_or_insert_default();
        config.authorization.users.push(single);
    } else if token && listed {
        return Err(section.wrong("Can not have a token and a users array"));
    }
    if !listed {
        // In these files they are for those in the list and nobody else.
        config.authorization.default_permissions = None;
    }
    Ok(lists_users)
}

/// A single user or token is the only one: accounts with users beside it contradict it.
pub(super) fn alone(map: &Map, config: &Config) -> Result<(), ConfError> {
    let users = config.accounts.iter().any(|it| !it.users.is_empty());
    let section = map.get("authorization").map(|section| &section.kind);
    let (true, Some(Kind::Map(section))) = (users, section) else {
        return Ok(());
    };
    let says = |key: &str| section.get(key).is_some();
    let accounts = map.entries().iter().map(Field);
    let mut accounts = accounts.filter(|field| field.0.key.eq_ignore_ascii_case("accounts"));
    match accounts.next() {
        Some(field) if says("user") || says("username") => {
            Err(field.wrong("Can not have a single user/pass and accounts"))
        }
        Some(field) if says("token") => Err(field.wrong("Can not have a token and accounts")),
        _ => Ok(()),
    }
}

/// One of a list of users.
pub(super) fn user(list: Field<'_>, map: &Map) -> Result<User, ConfError> {
    let mut user = User::default();
    for entry in map.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "nkey" => user.nkey = Some(field.text()?),
            "user" | "username" => user.user = Some(field.text()?),
            "pass" | "password" => user.password = Some(field.text()?.into()),
            "permissions" | "permission" | "authorization" => {
                user.permissions = Some(permissions(field)?);
            }
            "allowed_connection_types" | "connection_types" | "clients" => {
                user.connection_types = Some(connection_types(field)?);
            }
            "proxy_required" => field.unsupported_if_true()?,
            _ => field.unknown(&[
                "nkey",
                "user",
                "password",
                "permissions",
                "allowed_connection_types",
            ])?,
        }
    }
    if user.nkey.is_none() && user.user.is_none() {
        return Err(list.wrong("each needs a user or an nkey"));
    }
    Ok(user)
}

/// Ways to come; that some of them are not served here does no harm.
fn connection_types(field: Field<'_>) -> Result<Vec<String>, ConfError> {
    let types = field.texts()?;
    match types
        .iter()
        .find(|known| !CONNECTION_TYPES.contains(&known.to_ascii_uppercase().as_str()))
    {
        Some(other) => Err(field.wrong(format!("invalid connection type {other:?}"))),
        None => Ok(types),
    }
}

pub(super) fn permissions(field: Field<'_>) -> Result<Permissions, ConfError> {
    let mut granted = Permissions::default();
    for entry in field.map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "pub" | "publish" | "import" => granted.publish = Some(rules(field, false)?),
            "sub" | "subscribe" | "export" => granted.subscribe = Some(rules(field, true)?),
            "allow_responses" | "publish_allow_responses" => {
                granted.allow_responses = responses(field)?
            }
            _ => field.unknown(&["publish", "subscribe", "allow_responses"])?,
        }
    }
    Ok(granted)
}

/// One subject, a list, or both kinds of lists; with names of queues or without.
fn rules(field: Field<'_>, queues: bool) -> Result<SubjectRules, ConfError> {
    let Kind::Map(map) = &field.value().kind else {
        return Ok(SubjectRules {
            allow: allowed(field, queues)?,
            deny: Vec::new(),
        });
    };
    let mut rules = SubjectRules::default();
    for entry in map.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "allow" => rules.allow = allowed(field, queues)?,
            "deny" => rules.deny = subjects(field, queues)?,
            _ => field.unknown(&["allow", "deny"])?,
        }
    }
    Ok(rules)
}

/// In these files an empty list of allowed subjects is as good as none: everything is allowed.
fn allowed(field: Field<'_>, queues: bool) -> Result<Option<Vec<String>>, ConfError> {
    let subjects = subjects(field, queues)?;
    Ok((!subjects.is_empty()).then_some(subjects))
}

fn subjects(field: Field<'_>, queues: bool) -> Result<Vec<String>, ConfError> {
    let subjects = field.texts()?;
    let is_valid = |text: &str| subject::is_valid(text.as_bytes());
    for text in &subjects {
        let mut words = text.split_whitespace();
        let valid = match (words.next(), words.next(), words.next()) {
            _ if is_valid(text) => true,
            (Some(subject), Some(queue), None) => queues && is_valid(subject) && is_valid(queue),
            _ => false,
        };
        if !valid {
            return Err(field.wrong(format!("subject {text:?} is not a valid subject")));
        }
    }
    Ok(subjects)
}

fn responses(field: Field<'_>) -> Result<Option<AllowResponses>, ConfError> {
    match &field.value().kind {
        Kind::Bool(false) => return Ok(None),
        Kind::Bool(true) => return Ok(Some(AllowResponses::default())),
        _ => {}
    }
    let mut allowed = AllowResponses::default();
    for entry in field.map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            // 0 means the default, less as often as it likes, which we write as 0.
            "max" | "max_msgs" | "max_messages" | "max_responses" => match field.integer()? {
                0 => {}
                max => allowed.max = u32::try_from(max.max(0)).unwrap_or(u32::MAX),
            },
            "expires" | "expiration" | "ttl" => {
                let default = AllowResponses::default().expires;
                allowed.expires = match &field.value().kind {
                    Kind::Text(text) if text.starts_with('-') => Duration::MAX,
                    _ => field.duration_or(default)?,
                };
            }
            _ => field.unknown(&["max", "expires"])?,
        }
    }
    Ok(Some(allowed))
}
