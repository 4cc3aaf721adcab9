//! The HTTP face: one file per group of paths.

mod authorize;
mod check_token;
mod clients;
mod groups;
mod info;
mod keys;
mod revoke;
mod token;
mod user_ids;
mod userinfo;
mod users;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, PRAGMA};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, ResponseError as _};

use crate::refusal::Refusal;
use crate::state::Uaa;

/// Headers of every answer with a token in it.
const NO_STORE: [(HeaderName, &str); 2] = [(CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")];

/// All paths of the room.
pub(crate) fn configure(config: &mut ServiceConfig, uaa: web::Data<Uaa>) {
    config.app_data(uaa).service(
        web::scope("")
            .wrap(from_fn(wrong_method))
            .configure(info::configure)
            .configure(token::configure)
            .configure(authorize::configure)
            .configure(check_token::configure)
            .configure(keys::configure)
            .configure(userinfo::configure)
            .configure(revoke::configure)
            .configure(users::configure)
            .configure(user_ids::configure)
            .configure(groups::configure)
            .configure(clients::configure)
            .default_service(web::to(unknown_path)),
    );
}

async fn unknown_path() -> Result<HttpResponse, Refusal> {
    Err(Refusal::not_found(
        "not_found",
        "There is nothing at this path",
    ))
}

/// Middleware: a wrong method is refused in our shape.
async fn wrong_method(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let response = next.call(request).await?;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return Ok(response.map_into_boxed_body());
    }
    let (request, _) = response.into_parts();
    let refusal = Refusal::method_not_allowed(request.method().as_str()).error_response();
    Ok(ServiceResponse::new(request, refusal))
}
