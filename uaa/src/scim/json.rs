//! Users and groups as SCIM writes and reads them.

use chrono::{NaiveDateTime, SecondsFormat};
use serde::Deserialize;
use serde_json::{Value, json};

use super::listing::SCHEMA;
use crate::model::group::Group;
use crate::model::user::{INTERNAL, User};

/// Longest name, email and the like.
const MAX_TEXT: usize = 255;

/// A user to be made or changed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserBody {
    #[serde(default)]
    pub(crate) user_name: String,
    pub(crate) password: Option<secrecy::SecretString>,
    pub(crate) origin: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) name: Option<NameBody>,
    #[serde(default)]
    pub(crate) emails: Vec<EmailBody>,
    pub(crate) active: Option<bool>,
    pub(crate) verified: Option<bool>,
}

/// First and family name.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NameBody {
    given_name: Option<String>,
    family_name: Option<String>,
}

/// An email address.
#[derive(Debug, Deserialize)]
pub(crate) struct EmailBody {
    value: String,
}

/// A group to be made or changed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupBody {
    pub(crate) display_name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) members: Option<Vec<MemberBody>>,
}

/// A member of a group.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct MemberBody {
    pub(crate) value: String,
    #[serde(rename = "type", default)]
    pub(crate) kind: Option<String>,
}

// === impl UserBody ===

impl UserBody {
    /// Puts the body's attributes on `user`, or says what is wrong with them.
    pub(crate) fn apply(&self, user: &mut User) -> Result<(), String> {
        let name = self.user_name.trim();
        let origin = self
            .origin
            .as_deref()
            .filter(|o| !o.is_empty())
            .unwrap_or(INTERNAL);
        check_user_name(name, origin)?;
        let [email] = self.emails.as_slice() else {
            return Err("Exactly one email must be provided.".to_owned());
        };
        if !email.value.contains('@') && email.value != name {
            return Err("The email is not an address.".to_owned());
        }
        let empty = NameBody::default();
        let full_name = self.name.as_ref().unwrap_or(&empty);
        origin.clone_into(&mut user.origin);
        name.clone_into(&mut user.user_name);
        user.user_key = crate::model::user::key(name);
        user.email.clone_from(&email.value);
        user.given_name = full_name.given_name.clone().unwrap_or_default();
        user.family_name = full_name.family_name.clone().unwrap_or_default();
        user.external_id = self.external_id.clone().unwrap_or_default();
        user.active = self.active.unwrap_or(true);
        user.verified = self.verified.unwrap_or(origin == INTERNAL);
        let texts = [
            &user.origin,
            &user.user_name,
            &user.email,
            &user.given_name,
            &user.family_name,
            &user.external_id,
        ];
        match texts.iter().any(|text| text.chars().count() > MAX_TEXT) {
            true => Err(format!(
                "No attribute may have more than {MAX_TEXT} characters."
            )),
            false => Ok(()),
        }
    }
}

fn check_user_name(name: &str, origin: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("A username must be provided.".to_owned());
    }
    let allowed = |c: char| c.is_alphanumeric() || "+-_.@'!".contains(c);
    if origin == INTERNAL && !name.chars().all(allowed) {
        return Err("Username must match pattern: [\\p{L}+0-9+\\-_.@'!]+".to_owned());
    }
    if name.chars().any(char::is_control) {
        return Err("A username may not hold control characters.".to_owned());
    }
    Ok(())
}

/// A user on the wire; `groups` are names with ids, the implied ones without.
pub(crate) fn user(user: &User, groups: &[(String, String)], implied: &[String]) -> Value {
    let member = |name: &str, id: &str| json!({"value": id, "display": name, "type": "DIRECT"});
    let mut all: Vec<Value> = groups.iter().map(|(name, id)| member(name, id)).collect();
    let missing = |name: &&String| !groups.iter().any(|(known, _)| known == *name);
    all.extend(
        implied
            .iter()
            .filter(missing)
            .map(|name| member(name, name)),
    );
    json!({
        "id": user.id,
        "externalId": user.external_id,
        "meta": meta(user.version, user.created_at, user.updated_at),
        "userName": user.user_name,
        "name": {"familyName": user.family_name, "givenName": user.given_name},
        "emails": [{"value": user.email, "primary": true}],
        "groups": all,
        "approvals": [],
        "phoneNumbers": [],
        "active": user.active,
        "verified": user.verified,
        "origin": user.origin,
        "zoneId": "uaa",
        "passwordLastModified": time(user.password_changed_at),
        "lastLogonTime": user.last_logon_at.map(millis),
        "previousLogonTime": user.previous_logon_at.map(millis),
        "schemas": [SCHEMA],
    })
}

/// A group on the wire.
pub(crate) fn group(group: &Group, members: &[String]) -> Value {
    let member = |id: &String| json!({"value": id, "type": "USER", "origin": INTERNAL});
    json!({
        "id": group.id,
        "displayName": group.name,
        "description": group.description,
        "members": members.iter().map(member).collect::<Vec<_>>(),
        "meta": meta(group.version, group.created_at, group.updated_at),
        "zoneId": "uaa",
        "schemas": [SCHEMA],
    })
}

/// Only the attributes that were asked for; `schemas` stays.
pub(crate) fn only(resource: Value, attributes: Option<&[String]>) -> Value {
    let (Some(wanted), Value::Object(mut all)) = (attributes, resource.clone()) else {
        return resource;
    };
    let first_part = |name: &String| name.split('.').next().unwrap_or_default().to_lowercase();
    let wanted: Vec<String> = wanted.iter().map(first_part).collect();
    all.retain(|key, _| key == "schemas" || wanted.contains(&key.to_lowercase()));
    Value::Object(all)
}

fn meta(version: i32, created: NaiveDateTime, updated: NaiveDateTime) -> Value {
    json!({"version": version, "created": time(created), "lastModified": time(updated)})
}

/// A time as SCIM writes it: UTC with milliseconds.
pub(crate) fn time(time: NaiveDateTime) -> String {
    time.and_utc().to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn millis(time: NaiveDateTime) -> i64 {
    time.and_utc().timestamp_millis()
}
