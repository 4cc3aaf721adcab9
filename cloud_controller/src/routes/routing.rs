//! `/v2/routes` and `/v2/route_mappings`

use actix_web::HttpRequest;
use actix_web::web::{self, Path, ServiceConfig};
use cupola_http::body::Json;
use cupola_http::{ListQuery, api_error};
use serde_json::Value;

use super::{Answer, Api, created, gone, nothing, ok, page};
use crate::access::SpaceRight;
use crate::action::route::{self as actions, IfMapped, MappingFields, RouteFields};
use crate::actor::Actor;
use crate::error::Fail;
use crate::model::listing::Where;
use crate::model::route::{Mapping, Route};
use crate::model::{app, route};
use crate::present::{self, View};

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::scope("/routes")
            .route("", web::get().to(list))
            .route("", web::post().to(create))
            .route("/reserved/domain/{domain}", web::get().to(reserved))
            .route(
                "/reserved/domain/{domain}/host/{host}",
                web::get().to(reserved_host),
            )
            .route("/{guid}", web::get().to(show))
            .route("/{guid}", web::put().to(update))
            .route("/{guid}", web::delete().to(delete))
            .route("/{guid}/apps", web::get().to(apps))
            .route("/{guid}/apps/{app}", web::put().to(map_app))
            .route("/{guid}/apps/{app}", web::delete().to(unmap_app))
            .route("/{guid}/route_mappings", web::get().to(mappings_of)),
    )
    .service(
        web::scope("/route_mappings")
            .route("", web::get().to(list_mappings))
            .route("", web::post().to(create_mapping))
            .route("/{guid}", web::get().to(show_mapping))
            .route("/{guid}", web::delete().to(delete_mapping)),
    );
}

async fn written(api: &Api, actor: &Actor, route: Route, depth: u8) -> Result<Value, Fail> {
    let (actor, sealer) = (actor.clone(), api.sealer.clone());
    api.read(move |c| present::route(c, &View::one(&actor, &sealer), &route, depth))
        .await
}

