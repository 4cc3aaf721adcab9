//! `/check_token` and `/introspect`: a resource server asks what a token says.

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use crate::body::{Body, Form};
use crate::caller::{Caller, authenticate_client};
use crate::refusal::Refusal;
use crate::state::Uaa;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(web::resource("/check_token").route(web::post().to(check_token)))
        .service(web::resource("/introspect").route(web::post().to(introspect)));
}

/// The claims of a live token; refuses a dead one.
async fn check_token(
    uaa: web::Data<Uaa>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let form = body.form()?;
    require_resource_server(&uaa, &request, &form).await?;
    let examined = Caller::from_token(&uaa, form.require("token")?).await;
    let caller = examined.map_err(as_bad_request)?;
    let wanted = form
        .get("scopes")
        .unwrap_or_default()
        .split(',')
        .filter(|s| !s.is_empty());
    let missing: Vec<&str> = wanted
        .filter(|scope| !caller.claims.has_scope(scope))
        .collect();
    if !missing.is_empty() {
        let description = format!("Some requested scopes are missing: {}", missing.join(","));
        return Err(Refusal::invalid_scope(description));
    }
    Ok(HttpResponse::Ok().json(caller.payload))
}

/// Here the token is what was asked about, not what was used to ask.
fn as_bad_request(refusal: Refusal) -> Refusal {
    match refusal.is_invalid_token() {
        true => refusal.at(StatusCode::BAD_REQUEST),
        false => refusal,
    }
}

/// The claims of a live token with `active: true`, or `active: false`.
async fn introspect(
    uaa: web::Data<Uaa>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let form = body.form()?;
    require_resource_server(&uaa, &request, &form).await?;
    match Caller::from_token(&uaa, form.require("token")?).await {
        Ok(Caller {
            payload: Value::Object(mut claims),
            ..
        }) => {
            claims.insert("active".to_owned(), true.into());
            Ok(HttpResponse::Ok().json(claims))
        }
        Err(refusal) if !refusal.is_invalid_token() => Err(refusal),
        _ => Ok(HttpResponse::Ok().json(json!({ "active": false }))),
    }
}

async fn require_resource_server(
    uaa: &Uaa,
    request: &HttpRequest,
    form: &Form,
) -> Result<(), Refusal> {
    let client = authenticate_client(uaa, request.headers(), form).await?;
    match client.has_authority("uaa.resource") {
        true => Ok(()),
        false => Err(Refusal::access_denied("Access is denied")),
    }
}
