//! Organizations.

use cupola_db::Conn;
use serde_json::{Value, json};

use super::{View, expand, object, resource};
use crate::error::Fail;
use crate::model::listing::Where;
use crate::model::org::Org;
use crate::model::{domain, quota, space};

/// An organization with its envelope.
pub(crate) fn org(c: &mut Conn, view: &View<'_>, org: &Org, depth: u8) -> Result<Value, Fail> {
    let url = format!("/v2/organizations/{}", org.guid);
    let mut entity = object(json!({
        "name": org.name,
        "billing_enabled": org.billing_enabled,
        "quota_definition_guid": org.quota_guid,
        "status": org.status,
        "default_isolation_segment_guid": null,
        "quota_definition_url": format!("/v2/quota_definitions/{}", org.quota_guid),
        "spaces_url": format!("{url}/spaces"),
        "domains_url": format!("{url}/domains"),
        "private_domains_url": format!("{url}/private_domains"),
        "users_url": format!("{url}/users"),
        "managers_url": format!("{url}/managers"),
        "billing_managers_url": format!("{url}/billing_managers"),
        "auditors_url": format!("{url}/auditors"),
        "app_events_url": format!("{url}/app_events"),
        "space_quota_definitions_url": format!("{url}/space_quota_definitions"),
    }));
    if depth > 0 && view.spend(1) {
        if let Some(quota) = quota::find(c, &org.quota_guid)? {
            entity.insert("quota_definition".into(), super::quota(&quota));
        }
        let inside = view.actor.sees_spaces().and("org_guid = ?", [&org.guid]);
        let spaces = expand(
            c,
            view,
            &space::LISTING,
            &inside,
            space::by_ids,
            |c, space| super::space(c, view, space, depth - 1),
        )?;
        if let Some(spaces) = spaces {
            entity.insert("spaces".into(), spaces);
        }
        let usable = Where::all().and(
            "owner_org_guid IS NULL OR owner_org_guid = ? OR guid IN \
             (SELECT domain_guid FROM domain_shares WHERE org_guid = ?)",
            [&org.guid, &org.guid],
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
        entity.insert("space_quota_definitions".into(), json!([]));
    }
    Ok(resource(
        url,
        &org.guid,
        org.created_at,
        org.updated_at,
        entity,
    ))
}
