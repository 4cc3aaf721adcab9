//! `authorization { … }`: users and what they may do.

use crate::conf::{ConfError, Kind, Map};
use crate::config::{AllowResponses, Config, Permissions, SubjectRules, User};

use super::read::Field;

const KNOWN: [&str; 6] = [
    "user",
    "password",
    "token",
    "timeout",
    "users",
    "default_permissions",
];

/// Reads the section into the configuration.
pub(super) fn read(config: &mut Config, section: Field<'_>) -> Result<(), ConfError> {
    let mut single = User::default();
    let mut listed = false;
    for entry in section.map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "user" | "username" => single.user = Some(field.text()?),
            "pass" | "password" => single.password = Some(field.text()?.into()),
            "token" => config.authorization.token = Some(field.text()?.into()),
            "timeout" => config.limits.auth_timeout = field.duration()?,
            "users" => {
                listed = true;
                for map in field.maps()? {
                    config.authorization.users.push(user(map)?);
                }
            }
            "default_permissions" | "default_permission" | "permissions" => {
                config.authorization.default_permissions = Some(permissions(field)?);
            }
            "auth_callout" | "auth_hook" | "proxy_required" => return field.unsupported(),
            _ => field.unknown(&KNOWN)?,
        }
    }
    let token = config.authorization.token.is_some();
    if single.user.is_some() || single.password.is_some() {
        if token {
            return Err(section.wrong("Cannot have a user/pass and token"));
        }
        if listed {
            return Err(section.wrong("Can not have a single user/pass and a users array"));
        }
        config.authorization.users.push(single);
    } else if token && listed {
        return Err(section.wrong("Can not have a token and a users array"));
    }
    Ok(())
}

pub(super) fn user(map: &Map) -> Result<User, ConfError> {
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
                user.connection_types = Some(field.texts()?);
            }
            _ => field.unknown(&[
                "nkey",
                "user",
                "password",
                "permissions",
                "allowed_connection_types",
            ])?,
        }
    }
    Ok(user)
}

pub(super) fn permissions(field: Field<'_>) -> Result<Permissions, ConfError> {
    let mut granted = Permissions::default();
    for entry in field.map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "pub" | "publish" | "import" => granted.publish = Some(rules(field)?),
            "sub" | "subscribe" | "export" => granted.subscribe = Some(rules(field)?),
            "allow_responses" | "allow_response" => granted.allow_responses = responses(field)?,
            _ => field.unknown(&["publish", "subscribe", "allow_responses"])?,
        }
    }
    Ok(granted)
}

/// One subject, a list, or both kinds of lists.
fn rules(field: Field<'_>) -> Result<SubjectRules, ConfError> {
    let Kind::Map(map) = &field.value().kind else {
        return Ok(SubjectRules {
            allow: allowed(field)?,
            deny: Vec::new(),
        });
    };
    let mut rules = SubjectRules::default();
    for entry in map.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "allow" => rules.allow = allowed(field)?,
            "deny" => rules.deny = field.texts()?,
            _ => field.unknown(&["allow", "deny"])?,
        }
    }
    Ok(rules)
}

/// In these files an empty list of allowed subjects is as good as none: everything is allowed.
fn allowed(field: Field<'_>) -> Result<Option<Vec<String>>, ConfError> {
    let subjects = field.texts()?;
    Ok((!subjects.is_empty()).then_some(subjects))
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
            // Anything below 1 means as often as it likes, which we write as 0.
            "max" | "max_msgs" | "max_messages" | "max_responses" => {
                allowed.max = u32::try_from(field.integer()?.max(0)).unwrap_or(u32::MAX);
            }
            "expires" | "expiration" | "ttl" => allowed.expires = field.duration()?,
            _ => field.unknown(&["max", "expires"])?,
        }
    }
    Ok(Some(allowed))
}
