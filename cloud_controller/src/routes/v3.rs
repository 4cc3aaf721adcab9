//! The little of v3 that late `cf` v6 reads after a push, to show an app. Nothing here changes
//! anything; v3 proper is another API.

mod answer;

use actix_web::web::{self, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::Api;
use crate::access::{OrgRight, SpaceRight};
use crate::action::instances;
use crate::actor::Actor;
use crate::model::app::App;
use crate::model::org::Org;
use crate::model::space::Space;
use crate::model::{app, org, space, stack};
use crate::present::time;
use answer::{Reader, V3Answer, V3Fail, V3Query, empty, hidden, not_found, page};

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::scope("/v3")
            .route("/organizations", web::get().to(list_orgs))
            .route("/organizations/{guid}", web::get().to(show_org))
            .route(
                "/organizations/{guid}/relationships/default_isolation_segment",
                web::get().to(no_org_segment),
            )
            .route("/spaces", web::get().to(list_spaces))
            .route("/spaces/{guid}", web::get().to(show_space))
            .route(
                "/spaces/{guid}/relationships/isolation_segment",
                web::get().to(no_space_segment),
            )
            .route("/isolation_segments", web::get().to(list_segments))
            .route("/apps", web::get().to(list_apps))
            .route("/apps/{guid}", web::get().to(show_app))
            .route("/apps/{guid}/processes", web::get().to(list_processes))
            .route("/apps/{guid}/processes/web", web::get().to(show_process))
            .route("/apps/{guid}/processes/web/stats", web::get().to(stats))
            .route(
                "/apps/{guid}/droplets/current",
                web::get().to(current_droplet),
            )
            .route("/apps/{guid}/tasks", web::get().to(list_tasks))
            .route("/processes/{guid}", web::get().to(show_process))
            .route("/processes/{guid}/stats", web::get().to(stats))
            .default_service(web::to(unknown)),
    );
}

/// A path that is not (yet) there.
async fn unknown() -> V3Answer {
    Err(cupola_http::api_error::NOT_FOUND.bare().into())
}

fn link(api: &Api, path: &str) -> Value {
    json!({"href": format!("{}/v3/{path}", api.config.external_base())})
}

fn written_org(api: &Api, org: &Org) -> Value {
    json!({
        "guid": org.guid,
        "created_at": time(org.created_at),
        "updated_at": time(org.updated_at.unwrap_or(org.created_at)),
        "name": org.name,
        "suspended": org.status == "suspended",
        "relationships": {"quota": {"data": {"guid": org.quota_guid}}},
        "metadata": {"labels": {}, "annotations": {}},
        "links": {"self": link(api, &format!("organizations/{}", org.guid))},
    })
}

async fn list_orgs(api: Api, Reader(actor): Reader, request: HttpRequest) -> V3Answer {
    let query = V3Query::parse(&request, &["names", "guids"])?;
    let seen = query.restrict(actor.sees_orgs(), "names", "name_key");
    let seen = query.restrict(seen, "guids", "guid");
    let this = api.clone();
    let present = move |_: &mut _, org: &Org| Ok(written_org(&this, org));
    page(
        &api,
        &request,
        query,
        (&org::LISTING, org::by_ids),
        seen,
        present,
    )
    .await
}

async fn show_org(api: Api, Reader(actor): Reader, guid: Path<String>) -> V3Answer {
    let found = api.read(move |c| actor.org(c, &guid, OrgRight::Read)).await;
    let found = found.map_err(|error| hidden(error, "Organization"))?;
    Ok(HttpResponse::Ok().json(written_org(&api, &found)))
}

async fn no_org_segment(api: Api, Reader(actor): Reader, guid: Path<String>) -> V3Answer {
    let found = api.read(move |c| actor.org(c, &guid, OrgRight::Read)).await;
    found.map_err(|error| hidden(error, "Organization"))?;
    Ok(HttpResponse::Ok().json(json!({"data": null})))
}

