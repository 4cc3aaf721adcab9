//! Giving and taking roles, by guid or by user name.

use cupola_db::Conn;
use cupola_http::api_error;
use serde::Deserialize;
use serde_json::json;

use super::{flag, space as spaces};
use crate::access::{OrgRight, SpaceRight};
use crate::actor::Actor;
use crate::controller::Controller;
use crate::error::Fail;
use crate::model::event::{self, Actee};
use crate::model::org::{self, Org};
use crate::model::space::Space;
use crate::model::user::{self, OrgRole, SpaceRole, User};

/// Body of a role change by user name.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ByName {
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) origin: Option<String>,
}

/// The user a role is about.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    Guid(String),
    Name(ByName),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Give,
    Take,
}

// === impl Change ===

impl Change {
    fn flag(self) -> &'static str {
        match self {
            Change::Give => "set_roles_by_username",
            Change::Take => "unset_roles_by_username",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Change::Give => "add",
            Change::Take => "remove",
        }
    }
}

/// What is known of the user before the transaction: names are looked up where they are kept.
async fn resolve(
    controller: &Controller,
    subject: &Subject,
) -> Result<(String, Option<String>), Fail> {
    let by_name = match subject {
        Subject::Guid(guid) => return Ok((guid.clone(), None)),
        Subject::Name(by_name) => by_name,
    };
    if let Some(origin) = by_name.origin.as_deref()
        && !matches!(origin, "" | "uaa")
    {
        let who = format!("username: {}, origin: {origin}", by_name.username);
        return Err(api_error::USER_WITH_ORIGIN_NOT_FOUND.with(who).into());
    }
    let name = by_name.username.clone();
    let guid = match controller.uaa.user_id(&name).await? {
        Some(guid) => Some(guid),
        None => {
            let wanted = name.clone();
            let found = controller
                .read(move |c| Ok(user::find_by_username(c, &wanted)?))
                .await?;
            found.map(|user| user.guid)
        }
    };
    match guid {
        Some(guid) => Ok((guid, Some(name))),
        None => Err(api_error::USER_NOT_FOUND.with(name).into()),
    }
}

pub(crate) async fn in_org(
    controller: &Controller,
    actor: &Actor,
    org_guid: &str,
    role: OrgRole,
    subject: Subject,
    change: Change,
) -> Result<Org, Fail> {
    let (user_guid, name) = resolve(controller, &subject).await?;
    let (actor, org_guid) = (actor.clone(), org_guid.to_owned());
    controller
        .write(move |c| {
            let org = org::find(c, &org_guid)?
                .ok_or_else(|| api_error::ORGANIZATION_NOT_FOUND.with(&org_guid))?;
            if !(change == Change::Take && user_guid == actor.guid) {
                actor.require_in_org(c, OrgRight::Manage, &org)?;
            }
            let member = member(c, &actor, &user_guid, name.as_deref(), change)?;
            let changed = match change {
                Change::Give => {
                    if role != OrgRole::User {
                        user::add_org_role(c, &org_guid, &member.guid, OrgRole::User)?;
                    }
                    user::add_org_role(c, &org_guid, &member.guid, role)?
                }
                Change::Take => take_from_org(c, &actor, &org, &member, role)?,
            };
            if changed {
                let kind = match role {
                    OrgRole::User => "organization_user",
                    OrgRole::Manager => "organization_manager",
                    OrgRole::BillingManager => "organization_billing_manager",
                    OrgRole::Auditor => "organization_auditor",
                };
                record(c, &actor, &member, kind, change, "", &org_guid)?;
            }
            Ok(org)
        })
        .await
}

fn take_from_org(
    c: &mut Conn,
    actor: &Actor,
    org: &Org,
    member: &User,
    role: OrgRole,
) -> Result<bool, Fail> {
    let has = user::roles_in_org(c, &org.guid, &member.guid)?;
    if !has.contains(&role) {
        return Ok(false);
    }
    let is_last = user::count_org_role(c, &org.guid, role)? <= 1;
    match role {
        OrgRole::Manager if is_last && !actor.is_admin => {
            return Err(api_error::LAST_MANAGER_IN_ORG.bare().into());
        }
        OrgRole::User if is_last && !actor.is_admin => {
            return Err(api_error::LAST_USER_IN_ORG.bare().into());
        }
        _ => {}
    }
    if role == OrgRole::User {
        // Who leaves the organization leaves all of it.
        user::remove_from_spaces_of(c, &org.guid, &member.guid)?;
        for other in has {
            user::remove_org_role(c, &org.guid, &member.guid, other)?;
        }
        return Ok(true);
    }
    Ok(user::remove_org_role(c, &org.guid, &member.guid, role)?)
}

pub(crate) async fn in_space(
    controller: &Controller,
    actor: &Actor,
    space_guid: &str,
    role: SpaceRole,
    subject: Subject,
    change: Change,
) -> Result<Space, Fail> {
    let (user_guid, name) = resolve(controller, &subject).await?;
    let (actor, space_guid) = (actor.clone(), space_guid.to_owned());
    controller
        .write(move |c| {
            let own = change == Change::Take && user_guid == actor.guid;
            let right = if own {
                SpaceRight::Read
            } else {
                SpaceRight::Manage
            };
            let space = actor.space(c, &space_guid, right)?;
            let member = member(c, &actor, &user_guid, name.as_deref(), change)?;
            let changed = match change {
                Change::Give => spaces::add_member(c, &space, &member.guid, role)?,
                Change::Take => user::remove_space_role(c, &space_guid, &member.guid, role)?,
            };
            if changed {
                let kind = role.public_name();
                record(
                    c,
                    &actor,
                    &member,
                    kind,
                    change,
                    &space_guid,
                    &space.org_guid,
                )?;
            }
            Ok(space)
        })
        .await
}

/// The user's row; one that UAA knows by name gets it now.
fn member(
    c: &mut Conn,
    actor: &Actor,
    guid: &str,
    name: Option<&str>,
    change: Change,
) -> Result<User, Fail> {
    if name.is_some() {
        flag::require(c, actor, change.flag())?;
        // How the name was typed is no reason to write it otherwise than the user does.
        return match user::find(c, guid)? {
            Some(known) if known.username.is_some() => Ok(known),
            _ => Ok(user::ensure(c, guid, name)?),
        };
    }
    Ok(user::find(c, guid)?
        .ok_or_else(|| api_error::INVALID_RELATION.with(format!("Could not find user {guid}")))?)
}

fn record(
    c: &mut Conn,
    actor: &Actor,
    member: &User,
    kind: &str,
    change: Change,
    space_guid: &str,
    org_guid: &str,
) -> Result<(), Fail> {
    let name = member.username.clone().unwrap_or_default();
    let actee = Actee {
        guid: &member.guid,
        kind: "user",
        name: &name,
        space_guid,
        org_guid,
    };
    let kind = format!("audit.user.{kind}_{}", change.suffix());
    Ok(event::record(
        c,
        &kind,
        &actor.who(),
        actee,
        &json!({"request": {}}),
    )?)
}
