//! `/info` and `/login`: what a client asks before it logs in. `/healthz` for load balancers.

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};
use serde_json::json;

use crate::state::Uaa;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(web::resource("/info").route(web::get().to(info)))
        .service(web::resource("/login").route(web::get().to(info)))
        .service(web::resource("/healthz").route(web::get().to(healthz)))
        .service(web::resource("/.well-known/openid-configuration").route(web::get().to(discovery)))
        .service(
            web::resource("/oauth/token/.well-known/openid-configuration")
                .route(web::get().to(discovery)),
        );
}

/// Server facts, links and the prompts of a login.
async fn info(uaa: web::Data<Uaa>) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "app": {"version": "77.20.0"},
        "links": {
            "uaa": uaa.issuer.to_string(),
            "login": uaa.login.to_string(),
            "passwd": uaa.login.join("/forgot_password"),
            "register": uaa.login.join("/create_account"),
        },
        "prompts": {
            "username": ["text", "Email"],
            "password": ["password", "Password"],
        },
        "zone_name": "uaa",
        "entityID": uaa.login.to_string(),
        "idpDefinitions": {},
        "commit_id": env!("CARGO_PKG_VERSION"),
        "timestamp": "1970-01-01T00:00:00+0000",
    }))
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok")
}

/// OpenID Connect discovery.
async fn discovery(uaa: web::Data<Uaa>) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "issuer": uaa.issuer.join("/oauth/token"),
        "authorization_endpoint": uaa.login.join("/oauth/authorize"),
        "token_endpoint": uaa.issuer.join("/oauth/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "userinfo_endpoint": uaa.issuer.join("/userinfo"),
        "jwks_uri": uaa.issuer.join("/token_keys"),
        "scopes_supported": ["openid", "profile", "roles", "user_attributes"],
        "response_types_supported": ["code"],
        "grant_types_supported":
            ["password", "refresh_token", "client_credentials", "authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["S256", "plain"],
        "claims_supported": [
            "sub", "user_name", "origin", "iss", "auth_time", "amr", "client_id", "aud", "zid",
            "given_name", "family_name", "user_id", "scope", "exp", "iat", "jti", "azp", "rev_sig",
            "email", "email_verified", "previous_logon_time"
        ],
        "claim_types_supported": ["normal"],
        "ui_locales_supported": ["en-US"],
    }))
}
