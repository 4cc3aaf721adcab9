//! `/v2/shared_domains`, `/v2/private_domains` and their union `/v2/domains`

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::{self, Path, ServiceConfig};
use cupola_http::body::Json;
use cupola_http::{ListQuery, api_error};

use super::{Answer, Api, created, gone, is_true, ok, page};
use crate::action::domain::{self as actions, DomainFields};
use crate::actor::Actor;
use crate::error::Fail;
use crate::model::listing::Where;
use crate::model::{domain, org, space};
use crate::present::{self, View};

/// `X-Cf-Warnings`: what a client prints to its user, escaped as in a query.
const WARNINGS: HeaderName = HeaderName::from_static("x-cf-warnings");
const DEPRECATED: &str = "Endpoint+deprecated";

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::scope("/shared_domains")
            .route("", web::get().to(list_shared))
            .route("", web::post().to(create_shared))
            .route("/{guid}", web::get().to(show_shared))
            .route("/{guid}", web::delete().to(delete)),
    )
    .service(
        web::scope("/private_domains")
            .route("", web::get().to(list_private))
            .route("", web::post().to(create_private))
            .route("/{guid}", web::get().to(show_private))
            .route("/{guid}", web::delete().to(delete))
            .route("/{guid}/shared_organizations", web::get().to(shared_with)),
    )
    .service(
        web::scope("/domains")
            .route("", web::get().to(list))
            .route("", web::post().to(create))
            .route("/{guid}", web::get().to(show))
            .route("/{guid}", web::delete().to(delete))
            .route("/{guid}/spaces", web::get().to(spaces)),
    );
}

fn deprecated(answer: Answer) -> Answer {
    let mut response = answer?;
    response
        .headers_mut()
        .insert(WARNINGS, HeaderValue::from_static(DEPRECATED));
    Ok(response)
}

async fn list_shared(api: Api, actor: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    let seen = |_: &mut _, _: &Actor| Ok(Where::all().and("owner_org_guid IS NULL", []));
    let present = |_: &mut _, _: &View<'_>, row: &_, _| Ok(present::shared_domain(row));
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

async fn list_private(api: Api, actor: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    let seen = |_: &mut _, actor: &Actor| Ok(actor.sees_private_domains());
    let present = |_: &mut _, _: &View<'_>, row: &_, _| Ok(present::private_domain(row));
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

async fn list(api: Api, actor: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    let seen = |_: &mut _, actor: &Actor| {
        if actor.reads_all {
            return Ok(Where::all());
        }
        let visible = "owner_org_guid IS NULL OR owner_org_guid IN \
                       (SELECT org_guid FROM org_roles WHERE user_guid = ?)";
        Ok(Where::all().and(visible, [&actor.guid]))
    };
    let present = |_: &mut _, _: &View<'_>, row: &_, _| Ok(present::domain(row));
    let listing = &domain::LISTING;
    deprecated(
        page(
            &api,
            &actor,
            &request,
            query,
            (listing, domain::by_ids),
            seen,
            present,
        )
        .await,
    )
}

async fn create_shared(api: Api, actor: Actor, Json(fields): Json<DomainFields>) -> Answer {
    created(&present::shared_domain(
        &actions::create_shared(&api, &actor, fields).await?,
    ))
}

async fn create_private(api: Api, actor: Actor, Json(fields): Json<DomainFields>) -> Answer {
    created(&present::private_domain(
        &actions::create_private(&api, &actor, fields).await?,
    ))
}

async fn create(api: Api, actor: Actor, Json(fields): Json<DomainFields>) -> Answer {
    let made = if fields.owning_organization_guid.is_some() {
        actions::create_private(&api, &actor, fields).await?
    } else {
        actions::create_shared(&api, &actor, fields).await?
    };
    deprecated(created(&present::domain(&made)))
}

async fn readable(api: &Api, actor: Actor, guid: Path<String>) -> Result<domain::Domain, Fail> {
    api.read(move |c| actions::find(c, &actor, &guid)).await
}

async fn show_shared(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let found = readable(&api, actor, guid).await?;
    if !found.is_shared() {
        return Err(api_error::DOMAIN_NOT_FOUND.with(found.guid).into());
    }
    ok(&present::shared_domain(&found))
}

async fn show_private(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let found = readable(&api, actor, guid).await?;
    if found.is_shared() {
        return Err(api_error::DOMAIN_NOT_FOUND.with(found.guid).into());
    }
    ok(&present::private_domain(&found))
}

async fn show(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    deprecated(ok(&present::domain(&readable(&api, actor, guid).await?)))
}

async fn delete(api: Api, actor: Actor, guid: Path<String>, query: ListQuery) -> Answer {
    actions::delete(&api, &actor, &guid, is_true(&query, "recursive")).await?;
    gone(&api, &query).await
}

async fn shared_with(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let seen = move |c: &mut _, actor: &Actor| {
        actions::find(c, actor, &guid)?;
        let with = "guid IN (SELECT org_guid FROM domain_shares WHERE domain_guid = ?)";
        Ok(actor.sees_orgs().and(with, [&guid]))
    };
    page(
        &api,
        &actor,
        &request,
        query,
        (&org::LISTING, org::by_ids),
        seen,
        present::org,
    )
    .await
}

async fn spaces(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let seen = move |c: &mut _, actor: &Actor| {
        let found = actions::find(c, actor, &guid)?;
        Ok(match &found.owner_org_guid {
            Some(owner) => actor.sees_spaces().and("org_guid = ?", [owner]),
            None => actor.sees_spaces(),
        })
    };
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
