//! `/userinfo`: who the bearer is.

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};

use crate::caller::Caller;
use crate::refusal::Refusal;
use crate::token::userinfo;

pub(super) fn configure(config: &mut ServiceConfig) {
    config.service(
        web::resource("/userinfo")
            .route(web::get().to(whoami))
            .route(web::post().to(whoami)),
    );
}

async fn whoami(caller: Caller) -> Result<HttpResponse, Refusal> {
    if !caller.claims.has_scope("openid") {
        return Err(Refusal::insufficient_scope(&["openid"]));
    }
    match &caller.user {
        Some(user) => Ok(HttpResponse::Ok().json(userinfo(user))),
        None => Err(Refusal::access_denied("The token belongs to no user")),
    }
}
