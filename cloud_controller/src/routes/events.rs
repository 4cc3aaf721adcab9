//! `/v2/events` and `/v2/jobs`

use actix_web::HttpRequest;
use actix_web::web::{self, Path, ServiceConfig};
use cupola_http::{ListQuery, api_error};
use serde_json::json;

use super::{Answer, Api, ok, page};
use crate::actor::Actor;
use crate::model::listing::Where;
use crate::model::{event, job};
use crate::present::{self, View};

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.route("/events", web::get().to(list))
        .route("/events/{guid}", web::get().to(show))
        .route("/jobs/{guid}", web::get().to(show_job));
}

/// What happened in spaces that the actor sees, and to organizations that they manage or audit.
fn seen(actor: &Actor) -> Where {
    if actor.reads_all {
        return Where::all();
    }
    Where::all().and(
        "space_guid IN (SELECT space_guid FROM space_roles WHERE user_guid = ?) OR org_guid IN \
         (SELECT org_guid FROM org_roles WHERE user_guid = ? AND role IN ('manager', 'auditor'))",
        [&actor.guid, &actor.guid],
    )
}

async fn list(api: Api, actor: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    let seen = |_: &mut _, actor: &Actor| Ok(seen(actor));
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

async fn show(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let found = api
        .read(move |c| {
            let found =
                event::find(c, &guid)?.ok_or_else(|| api_error::EVENT_NOT_FOUND.with(&*guid))?;
            if event::LISTING
                .all(c, &seen(&actor).and("guid = ?", [&guid]), 1)?
                .is_empty()
            {
                return Err(api_error::NOT_AUTHORIZED.bare().into());
            }
            Ok(found)
        })
        .await?;
    ok(&present::event(&found))
}

/// A job that is not there (any more) was finished long ago.
async fn show_job(api: Api, _: Actor, guid: Path<String>) -> Answer {
    let wanted = guid.clone();
    let found = api.read(move |c| Ok(job::find(c, &wanted)?)).await?;
    match found {
        Some(job) => ok(&present::job(&job)),
        None => ok(&json!({
            "metadata": {"guid": "0", "created_at": "1970-01-01T00:00:00Z", "url": "/v2/jobs/0"},
            "entity": {"guid": "0", "status": job::FINISHED},
        })),
    }
}