fn written_space(api: &Api, space: &Space) -> Value {
    json!({
        "guid": space.guid,
        "created_at": time(space.created_at),
        "updated_at": time(space.updated_at.unwrap_or(space.created_at)),
        "name": space.name,
        "relationships": {
            "organization": {"data": {"guid": space.org_guid}},
            "quota": {"data": null},
        },
        "metadata": {"labels": {}, "annotations": {}},
        "links": {
            "self": link(api, &format!("spaces/{}", space.guid)),
            "organization": link(api, &format!("organizations/{}", space.org_guid)),
        },
    })
}

async fn list_spaces(api: Api, Reader(actor): Reader, request: HttpRequest) -> V3Answer {
    let query = V3Query::parse(&request, &["names", "guids", "organization_guids"])?;
    let seen = query.restrict(actor.sees_spaces(), "names", "name_key");
    let seen = query.restrict(seen, "guids", "guid");
    let seen = query.restrict(seen, "organization_guids", "org_guid");
    let this = api.clone();
    let present = move |_: &mut _, space: &Space| Ok(written_space(&this, space));
    page(
        &api,
        &request,
        query,
        (&space::LISTING, space::by_ids),
        seen,
        present,
    )
    .await
}

async fn show_space(api: Api, Reader(actor): Reader, guid: Path<String>) -> V3Answer {
    let found = api
        .read(move |c| actor.space(c, &guid, SpaceRight::Read))
        .await;
    let found = found.map_err(|error| hidden(error, "Space"))?;
    Ok(HttpResponse::Ok().json(written_space(&api, &found)))
}

async fn no_space_segment(api: Api, Reader(actor): Reader, guid: Path<String>) -> V3Answer {
    let found = api
        .read(move |c| actor.space(c, &guid, SpaceRight::Read))
        .await;
    found.map_err(|error| hidden(error, "Space"))?;
    Ok(HttpResponse::Ok().json(json!({"data": null})))
}

/// There is one segment, and it has no name.
async fn list_segments(api: Api, _: Reader, request: HttpRequest) -> V3Answer {
    empty(&api, &request)
}

fn written_app(api: &Api, app: &App, stack: Option<String>) -> Value {
    let own = format!("apps/{}", app.guid);
    json!({
        "guid": app.guid,
        "created_at": time(app.created_at),
        "updated_at": time(app.updated_at.unwrap_or(app.created_at)),
        "name": app.name,
        "state": app.state,
        "lifecycle": {
            "type": "buildpack",
            "data": {"buildpacks": app.buildpack.iter().collect::<Vec<_>>(), "stack": stack},
        },
        "relationships": {"space": {"data": {"guid": app.space_guid}}},
        "metadata": {"labels": {}, "annotations": {}},
        "links": {
            "self": link(api, &own),
            "space": link(api, &format!("spaces/{}", app.space_guid)),
            "processes": link(api, &format!("{own}/processes")),
            "current_droplet": link(api, &format!("{own}/droplets/current")),
        },
    })
}

async fn list_apps(api: Api, Reader(actor): Reader, request: HttpRequest) -> V3Answer {
    let query = V3Query::parse(&request, &["names", "guids", "space_guids"])?;
    let seen = query.restrict(actor.sees_in_spaces(), "names", "name_key");
    let seen = query.restrict(seen, "guids", "guid");
    let seen = query.restrict(seen, "space_guids", "space_guid");
    let this = api.clone();
    let present = move |c: &mut _, app: &App| {
        let stack = stack::find(c, &app.stack_guid)?.map(|stack| stack.name);
        Ok(written_app(&this, app, stack))
    };
    page(
        &api,
        &request,
        query,
        (&app::LISTING, app::by_ids),
        seen,
        present,
    )
    .await
}

async fn readable(api: &Api, actor: &Actor, guid: &str) -> Result<App, V3Fail> {
    instances::readable(api, actor, guid)
        .await
        .map_err(|error| hidden(error, "App"))
}

