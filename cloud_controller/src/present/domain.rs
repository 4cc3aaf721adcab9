//! Domains, in each of their three addresses.

use serde_json::{Value, json};

use super::{object, resource};
use crate::model::domain::Domain;

/// Where a domain lives: among the shared or the private ones.
pub(crate) fn domain_url(domain: &Domain) -> String {
    let kind = if domain.is_shared() {
        "shared_domains"
    } else {
        "private_domains"
    };
    format!("/v2/{kind}/{}", domain.guid)
}

/// A shared domain with its envelope.
pub(crate) fn shared_domain(domain: &Domain) -> Value {
    let entity = object(json!({
        "name": domain.name,
        "internal": domain.internal,
        "router_group_guid": null,
        "router_group_type": null,
    }));
    resource(
        domain_url(domain),
        &domain.guid,
        domain.created_at,
        domain.updated_at,
        entity,
    )
}

/// A private domain with its envelope.
pub(crate) fn private_domain(domain: &Domain) -> Value {
    let url = domain_url(domain);
    let owner = domain.owner_org_guid.as_deref().unwrap_or_default();
    let entity = object(json!({
        "name": domain.name,
        "owning_organization_guid": owner,
        "owning_organization_url": format!("/v2/organizations/{owner}"),
        "shared_organizations_url": format!("{url}/shared_organizations"),
    }));
    resource(
        url,
        &domain.guid,
        domain.created_at,
        domain.updated_at,
        entity,
    )
}

/// A domain of either kind, at its own address.
pub(crate) fn domain(domain: &Domain) -> Value {
    if domain.is_shared() {
        shared_domain(domain)
    } else {
        private_domain(domain)
    }
}
