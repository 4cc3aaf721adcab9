//! `/v2/apps`

use actix_web::HttpRequest;
use actix_web::web::{self, Path, ServiceConfig};
use cupola_http::body::Json;
use cupola_http::{ListQuery, api_error};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Api, created, gone, is_true, nothing, ok, page, summary};
use crate::access::SpaceRight;
use crate::action::app_fields::AppFields;
use crate::action::{app as actions, bits, instances, job, route as routes_action};
use crate::actor::Actor;
use crate::dispatch;
use crate::error::Fail;
use crate::model::app::App;
use crate::model::listing::Where;
use crate::model::{app, event, route, setting};
use crate::present::{self, View};

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::scope("/apps")
            .route("", web::get().to(list))
            .route("", web::post().to(create))
            .route("/{guid}", web::get().to(show))
            .route("/{guid}", web::put().to(update))
            .route("/{guid}", web::delete().to(delete))
            .route("/{guid}/restage", web::post().to(restage))
            .route("/{guid}/instances", web::get().to(list_instances))
            .route(
                "/{guid}/instances/{index}",
                web::delete().to(restart_instance),
            )
            .route("/{guid}/stats", web::get().to(stats))
            .route("/{guid}/crashes", web::get().to(crashes))
            .route("/{guid}/env", web::get().to(env))
            .route("/{guid}/summary", web::get().to(summary::of_app))
            .route("/{guid}/permissions", web::get().to(permissions))
            .route("/{guid}/routes", web::get().to(list_routes))
            .route("/{guid}/routes/{route}", web::put().to(map_route))
            .route("/{guid}/routes/{route}", web::delete().to(unmap_route))
            .route("/{guid}/route_mappings", web::get().to(list_mappings))
            .route("/{guid}/events", web::get().to(list_events))
            .route(
                "/{guid}/service_bindings",
                web::get().to(super::none::of_app),
            )
            .route("/{guid}/copy_bits", web::post().to(copy_bits))
            .route("/{guid}/bits", web::put().to(super::upload::bits))
            .route(
                "/{guid}/download",
                web::get().to(super::internal::download_package),
            )
            .route(
                "/{guid}/droplet/download",
                web::get().to(super::internal::download_droplet),
            ),
    );
}

/// An app as its reader sees it.
async fn written(api: &Api, actor: &Actor, app: App, depth: u8) -> Result<Value, Fail> {
    let (actor, sealer) = (actor.clone(), api.sealer.clone());
    api.read(move |c| present::app(c, &View::one(&actor, &sealer), &app, depth))
        .await
}

