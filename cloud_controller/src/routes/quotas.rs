//! `/v2/quota_definitions`

use actix_web::HttpRequest;
use actix_web::web::{self, Path, ServiceConfig};
use cupola_http::body::Json;
use cupola_http::{ListQuery, api_error};

use super::{Answer, Api, created, gone, ok, page};
use crate::action::quota::{self as actions, QuotaFields};
use crate::actor::Actor;
use crate::model::listing::Where;
use crate::model::quota;
use crate::present::{self, View};

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::scope("/quota_definitions")
            .route("", web::get().to(list))
            .route("", web::post().to(create))
            .route("/{guid}", web::get().to(show))
            .route("/{guid}", web::put().to(update))
            .route("/{guid}", web::delete().to(delete)),
    );
}

async fn list(api: Api, actor: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    let seen = |_: &mut _, _: &Actor| Ok(Where::all());
    let present = |_: &mut _, _: &View<'_>, row: &_, _| Ok(present::quota(row));
    page(
        &api,
        &actor,
        &request,
        query,
        (&quota::LISTING, quota::by_ids),
        seen,
        present,
    )
    .await
}

async fn create(api: Api, actor: Actor, Json(fields): Json<QuotaFields>) -> Answer {
    created(&present::quota(
        &actions::create(&api, &actor, fields).await?,
    ))
}

async fn show(api: Api, _: Actor, guid: Path<String>) -> Answer {
    let found = api
        .read(move |c| {
            let found = quota::find(c, &guid)?;
            Ok(found.ok_or_else(|| api_error::QUOTA_DEFINITION_NOT_FOUND.with(&*guid))?)
        })
        .await?;
    ok(&present::quota(&found))
}

async fn update(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    Json(fields): Json<QuotaFields>,
) -> Answer {
    created(&present::quota(
        &actions::update(&api, &actor, &guid, fields).await?,
    ))
}

async fn delete(api: Api, actor: Actor, guid: Path<String>, query: ListQuery) -> Answer {
    actions::delete(&api, &actor, &guid).await?;
    gone(&api, &query).await
}
