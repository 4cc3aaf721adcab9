//! Kinds that this platform has none of, which clients look up all the same: a push asks what is
//! bound to the app. The answer is the truth: an empty collection.

use actix_web::HttpRequest;
use actix_web::web::{self, ServiceConfig};
use cupola_http::{ListQuery, Page};
use serde_json::Value;

use super::{Answer, Api};
use crate::access::SpaceRight;
use crate::action::app as actions;
use crate::actor::Actor;

const COLLECTIONS: [&str; 8] = [
    "/service_bindings",
    "/service_instances",
    "/user_provided_service_instances",
    "/service_keys",
    "/services",
    "/service_plans",
    "/security_groups",
    "/space_quota_definitions",
];

pub(super) fn routes(cfg: &mut ServiceConfig) {
    for collection in COLLECTIONS {
        cfg.route(collection, web::get().to(list));
    }
}

/// A page with nothing on it.
pub(super) fn empty(request: &HttpRequest, query: &ListQuery) -> Answer {
    Ok(Page::<Value>::new(request.path(), query, 0, Vec::new()).ok()?)
}

async fn list(_: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    empty(&request, &query)
}

/// `GET /v2/apps/:guid/service_bindings`
pub(super) async fn of_app(
    api: Api,
    actor: Actor,
    guid: web::Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    api.read(move |c| actions::find(c, &actor, &guid, SpaceRight::Read))
        .await?;
    empty(&request, &query)
}
