//! Routes and their ties to apps.

use cupola_db::Conn;
use cupola_http::api_error;
use cupola_types::{RouteGuid, RouteMappingGuid};
use serde::Deserialize;
use serde_json::json;

use super::{app as apps, flag};
use crate::access::SpaceRight;
use crate::actor::Actor;
use crate::controller::{Controller, Orders};
use crate::error::Fail;
use crate::model::app::App;
use crate::model::domain::{self, Domain};
use crate::model::event::{self, Actee};
use crate::model::order::Order;
use crate::model::route::{self, Mapping, Route};
use crate::model::space::{self, Space};
use crate::model::{org, quota};

/// Body of `POST` and `PUT /v2/routes`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RouteFields {
    host: Option<String>,
    domain_guid: Option<String>,
    space_guid: Option<String>,
    path: Option<String>,
    port: Option<i32>,
}

/// Body of `POST /v2/route_mappings`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct MappingFields {
    pub(crate) app_guid: String,
    pub(crate) route_guid: String,
    #[serde(default)]
    pub(crate) app_port: Option<i32>,
}

/// How to answer when a tie exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfMapped {
    /// As if it had been made now.
    Fine,
    /// With `RouteMappingTaken`.
    Refuse,
}

fn actee<'a>(route: &'a Route, space: &'a Space) -> Actee<'a> {
    Actee {
        guid: &route.guid,
        kind: "route",
        name: &route.host,
        space_guid: &space.guid,
        org_guid: &space.org_guid,
    }
}

/// The route of that guid with its space, if the actor has `right` there.
pub(crate) fn find(
    c: &mut Conn,
    actor: &Actor,
    guid: &str,
    right: SpaceRight,
) -> Result<(Route, Space), Fail> {
    let found = route::find(c, guid)?.ok_or_else(|| api_error::ROUTE_NOT_FOUND.with(guid))?;
    let space = actor.space(c, &found.space_guid, right)?;
    Ok((found, space))
}

pub(crate) async fn create(
    controller: &Controller,
    actor: &Actor,
    fields: RouteFields,
) -> Result<Route, Fail> {
    let missing = |what: &str| api_error::MESSAGE_PARSE_ERROR.with(format!("missing field {what}"));
    let domain_guid = fields
        .domain_guid
        .clone()
        .ok_or_else(|| missing("domain_guid"))?;
    let space_guid = fields
        .space_guid
        .clone()
        .ok_or_else(|| missing("space_guid"))?;
    let host = usable_host(fields.host.as_deref())?;
    let path = usable_path(fields.path.as_deref())?;
    if fields.port.is_some_and(|port| port != 0) {
        let what = "a port needs a domain of a TCP router group, and there is none";
        return Err(api_error::ROUTE_INVALID.with(what).into());
    }
    let actor = actor.clone();
    controller
        .write(move |c| {
            let invalid = |what: String| Fail::from(api_error::INVALID_RELATION.with(what));
            let space = space::find(c, &space_guid)?
                .ok_or_else(|| invalid(format!("Could not find space {space_guid}")))?;
            actor.require_in_space(c, SpaceRight::Develop, &space)?;
            flag::require(c, &actor, "route_creation")?;
            let domain = domain::find(c, &domain_guid)?
                .ok_or_else(|| invalid(format!("Could not find domain {domain_guid}")))?;
            check_domain(c, &actor, &domain, &space, &host)?;
            refuse_taken(c, &domain, &host, &path, &space)?;
            check_quota(c, &space)?;
            let guid = RouteGuid::generate();
            let made = route::insert(c, guid.as_str(), &host, &domain_guid, &path, &space_guid)?;
            let metadata = json!({"request": {
                "host": host, "path": path, "domain_guid": domain_guid, "space_guid": space_guid,
            }});
            event::record(
                c,
                "audit.route.create",
                &actor.who(),
                actee(&made, &space),
                &metadata,
            )?;
            Ok(made)
        })
        .await
}

pub(crate) async fn update(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
    fields: RouteFields,
) -> Result<Route, Fail> {
    let (actor, guid) = (actor.clone(), guid.to_owned());
    controller
        .decide(move |c, orders| {
            let (mut found, space) = find(c, &actor, &guid, SpaceRight::Develop)?;
            let host = fields
                .host
                .as_deref()
                .map_or(Ok(found.host.clone()), |h| usable_host(Some(h)))?;
            let path = fields
                .path
                .as_deref()
                .map_or(Ok(found.path.clone()), |p| usable_path(Some(p)))?;
            if (host.as_str(), path.as_str()) != (found.host.as_str(), found.path.as_str()) {
                let domain = domain::find(c, &found.domain_guid)?
                    .ok_or_else(|| api_error::DOMAIN_NOT_FOUND.with(&found.domain_guid))?;
                check_domain(c, &actor, &domain, &space, &host)?;
                refuse_taken(c, &domain, &host, &path, &space)?;
                (found.host, found.path) = (host, path);
                found = route::save(c, &found)?;
                tell_apps(c, orders, &found)?;
            }
            let metadata = json!({"request": {"host": fields.host, "path": fields.path}});
            event::record(
                c,
                "audit.route.update",
                &actor.who(),
                actee(&found, &space),
                &metadata,
            )?;
            Ok(found)
        })
        .await
}

