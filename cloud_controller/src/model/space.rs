//! Spaces.

use chrono::NaiveDateTime;
use cupola_db::{Conn, now, sql};
use diesel::prelude::*;

use super::listing::{Column, Listing};
use super::{insert_row, save_row, table_basics, table_delete};
use crate::schema::spaces;

/// A row of `spaces`.
#[derive(Debug, Clone, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = spaces, treat_none_as_null = true)]
pub(crate) struct Space {
    pub(crate) id: i64,
    pub(crate) guid: String,
    pub(crate) name: String,
    pub(crate) name_key: String,
    pub(crate) org_guid: String,
    pub(crate) allow_ssh: bool,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) updated_at: Option<NaiveDateTime>,
}

#[derive(Insertable)]
#[diesel(table_name = spaces)]
struct NewSpace<'a> {
    guid: &'a str,
    name: &'a str,
    name_key: String,
    org_guid: &'a str,
    allow_ssh: bool,
    created_at: NaiveDateTime,
}

pub(crate) static LISTING: Listing = Listing {
    table: "spaces",
    filters: &[
        ("name", Column::Folded("{name_key}")),
        ("organization_guid", Column::Text("{org_guid}")),
        (
            "developer_guid",
            Column::Text(
                "guid IN (SELECT space_guid FROM space_roles WHERE role = 'developer' AND ({user_guid}))",
            ),
        ),
        (
            "app_guid",
            Column::Text("guid IN (SELECT space_guid FROM apps AS a WHERE {a.guid})"),
        ),
    ],
    sortable: &["id", "name"],
};

table_basics!(spaces, Space);
table_delete!(spaces);

pub(crate) fn insert(c: &mut Conn, guid: &str, name: &str, org_guid: &str) -> QueryResult<Space> {
    let new = NewSpace {
        guid,
        name,
        name_key: name.to_lowercase(),
        org_guid,
        allow_ssh: true,
        created_at: now(),
    };
    insert_row!(c, spaces, Space, &new)
}

pub(crate) fn save(c: &mut Conn, space: &Space) -> QueryResult<Space> {
    save_row!(c, spaces, Space, space)
}

pub(crate) fn find_by_name(c: &mut Conn, org_guid: &str, name: &str) -> QueryResult<Option<Space>> {
    let key = name.to_lowercase();
    sql!(c, c => spaces::table
        .filter(spaces::org_guid.eq(org_guid).and(spaces::name_key.eq(&key)))
        .select(Space::as_select())
        .first(c))
    .optional()
}

pub(crate) fn of_org(c: &mut Conn, org_guid: &str) -> QueryResult<Vec<Space>> {
    sql!(c, c => spaces::table
        .filter(spaces::org_guid.eq(org_guid))
        .order(spaces::id)
        .select(Space::as_select())
        .load(c))
}
