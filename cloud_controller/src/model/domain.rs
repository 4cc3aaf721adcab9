//! Domains, shared by everybody or owned by an organization.

use chrono::NaiveDateTime;
use cupola_db::{Conn, now, sql};
use diesel::prelude::*;

use super::listing::{Column, Listing};
use super::{insert_row, table_basics, table_delete};
use crate::schema::{domain_shares, domains};

/// A row of `domains`.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = domains)]
pub(crate) struct Domain {
    pub(crate) id: i64,
    pub(crate) guid: String,
    pub(crate) name: String,
    /// `None` for a shared domain.
    pub(crate) owner_org_guid: Option<String>,
    pub(crate) internal: bool,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) updated_at: Option<NaiveDateTime>,
}

#[derive(Insertable)]
#[diesel(table_name = domains)]
struct NewDomain<'a> {
    guid: &'a str,
    name: &'a str,
    owner_org_guid: Option<&'a str>,
    internal: bool,
    created_at: NaiveDateTime,
}

pub(crate) static LISTING: Listing = Listing {
    table: "domains",
    filters: &[
        ("name", Column::Folded("{name}")),
        ("owning_organization_guid", Column::Text("{owner_org_guid}")),
    ],
    sortable: &["id", "name"],
};

table_basics!(domains, Domain);
table_delete!(domains);

// === impl Domain ===

impl Domain {
    pub(crate) fn is_shared(&self) -> bool {
        self.owner_org_guid.is_none()
    }
}

pub(crate) fn insert(
    c: &mut Conn,
    guid: &str,
    name: &str,
    owner_org_guid: Option<&str>,
    internal: bool,
) -> QueryResult<Domain> {
    let new = NewDomain {
        guid,
        name,
        owner_org_guid,
        internal,
        created_at: now(),
    };
    insert_row!(c, domains, Domain, &new)
}

pub(crate) fn find_by_name(c: &mut Conn, name: &str) -> QueryResult<Option<Domain>> {
    sql!(c, c => domains::table
        .filter(domains::name.eq(name))
        .select(Domain::as_select())
        .first(c))
    .optional()
}

/// Every domain; there are few, and overlaps have to be looked for among all of them.
pub(crate) fn every(c: &mut Conn) -> QueryResult<Vec<Domain>> {
    sql!(c, c => domains::table.order(domains::id).select(Domain::as_select()).load(c))
}

pub(crate) fn of_org(c: &mut Conn, org_guid: &str) -> QueryResult<Vec<Domain>> {
    sql!(c, c => domains::table
        .filter(domains::owner_org_guid.eq(org_guid))
        .order(domains::id)
        .select(Domain::as_select())
        .load(c))
}

pub(crate) fn is_shared_with(c: &mut Conn, domain: &str, org: &str) -> QueryResult<bool> {
    let found: i64 = sql!(c, c => domain_shares::table
        .filter(domain_shares::domain_guid.eq(domain).and(domain_shares::org_guid.eq(org)))
        .count()
        .get_result(c))?;
    Ok(found > 0)
}

pub(crate) fn share(c: &mut Conn, domain: &str, org: &str) -> QueryResult<usize> {
    sql!(c, c => diesel::insert_into(domain_shares::table)
        .values((domain_shares::domain_guid.eq(domain), domain_shares::org_guid.eq(org)))
        .on_conflict_do_nothing()
        .execute(c))
}

pub(crate) fn unshare(c: &mut Conn, domain: &str, org: &str) -> QueryResult<usize> {
    sql!(c, c => diesel::delete(domain_shares::table.filter(
        domain_shares::domain_guid.eq(domain).and(domain_shares::org_guid.eq(org))))
        .execute(c))
}
