//! `POST /oauth/token`.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::NO_STORE;
use crate::body::{Body, Form};
use crate::caller::authenticate_client;
use crate::grant;
use crate::refusal::Refusal;
use crate::state::Uaa;

pub(super) fn configure(config: &mut ServiceConfig) {
    config.service(web::resource("/oauth/token").route(web::post().to(token)));
}

/// Grants tokens. Everything comes in the form; of the query only `login_hint` is read, so that
/// no password ends up in somebody's access log.
async fn token(
    uaa: web::Data<Uaa>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let form = body.form()?;
    let query = Form::parse(request.query_string().as_bytes())?;
    let client = authenticate_client(&uaa, request.headers(), &form).await?;
    let granted = grant::run(&uaa, &client, &form, query.get("login_hint")).await?;
    let mut response = HttpResponse::Ok();
    for header in NO_STORE {
        response.insert_header(header);
    }
    Ok(response.json(granted))
}
