//! Permissions of scoped users: subjects with `{{name()}}`, `{{tag(team)}}` and the like in them.

use super::account::AccountToken;
use super::claims::{PermissionsClaim, UserClaims};
use super::token::Token;
use crate::subject;

/// Subjects one template may become, as tags multiply.
const MOST: usize = 4096;

/// Fills in the templates of a scope for one user; `None` when one cannot be.
pub(super) fn fill(
    template: &UserClaims,
    user: &Token<UserClaims>,
    account: &AccountToken,
) -> Option<UserClaims> {
    let mut filled = template.clone();
    let PermissionsClaim {
        publish, subscribe, ..
    } = &mut filled.permissions;
    for rules in [publish, subscribe] {
        let restricted = !rules.allow.is_empty();
        rules.allow = expand_all(&rules.allow, user, account, false)?;
        rules.deny = expand_all(&rules.deny, user, account, true)?;
        if restricted && rules.allow.is_empty() {
            // An empty list would allow all.
            rules.deny.push(">".to_owned());
        }
    }
    Some(filled)
}

/// Subjects that come out invalid are left out, or are an error where leaving one out would allow more.
fn expand_all(
    list: &[String],
    user: &Token<UserClaims>,
    account: &AccountToken,
    strict: bool,
) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for text in list {
        if !text.contains("{{") {
            all.push(text.clone());
            continue;
        }
        for subject in expand(text, user, account)? {
            if subject::is_valid(subject.as_bytes()) {
                all.push(subject);
            } else if strict {
                return None;
            }
        }
        if all.len() > MOST {
            return None;
        }
    }
    Some(all)
}

/// All texts one template stands for: none when a tag has no value.
fn expand(text: &str, user: &Token<UserClaims>, account: &AccountToken) -> Option<Vec<String>> {
    let mut made = vec![String::new()];
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (call, after) = after.split_once("}}")?;
        let values = values(call.trim(), user, account)?;
        if made.len().saturating_mul(values.len()) > MOST {
            return None;
        }
        made = made
            .iter()
            .flat_map(|made| {
                values
                    .iter()
                    .map(move |value| format!("{made}{before}{value}"))
            })
            .collect();
        rest = after;
    }
    for made in &mut made {
        made.push_str(rest);
    }
    Some(made)
}

/// What a function stands for; `None` when there is no such function.
fn values(call: &str, user: &Token<UserClaims>, account: &AccountToken) -> Option<Vec<String>> {
    let (name, argument) = call.strip_suffix(')')?.split_once('(')?;
    let one = |text: &str| Some(vec![text.to_owned()]);
    match (name.to_ascii_lowercase().as_str(), argument) {
        ("name", "") => one(&user.name),
        ("subject", "") => one(&user.subject),
        ("account-name", "") => one(account.name()),
        ("account-subject", "") => one(account.key()),
        ("tag", tag) => Some(tagged(&user.claims.tags, tag)),
        ("account-tag", tag) => Some(tagged(account.tags(), tag)),
        _ => None,
    }
}

/// The values of `name:value` tags. An invalid one when there is none, so that the subject is as well.
fn tagged(tags: &[String], name: &str) -> Vec<String> {
    let prefix = format!("{}:", name.to_ascii_lowercase());
    let values: Vec<String> = tags
        .iter()
        .filter_map(|tag| tag.strip_prefix(&prefix))
        .map(str::to_owned)
        .collect();
    if values.is_empty() {
        vec![String::new()]
    } else {
        values
    }
}
