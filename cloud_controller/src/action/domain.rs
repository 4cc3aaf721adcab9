//! Shared and private domains.

use cupola_db::Conn;
use cupola_http::api_error;
use cupola_types::DomainGuid;
use serde::Deserialize;

use super::{flag, route as routes};
use crate::access::OrgRight;
use crate::actor::Actor;
use crate::controller::{Controller, Orders};
use crate::error::Fail;
use crate::model::domain::{self, Domain};
use crate::model::org::Org;
use crate::model::{org, quota, route};

/// Body of `POST /v2/shared_domains`, `/v2/private_domains` and `/v2/domains`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DomainFields {
    name: Option<String>,
    internal: Option<bool>,
    router_group_guid: Option<String>,
    pub(crate) owning_organization_guid: Option<String>,
}

pub(crate) async fn create_shared(
    controller: &Controller,
    actor: &Actor,
    fields: DomainFields,
) -> Result<Domain, Fail> {
    actor.require_admin()?;
    if fields
        .router_group_guid
        .as_deref()
        .is_some_and(|guid| !guid.is_empty())
    {
        return Err(api_error::ROUTING_API_DISABLED.bare().into());
    }
    let name = usable_name(fields.name.as_deref())?;
    controller
        .write(move |c| {
            refuse_taken(c, &name)?;
            let guid = DomainGuid::generate();
            Ok(domain::insert(
                c,
                guid.as_str(),
                &name,
                None,
                fields.internal == Some(true),
            )?)
        })
        .await
}

pub(crate) async fn create_private(
    controller: &Controller,
    actor: &Actor,
    fields: DomainFields,
) -> Result<Domain, Fail> {
    let owner = fields
        .owning_organization_guid
        .clone()
        .ok_or_else(|| api_error::DOMAIN_INVALID.with("organization must be given"))?;
    let name = usable_name(fields.name.as_deref())?;
    let actor = actor.clone();
    controller
        .write(move |c| {
            let org = org::find(c, &owner)?.ok_or_else(|| {
                api_error::INVALID_RELATION.with(format!("Could not find organization {owner}"))
            })?;
            actor.require_in_org(c, OrgRight::Manage, &org)?;
            flag::require(c, &actor, "private_domain_creation")?;
            refuse_taken(c, &name)?;
            refuse_overlap(c, &name, &org)?;
            check_quota(c, &org)?;
            let guid = DomainGuid::generate();
            Ok(domain::insert(
                c,
                guid.as_str(),
                &name,
                Some(&owner),
                false,
            )?)
        })
        .await
}

/// The domain of that guid, if the actor may see it.
pub(crate) fn find(c: &mut Conn, actor: &Actor, guid: &str) -> Result<Domain, Fail> {
    let found = domain::find(c, guid)?.ok_or_else(|| api_error::DOMAIN_NOT_FOUND.with(guid))?;
    if let Some(owner) = &found.owner_org_guid {
        let ids =
            domain::LISTING.all(c, &actor.sees_private_domains().and("guid = ?", [guid]), 1)?;
        if ids.is_empty() {
            tracing::debug!(
                domain.guid = guid,
                org.guid = owner,
                "a stranger asks for a domain"
            );
            return Err(api_error::NOT_AUTHORIZED.bare().into());
        }
    }
    Ok(found)
}

pub(crate) async fn delete(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
    recursive: bool,
) -> Result<(), Fail> {
    let (actor, guid) = (actor.clone(), guid.to_owned());
    controller
        .decide(move |c, orders| {
            let found =
                domain::find(c, &guid)?.ok_or_else(|| api_error::DOMAIN_NOT_FOUND.with(&guid))?;
            match &found.owner_org_guid {
                Some(owner) => {
                    actor.org(c, owner, OrgRight::Manage)?;
                }
                None => actor.require_admin()?,
            }
            remove(c, orders, &found, recursive)
        })
        .await
}

