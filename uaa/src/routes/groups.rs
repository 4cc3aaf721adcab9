//! `/Groups`: SCIM groups and their members.

use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, LOCATION};
use actix_web::web::{self, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use cupola_db::Conn;
use serde_json::json;

use super::users::expected_version;
use crate::body::Body;
use crate::caller::Caller;
use crate::model::group::{self, Group};
use crate::model::user;
use crate::refusal::Refusal;
use crate::scim::filter::{Expression, Operator};
use crate::scim::json::{GroupBody, MemberBody, group as to_json};
use crate::scim::listing::ListParameters;
use crate::state::Uaa;

/// Most members that an answer shows and a body may set.
const MAX_MEMBERS: usize = 1000;
/// Longest group name.
const MAX_NAME: usize = 255;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/Groups")
                .route(web::get().to(list))
                .route(web::post().to(create)),
        )
        .service(
            web::resource("/Groups/{id}")
                .route(web::get().to(get))
                .route(web::put().to(update))
                .route(web::delete().to(delete)),
        )
        .service(
            web::resource("/Groups/{id}/members")
                .route(web::get().to(members))
                .route(web::post().to(add_member)),
        )
        .service(
            web::resource("/Groups/{id}/members/{member}").route(web::delete().to(remove_member)),
        );
}

async fn list(
    uaa: web::Data<Uaa>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["scim.read"])?;
    let parameters = ListParameters::parse(request.query_string())?;
    let name = match parameters.expression(&["displayname", "id"])? {
        Expression::Everything => None,
        Expression::Compare {
            operator: Operator::Present,
            ..
        } => None,
        Expression::Compare {
            attribute,
            operator: Operator::Equal,
            value,
        } if attribute == "displayname" => Some(value.to_text()),
        _ => {
            return Err(Refusal::scim(
                "Groups can be filtered by displayName eq \"…\" only",
            ));
        }
    };
    let (offset, limit) = (parameters.offset(), parameters.limit());
    let (groups, total) = uaa
        .db
        .read::<_, Refusal, _>(move |c| {
            let (groups, total) = group::list(c, name.as_deref(), offset, limit)?;
            let shown: Result<Vec<_>, Refusal> = groups.iter().map(|g| show(c, g)).collect();
            Ok((shown?, total))
        })
        .await?;
    Ok(HttpResponse::Ok().json(parameters.answer(groups, total)))
}

async fn get(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["scim.read"])?;
    let id = id.into_inner();
    let (version, shown) = uaa
        .db
        .read::<_, Refusal, _>(move |c| {
            let group = find(c, &id)?;
            Ok((group.version, show(c, &group)?))
        })
        .await?;
    Ok(HttpResponse::Ok()
        .insert_header((ETAG, format!("\"{version}\"")))
        .json(shown))
}

async fn create(uaa: web::Data<Uaa>, caller: Caller, body: Body) -> Result<HttpResponse, Refusal> {
    caller.require(&["scim.write"])?;
    let body: GroupBody = body.json()?;
    let name = body.display_name.unwrap_or_default();
    if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_whitespace) {
        let reason = "displayName must be a name without white space";
        return Err(Refusal::invalid_scim_resource(reason));
    }
    let members = body.members.unwrap_or_default();
    let new = Group::new(name, body.description.unwrap_or_default());
    let id = new.id.clone();
    let shown = uaa
        .db
        .write(move |c| {
            if group::names(c)?
                .iter()
                .any(|known| known.eq_ignore_ascii_case(&new.name))
            {
                let reason = format!("A group with displayName: {} already exists.", new.name);
                return Err(Refusal::scim_exists(reason));
            }
            group::insert(c, &new)?;
            let members = checked(c, &members)?;
            group::set_members(c, &new.id, &members)?;
            show(c, &new)
        })
        .await?;
    let location = (LOCATION, format!("/Groups/{id}"));
    Ok(HttpResponse::Created()
        .insert_header(location)
        .insert_header((ETAG, "\"0\""))
        .json(shown))
}