async fn show_app(api: Api, Reader(actor): Reader, guid: Path<String>) -> V3Answer {
    let found = readable(&api, &actor, &guid).await?;
    let stack_guid = found.stack_guid.clone();
    let stack = api.read(move |c| Ok(stack::find(c, &stack_guid)?)).await?;
    Ok(HttpResponse::Ok().json(written_app(&api, &found, stack.map(|stack| stack.name))))
}

/// An app has one process here, which has the app's own guid.
fn written_process(api: &Api, app: &App) -> Value {
    let own = format!("processes/{}", app.guid);
    json!({
        "guid": app.guid,
        "created_at": time(app.created_at),
        "updated_at": time(app.updated_at.unwrap_or(app.created_at)),
        "type": "web",
        "command": app.command.as_ref().or(app.detected_start_command.as_ref()),
        "instances": app.instances,
        "memory_in_mb": app.memory,
        "disk_in_mb": app.disk_quota,
        "health_check": {
            "type": if app.health_check_type == "port" { "port" } else { "process" },
            "data": {"timeout": app.health_check_timeout},
        },
        "relationships": {"app": {"data": {"guid": app.guid}}},
        "metadata": {"labels": {}, "annotations": {}},
        "links": {
            "self": link(api, &own),
            "app": link(api, &format!("apps/{}", app.guid)),
            "stats": link(api, &format!("{own}/stats")),
        },
    })
}

async fn list_processes(
    api: Api,
    Reader(actor): Reader,
    guid: Path<String>,
    request: HttpRequest,
) -> V3Answer {
    let found = readable(&api, &actor, &guid).await?;
    let query = V3Query::parse(&request, &["types", "guids"])?;
    let this = api.clone();
    let only = actor.sees_in_spaces().and("guid = ?", [&found.guid]);
    let present = move |_: &mut _, app: &App| Ok(written_process(&this, app));
    page(
        &api,
        &request,
        query,
        (&app::LISTING, app::by_ids),
        only,
        present,
    )
    .await
}

async fn show_process(api: Api, Reader(actor): Reader, guid: Path<String>) -> V3Answer {
    let found = readable(&api, &actor, &guid).await?;
    Ok(HttpResponse::Ok().json(written_process(&api, &found)))
}

async fn stats(api: Api, Reader(actor): Reader, guid: Path<String>) -> V3Answer {
    let found = readable(&api, &actor, &guid).await?;
    let resources = instances::process_stats(&api, &found).await;
    Ok(HttpResponse::Ok().json(json!({"resources": resources})))
}

async fn current_droplet(api: Api, Reader(actor): Reader, guid: Path<String>) -> V3Answer {
    let found = readable(&api, &actor, &guid).await?;
    let (Some(droplet), true) = (&found.droplet_key, found.is_staged()) else {
        return Err(not_found("Droplet"));
    };
    let stack_guid = found.stack_guid.clone();
    let stack = api.read(move |c| Ok(stack::find(c, &stack_guid)?)).await?;
    let buildpack = json!({
        "name": found.buildpack.as_ref().or(found.detected_buildpack.as_ref()),
        "detect_output": found.detected_buildpack,
    });
    Ok(HttpResponse::Ok().json(json!({
        "guid": droplet,
        "state": "STAGED",
        "error": null,
        "created_at": time(found.package_updated_at.unwrap_or(found.created_at)),
        "lifecycle": {"type": "buildpack", "data": {}},
        "checksum": {"type": "sha1", "value": found.droplet_sha1},
        "buildpacks": [buildpack],
        "stack": stack.map(|stack| stack.name),
        "image": null,
        "process_types": {"web": found.detected_start_command},
        "links": {"app": link(&api, &format!("apps/{}", found.guid))},
    })))
}

/// Tasks are not run here yet, so that no app has any.
async fn list_tasks(
    api: Api,
    Reader(actor): Reader,
    guid: Path<String>,
    request: HttpRequest,
) -> V3Answer {
    readable(&api, &actor, &guid).await?;
    empty(&api, &request)
}