pub(crate) async fn delete(controller: &Controller, actor: &Actor, guid: &str) -> Result<(), Fail> {
    let (actor, guid) = (actor.clone(), guid.to_owned());
    controller
        .decide(move |c, orders| {
            let (found, space) = find(c, &actor, &guid, SpaceRight::Develop)?;
            audit_delete(c, &actor, &found, &space)?;
            remove(c, orders, &found)
        })
        .await
}

/// Removes every route of a space that no app is mapped to.
pub(crate) async fn delete_unmapped(
    controller: &Controller,
    actor: &Actor,
    space_guid: &str,
) -> Result<(), Fail> {
    let (actor, space_guid) = (actor.clone(), space_guid.to_owned());
    controller
        .decide(move |c, orders| {
            let space = actor.space(c, &space_guid, SpaceRight::Develop)?;
            for found in route::unmapped_in_space(c, &space_guid)? {
                audit_delete(c, &actor, &found, &space)?;
                remove(c, orders, &found)?;
            }
            Ok(())
        })
        .await
}

fn audit_delete(c: &mut Conn, actor: &Actor, route: &Route, space: &Space) -> Result<(), Fail> {
    let metadata = json!({"request": {"recursive": true}});
    Ok(event::record(
        c,
        "audit.route.delete-request",
        &actor.who(),
        actee(route, space),
        &metadata,
    )?)
}

/// Removes a route and tells the apps that had it.
pub(crate) fn remove(c: &mut Conn, orders: &mut Orders, found: &Route) -> Result<(), Fail> {
    tell_apps(c, orders, found)?;
    route::delete(c, &found.guid)?;
    Ok(())
}

/// Ties a route to an app.
pub(crate) async fn map(
    controller: &Controller,
    actor: &Actor,
    fields: MappingFields,
    if_mapped: IfMapped,
) -> Result<(App, Route, Mapping), Fail> {
    if fields.app_port.is_some_and(|port| port != 8080) {
        return Err(api_error::APP_PORT_MAPPING_REQUIRES_DIEGO.bare().into());
    }
    let actor = actor.clone();
    controller
        .decide(move |c, orders| {
            let (app, space) = apps::find(c, &actor, &fields.app_guid, SpaceRight::Develop)?;
            let (found, _) = find(c, &actor, &fields.route_guid, SpaceRight::Develop)?;
            if found.space_guid != app.space_guid {
                let what = "The app and the route must be in the same space";
                return Err(api_error::INVALID_RELATION.with(what).into());
            }
            if let Some(mapping) = route::mapping_between(c, &app.guid, &found.guid)? {
                return match if_mapped {
                    IfMapped::Fine => Ok((app, found, mapping)),
                    IfMapped::Refuse => {
                        let what = format!("app {} and route {}", app.guid, found.guid);
                        Err(api_error::ROUTE_MAPPING_TAKEN.with(what).into())
                    }
                };
            }
            let guid = RouteMappingGuid::generate();
            let mapping = route::map(c, guid.as_str(), &app.guid, &found.guid, fields.app_port)?;
            let metadata = json!({"route_guid": found.guid, "app_port": fields.app_port});
            apps::audit(c, "audit.app.map-route", &actor, &app, &space, &metadata)?;
            orders.give(&app.guid, Order::Routes);
            Ok((app, found, mapping))
        })
        .await
}

/// Unties a route from an app; nothing happens when it is not tied.
pub(crate) async fn unmap(
    controller: &Controller,
    actor: &Actor,
    app_guid: &str,
    route_guid: &str,
) -> Result<(), Fail> {
    let (actor, app_guid, route_guid) = (actor.clone(), app_guid.to_owned(), route_guid.to_owned());
    controller
        .decide(move |c, orders| {
            let (app, space) = apps::find(c, &actor, &app_guid, SpaceRight::Develop)?;
            let (found, _) = find(c, &actor, &route_guid, SpaceRight::Develop)?;
            if let Some(mapping) = route::mapping_between(c, &app.guid, &found.guid)? {
                untie(c, orders, &actor, &app, &space, &mapping)?;
            }
            Ok(())
        })
        .await
}

/// Removes a mapping by its own guid.
pub(crate) async fn delete_mapping(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
) -> Result<(), Fail> {
    let (actor, guid) = (actor.clone(), guid.to_owned());
    controller
        .decide(move |c, orders| {
            let mapping = route::find_mapping(c, &guid)?
                .ok_or_else(|| api_error::ROUTE_MAPPING_NOT_FOUND.with(&guid))?;
            let (app, space) = apps::find(c, &actor, &mapping.app_guid, SpaceRight::Develop)?;
            untie(c, orders, &actor, &app, &space, &mapping)
        })
        .await
}

