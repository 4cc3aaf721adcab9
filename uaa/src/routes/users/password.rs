//! `PUT /Users/{id}/password`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Path};
use cupola_db::now;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use crate::body::Body;
use crate::caller::Caller;
use crate::grant::check_password;
use crate::model::user::{self, User};
use crate::model::{login_failure, refresh_token};
use crate::refusal::Refusal;
use crate::state::Uaa;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    old_password: Option<SecretString>,
    password: SecretString,
}

/// Changes a password and ends the user's tokens.
pub(super) async fn change(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let id = id.into_inner();
    caller.require(&["password.write"])?;
    let change: Change = body.json()?;
    let wanted = id.clone();
    let found = uaa
        .db
        .read::<_, Refusal, _>(move |c| Ok(user::find(c, &wanted)?))
        .await?;
    let user = found.ok_or_else(|| Refusal::scim_not_found("User", &id))?;
    check_caller(&uaa, &caller, &user, change.old_password).await?;
    if let Err(reason) = uaa.check_new_password(change.password.expose_secret()) {
        return Err(Refusal::invalid_password(
            StatusCode::UNPROCESSABLE_ENTITY,
            reason,
        ));
    }
    if uaa
        .hasher
        .verify(&change.password, user.password_hash.as_deref())
        .await?
    {
        let reason = "Your new password cannot be the same as the old password.";
        return Err(Refusal::invalid_password(
            StatusCode::UNPROCESSABLE_ENTITY,
            reason,
        ));
    }
    let hash = uaa.hasher.hash(&change.password).await?;
    uaa.db
        .write(move |c| {
            let current =
                user::find(c, &id)?.ok_or_else(|| Refusal::scim_not_found("User", &id))?;
            // Two changes at once: the second has not seen the first, so it must not win.
            if current.password_hash != user.password_hash {
                return Err(Refusal::wrong_version());
            }
            let changed = User {
                password_hash: Some(hash.clone()),
                password_changed_at: now(),
                updated_at: now(),
                version: current.version + 1,
                ..current
            };
            user::update(c, &changed)?;
            login_failure::clear(c, &id)?;
            refresh_token::delete_of_user(c, &id, None)?;
            Ok(())
        })
        .await?;
    Ok(HttpResponse::Ok().json(json!({"status": "ok", "message": "password updated"})))
}

/// Oneself with the old password; others as a client or an admin.
async fn check_caller(
    uaa: &Uaa,
    caller: &Caller,
    user: &User,
    old_password: Option<SecretString>,
) -> Result<(), Refusal> {
    let Some(caller_user) = &caller.user else {
        return Ok(());
    };
    if caller_user.id != user.id {
        return match caller.claims.has_scope("uaa.admin") {
            true => Ok(()),
            false => Err(Refusal::access_denied(
                "You are not permitted to access this resource",
            )),
        };
    }
    let old = old_password
        .filter(|old| !old.expose_secret().is_empty())
        .ok_or_else(|| {
            let reason = "Previous password is required even for admin";
            Refusal::invalid_password(StatusCode::BAD_REQUEST, reason)
        })?;
    // Counted like a login, so that a stolen token is no way to guess the password.
    match check_password(uaa, &user.user_name, old).await {
        Ok(_) => Ok(()),
        Err(refusal) if refusal.is_bad_credentials() => {
            Err(Refusal::unauthorized("Old password is incorrect"))
        }
        Err(refusal) => Err(refusal),
    }
}