/// Removes a domain; routes on it only when told so.
pub(crate) fn remove(
    c: &mut Conn,
    orders: &mut Orders,
    domain: &Domain,
    recursive: bool,
) -> Result<(), Fail> {
    if !recursive && route::count_on_domain(c, &domain.guid)? > 0 {
        let (what, whose) = ("routes", "domains");
        return Err(api_error::ASSOCIATION_NOT_EMPTY
            .with_all(&[&what, &whose])
            .into());
    }
    for found in route::on_domain(c, &domain.guid)? {
        routes::remove(c, orders, &found)?;
    }
    domain::delete(c, &domain.guid)?;
    Ok(())
}

/// Lets another organization use a private domain, or no longer.
pub(crate) async fn share(
    controller: &Controller,
    actor: &Actor,
    org_guid: &str,
    domain_guid: &str,
    shared: bool,
) -> Result<Org, Fail> {
    let (actor, org_guid, domain_guid) =
        (actor.clone(), org_guid.to_owned(), domain_guid.to_owned());
    controller
        .write(move |c| {
            let org = actor.org(c, &org_guid, OrgRight::Manage)?;
            let found = domain::find(c, &domain_guid)?
                .ok_or_else(|| api_error::DOMAIN_NOT_FOUND.with(&domain_guid))?;
            let Some(owner) = &found.owner_org_guid else {
                let what = "a shared domain belongs to everybody already";
                return Err(api_error::DOMAIN_INVALID.with(what).into());
            };
            if shared {
                actor.org(c, owner, OrgRight::Manage)?;
                domain::share(c, &domain_guid, &org_guid)?;
            } else {
                domain::unshare(c, &domain_guid, &org_guid)?;
            }
            Ok(org)
        })
        .await
}

/// A DNS name in lower case with at least two labels.
fn usable_name(name: Option<&str>) -> Result<String, Fail> {
    let invalid = |what: &str| Fail::from(api_error::DOMAIN_INVALID.with(what));
    let name = name.ok_or_else(|| api_error::MESSAGE_PARSE_ERROR.with("missing field name"))?;
    let name = name.trim().trim_end_matches('.').to_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.contains('.') || !name.split('.').all(is_label) {
        return Err(invalid("name is not a domain name such as example.com"));
    }
    Ok(name)
}

fn refuse_taken(c: &mut Conn, name: &str) -> Result<(), Fail> {
    match domain::find_by_name(c, name)? {
        Some(_) => Err(api_error::DOMAIN_NAME_TAKEN.with(name).into()),
        None => Ok(()),
    }
}

/// A private domain may not lie above or below one that belongs to somebody else: its owner could
/// otherwise take over that one's hosts.
fn refuse_overlap(c: &mut Conn, name: &str, org: &Org) -> Result<(), Fail> {
    for other in domain::every(c)? {
        if other.owner_org_guid.as_deref() == Some(org.guid.as_str()) {
            continue;
        }
        let below = name.ends_with(&format!(".{}", other.name));
        let above = other.name.ends_with(&format!(".{name}"));
        // Whoever has a name below a shared domain takes a host of it from everybody.
        if below || above {
            return Err(api_error::DOMAIN_NAME_TAKEN.with(&other.name).into());
        }
    }
    Ok(())
}

fn check_quota(c: &mut Conn, org: &Org) -> Result<(), Fail> {
    let limit = quota::find(c, &org.quota_guid)?.map_or(-1, |quota| quota.total_private_domains);
    let owned = domain::of_org(c, &org.guid)?.len();
    if usize::try_from(limit).is_ok_and(|limit| owned >= limit) {
        return Err(api_error::TOTAL_PRIVATE_DOMAINS_EXCEEDED
            .with(&org.name)
            .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn takes_only_names_that_dns_knows() {
        assert_eq!(
            usable_name(Some("Apps.Example.COM.")).unwrap(),
            "apps.example.com"
        );
        for bad in [
            "",
            "localhost",
            "a..b",
            "-a.b",
            "a_b.c",
            "a b.c",
            "ä.example",
            "a./b",
        ] {
            assert!(usable_name(Some(bad)).is_err(), "{bad:?} was accepted");
        }
    }
}
