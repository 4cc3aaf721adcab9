//! `/v2/spaces`

use actix_web::HttpRequest;
use actix_web::web::{self, Path, ServiceConfig};
use cupola_http::body::Json;
use cupola_http::{ListQuery, api_error};
use serde_json::Value;

use super::{Answer, Api, created, gone, is_true, nothing, ok, orgs, page, summary, users};
use crate::access::SpaceRight;
use crate::action::role::{self, ByName, Change, Subject};
use crate::action::route as route_actions;
use crate::action::space::{self as actions, SpaceFields};
use crate::actor::Actor;
use crate::error::Fail;
use crate::model::listing::Where;
use crate::model::space::Space;
use crate::model::user::{self, SpaceRole, User};
use crate::model::{app, domain, event, route, space};
use crate::present::{self, View};

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::scope("/spaces")
            .route("", web::get().to(list))
            .route("", web::post().to(create))
            .route("/{guid}", web::get().to(show))
            .route("/{guid}", web::put().to(update))
            .route("/{guid}", web::delete().to(delete))
            .route("/{guid}/summary", web::get().to(summary::of_space))
            .route("/{guid}/apps", web::get().to(apps))
            .route("/{guid}/routes", web::get().to(list_routes))
            .route("/{guid}/domains", web::get().to(domains))
            .route("/{guid}/events", web::get().to(events))
            .route("/{guid}/unmapped_routes", web::delete().to(delete_unmapped))
            .route("/{guid}/user_roles", web::get().to(user_roles))
            .route("/{guid}/{relation}", web::get().to(members))
            .route("/{guid}/{relation}", web::put().to(give_by_name))
            .route("/{guid}/{relation}", web::delete().to(take_by_name))
            .route("/{guid}/{relation}/remove", web::post().to(take_by_name))
            .route("/{guid}/{relation}/{user}", web::put().to(give))
            .route("/{guid}/{relation}/{user}", web::delete().to(take)),
    );
}

async fn written(api: &Api, actor: &Actor, space: Space, depth: u8) -> Result<Value, Fail> {
    let (actor, sealer) = (actor.clone(), api.sealer.clone());
    api.read(move |c| present::space(c, &View::one(&actor, &sealer), &space, depth))
        .await
}

async fn readable(api: &Api, actor: &Actor, guid: &str) -> Result<Space, Fail> {
    let (actor, guid) = (actor.clone(), guid.to_owned());
    api.read(move |c| actor.space(c, &guid, SpaceRight::Read))
        .await
}

async fn list(api: Api, actor: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    let seen = |_: &mut _, actor: &Actor| Ok(actor.sees_spaces());
    page(
        &api,
        &actor,
        &request,
        query,
        (&space::LISTING, space::by_ids),
        seen,
        present::space,
    )
    .await
}

async fn create(api: Api, actor: Actor, Json(fields): Json<SpaceFields>) -> Answer {
    let made = actions::create(&api, &actor, fields).await?;
    created(&written(&api, &actor, made, 0).await?)
}

async fn show(api: Api, actor: Actor, guid: Path<String>, query: ListQuery) -> Answer {
    let found = readable(&api, &actor, &guid).await?;
    ok(&written(&api, &actor, found, query.inline_relations_depth).await?)
}

async fn update(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    Json(fields): Json<SpaceFields>,
) -> Answer {
    let changed = actions::update(&api, &actor, &guid, fields).await?;
    created(&written(&api, &actor, changed, 0).await?)
}

async fn delete(api: Api, actor: Actor, guid: Path<String>, query: ListQuery) -> Answer {
    actions::delete(&api, &actor, &guid, is_true(&query, "recursive")).await?;
    gone(&api, &query).await
}

/// The condition "in this space", for a space that the actor may read.
fn inside(
    guid: Path<String>,
) -> impl Fn(&mut cupola_db::Conn, &Actor) -> Result<Where, Fail> + Send + 'static {
    let guid = guid.into_inner();
    move |c, actor| {
        actor.space(c, &guid, SpaceRight::Read)?;
        Ok(Where::all().and("space_guid = ?", [&guid]))
    }
}

async fn apps(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let seen = inside(guid);
    page(
        &api,
        &actor,
        &request,
        query,
        (&app::LISTING, app::by_ids),
        seen,
        present::app,
    )
    .await
}