fn untie(
    c: &mut Conn,
    orders: &mut Orders,
    actor: &Actor,
    app: &App,
    space: &Space,
    mapping: &Mapping,
) -> Result<(), Fail> {
    route::unmap(c, &mapping.guid)?;
    let metadata = json!({"route_guid": mapping.route_guid, "app_port": mapping.app_port});
    apps::audit(c, "audit.app.unmap-route", actor, app, space, &metadata)?;
    orders.give(&app.guid, Order::Routes);
    Ok(())
}

fn tell_apps(c: &mut Conn, orders: &mut Orders, route: &Route) -> Result<(), Fail> {
    for app in route::apps_of(c, &route.guid)? {
        orders.give(&app.guid, Order::Routes);
    }
    Ok(())
}

/// Whether the route exists, in whatever space.
pub(crate) fn is_reserved(
    c: &mut Conn,
    domain_guid: &str,
    host: &str,
    path: &str,
) -> Result<bool, Fail> {
    let on_host = route::on_host(c, &host.to_lowercase(), domain_guid)?;
    Ok(on_host.iter().any(|found| found.path == path))
}

fn usable_host(host: Option<&str>) -> Result<String, Fail> {
    let host = host.unwrap_or_default().trim().to_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if host.is_empty() || host == "*" || host.split('.').all(is_label) {
        return Ok(host);
    }
    let what = "host must be letters, digits, '-' and '_', at most 63 of them";
    Err(api_error::ROUTE_INVALID.with(what).into())
}

fn usable_path(path: Option<&str>) -> Result<String, Fail> {
    let path = path.unwrap_or_default();
    let fine = path.is_empty()
        || (path.starts_with('/')
            && path != "/"
            && path.len() <= 128
            && !path.contains(['?', '#'])
            && !path.chars().any(|c| c.is_control() || c.is_whitespace()));
    if fine {
        return Ok(path.to_owned());
    }
    Err(api_error::PATH_INVALID
        .with("a path begins with '/', has no '?' and at most 128 characters")
        .into())
}

fn check_domain(
    c: &mut Conn,
    actor: &Actor,
    domain: &Domain,
    space: &Space,
    host: &str,
) -> Result<(), Fail> {
    if let Some(owner) = &domain.owner_org_guid {
        let usable =
            *owner == space.org_guid || domain::is_shared_with(c, &domain.guid, &space.org_guid)?;
        if !usable {
            let what = format!("Domain {} is not one of this organization's", domain.name);
            return Err(api_error::INVALID_RELATION.with(what).into());
        }
        return Ok(());
    }
    if host.is_empty() {
        return Err(api_error::ROUTE_INVALID
            .with("host is required for shared-domains")
            .into());
    }
    if host == "*" && !actor.is_admin {
        return Err(api_error::NOT_AUTHORIZED.bare().into());
    }
    if host.contains('.') {
        let what = "host must not contain '.' on a shared domain";
        return Err(api_error::ROUTE_INVALID.with(what).into());
    }
    Ok(())
}

fn refuse_taken(
    c: &mut Conn,
    domain: &Domain,
    host: &str,
    path: &str,
    space: &Space,
) -> Result<(), Fail> {
    let on_host = route::on_host(c, host, &domain.guid)?;
    // The API itself is registered under this name.
    let is_platforms =
        domain.is_shared() && matches!(host, "api" | "uaa" | "login" | "doppler" | "loggregator");
    if is_platforms || on_host.iter().any(|other| other.space_guid != space.guid) {
        return Err(api_error::ROUTE_HOST_TAKEN.with(host).into());
    }
    if on_host.iter().any(|other| other.path == path) {
        let error = if path.is_empty() {
            api_error::ROUTE_HOST_TAKEN.with(host)
        } else {
            api_error::ROUTE_PATH_TAKEN.with(path)
        };
        return Err(error.into());
    }
    Ok(())
}

fn check_quota(c: &mut Conn, space: &Space) -> Result<(), Fail> {
    let org = org::find(c, &space.org_guid)?
        .ok_or_else(|| api_error::ORGANIZATION_NOT_FOUND.with(&space.org_guid))?;
    let limit = quota::find(c, &org.quota_guid)?.map_or(-1, |quota| quota.total_routes);
    if limit >= 0 && route::count_in_org(c, &org.guid)? >= i64::from(limit) {
        return Err(api_error::ORG_QUOTA_TOTAL_ROUTES_EXCEEDED.bare().into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn takes_only_hosts_that_dns_knows() {
        assert_eq!(usable_host(Some("Shop")).unwrap(), "shop");
        assert_eq!(usable_host(None).unwrap(), "");
        assert_eq!(usable_host(Some("*")).unwrap(), "*");
        for bad in ["a b", "a/b", "ä", "a..b", "*.a", &"x".repeat(64)] {
            assert!(usable_host(Some(bad)).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn takes_only_paths_that_routers_match() {
        assert_eq!(usable_path(Some("/shop")).unwrap(), "/shop");
        for bad in [
            "/",
            "shop",
            "/a?b",
            "/a b",
            "/a#b",
            &format!("/{}", "x".repeat(128)),
        ] {
            assert!(usable_path(Some(bad)).is_err(), "{bad:?} was accepted");
        }
    }
}
