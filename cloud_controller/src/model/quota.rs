//! Quota definitions of organizations.

use chrono::NaiveDateTime;
use cupola_db::{Conn, now, sql};
use diesel::prelude::*;

use super::listing::{Column, Listing};
use super::{insert_row, save_row, table_basics, table_delete};
use crate::schema::quota_definitions;

/// A row of `quota_definitions`; -1 means no limit.
#[derive(Debug, Clone, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = quota_definitions, treat_none_as_null = true)]
pub(crate) struct Quota {
    pub(crate) id: i64,
    pub(crate) guid: String,
    pub(crate) name: String,
    pub(crate) name_key: String,
    pub(crate) non_basic_services_allowed: bool,
    pub(crate) total_services: i32,
    pub(crate) total_routes: i32,
    pub(crate) memory_limit: i32,
    pub(crate) instance_memory_limit: i32,
    pub(crate) app_instance_limit: i32,
    pub(crate) app_task_limit: i32,
    pub(crate) total_service_keys: i32,
    pub(crate) total_private_domains: i32,
    pub(crate) total_reserved_route_ports: i32,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) updated_at: Option<NaiveDateTime>,
}

/// A quota that is about to be made.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = quota_definitions)]
pub(crate) struct NewQuota {
    pub(crate) guid: String,
    pub(crate) name: String,
    pub(crate) name_key: String,
    pub(crate) non_basic_services_allowed: bool,
    pub(crate) total_services: i32,
    pub(crate) total_routes: i32,
    pub(crate) memory_limit: i32,
    pub(crate) instance_memory_limit: i32,
    pub(crate) app_instance_limit: i32,
    pub(crate) app_task_limit: i32,
    pub(crate) total_service_keys: i32,
    pub(crate) total_private_domains: i32,
    pub(crate) total_reserved_route_ports: i32,
    pub(crate) created_at: NaiveDateTime,
}

pub(crate) static LISTING: Listing = Listing {
    table: "quota_definitions",
    filters: &[("name", Column::Folded("{name_key}"))],
    sortable: &["id", "name"],
};

table_basics!(quota_definitions, Quota);
table_delete!(quota_definitions);

// === impl NewQuota ===

impl NewQuota {
    /// A quota that limits nothing but what is set afterwards.
    pub(crate) fn unlimited(guid: String, name: &str) -> Self {
        Self {
            guid,
            name: name.to_owned(),
            name_key: name.to_lowercase(),
            non_basic_services_allowed: true,
            total_services: -1,
            total_routes: -1,
            memory_limit: -1,
            instance_memory_limit: -1,
            app_instance_limit: -1,
            app_task_limit: -1,
            total_service_keys: -1,
            total_private_domains: -1,
            total_reserved_route_ports: 0,
            created_at: now(),
        }
    }
}

pub(crate) fn insert(c: &mut Conn, new: &NewQuota) -> QueryResult<Quota> {
    insert_row!(c, quota_definitions, Quota, new)
}

pub(crate) fn save(c: &mut Conn, quota: &Quota) -> QueryResult<Quota> {
    save_row!(c, quota_definitions, Quota, quota)
}

pub(crate) fn find_by_name(c: &mut Conn, name: &str) -> QueryResult<Option<Quota>> {
    let key = name.to_lowercase();
    sql!(c, c => quota_definitions::table
        .filter(quota_definitions::name_key.eq(&key))
        .select(Quota::as_select())
        .first(c))
    .optional()
}