async fn list(api: Api, actor: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    let seen = |_: &mut _, actor: &Actor| Ok(actor.sees_in_spaces());
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

async fn create(api: Api, actor: Actor, query: ListQuery, Json(fields): Json<AppFields>) -> Answer {
    let made = actions::create(&api, &actor, fields).await?;
    created(&written(&api, &actor, made, query.inline_relations_depth).await?)
}

async fn show(api: Api, actor: Actor, guid: Path<String>, query: ListQuery) -> Answer {
    let found = instances::readable(&api, &actor, &guid).await?;
    ok(&written(&api, &actor, found, query.inline_relations_depth).await?)
}

async fn update(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    query: ListQuery,
    Json(fields): Json<AppFields>,
) -> Answer {
    let changed = actions::update(&api, &actor, &guid, fields).await?;
    created(&written(&api, &actor, changed, query.inline_relations_depth).await?)
}

async fn delete(api: Api, actor: Actor, guid: Path<String>, query: ListQuery) -> Answer {
    actions::delete(&api, &actor, &guid, is_true(&query, "recursive")).await?;
    gone(&api, &query).await
}

async fn restage(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let app = actions::restage(&api, &actor, &guid).await?;
    created(&written(&api, &actor, app, 0).await?)
}

async fn list_instances(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    ok(&instances::list(&api, &actor, &guid).await?)
}

async fn restart_instance(api: Api, actor: Actor, path: Path<(String, String)>) -> Answer {
    let (guid, index) = path.into_inner();
    let index = index.parse().map_err(|_| {
        api_error::INSTANCES_ERROR.with(format!("{index:?} is not the number of an instance"))
    })?;
    instances::restart(&api, &actor, &guid, index).await?;
    nothing()
}

async fn stats(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    ok(&instances::stats(&api, &actor, &guid).await?)
}

async fn crashes(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    ok(&instances::crashes(&api, &actor, &guid).await?)
}

/// Everything that ends up in an app's environment.
async fn env(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let this = api.get_ref().clone();
    let value = api
        .read(move |c| {
            let (app, _) = actions::find(c, &actor, &guid, SpaceRight::ReadSecrets)?;
            let group = |c: &mut _, name: &str| -> Result<Value, Fail> {
                let sealed = setting::env_group(c, name)?;
                let place = format!("env_groups/{name}");
                Ok(Value::Object(this.sealer.open(&place, sealed.as_deref())?))
            };
            let (staging, running) = (group(c, "staging")?, group(c, "running")?);
            let uris = route::uris_of_app(c, &app.guid)?;
            let described = dispatch::app_description(c, &this, &app, &uris)?;
            let place = crate::sealed::environment_of(&app.guid);
            let own = this.sealer.open(&place, app.environment.as_deref())?;
            Ok(json!({
                "staging_env_json": staging,
                "running_env_json": running,
                "environment_json": own,
                "system_env_json": {"VCAP_SERVICES": {}},
                "application_env_json": {"VCAP_APPLICATION": described},
            }))
        })
        .await?;
    ok(&value)
}

async fn permissions(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let value = api
        .read(move |c| {
            let (_, space) = actions::find(c, &actor, &guid, SpaceRight::Read)?;
            let sensitive = actor.may_in_space(c, SpaceRight::ReadSecrets, &space)?;
            Ok(json!({"read_sensitive_data": sensitive, "read_basic_data": true}))
        })
        .await?;
    ok(&value)
}

async fn list_routes(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let seen = move |c: &mut _, actor: &Actor| {
        let (app, _) = actions::find(c, actor, &guid, SpaceRight::Read)?;
        let mine = "guid IN (SELECT route_guid FROM route_mappings WHERE app_guid = ?)";
        Ok(Where::all().and(mine, [&app.guid]))
    };
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

async fn list_mappings(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let seen = move |c: &mut _, actor: &Actor| {
        let (app, _) = actions::find(c, actor, &guid, SpaceRight::Read)?;
        Ok(Where::all().and("app_guid = ?", [&app.guid]))
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

async fn list_events(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let seen = move |c: &mut _, actor: &Actor| {
        let (app, _) = actions::find(c, actor, &guid, SpaceRight::Read)?;
        Ok(Where::all().and("actee = ?", [&app.guid]))
    };
    let present = |_: &mut _, _: &View<'_>, row: &_, _| Ok(present::event(row));
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

async fn map_route(
    api: Api,
    actor: Actor,
    path: Path<(String, String)>,
    query: ListQuery,
) -> Answer {
    let (app_guid, route_guid) = path.into_inner();
    let fields = routes_action::MappingFields {
        app_guid,
        route_guid,
        app_port: None,
    };
    let fine = routes_action::IfMapped::Fine;
    let (app, ..) = routes_action::map(&api, &actor, fields, fine).await?;
    created(&written(&api, &actor, app, query.inline_relations_depth).await?)
}

async fn unmap_route(api: Api, actor: Actor, path: Path<(String, String)>) -> Answer {
    let (app, route) = path.into_inner();
    routes_action::unmap(&api, &actor, &app, &route).await?;
    nothing()
}

#[derive(Deserialize)]
struct CopyFrom {
    source_app_guid: Option<String>,
}

async fn copy_bits(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    Json(from): Json<CopyFrom>,
) -> Answer {
    let source = from
        .source_app_guid
        .ok_or_else(|| api_error::APP_BITS_COPY_INVALID.with("missing source_app_guid"))?;
    bits::copy(&api, &actor, &source, &guid).await?;
    created(&present::job(&job::already_done(&api).await?))
}