async fn list_routes(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let seen = inside(guid);
    page(
        &api,
        &actor,
        &request,
        query,
        (&route::LISTING, route::by_ids),
        seen,
        present::route,
    )
    .await
}

async fn domains(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let seen = move |c: &mut _, actor: &Actor| {
        let space = actor.space(c, &guid, SpaceRight::Read)?;
        Ok(orgs::usable_domains(&space.org_guid))
    };
    let present = |_: &mut _, _: &View<'_>, row: &_, _| Ok(present::domain(row));
    page(
        &api,
        &actor,
        &request,
        query,
        (&domain::LISTING, domain::by_ids),
        seen,
        present,
    )
    .await
}

async fn events(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let present = |_: &mut _, _: &View<'_>, row: &_, _| Ok(present::event(row));
    let seen = inside(guid);
    page(
        &api,
        &actor,
        &request,
        query,
        (&event::LISTING, event::by_ids),
        seen,
        present,
    )
    .await
}

async fn delete_unmapped(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    route_actions::delete_unmapped(&api, &actor, &guid).await?;
    nothing()
}

async fn user_roles(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let (space_guid, wanted) = (guid.clone(), guid.into_inner());
    let seen = move |c: &mut _, actor: &Actor| {
        actor.space(c, &wanted, SpaceRight::Read)?;
        let in_it = "guid IN (SELECT user_guid FROM space_roles WHERE space_guid = ?)";
        Ok(Where::all().and(in_it, [&wanted]))
    };
    let present = move |c: &mut _, _: &View<'_>, row: &User, _| {
        let roles = user::roles_in_space(c, &space_guid, &row.guid)?;
        let names = roles.into_iter().map(SpaceRole::public_name).collect();
        Ok(present::member(row, "space_roles", names))
    };
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

/// Relations of a space to kinds that this platform has none of.
const EMPTY: [&str; 5] = [
    "service_instances",
    "services",
    "security_groups",
    "staging_security_groups",
    "app_events",
];

fn role_of(relation: &str) -> Result<SpaceRole, Fail> {
    SpaceRole::of_relation(relation).ok_or_else(|| api_error::NOT_FOUND.bare().into())
}

async fn members(
    api: Api,
    actor: Actor,
    path: Path<(String, String)>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let (guid, relation) = path.into_inner();
    if EMPTY.contains(&relation.as_str()) {
        readable(&api, &actor, &guid).await?;
        return super::none::empty(&request, &query);
    }
    let role = role_of(&relation)?;
    let seen = move |c: &mut _, actor: &Actor| {
        actor.space(c, &guid, SpaceRight::Read)?;
        let having =
            "guid IN (SELECT user_guid FROM space_roles WHERE space_guid = ? AND role = ?)";
        Ok(Where::all().and(having, [guid.as_str(), role.as_str()]))
    };
    page(
        &api,
        &actor,
        &request,
        query,
        (&user::LISTING, user::by_ids),
        seen,
        users::present,
    )
    .await
}

async fn change(
    api: &Api,
    actor: &Actor,
    path: (String, String),
    subject: Subject,
    change: Change,
) -> Result<Value, Fail> {
    let (guid, relation) = path;
    let role = role_of(&relation)?;
    let space = role::in_space(api, actor, &guid, role, subject, change).await?;
    written(api, actor, space, 0).await
}

async fn give_by_name(
    api: Api,
    actor: Actor,
    path: Path<(String, String)>,
    Json(name): Json<ByName>,
) -> Answer {
    let path = path.into_inner();
    created(&change(&api, &actor, path, Subject::Name(name), Change::Give).await?)
}

/// By name the parent is answered with 200, unlike everywhere else.
async fn take_by_name(
    api: Api,
    actor: Actor,
    path: Path<(String, String)>,
    Json(name): Json<ByName>,
) -> Answer {
    let path = path.into_inner();
    ok(&change(&api, &actor, path, Subject::Name(name), Change::Take).await?)
}

async fn give(api: Api, actor: Actor, path: Path<(String, String, String)>) -> Answer {
    let (guid, relation, user) = path.into_inner();
    let path = (guid, relation);
    created(&change(&api, &actor, path, Subject::Guid(user), Change::Give).await?)
}

async fn take(api: Api, actor: Actor, path: Path<(String, String, String)>) -> Answer {
    let (guid, relation, user) = path.into_inner();
    change(
        &api,
        &actor,
        (guid, relation),
        Subject::Guid(user),
        Change::Take,
    )
    .await?;
    nothing()
}
