//! Organizations.

use chrono::NaiveDateTime;
use cupola_db::{Conn, now, sql};
use diesel::prelude::*;

use super::listing::{Column, Listing};
use super::{insert_row, save_row, table_basics, table_delete};
use crate::schema::organizations;

/// A row of `organizations`.
#[derive(Debug, Clone, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = organizations, treat_none_as_null = true)]
pub(crate) struct Org {
    pub(crate) id: i64,
    pub(crate) guid: String,
    pub(crate) name: String,
    pub(crate) name_key: String,
    pub(crate) status: String,
    pub(crate) billing_enabled: bool,
    pub(crate) quota_guid: String,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) updated_at: Option<NaiveDateTime>,
}

#[derive(Insertable)]
#[diesel(table_name = organizations)]
struct NewOrg<'a> {
    guid: &'a str,
    name: &'a str,
    name_key: String,
    status: &'a str,
    billing_enabled: bool,
    quota_guid: &'a str,
    created_at: NaiveDateTime,
}

pub(crate) static LISTING: Listing = Listing {
    table: "organizations",
    filters: &[
        ("name", Column::Folded("{name_key}")),
        ("status", Column::Text("{status}")),
        (
            "space_guid",
            Column::Text("guid IN (SELECT org_guid FROM spaces AS s WHERE {s.guid})"),
        ),
        (
            "user_guid",
            Column::Text("guid IN (SELECT org_guid FROM org_roles WHERE {user_guid})"),
        ),
        (
            "manager_guid",
            Column::Text(
                "guid IN (SELECT org_guid FROM org_roles WHERE role = 'manager' AND ({user_guid}))",
            ),
        ),
        (
            "billing_manager_guid",
            Column::Text(
                "guid IN (SELECT org_guid FROM org_roles WHERE role = 'billing_manager' AND ({user_guid}))",
            ),
        ),
        (
            "auditor_guid",
            Column::Text(
                "guid IN (SELECT org_guid FROM org_roles WHERE role = 'auditor' AND ({user_guid}))",
            ),
        ),
    ],
    sortable: &["id", "name"],
};

table_basics!(organizations, Org);
table_delete!(organizations);

pub(crate) fn insert(c: &mut Conn, guid: &str, name: &str, quota_guid: &str) -> QueryResult<Org> {
    let new = NewOrg {
        guid,
        name,
        name_key: name.to_lowercase(),
        status: "active",
        billing_enabled: false,
        quota_guid,
        created_at: now(),
    };
    insert_row!(c, organizations, Org, &new)
}

pub(crate) fn save(c: &mut Conn, org: &Org) -> QueryResult<Org> {
    save_row!(c, organizations, Org, org)
}

pub(crate) fn find_by_name(c: &mut Conn, name: &str) -> QueryResult<Option<Org>> {
    let key = name.to_lowercase();
    sql!(c, c => organizations::table
        .filter(organizations::name_key.eq(&key))
        .select(Org::as_select())
        .first(c))
    .optional()
}

pub(crate) fn count_with_quota(c: &mut Conn, quota_guid: &str) -> QueryResult<i64> {
    sql!(c, c => organizations::table
        .filter(organizations::quota_guid.eq(quota_guid))
        .count()
        .get_result(c))
}
