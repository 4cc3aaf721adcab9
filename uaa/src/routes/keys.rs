//! `/token_key` and `/token_keys`: what resource servers verify with.

use actix_web::http::header::{ETAG, IF_NONE_MATCH};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use cupola_http::bearer::PublicKeyJwk;
use serde::Serialize;
use serde_json::json;

use crate::state::Uaa;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(web::resource("/token_keys").route(web::get().to(token_keys)))
        .service(web::resource("/token_key").route(web::get().to(token_key)));
}

/// Every key that a live token may have been signed with.
async fn token_keys(uaa: web::Data<Uaa>, request: HttpRequest) -> HttpResponse {
    let keys = uaa.keyring.public();
    answer(&request, &keys, &json!({ "keys": keys }))
}

/// The key that signs now.
async fn token_key(uaa: web::Data<Uaa>, request: HttpRequest) -> HttpResponse {
    let keys = uaa.keyring.public();
    answer(&request, &keys[..1.min(keys.len())], &keys.first())
}

/// Key ids are digests of the keys, so they make up a tag that all UAAs agree on.
fn answer(request: &HttpRequest, keys: &[PublicKeyJwk], body: &impl Serialize) -> HttpResponse {
    let ids: Vec<&str> = keys.iter().map(|key| key.kid.as_str()).collect();
    let tag = format!("\"{}\"", ids.join("-"));
    let known = request
        .headers()
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    if known == Some(&tag) {
        return HttpResponse::NotModified()
            .insert_header((ETAG, tag))
            .finish();
    }
    HttpResponse::Ok().insert_header((ETAG, tag)).json(body)
}
