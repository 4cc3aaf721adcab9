//! Organizations.

use cupola_db::Conn;
use cupola_http::api_error;
use cupola_types::OrgGuid;
use serde::Deserialize;
use serde_json::json;

use super::{domain as domains, flag, is_usable_name, space as spaces};
use crate::access::OrgRight;
use crate::actor::Actor;
use crate::controller::Controller;
use crate::error::Fail;
use crate::model::event::{self, Actee};
use crate::model::org::{self, Org};
use crate::model::user::{self, OrgRole};
use crate::model::{domain, quota, space};

/// The quota of organizations that ask for none.
pub(crate) const DEFAULT_QUOTA: &str = "default";

/// Body of `POST` and `PUT /v2/organizations`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OrgFields {
    pub(crate) name: Option<String>,
    pub(crate) quota_definition_guid: Option<String>,
    pub(crate) billing_enabled: Option<bool>,
    pub(crate) status: Option<String>,
}

fn actee(org: &Org) -> Actee<'_> {
    Actee {
        guid: &org.guid,
        kind: "organization",
        name: &org.name,
        space_guid: "",
        org_guid: &org.guid,
    }
}

pub(crate) async fn create(
    controller: &Controller,
    actor: &Actor,
    fields: OrgFields,
) -> Result<Org, Fail> {
    let name = fields
        .name
        .clone()
        .ok_or_else(|| api_error::MESSAGE_PARSE_ERROR.with("missing field name"))?;
    let actor = actor.clone();
    controller
        .write(move |c| {
            if !actor.is_admin && !flag::is_on(c, "user_org_creation")? {
                return Err(api_error::NOT_AUTHORIZED.bare().into());
            }
            check_name(c, &name, None)?;
            let quota = match &fields.quota_definition_guid {
                Some(guid) if actor.is_admin => quota::find(c, guid)?
                    .ok_or_else(|| api_error::QUOTA_DEFINITION_NOT_FOUND.with(guid))?,
                _ => quota::find_by_name(c, DEFAULT_QUOTA)?
                    .ok_or_else(|| api_error::QUOTA_DEFINITION_NOT_FOUND.with(DEFAULT_QUOTA))?,
            };
            let org = org::insert(c, OrgGuid::generate().as_str(), &name, &quota.guid)?;
            if !actor.is_admin {
                user::add_org_role(c, &org.guid, &actor.guid, OrgRole::User)?;
                user::add_org_role(c, &org.guid, &actor.guid, OrgRole::Manager)?;
            }
            let metadata = json!({"request": {"name": name}});
            event::record(
                c,
                "audit.organization.create",
                &actor.who(),
                actee(&org),
                &metadata,
            )?;
            Ok(org)
        })
        .await
}

pub(crate) async fn update(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
    fields: OrgFields,
) -> Result<Org, Fail> {
    let (actor, guid) = (actor.clone(), guid.to_owned());
    controller
        .write(move |c| {
            let mut org = actor.org(c, &guid, OrgRight::Manage)?;
            if let Some(name) = &fields.name
                && *name != org.name
            {
                check_name(c, name, Some(&guid))?;
                org.name.clone_from(name);
                org.name_key = name.to_lowercase();
            }
            if let Some(wanted) = &fields.quota_definition_guid
                && *wanted != org.quota_guid
            {
                actor.require_admin()?;
                let quota = quota::find(c, wanted)?
                    .ok_or_else(|| api_error::QUOTA_DEFINITION_NOT_FOUND.with(wanted))?;
                org.quota_guid = quota.guid;
            }
            if let Some(enabled) = fields.billing_enabled
                && enabled != org.billing_enabled
            {
                actor.require_admin()?;
                org.billing_enabled = enabled;
            }
            if let Some(status) = &fields.status
                && *status != org.status
            {
                actor.require_admin()?;
                if !matches!(status.as_str(), "active" | "suspended") {
                    let what = "status must be active or suspended";
                    return Err(api_error::ORGANIZATION_INVALID.with(what).into());
                }
                org.status.clone_from(status);
            }
            let org = org::save(c, &org)?;
            let metadata = json!({"request": {
                "name": fields.name, "status": fields.status,
                "quota_definition_guid": fields.quota_definition_guid,
            }});
            event::record(
                c,
                "audit.organization.update",
                &actor.who(),
                actee(&org),
                &metadata,
            )?;
            Ok(org)
        })
        .await
}

pub(crate) async fn delete(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
    recursive: bool,
) -> Result<(), Fail> {
    actor.require_admin()?;
    let (actor, guid) = (actor.clone(), guid.to_owned());
    controller
        .decide(move |c, orders| {
            let org = actor.org(c, &guid, OrgRight::Manage)?;
            let inside = space::of_org(c, &guid)?;
            let owned = domain::of_org(c, &guid)?;
            let nonempty = [
                ("spaces", inside.is_empty()),
                ("private_domains", owned.is_empty()),
            ];
            if let Some((what, _)) = nonempty.iter().find(|(_, empty)| !empty)
                && !recursive
            {
                let whose = "organizations";
                return Err(api_error::ASSOCIATION_NOT_EMPTY
                    .with_all(&[what, &whose])
                    .into());
            }
            for space in &inside {
                spaces::remove(c, orders, &actor, space, true)?;
            }
            for domain in &owned {
                domains::remove(c, orders, domain, true)?;
            }
            let metadata = json!({"request": {"recursive": recursive}});
            event::record(
                c,
                "audit.organization.delete-request",
                &actor.who(),
                actee(&org),
                &metadata,
            )?;
            org::delete(c, &guid)?;
            Ok(())
        })
        .await
}

fn check_name(c: &mut Conn, name: &str, except: Option<&str>) -> Result<(), Fail> {
    if !is_usable_name(name) {
        let what = "name must be a line of 1 to 255 characters";
        return Err(api_error::ORGANIZATION_INVALID.with(what).into());
    }
    match org::find_by_name(c, name)? {
        Some(other) if Some(other.guid.as_str()) != except => {
            Err(api_error::ORGANIZATION_NAME_TAKEN.with(name).into())
        }
        _ => Ok(()),
    }
}
