//! User name and password.

use cupola_db::now;
use secrecy::SecretString;
use serde::Deserialize;

use super::{Proven, issue_to_user};
use crate::body::Form;
use crate::model::client::Client;
use crate::model::user::{self, INTERNAL, User};
use crate::model::{group, login_failure};
use crate::refusal::Refusal;
use crate::scope;
use crate::state::Uaa;
use crate::token::TokenResponse;

/// A user whose password was right, with his groups.
#[derive(Debug)]
pub(crate) struct CheckedPassword {
    pub(crate) user: User,
    pub(crate) groups: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct LoginHint {
    origin: String,
}

pub(super) async fn grant(
    uaa: &Uaa,
    client: &Client,
    form: &Form,
    login_hint: Option<&str>,
) -> Result<TokenResponse, Refusal> {
    if form.get("passcode").is_some_and(|code| !code.is_empty()) {
        return Err(Refusal::unauthorized("Invalid passcode"));
    }
    check_origin(form.get("login_hint").or(login_hint))?;
    let user_name = form.require("username")?;
    let password = SecretString::from(form.get("password").unwrap_or_default());
    let CheckedPassword { user, groups } = check_password(uaa, user_name, password).await?;
    let proven = Proven {
        client,
        user,
        groups,
        requested: scope::requested(form.get("scope")),
        grant_type: "password",
        authenticated_at: now(),
        with_id: form
            .get("response_type")
            .is_some_and(|types| types.contains("id_token")),
    };
    issue_to_user(uaa, proven).await
}

/// Only users whose passwords are kept here can log in with one.
fn check_origin(login_hint: Option<&str>) -> Result<(), Refusal> {
    let Some(hint) = login_hint.filter(|hint| !hint.is_empty()) else {
        return Ok(());
    };
    match serde_json::from_str::<LoginHint>(hint) {
        Ok(hint) if hint.origin == INTERNAL => Ok(()),
        _ => Err(Refusal::unauthorized(
            "The origin provided in the login_hint is invalid.",
        )),
    }
}

/// Checks a password under the lockout policy. Costs the same whether the user exists or not.
pub(crate) async fn check_password(
    uaa: &Uaa,
    user_name: &str,
    password: SecretString,
) -> Result<CheckedPassword, Refusal> {
    let name = user_name.to_owned();
    let found = uaa
        .db
        .read::<_, Refusal, _>(move |c| {
            let Some(user) = user::find_by_name(c, INTERNAL, &name)? else {
                return Ok(None);
            };
            let groups = group::of_user(c, &user.id)?;
            let failures = login_failure::of_user(c, &user.id)?;
            Ok(Some((CheckedPassword { user, groups }, failures)))
        })
        .await?;
    let failures = found.as_ref().and_then(|(_, failures)| *failures);
    if uaa.lockout.locks(failures, now()) {
        return Err(locked());
    }
    let hash = found
        .as_ref()
        .and_then(|(checked, _)| checked.user.password_hash.as_deref());
    let right = uaa.hasher.verify(&password, hash).await?;
    match found {
        Some((checked, _)) if right && checked.user.active => Ok(checked),
        Some((checked, _)) if !right => {
            note_failure(uaa, checked.user).await?;
            Err(Refusal::bad_credentials())
        }
        _ => Err(Refusal::bad_credentials()),
    }
}

async fn note_failure(uaa: &Uaa, user: User) -> Result<(), Refusal> {
    let lockout = uaa.lockout;
    uaa.db
        .write(move |c| {
            // He may have been deleted meanwhile.
            if user::find(c, &user.id)?.is_none() {
                return Ok(());
            }
            let before = login_failure::of_user(c, &user.id)?;
            let failures = lockout.after_failure(before, now());
            login_failure::store(c, &user.id, failures)?;
            tracing::info!(
                user.id = user.id,
                failures = failures.count,
                "a login failed"
            );
            Ok::<_, Refusal>(())
        })
        .await
}

/// The text is part of the interface: clients compare it.
pub(super) fn locked() -> Refusal {
    Refusal::unauthorized(
        "Your account has been locked because of too many failed attempts to login.",
    )
}
