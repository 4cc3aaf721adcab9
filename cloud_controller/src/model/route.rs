//! Routes and their ties to apps.

use chrono::NaiveDateTime;
use cupola_db::{Conn, now, sql};
use diesel::prelude::*;

use super::app::App;
use super::listing::{Column, Listing};
use super::{insert_row, save_row, table_basics, table_delete};
use crate::schema::{apps, domains, route_mappings, routes};

/// A row of `routes`.
#[derive(Debug, Clone, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = routes, treat_none_as_null = true)]
pub(crate) struct Route {
    pub(crate) id: i64,
    pub(crate) guid: String,
    pub(crate) host: String,
    pub(crate) domain_guid: String,
    pub(crate) path: String,
    pub(crate) space_guid: String,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) updated_at: Option<NaiveDateTime>,
}

#[derive(Insertable)]
#[diesel(table_name = routes)]
struct NewRoute<'a> {
    guid: &'a str,
    host: &'a str,
    domain_guid: &'a str,
    path: &'a str,
    space_guid: &'a str,
    created_at: NaiveDateTime,
}

/// A row of `route_mappings`.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = route_mappings)]
pub(crate) struct Mapping {
    pub(crate) guid: String,
    pub(crate) app_guid: String,
    pub(crate) route_guid: String,
    pub(crate) app_port: Option<i32>,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) updated_at: Option<NaiveDateTime>,
}

#[derive(Insertable)]
#[diesel(table_name = route_mappings)]
struct NewMapping<'a> {
    guid: &'a str,
    app_guid: &'a str,
    route_guid: &'a str,
    app_port: Option<i32>,
    created_at: NaiveDateTime,
}

pub(crate) static LISTING: Listing = Listing {
    table: "routes",
    filters: &[
        ("host", Column::Folded("{host}")),
        ("domain_guid", Column::Text("{domain_guid}")),
        ("space_guid", Column::Text("{space_guid}")),
        (
            "organization_guid",
            Column::Text("space_guid IN (SELECT s.guid FROM spaces AS s WHERE {s.org_guid})"),
        ),
        (
            "app_guid",
            Column::Text("guid IN (SELECT route_guid FROM route_mappings WHERE {app_guid})"),
        ),
        ("path", Column::Text("{path}")),
        // No route of ours has a port: an empty value finds all, any other none.
        (
            "port",
            Column::Text("SELECT {port} FROM (SELECT '' AS port) AS portless"),
        ),
    ],
    sortable: &["id"],
};

pub(crate) static MAPPINGS: Listing = Listing {
    table: "route_mappings",
    filters: &[
        ("app_guid", Column::Text("{app_guid}")),
        ("route_guid", Column::Text("{route_guid}")),
    ],
    sortable: &["id"],
};

table_basics!(routes, Route);
table_delete!(routes);

pub(crate) fn insert(
    c: &mut Conn,
    guid: &str,
    host: &str,
    domain_guid: &str,
    path: &str,
    space_guid: &str,
) -> QueryResult<Route> {
    let new = NewRoute {
        guid,
        host,
        domain_guid,
        path,
        space_guid,
        created_at: now(),
    };
    insert_row!(c, routes, Route, &new)
}

pub(crate) fn save(c: &mut Conn, route: &Route) -> QueryResult<Route> {
    save_row!(c, routes, Route, route)
}

/// Every route of a host on a domain, whatever its path.
pub(crate) fn on_host(c: &mut Conn, host: &str, domain_guid: &str) -> QueryResult<Vec<Route>> {
    sql!(c, c => routes::table
        .filter(routes::host.eq(host).and(routes::domain_guid.eq(domain_guid)))
        .order(routes::id)
        .select(Route::as_select())
        .load(c))
}

pub(crate) fn count_on_domain(c: &mut Conn, domain_guid: &str) -> QueryResult<i64> {
    sql!(c, c => routes::table.filter(routes::domain_guid.eq(domain_guid)).count().get_result(c))
}

pub(crate) fn on_domain(c: &mut Conn, domain_guid: &str) -> QueryResult<Vec<Route>> {
    sql!(c, c => routes::table
        .filter(routes::domain_guid.eq(domain_guid))
        .order(routes::id)
        .select(Route::as_select())
        .load(c))
}

