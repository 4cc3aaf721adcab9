//! Routes and route mappings.

use cupola_db::Conn;
use serde_json::{Value, json};

use super::{View, expand, object, resource};
use crate::error::Fail;
use crate::model::listing::Where;
use crate::model::route::{Mapping, Route};
use crate::model::{app, domain, space};

/// A route with its envelope.
pub(crate) fn route(
    c: &mut Conn,
    view: &View<'_>,
    route: &Route,
    depth: u8,
) -> Result<Value, Fail> {
    let url = format!("/v2/routes/{}", route.guid);
    let domain = domain::find(c, &route.domain_guid)?;
    let mut entity = object(json!({
        "host": route.host,
        "path": route.path,
        "domain_guid": route.domain_guid,
        "space_guid": route.space_guid,
        "service_instance_guid": null,
        "port": null,
        "domain_url": domain.as_ref().map(super::domain_url),
        "space_url": format!("/v2/spaces/{}", route.space_guid),
        "apps_url": format!("{url}/apps"),
        "route_mappings_url": format!("{url}/route_mappings"),
    }));
    if depth > 0 && view.spend(2) {
        if let Some(domain) = &domain {
            entity.insert("domain".into(), super::domain(domain));
        }
        if let Some(space) = space::find(c, &route.space_guid)? {
            entity.insert("space".into(), super::space(c, view, &space, depth - 1)?);
        }
        let mapped = Where::all().and(
            "guid IN (SELECT app_guid FROM route_mappings WHERE route_guid = ?)",
            [&route.guid],
        );
        let apps = expand(c, view, &app::LISTING, &mapped, app::by_ids, |c, app| {
            super::app(c, view, app, depth - 1)
        })?;
        if let Some(apps) = apps {
            entity.insert("apps".into(), apps);
        }
    }
    Ok(resource(
        url,
        &route.guid,
        route.created_at,
        route.updated_at,
        entity,
    ))
}

/// A route mapping with its envelope.
pub(crate) fn mapping(
    c: &mut Conn,
    view: &View<'_>,
    mapping: &Mapping,
    depth: u8,
) -> Result<Value, Fail> {
    let mut entity = object(json!({
        "app_port": mapping.app_port,
        "app_guid": mapping.app_guid,
        "route_guid": mapping.route_guid,
        "app_url": format!("/v2/apps/{}", mapping.app_guid),
        "route_url": format!("/v2/routes/{}", mapping.route_guid),
    }));
    if depth > 0 && view.spend(2) {
        if let Some(app) = app::find(c, &mapping.app_guid)? {
            entity.insert("app".into(), super::app(c, view, &app, depth - 1)?);
        }
        if let Some(found) = crate::model::route::find(c, &mapping.route_guid)? {
            entity.insert("route".into(), route(c, view, &found, depth - 1)?);
        }
    }
    let url = format!("/v2/route_mappings/{}", mapping.guid);
    Ok(resource(
        url,
        &mapping.guid,
        mapping.created_at,
        mapping.updated_at,
        entity,
    ))
}
