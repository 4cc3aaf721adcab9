//! Spaces.

use cupola_db::Conn;
use cupola_http::api_error;
use cupola_types::SpaceGuid;
use serde::Deserialize;
use serde_json::json;

use super::{app as apps, app_life, is_usable_name};
use crate::access::{OrgRight, SpaceRight};
use crate::actor::Actor;
use crate::controller::{Controller, Orders};
use crate::error::Fail;
use crate::model::event::{self, Actee};
use crate::model::space::{self, Space};
use crate::model::user::{self, SpaceRole};
use crate::model::{app, org, route};

/// Body of `POST` and `PUT /v2/spaces`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SpaceFields {
    name: Option<String>,
    organization_guid: Option<String>,
    allow_ssh: Option<bool>,
    developer_guids: Vec<String>,
    manager_guids: Vec<String>,
    auditor_guids: Vec<String>,
}

fn actee(space: &Space) -> Actee<'_> {
    Actee {
        guid: &space.guid,
        kind: "space",
        name: &space.name,
        space_guid: &space.guid,
        org_guid: &space.org_guid,
    }
}

pub(crate) async fn create(
    controller: &Controller,
    actor: &Actor,
    fields: SpaceFields,
) -> Result<Space, Fail> {
    let missing = |what: &str| api_error::MESSAGE_PARSE_ERROR.with(format!("missing field {what}"));
    let name = fields.name.clone().ok_or_else(|| missing("name"))?;
    let org_guid = fields
        .organization_guid
        .clone()
        .ok_or_else(|| missing("organization_guid"))?;
    let actor = actor.clone();
    controller
        .write(move |c| {
            let org = org::find(c, &org_guid)?.ok_or_else(|| {
                api_error::INVALID_RELATION.with(format!("Could not find organization {org_guid}"))
            })?;
            actor.require_in_org(c, OrgRight::Manage, &org)?;
            check_name(c, &org_guid, &name, None)?;
            let mut space = space::insert(c, SpaceGuid::generate().as_str(), &name, &org_guid)?;
            if fields.allow_ssh == Some(false) {
                space.allow_ssh = false;
                space = Space {
                    updated_at: None,
                    ..space::save(c, &space)?
                };
            }
            let members = [
                (SpaceRole::Developer, &fields.developer_guids),
                (SpaceRole::Manager, &fields.manager_guids),
                (SpaceRole::Auditor, &fields.auditor_guids),
            ];
            for (role, guids) in members {
                for guid in guids {
                    add_member(c, &space, guid, role)?;
                }
            }
            let metadata = json!({"request": {"name": name, "organization_guid": org_guid}});
            event::record(
                c,
                "audit.space.create",
                &actor.who(),
                actee(&space),
                &metadata,
            )?;
            Ok(space)
        })
        .await
}

/// Gives a role in a space to a user, who has to be in its organization.
pub(crate) fn add_member(
    c: &mut Conn,
    space: &Space,
    user_guid: &str,
    role: SpaceRole,
) -> Result<bool, Fail> {
    let known = user::find(c, user_guid)?.ok_or_else(|| {
        api_error::INVALID_RELATION.with(format!("Could not find user {user_guid}"))
    })?;
    if user::roles_in_org(c, &space.org_guid, &known.guid)?.is_empty() {
        let name = known.username.unwrap_or(known.guid);
        let what = format!("user {name} is not a member of the organization");
        return Err(api_error::INVALID_RELATION.with(what).into());
    }
    Ok(user::add_space_role(c, &space.guid, user_guid, role)?)
}

pub(crate) async fn update(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
    fields: SpaceFields,
) -> Result<Space, Fail> {
    let (actor, guid) = (actor.clone(), guid.to_owned());
    controller
        .write(move |c| {
            let mut space = actor.space(c, &guid, SpaceRight::Manage)?;
            if let Some(name) = &fields.name
                && *name != space.name
            {
                check_name(c, &space.org_guid, name, Some(&guid))?;
                space.name.clone_from(name);
                space.name_key = name.to_lowercase();
            }
            if fields
                .organization_guid
                .as_ref()
                .is_some_and(|org| *org != space.org_guid)
            {
                let what = "a space cannot be moved to another organization";
                return Err(api_error::SPACE_INVALID.with(what).into());
            }
            space.allow_ssh = fields.allow_ssh.unwrap_or(space.allow_ssh);
            let space = space::save(c, &space)?;
            let metadata = json!({"request": {"name": fields.name, "allow_ssh": fields.allow_ssh}});
            event::record(
                c,
                "audit.space.update",
                &actor.who(),
                actee(&space),
                &metadata,
            )?;
            Ok(space)
        })
        .await
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
            let space = actor.space(c, &guid, SpaceRight::Delete)?;
            remove(c, orders, &actor, &space, recursive)
        })
        .await
}

/// Removes a space; what is in it only when told so.
pub(crate) fn remove(
    c: &mut Conn,
    orders: &mut Orders,
    actor: &Actor,
    space: &Space,
    recursive: bool,
) -> Result<(), Fail> {
    let inside = app::of_space(c, &space.guid)?;
    let routes = route::of_space(c, &space.guid)?;
    if !recursive && !inside.is_empty() {
        return Err(api_error::NONRECURSIVE_SPACE_DELETION_FAILED
            .with(&space.name)
            .into());
    }
    let metadata = json!({"request": {"recursive": recursive}});
    for app in &inside {
        apps::audit(c, "audit.app.delete-request", actor, app, space, &metadata)?;
        app_life::delete(c, orders, app)?;
    }
    for found in &routes {
        route::delete(c, &found.guid)?;
    }
    event::record(
        c,
        "audit.space.delete-request",
        &actor.who(),
        actee(space),
        &metadata,
    )?;
    space::delete(c, &space.guid)?;
    Ok(())
}

fn check_name(c: &mut Conn, org_guid: &str, name: &str, except: Option<&str>) -> Result<(), Fail> {
    if !is_usable_name(name) {
        let what = "name must be a line of 1 to 255 characters";
        return Err(api_error::SPACE_INVALID.with(what).into());
    }
    match space::find_by_name(c, org_guid, name)? {
        Some(other) if Some(other.guid.as_str()) != except => {
            Err(api_error::SPACE_NAME_TAKEN.with(name).into())
        }
        _ => Ok(()),
    }
}