async fn list(api: Api, actor: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    let seen = |_: &mut _, actor: &Actor| Ok(actor.sees_in_spaces());
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

async fn create(
    api: Api,
    actor: Actor,
    query: ListQuery,
    Json(fields): Json<RouteFields>,
) -> Answer {
    let made = actions::create(&api, &actor, fields).await?;
    created(&written(&api, &actor, made, query.inline_relations_depth).await?)
}

async fn show(api: Api, actor: Actor, guid: Path<String>, query: ListQuery) -> Answer {
    let who = actor.clone();
    let (found, _) = api
        .read(move |c| actions::find(c, &who, &guid, SpaceRight::Read))
        .await?;
    ok(&written(&api, &actor, found, query.inline_relations_depth).await?)
}

async fn update(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    Json(fields): Json<RouteFields>,
) -> Answer {
    let changed = actions::update(&api, &actor, &guid, fields).await?;
    created(&written(&api, &actor, changed, 0).await?)
}

async fn delete(api: Api, actor: Actor, guid: Path<String>, query: ListQuery) -> Answer {
    actions::delete(&api, &actor, &guid).await?;
    gone(&api, &query).await
}

async fn apps(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let seen = move |c: &mut _, actor: &Actor| {
        let (found, _) = actions::find(c, actor, &guid, SpaceRight::Read)?;
        let mapped = "guid IN (SELECT app_guid FROM route_mappings WHERE route_guid = ?)";
        Ok(Where::all().and(mapped, [&found.guid]))
    };
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

async fn map_app(api: Api, actor: Actor, path: Path<(String, String)>) -> Answer {
    let (route_guid, app_guid) = path.into_inner();
    let fields = MappingFields {
        app_guid,
        route_guid,
        app_port: None,
    };
    let (_, route, _) = actions::map(&api, &actor, fields, IfMapped::Fine).await?;
    created(&written(&api, &actor, route, 0).await?)
}

async fn unmap_app(api: Api, actor: Actor, path: Path<(String, String)>) -> Answer {
    let (route, app) = path.into_inner();
    actions::unmap(&api, &actor, &app, &route).await?;
    nothing()
}

/// 204 when the route is taken, 404 when it is free.
async fn reserved(api: Api, _: Actor, domain: Path<String>, query: ListQuery) -> Answer {
    let host = query.parameter("host").unwrap_or_default().to_owned();
    answer_reserved(&api, domain.into_inner(), host, &query).await
}

async fn reserved_host(
    api: Api,
    _: Actor,
    path: Path<(String, String)>,
    query: ListQuery,
) -> Answer {
    let (domain, host) = path.into_inner();
    answer_reserved(&api, domain, host, &query).await
}

async fn answer_reserved(api: &Api, domain: String, host: String, query: &ListQuery) -> Answer {
    let path = query.parameter("path").unwrap_or_default().to_owned();
    if api
        .read(move |c| actions::is_reserved(c, &domain, &host, &path))
        .await?
    {
        return nothing();
    }
    Err(api_error::NOT_FOUND.bare().into())
}

async fn mappings_of(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let seen = move |c: &mut _, actor: &Actor| {
        let (found, _) = actions::find(c, actor, &guid, SpaceRight::Read)?;
        Ok(Where::all().and("route_guid = ?", [&found.guid]))
    };
    let (listing, load) = (&route::MAPPINGS, route::mappings_by_ids);
    page(
        &api,
        &actor,
        &request,
        query,
        (listing, load),
        seen,
        present::mapping,
    )
    .await
}

async fn list_mappings(api: Api, actor: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    let seen = |_: &mut _, actor: &Actor| {
        if actor.reads_all {
            return Ok(Where::all());
        }
        let visible = "app_guid IN (SELECT a.guid FROM apps AS a JOIN space_roles AS r \
                       ON r.space_guid = a.space_guid WHERE r.user_guid = ?) OR app_guid IN \
                       (SELECT a.guid FROM apps AS a JOIN spaces AS s ON s.guid = a.space_guid \
                       JOIN org_roles AS o ON o.org_guid = s.org_guid \
                       WHERE o.user_guid = ? AND o.role = 'manager')";
        Ok(Where::all().and(visible, [&actor.guid, &actor.guid]))
    };
    let (listing, load) = (&route::MAPPINGS, route::mappings_by_ids);
    page(
        &api,
        &actor,
        &request,
        query,
        (listing, load),
        seen,
        present::mapping,
    )
    .await
}

async fn written_mapping(api: &Api, actor: &Actor, mapping: Mapping) -> Result<Value, Fail> {
    let (actor, sealer) = (actor.clone(), api.sealer.clone());
    api.read(move |c| present::mapping(c, &View::one(&actor, &sealer), &mapping, 0))
        .await
}

async fn create_mapping(api: Api, actor: Actor, Json(fields): Json<MappingFields>) -> Answer {
    let (_, _, mapping) = actions::map(&api, &actor, fields, IfMapped::Refuse).await?;
    created(&written_mapping(&api, &actor, mapping).await?)
}

async fn show_mapping(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let who = actor.clone();
    let mapping = api
        .read(move |c| {
            let mapping = route::find_mapping(c, &guid)?
                .ok_or_else(|| api_error::ROUTE_MAPPING_NOT_FOUND.with(&*guid))?;
            actions::find(c, &who, &mapping.route_guid, SpaceRight::Read)?;
            Ok(mapping)
        })
        .await?;
    ok(&written_mapping(&api, &actor, mapping).await?)
}

async fn delete_mapping(api: Api, actor: Actor, guid: Path<String>, query: ListQuery) -> Answer {
    actions::delete_mapping(&api, &actor, &guid).await?;
    gone(&api, &query).await
}
