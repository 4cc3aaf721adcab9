//! `/oauth/token/revoke`: ending tokens before their time.

use actix_web::HttpResponse;
use actix_web::web::{self, Path, ServiceConfig};
use cupola_db::now;

use crate::caller::Caller;
use crate::model::client::{self, Client};
use crate::model::{random_hex, refresh_token, revocation, user};
use crate::refusal::Refusal;
use crate::state::Uaa;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/oauth/token/revoke/user/{id}/client/{client}")
                .route(web::get().to(user_with_client))
                .route(web::delete().to(user_with_client)),
        )
        .service(
            web::resource("/oauth/token/revoke/user/{id}")
                .route(web::get().to(of_user))
                .route(web::delete().to(of_user)),
        )
        .service(
            web::resource("/oauth/token/revoke/client/{id}")
                .route(web::get().to(of_client))
                .route(web::delete().to(of_client)),
        )
        .service(web::resource("/oauth/token/revoke/{jti}").route(web::delete().to(one)));
}

/// Ends one token: the caller's own access token, a refresh token of his, or any for an operator.
async fn one(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
) -> Result<HttpResponse, Refusal> {
    let id = id.into_inner();
    let operator = caller.may(&["tokens.revoke"]);
    let own_access = id == caller.claims.token_id;
    let expires_at = caller.claims.expires_at.naive_utc();
    let owner = (caller.user.map(|user| user.id), caller.client.id);
    uaa.db
        .write(move |c| {
            if own_access {
                return Ok(revocation::insert(c, &id, expires_at)?);
            }
            let kept = refresh_token::find(c, &id)?;
            let kept = kept.filter(|kept| {
                operator || (owner.0.as_ref(), &owner.1) == (Some(&kept.user_id), &kept.client_id)
            });
            let unknown = || Refusal::not_found("invalid_token", "Resource not found");
            refresh_token::delete(c, &kept.ok_or_else(unknown)?.id)?;
            Ok::<_, Refusal>(())
        })
        .await?;
    Ok(HttpResponse::Ok().finish())
}

/// Ends all tokens of a user.
async fn of_user(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
) -> Result<HttpResponse, Refusal> {
    let id = id.into_inner();
    if !caller.is_user(&id) {
        caller.require(&["tokens.revoke"])?;
    }
    uaa.db
        .write(move |c| {
            if !user::new_salt(c, &id)? {
                return Err(Refusal::scim_not_found("User", &id));
            }
            refresh_token::delete_of_user(c, &id, None)?;
            Ok(())
        })
        .await?;
    Ok(HttpResponse::Ok().finish())
}

/// Ends the refresh tokens that a user has with one client.
async fn user_with_client(
    uaa: web::Data<Uaa>,
    caller: Caller,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Refusal> {
    let (id, client_id) = path.into_inner();
    if !caller.is_user(&id) {
        caller.require(&["tokens.revoke"])?;
    }
    uaa.db
        .write::<_, Refusal, _>(move |c| {
            Ok(refresh_token::delete_of_user(c, &id, Some(&client_id))?)
        })
        .await?;
    Ok(HttpResponse::Ok().finish())
}

/// Ends all tokens of a client.
async fn of_client(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
) -> Result<HttpResponse, Refusal> {
    let id = id.into_inner();
    caller.require(&["tokens.revoke"])?;
    uaa.db
        .write(move |c| {
            let unknown = || Refusal::not_found("invalid_client", "No such client");
            let before = client::find(c, &id)?.ok_or_else(unknown)?;
            let (salt, updated_at) = (random_hex(), now());
            client::update(
                c,
                &Client {
                    salt,
                    updated_at,
                    ..before
                },
            )?;
            Ok::<_, Refusal>(())
        })
        .await?;
    Ok(HttpResponse::Ok().finish())
}
