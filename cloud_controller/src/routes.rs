//! The API: which path is whose, one file per noun. A handler reads the request, calls one action
//! and writes the answer.

mod apps;
mod buildpacks;
mod bulk;
mod config;
mod domains;
mod events;
mod info;
mod internal;
mod none;
mod orgs;
mod quotas;
mod routing;
mod spaces;
mod stacks;
mod summary;
mod upload;
mod users;
mod v3;

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use cupola_db::Conn;
use cupola_http::{ListQuery, Page, TokenVerifier, api_error, envelope};
use serde_json::Value;

use crate::actor::Actor;
use crate::controller::Controller;
use crate::error::Fail;
use crate::model::listing::{Listing, Where};
use crate::present::View;

/// What a handler ends with.
type Answer = Result<HttpResponse, Fail>;
/// The controller, as handlers get it.
type Api = web::Data<Controller>;

/// Everything the controller answers.
pub(crate) fn all(
    controller: Controller,
    verifier: TokenVerifier,
) -> impl Fn(&mut ServiceConfig) + Clone {
    let controller = web::Data::new(controller);
    let verifier = web::Data::new(verifier);
    move |app: &mut ServiceConfig| {
        app.app_data(controller.clone())
            .app_data(verifier.clone())
            .configure(info::routes)
            .configure(internal::routes)
            .configure(bulk::routes)
            .configure(v3::routes)
            .service(
                web::scope("/v2")
                    .wrap(from_fn(api_error::unknown_method_is_not_found))
                    .configure(apps::routes)
                    .configure(buildpacks::routes)
                    .configure(config::routes)
                    .configure(domains::routes)
                    .configure(events::routes)
                    .configure(orgs::routes)
                    .configure(quotas::routes)
                    .configure(routing::routes)
                    .configure(spaces::routes)
                    .configure(stacks::routes)
                    .configure(upload::routes)
                    .configure(users::routes)
                    .configure(none::routes)
                    .default_service(web::to(api_error::unknown_path)),
            )
            .default_service(web::to(api_error::unknown_path));
    }
}

/// 200 with a value.
fn ok(value: &Value) -> Answer {
    Ok(envelope::json(StatusCode::OK, value)?)
}

/// 201 with a resource; `Location` says where it is.
fn created(value: &Value) -> Answer {
    let mut response = envelope::json(StatusCode::CREATED, value)?;
    let url = value
        .pointer("/metadata/url")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if let Ok(location) = url.parse() {
        response
            .headers_mut()
            .insert(actix_web::http::header::LOCATION, location);
    }
    Ok(response)
}

/// 204.
fn nothing() -> Answer {
    Ok(HttpResponse::NoContent().finish())
}

/// 204, or 202 with a finished job when the client asked for one.
async fn gone(api: &Controller, query: &ListQuery) -> Answer {
    if query.parameter("async") != Some("true") {
        return nothing();
    }
    let job = crate::action::job::already_done(api).await?;
    Ok(envelope::json(
        StatusCode::ACCEPTED,
        &crate::present::job(&job),
    )?)
}

/// Whether a query parameter says yes.
fn is_true(query: &ListQuery, name: &str) -> bool {
    query.parameter(name) == Some("true")
}

/// A page of a collection: the rows of a listing that the actor sees, loaded by their ids and
/// written by `present`.
async fn page<R, L, P>(
    api: &Controller,
    actor: &Actor,
    request: &HttpRequest,
    query: ListQuery,
    (listing, load): (&'static Listing, L),
    seen: impl Fn(&mut Conn, &Actor) -> Result<Where, Fail> + Send + 'static,
    present: P,
) -> Answer
where
    R: 'static,
    L: Fn(&mut Conn, &[i64]) -> diesel::QueryResult<Vec<R>> + Send + 'static,
    P: Fn(&mut Conn, &View<'_>, &R, u8) -> Result<Value, Fail> + Send + 'static,
{
    let (actor, sealer, asked) = (actor.clone(), api.sealer.clone(), query.clone());
    let (total, resources) = api
        .read(move |c| {
            let seen = seen(c, &actor)?;
            let ids = listing.page(c, &asked, seen)?;
            let rows = load(c, &ids.ids)?;
            let view = View::list(&actor, &sealer);
            let depth = asked.inline_relations_depth;
            let written = rows
                .iter()
                .map(|row| present(c, &view, row, depth))
                .collect::<Result<Vec<Value>, Fail>>()?;
            Ok((ids.total, written))
        })
        .await?;
    Ok(Page::new(request.path(), &query, total, resources).ok()?)
}
