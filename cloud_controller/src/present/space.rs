//! Spaces.

use cupola_db::Conn;
use serde_json::{Value, json};

use super::{View, expand, object, resource};
use crate::error::Fail;
use crate::model::listing::Where;
use crate::model::space::Space;
use crate::model::{app, domain, org};

/// A space with its envelope.
pub(crate) fn space(
    c: &mut Conn,
    view: &View<'_>,
    space: &Space,
    depth: u8,
) -> Result<Value, Fail> {
    let url = format!("/v2/spaces/{}", space.guid);
    let mut entity = object(json!({
        "name": space.name,
        "organization_guid": space.org_guid,
        "space_quota_definition_guid": null,
        "isolation_segment_guid": null,
        "allow_ssh": space.allow_ssh,
        "organization_url": format!("/v2/organizations/{}", space.org_guid),
        "developers_url": format!("{url}/developers"),
        "managers_url": format!("{url}/managers"),
        "auditors_url": format!("{url}/auditors"),
        "apps_url": format!("{url}/apps"),
        "routes_url": format!("{url}/routes"),
        "domains_url": format!("{url}/domains"),
        "service_instances_url": format!("{url}/service_instances"),
        "app_events_url": format!("{url}/app_events"),
        "events_url": format!("{url}/events"),
        "security_groups_url": format!("{url}/security_groups"),
        "staging_security_groups_url": format!("{url}/staging_security_groups"),
    }));
    if depth > 0 && view.spend(1) {
        if let Some(org) = org::find(c, &space.org_guid)? {
            entity.insert("organization".into(), super::org(c, view, &org, depth - 1)?);
        }
        let inside = Where::all().and("space_guid = ?", [&space.guid]);
        let apps = expand(c, view, &app::LISTING, &inside, app::by_ids, |c, app| {
            super::app(c, view, app, depth - 1)
        })?;
        if let Some(apps) = apps {
            entity.insert("apps".into(), apps);
        }
        let usable = Where::all().and(
            "owner_org_guid IS NULL OR owner_org_guid = ? OR guid IN \
             (SELECT domain_guid FROM domain_shares WHERE org_guid = ?)",
            [&space.org_guid, &space.org_guid],
        );
        let domains = expand(
            c,
            view,
            &domain::LISTING,
            &usable,
            domain::by_ids,
            |_, domain| Ok(super::domain(domain)),
        )?;
        if let Some(domains) = domains {
            entity.insert("domains".into(), domains);
        }
        entity.insert("service_instances".into(), json!([]));
        entity.insert("security_groups".into(), json!([]));
    }
    Ok(resource(
        url,
        &space.guid,
        space.created_at,
        space.updated_at,
        entity,
    ))
}
