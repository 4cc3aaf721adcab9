//! The audit trail.

use chrono::NaiveDateTime;
use cupola_db::{Conn, Json, now, sql};
use cupola_types::EventGuid;
use diesel::prelude::*;
use serde_json::Value;

use super::listing::{Column, Listing};
use super::table_basics;
use crate::schema::events;

/// A row of `events`.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = events)]
pub(crate) struct Event {
    pub(crate) id: i64,
    pub(crate) guid: String,
    pub(crate) kind: String,
    pub(crate) actor: String,
    pub(crate) actor_type: String,
    pub(crate) actor_name: String,
    pub(crate) actee: String,
    pub(crate) actee_type: String,
    pub(crate) actee_name: String,
    pub(crate) metadata: Json<Value>,
    pub(crate) space_guid: String,
    pub(crate) org_guid: String,
    pub(crate) created_at: NaiveDateTime,
}

/// Who did something.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) guid: String,
    pub(crate) kind: &'static str,
    pub(crate) name: String,
}

/// What it was done to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Actee<'a> {
    pub(crate) guid: &'a str,
    pub(crate) kind: &'static str,
    pub(crate) name: &'a str,
    pub(crate) space_guid: &'a str,
    pub(crate) org_guid: &'a str,
}

#[derive(Insertable)]
#[diesel(table_name = events)]
struct NewEvent<'a> {
    guid: String,
    kind: &'a str,
    actor: &'a str,
    actor_type: &'a str,
    actor_name: &'a str,
    actee: &'a str,
    actee_type: &'a str,
    actee_name: &'a str,
    metadata: Json<&'a Value>,
    space_guid: &'a str,
    org_guid: &'a str,
    created_at: NaiveDateTime,
}

pub(crate) static LISTING: Listing = Listing {
    table: "events",
    filters: &[
        ("timestamp", Column::Time("{created_at}")),
        ("type", Column::Text("{kind}")),
        ("actee", Column::Text("{actee}")),
        ("space_guid", Column::Text("{space_guid}")),
        ("organization_guid", Column::Text("{org_guid}")),
    ],
    // `timestamp` is the public name; events are only ever added, so their ids are in its order.
    sortable: &["id", "timestamp"],
};

table_basics!(events, Event);

/// Writes down that something happened.
pub(crate) fn record(
    c: &mut Conn,
    kind: &str,
    who: &Who,
    actee: Actee<'_>,
    metadata: &Value,
) -> QueryResult<()> {
    let new = NewEvent {
        guid: EventGuid::generate().into_string(),
        kind,
        actor: &who.guid,
        actor_type: who.kind,
        actor_name: &who.name,
        actee: actee.guid,
        actee_type: actee.kind,
        actee_name: actee.name,
        metadata: Json(metadata),
        space_guid: actee.space_guid,
        org_guid: actee.org_guid,
        created_at: now(),
    };
    sql!(c, c => diesel::insert_into(events::table).values(&new).execute(c))?;
    Ok(())
}

/// Forgets what is older than `before`.
pub(crate) fn prune(c: &mut Conn, before: NaiveDateTime) -> QueryResult<usize> {
    sql!(c, c => diesel::delete(events::table.filter(events::created_at.lt(before))).execute(c))
}
