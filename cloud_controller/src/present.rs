//! Rows as clients read them: the entity of each kind, with related resources expanded in place.

mod app;
mod domain;
mod org;
mod plain;
mod route;
mod space;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use chrono::{NaiveDateTime, SecondsFormat};
use cupola_db::Conn;
use serde_json::{Map, Value, json};

use crate::access::SpaceRight;
use crate::actor::Actor;
use crate::error::Fail;
use crate::model::listing::{Listing, Where};
use crate::sealed::Sealer;

pub(crate) use app::{app, app_entity};
pub(crate) use domain::{domain, domain_url, private_domain, shared_domain};
pub(crate) use org::org;
pub(crate) use plain::{buildpack, event, job, member, quota, stack, user};
pub(crate) use route::{mapping, route};
pub(crate) use space::space;

/// A to-many relation with more members stays a url.
const MOST_INLINED: usize = 50;
/// Resources that one answer expands in place altogether; beyond it relations stay urls. Enough
/// for a full page with its direct relations, and a bound on what deeper nesting may cost.
const EXPANSION_BUDGET: u32 = 3_000;

/// Stands for secrets that the reader may not see.
pub(crate) const REDACTED: &str = "[PRIVATE DATA HIDDEN]";
/// The same in lists.
pub(crate) const REDACTED_IN_LIST: &str = "[PRIVATE DATA HIDDEN IN LISTS]";

/// For whom and how an answer is written.
pub(crate) struct View<'a> {
    pub(crate) actor: &'a Actor,
    pub(crate) sealer: &'a Sealer,
    /// What takes the place of a secret.
    pub(crate) redacted: &'static str,
    budget: Cell<u32>,
    secrets_of: RefCell<HashMap<String, bool>>,
}

// === impl View ===

impl<'a> View<'a> {
    /// One resource for `actor`.
    pub(crate) fn one(actor: &'a Actor, sealer: &'a Sealer) -> Self {
        Self {
            actor,
            sealer,
            redacted: REDACTED,
            budget: Cell::new(EXPANSION_BUDGET),
            secrets_of: RefCell::default(),
        }
    }

    /// A page for `actor`.
    pub(crate) fn list(actor: &'a Actor, sealer: &'a Sealer) -> Self {
        Self {
            redacted: REDACTED_IN_LIST,
            ..Self::one(actor, sealer)
        }
    }

    /// Whether the reader sees secrets of what lies in a space.
    fn sees_secrets(&self, c: &mut Conn, space_guid: &str) -> Result<bool, Fail> {
        if let Some(known) = self.secrets_of.borrow().get(space_guid) {
            return Ok(*known);
        }
        let sees = match crate::model::space::find(c, space_guid)? {
            Some(space) => self
                .actor
                .may_in_space(c, SpaceRight::ReadSecrets, &space)?,
            None => false,
        };
        self.secrets_of
            .borrow_mut()
            .insert(space_guid.to_owned(), sees);
        Ok(sees)
    }

    /// Takes `count` out of the budget, if there is so much.
    fn spend(&self, count: usize) -> bool {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        match self.budget.get().checked_sub(count) {
            Some(rest) => {
                self.budget.set(rest);
                true
            }
            None => false,
        }
    }
}

/// Metadata and entity together.
fn resource(
    url: String,
    guid: &str,
    created_at: NaiveDateTime,
    updated_at: Option<NaiveDateTime>,
    entity: Map<String, Value>,
) -> Value {
    json!({
        "metadata": {
            "guid": guid,
            "url": url,
            "created_at": time(created_at),
            "updated_at": updated_at.map(time),
        },
        "entity": entity,
    })
}

/// A stored time as the API writes it.
pub(crate) fn time(at: NaiveDateTime) -> String {
    at.and_utc().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The object inside `json!({..})`.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Expands a to-many relation: loads the rows of `seen` and writes each with `present`.
fn expand<R>(
    c: &mut Conn,
    view: &View<'_>,
    listing: &Listing,
    seen: &Where,
    load: impl FnOnce(&mut Conn, &[i64]) -> diesel::QueryResult<Vec<R>>,
    mut present: impl FnMut(&mut Conn, &R) -> Result<Value, Fail>,
) -> Result<Option<Value>, Fail> {
    let ids = listing.all(c, seen, MOST_INLINED as i64 + 1)?;
    if ids.len() > MOST_INLINED || !view.spend(ids.len()) {
        return Ok(None);
    }
    let rows = load(c, &ids)?;
    let written = rows
        .iter()
        .map(|row| present(c, row))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Value::Array(written)))
}
