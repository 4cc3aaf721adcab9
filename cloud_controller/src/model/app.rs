//! Apps.

use chrono::NaiveDateTime;
use cupola_db::{Conn, sql};
use cupola_types::{AppState, PackageState};
use diesel::prelude::*;

use super::listing::{Column, Listing};
use super::{insert_row, save_row, table_basics, table_delete};
use crate::schema::{apps, spaces};

/// A row of `apps`.
#[derive(Debug, Clone, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = apps, treat_none_as_null = true)]
pub(crate) struct App {
    pub(crate) id: i64,
    pub(crate) guid: String,
    pub(crate) name: String,
    pub(crate) name_key: String,
    pub(crate) space_guid: String,
    pub(crate) stack_guid: String,
    /// MiB.
    pub(crate) memory: i32,
    pub(crate) instances: i32,
    /// MiB.
    pub(crate) disk_quota: i32,
    pub(crate) state: String,
    pub(crate) package_state: String,
    pub(crate) command: Option<String>,
    pub(crate) buildpack: Option<String>,
    pub(crate) health_check_type: String,
    pub(crate) health_check_timeout: Option<i32>,
    pub(crate) health_check_http_endpoint: Option<String>,
    pub(crate) diego: bool,
    pub(crate) enable_ssh: bool,
    /// Sealed JSON object.
    pub(crate) environment: Option<String>,
    pub(crate) version: String,
    pub(crate) staging_task_id: Option<String>,
    pub(crate) staging_failed_reason: Option<String>,
    pub(crate) staging_failed_description: Option<String>,
    pub(crate) detected_buildpack: Option<String>,
    pub(crate) detected_buildpack_guid: Option<String>,
    pub(crate) detected_start_command: Option<String>,
    pub(crate) package_key: Option<String>,
    pub(crate) package_sha1: Option<String>,
    pub(crate) package_updated_at: Option<NaiveDateTime>,
    pub(crate) droplet_key: Option<String>,
    pub(crate) droplet_sha1: Option<String>,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) updated_at: Option<NaiveDateTime>,
}

/// An app that is about to be made.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = apps)]
pub(crate) struct NewApp {
    pub(crate) guid: String,
    pub(crate) name: String,
    pub(crate) name_key: String,
    pub(crate) space_guid: String,
    pub(crate) stack_guid: String,
    pub(crate) memory: i32,
    pub(crate) instances: i32,
    pub(crate) disk_quota: i32,
    pub(crate) state: String,
    pub(crate) package_state: String,
    pub(crate) command: Option<String>,
    pub(crate) buildpack: Option<String>,
    pub(crate) health_check_type: String,
    pub(crate) health_check_timeout: Option<i32>,
    pub(crate) health_check_http_endpoint: Option<String>,
    pub(crate) diego: bool,
    pub(crate) enable_ssh: bool,
    pub(crate) environment: Option<String>,
    pub(crate) version: String,
    pub(crate) created_at: NaiveDateTime,
}

/// What the health manager learns of an app.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = apps)]
pub(crate) struct Desired {
    pub(crate) id: i64,
    pub(crate) guid: String,
    pub(crate) instances: i32,
    pub(crate) state: String,
    pub(crate) memory: i32,
    pub(crate) package_state: String,
    pub(crate) version: String,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) updated_at: Option<NaiveDateTime>,
}

pub(crate) static LISTING: Listing = Listing {
    table: "apps",
    filters: &[
        ("name", Column::Folded("{name_key}")),
        ("space_guid", Column::Text("{space_guid}")),
        (
            "organization_guid",
            Column::Text("space_guid IN (SELECT s.guid FROM spaces AS s WHERE {s.org_guid})"),
        ),
        ("stack_guid", Column::Text("{stack_guid}")),
        (
            "route_guid",
            Column::Text("guid IN (SELECT app_guid FROM route_mappings WHERE {route_guid})"),
        ),
        ("diego", Column::Bool("{diego}")),
    ],
    sortable: &["id", "name"],
};

table_basics!(apps, App);
table_delete!(apps);

// === impl App ===

impl App {
    /// Whether its owner wants it to run.
    pub(crate) fn is_started(&self) -> bool {
        self.state == AppState::Started.as_str()
    }

    /// Whether there is a droplet of the newest bits.
    pub(crate) fn is_staged(&self) -> bool {
        self.package_state == PackageState::Staged.as_str()
    }

    /// Whether the last staging failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.package_state == PackageState::Failed.as_str()
    }

    /// The wanted number of instances.
    pub(crate) fn wanted(&self) -> u32 {
        u32::try_from(self.instances).unwrap_or_default()
    }
}

pub(crate) fn insert(c: &mut Conn, new: &NewApp) -> QueryResult<App> {
    insert_row!(c, apps, App, new)
}

pub(crate) fn save(c: &mut Conn, app: &App) -> QueryResult<App> {
    save_row!(c, apps, App, app)
}

pub(crate) fn find_by_name(c: &mut Conn, space_guid: &str, name: &str) -> QueryResult<Option<App>> {
    let key = name.to_lowercase();
    sql!(c, c => apps::table
        .filter(apps::space_guid.eq(space_guid).and(apps::name_key.eq(&key)))
        .select(App::as_select())
        .first(c))
    .optional()
}

pub(crate) fn of_space(c: &mut Conn, space_guid: &str) -> QueryResult<Vec<App>> {
    sql!(c, c => apps::table
        .filter(apps::space_guid.eq(space_guid))
        .order(apps::id)
        .select(App::as_select())
        .load(c))
}

/// Memory (MiB × instances) and instances of each started app of an organization but `except`.
pub(crate) fn usage_of_org(
    c: &mut Conn,
    org_guid: &str,
    except: Option<&str>,
) -> QueryResult<Vec<(i32, i32)>> {
    let except = except.unwrap_or_default();
    sql!(c, c => apps::table
        .inner_join(spaces::table.on(spaces::guid.eq(apps::space_guid)))
        .filter(spaces::org_guid.eq(org_guid)
            .and(apps::state.eq(AppState::Started.as_str()))
            .and(apps::guid.ne(except)))
        .select((apps::memory, apps::instances))
        .load(c))
}

/// Up to `most` apps with an id above `after`, for the health manager.
pub(crate) fn desired_after(c: &mut Conn, after: i64, most: i64) -> QueryResult<Vec<Desired>> {
    sql!(c, c => apps::table
        .filter(apps::id.gt(after))
        .order(apps::id)
        .limit(most)
        .select(Desired::as_select())
        .load(c))
}