pub(crate) fn of_space(c: &mut Conn, space_guid: &str) -> QueryResult<Vec<Route>> {
    sql!(c, c => routes::table
        .filter(routes::space_guid.eq(space_guid))
        .order(routes::id)
        .select(Route::as_select())
        .load(c))
}

pub(crate) fn count_in_org(c: &mut Conn, org_guid: &str) -> QueryResult<i64> {
    use crate::schema::spaces;
    sql!(c, c => routes::table
        .inner_join(spaces::table.on(spaces::guid.eq(routes::space_guid)))
        .filter(spaces::org_guid.eq(org_guid))
        .count()
        .get_result(c))
}

/// The routes of an app with the names of their domains, in the order they were mapped.
pub(crate) fn of_app(c: &mut Conn, app_guid: &str) -> QueryResult<Vec<(Route, String)>> {
    sql!(c, c => route_mappings::table
        .inner_join(routes::table.on(routes::guid.eq(route_mappings::route_guid)))
        .inner_join(domains::table.on(domains::guid.eq(routes::domain_guid)))
        .filter(route_mappings::app_guid.eq(app_guid))
        .order(route_mappings::id)
        .select((Route::as_select(), domains::name))
        .load(c))
}

/// The apps a route is mapped to.
pub(crate) fn apps_of(c: &mut Conn, route_guid: &str) -> QueryResult<Vec<App>> {
    sql!(c, c => route_mappings::table
        .inner_join(apps::table.on(apps::guid.eq(route_mappings::app_guid)))
        .filter(route_mappings::route_guid.eq(route_guid))
        .order(route_mappings::id)
        .select(App::as_select())
        .load(c))
}

/// `host.domain/path`, as the routers know the route.
pub(crate) fn uri(route: &Route, domain: &str) -> String {
    if route.host.is_empty() {
        format!("{domain}{}", route.path)
    } else {
        format!("{}.{domain}{}", route.host, route.path)
    }
}

/// Everything an app answers to.
pub(crate) fn uris_of_app(c: &mut Conn, app_guid: &str) -> QueryResult<Vec<String>> {
    Ok(of_app(c, app_guid)?
        .iter()
        .map(|(route, domain)| uri(route, domain))
        .collect())
}

pub(crate) fn find_mapping(c: &mut Conn, guid: &str) -> QueryResult<Option<Mapping>> {
    sql!(c, c => route_mappings::table
        .filter(route_mappings::guid.eq(guid))
        .select(Mapping::as_select())
        .first(c))
    .optional()
}

pub(crate) fn mappings_by_ids(c: &mut Conn, ids: &[i64]) -> QueryResult<Vec<Mapping>> {
    sql!(c, c => route_mappings::table
        .filter(route_mappings::id.eq_any(ids))
        .order(route_mappings::id)
        .select(Mapping::as_select())
        .load(c))
}

pub(crate) fn mapping_between(
    c: &mut Conn,
    app: &str,
    route: &str,
) -> QueryResult<Option<Mapping>> {
    sql!(c, c => route_mappings::table
        .filter(route_mappings::app_guid.eq(app).and(route_mappings::route_guid.eq(route)))
        .select(Mapping::as_select())
        .first(c))
    .optional()
}

pub(crate) fn map(
    c: &mut Conn,
    guid: &str,
    app: &str,
    route: &str,
    app_port: Option<i32>,
) -> QueryResult<Mapping> {
    let new = NewMapping {
        guid,
        app_guid: app,
        route_guid: route,
        app_port,
        created_at: now(),
    };
    insert_row!(c, route_mappings, Mapping, &new)
}

pub(crate) fn unmap(c: &mut Conn, mapping_guid: &str) -> QueryResult<usize> {
    sql!(c, c => diesel::delete(
        route_mappings::table.filter(route_mappings::guid.eq(mapping_guid)))
        .execute(c))
}

pub(crate) fn unmapped_in_space(c: &mut Conn, space_guid: &str) -> QueryResult<Vec<Route>> {
    sql!(c, c => routes::table
        .left_join(route_mappings::table.on(route_mappings::route_guid.eq(routes::guid)))
        .filter(routes::space_guid.eq(space_guid).and(route_mappings::id.nullable().is_null()))
        .order(routes::id)
        .select(Route::as_select())
        .load(c))
}