async fn update(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["scim.write", "groups.update"])?;
    let id = id.into_inner();
    let version = expected_version(&request)?;
    let version = version.ok_or_else(|| Refusal::scim("Missing If-Match for PUT"))?;
    let body: GroupBody = body.json()?;
    let shown = uaa
        .db
        .write(move |c| {
            let group = find(c, &id)?;
            version.check(group.version)?;
            if body
                .display_name
                .as_ref()
                .is_some_and(|name| *name != group.name)
            {
                let reason = "displayName cannot be changed: it is a scope that tokens carry";
                return Err(Refusal::invalid_scim_resource(reason));
            }
            if let Some(members) = &body.members {
                let members = checked(c, members)?;
                group::set_members(c, &id, &members)?;
            }
            group::touch(c, &id, body.description.as_deref())?;
            let group = find(c, &id)?;
            show(c, &group)
        })
        .await?;
    Ok(HttpResponse::Ok().json(shown))
}

async fn delete(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["scim.write"])?;
    let id = id.into_inner();
    let shown = uaa
        .db
        .write::<_, Refusal, _>(move |c| {
            let group = find(c, &id)?;
            let shown = show(c, &group)?;
            group::delete(c, &id)?;
            Ok(shown)
        })
        .await?;
    Ok(HttpResponse::Ok().json(shown))
}

async fn members(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["scim.read"])?;
    let id = id.into_inner();
    let shown = uaa
        .db
        .read::<_, Refusal, _>(move |c| {
            let group = find(c, &id)?;
            show(c, &group)
        })
        .await?;
    Ok(HttpResponse::Ok().json(&shown["members"]))
}

async fn add_member(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["scim.write", "groups.update"])?;
    let id = id.into_inner();
    let member: MemberBody = body.json()?;
    let user_id = member.value.clone();
    uaa.db
        .write(move |c| {
            find(c, &id)?;
            let member = checked(c, std::slice::from_ref(&member))?;
            if !group::add_member(c, &id, &member[0])? {
                return Err(Refusal::member_exists());
            }
            Ok(group::touch(c, &id, None)?)
        })
        .await?;
    let member = json!({"value": user_id, "type": "USER", "origin": "uaa"});
    Ok(HttpResponse::build(StatusCode::CREATED).json(member))
}

async fn remove_member(
    uaa: web::Data<Uaa>,
    caller: Caller,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["scim.write", "groups.update"])?;
    let (id, user_id) = path.into_inner();
    let member = json!({"value": user_id, "type": "USER", "origin": "uaa"});
    uaa.db
        .write(move |c| {
            find(c, &id)?;
            if !group::remove_member(c, &id, &user_id)? {
                return Err(Refusal::scim_not_found("Member", &user_id));
            }
            Ok(group::touch(c, &id, None)?)
        })
        .await?;
    Ok(HttpResponse::Ok().json(member))
}

fn find(c: &mut Conn, id: &str) -> Result<Group, Refusal> {
    group::find(c, id)?.ok_or_else(|| Refusal::scim_not_found("Group", id))
}

fn show(c: &mut Conn, group: &Group) -> Result<serde_json::Value, Refusal> {
    let limit = i64::try_from(MAX_MEMBERS).unwrap_or(i64::MAX);
    Ok(to_json(group, &group::members(c, &group.id, limit)?))
}

/// The ids of members that all are users.
fn checked(c: &mut Conn, members: &[MemberBody]) -> Result<Vec<String>, Refusal> {
    if members.len() > MAX_MEMBERS {
        let reason = format!("more than {MAX_MEMBERS} members");
        return Err(Refusal::invalid_scim_resource(reason));
    }
    if members
        .iter()
        .any(|m| m.kind.as_deref().is_some_and(|kind| kind != "USER"))
    {
        let reason = "only users can be members of groups";
        return Err(Refusal::invalid_scim_resource(reason));
    }
    let ids: Vec<String> = members.iter().map(|member| member.value.clone()).collect();
    let known = user::existing(c, &ids)?;
    match ids.iter().find(|id| !known.contains(id)) {
        Some(unknown) => Err(Refusal::scim_not_found("Member", unknown)),
        None => Ok(ids),
    }
}
