//! `/v2/users`

use actix_web::HttpRequest;
use actix_web::web::{self, Path, ServiceConfig};
use cupola_db::Conn;
use cupola_http::body::Json;
use cupola_http::{ListQuery, api_error};
use cupola_types::UserGuid;
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Api, created, gone, ok, page};
use crate::actor::Actor;
use crate::error::Fail;
use crate::model::listing::Where;
use crate::model::user::{self, User};
use crate::model::{org, space};
use crate::present as written;
use crate::present::View;

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::scope("/users")
            .route("", web::get().to(list))
            .route("", web::post().to(create))
            .route("/{guid}", web::get().to(show))
            .route("/{guid}", web::put().to(update))
            .route("/{guid}", web::delete().to(delete))
            .route("/{guid}/{relation}", web::get().to(related)),
    );
}

#[derive(Debug, Deserialize)]
struct NewUser {
    guid: UserGuid,
    #[serde(default)]
    username: Option<String>,
}

#[derive(Debug, Deserialize)]
struct UserFields {
    #[serde(default, deserialize_with = "crate::action::nullable")]
    default_space_guid: Option<Option<String>>,
}

/// A user in a list.
pub(super) fn present(_: &mut Conn, _: &View<'_>, row: &User, _: u8) -> Result<Value, Fail> {
    Ok(written::user(row))
}

/// Only an admin, or the user about themselves.
fn require_self(actor: &Actor, guid: &str) -> Result<(), Fail> {
    if actor.reads_all || actor.guid == guid {
        return Ok(());
    }
    Err(api_error::NOT_AUTHORIZED.bare().into())
}

async fn list(api: Api, actor: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    if !actor.reads_all {
        return Err(api_error::NOT_AUTHORIZED.bare().into());
    }
    let seen = |_: &mut _, _: &Actor| Ok(Where::all());
    page(
        &api,
        &actor,
        &request,
        query,
        (&user::LISTING, user::by_ids),
        seen,
        present,
    )
    .await
}

async fn create(api: Api, actor: Actor, Json(new): Json<NewUser>) -> Answer {
    actor.require_admin()?;
    let made = api
        .write(move |c| {
            if user::find(c, new.guid.as_str())?.is_some() {
                return Err(api_error::UAA_ID_TAKEN.with(&new.guid).into());
            }
            Ok(user::ensure(c, new.guid.as_str(), new.username.as_deref())?)
        })
        .await?;
    created(&written::user(&made))
}

async fn show(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let found = api
        .read(move |c| {
            let found =
                user::find(c, &guid)?.ok_or_else(|| api_error::USER_NOT_FOUND.with(&*guid))?;
            require_self(&actor, &guid)?;
            Ok(found)
        })
        .await?;
    ok(&written::user(&found))
}

async fn update(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    Json(fields): Json<UserFields>,
) -> Answer {
    actor.require_admin()?;
    let changed = api
        .write(move |c| {
            let found =
                user::find(c, &guid)?.ok_or_else(|| api_error::USER_NOT_FOUND.with(&*guid))?;
            let Some(space_guid) = &fields.default_space_guid else {
                return Ok(found);
            };
            if let Some(wanted) = space_guid
                && space::find(c, wanted)?.is_none()
            {
                let what = format!("Could not find space {wanted}");
                return Err(api_error::INVALID_RELATION.with(what).into());
            }
            Ok(user::set_default_space(c, &guid, space_guid.as_deref())?)
        })
        .await?;
    created(&written::user(&changed))
}

async fn delete(api: Api, actor: Actor, guid: Path<String>, query: ListQuery) -> Answer {
    actor.require_admin()?;
    let wanted = guid.clone();
    api.write(move |c| {
        if user::delete(c, &wanted)? {
            return Ok(());
        }
        Err(api_error::USER_NOT_FOUND.with(&wanted).into())
    })
    .await?;
    api.known_users.forget(&guid);
    gone(&api, &query).await
}

/// The organizations and spaces of a user, by role.
async fn related(
    api: Api,
    actor: Actor,
    path: Path<(String, String)>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let (guid, relation) = path.into_inner();
    require_self(&actor, &guid)?;
    let in_orgs = |role: &'static str| {
        let guid = guid.clone();
        let of = "guid IN (SELECT org_guid FROM org_roles WHERE user_guid = ? AND role = ?)";
        move |_: &mut Conn, _: &Actor| Ok(Where::all().and(of, [guid.as_str(), role]))
    };
    let in_spaces = |role: &'static str| {
        let guid = guid.clone();
        let of = "guid IN (SELECT space_guid FROM space_roles WHERE user_guid = ? AND role = ?)";
        move |_: &mut Conn, _: &Actor| Ok(Where::all().and(of, [guid.as_str(), role]))
    };
    let org_role = match relation.as_str() {
        "organizations" => Some("user"),
        "managed_organizations" => Some("manager"),
        "billing_managed_organizations" => Some("billing_manager"),
        "audited_organizations" => Some("auditor"),
        _ => None,
    };
    if let Some(role) = org_role {
        let (listing, load) = (&org::LISTING, org::by_ids);
        return page(
            &api,
            &actor,
            &request,
            query,
            (listing, load),
            in_orgs(role),
            written::org,
        )
        .await;
    }
    let space_role = match relation.as_str() {
        "spaces" => "developer",
        "managed_spaces" => "manager",
        "audited_spaces" => "auditor",
        _ => return Err(api_error::NOT_FOUND.bare().into()),
    };
    let (listing, load) = (&space::LISTING, space::by_ids);
    let seen = in_spaces(space_role);
    page(
        &api,
        &actor,
        &request,
        query,
        (listing, load),
        seen,
        written::space,
    )
    .await
}
