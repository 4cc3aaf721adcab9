//! The ways to a token, one file each, and what they have in common.

mod authorization_code;
mod client_credentials;
mod password;
mod refresh;

use chrono::{NaiveDateTime, TimeDelta};
use cupola_db::{Json, now};

use crate::body::Form;
use crate::model::client::Client;
use crate::model::refresh_token::{self, RefreshToken};
use crate::model::user::{self, User};
use crate::model::{digest_id, group, login_failure};
use crate::refusal::Refusal;
use crate::scope::{self, Scopes};
use crate::state::Uaa;
use crate::token::{Grant, TokenResponse, revocation_signature};

pub(crate) use password::check_password;

/// Grants what `form` asks for, to an authenticated client.
pub(crate) async fn run(
    uaa: &Uaa,
    client: &Client,
    form: &Form,
    login_hint: Option<&str>,
) -> Result<TokenResponse, Refusal> {
    let grant_type = form.require("grant_type")?;
    let known = [
        "password",
        "refresh_token",
        "client_credentials",
        "authorization_code",
    ];
    if !known.contains(&grant_type) {
        return Err(Refusal::unsupported_grant_type(grant_type));
    }
    if !client.may_use(grant_type) {
        let description = format!("Unauthorized grant type: {grant_type}");
        return Err(Refusal::unauthorized_client(description));
    }
    match grant_type {
        "password" => password::grant(uaa, client, form, login_hint).await,
        "refresh_token" => refresh::grant(uaa, client, form).await,
        "client_credentials" => client_credentials::grant(uaa, client, form),
        _ => authorization_code::grant(uaa, client, form).await,
    }
}

/// A user who has proved who he is to a client.
struct Proven<'a> {
    client: &'a Client,
    user: User,
    /// Names and ids.
    groups: Vec<(String, String)>,
    requested: Option<Scopes>,
    grant_type: &'static str,
    authenticated_at: NaiveDateTime,
    with_id: bool,
}

/// Issues the tokens of a user's grant and notes the login.
async fn issue_to_user(uaa: &Uaa, proven: Proven<'_>) -> Result<TokenResponse, Refusal> {
    let Proven { client, user, .. } = proven;
    let held = scope::of_user(&proven.groups);
    let scopes = scope::grant(&held, &client.scopes.0, proven.requested.as_ref());
    if scopes.is_empty() {
        return Err(nothing_granted());
    }
    let now = now();
    let grant = Grant {
        client,
        user: Some(&user),
        scopes,
        grant_type: proven.grant_type,
        authenticated_at: proven.authenticated_at,
    };
    let mut response = uaa.issue(&grant, now, proven.with_id)?;
    let (token, row) = match client.may_use("refresh_token") {
        true => {
            let (token, row) = new_refresh_token(uaa, &grant, &user, now);
            (Some(token), Some(row))
        }
        false => (None, None),
    };
    response.refresh_token = token;
    let (lockout, hash) = (uaa.lockout, user.password_hash.clone());
    let user_id = user.id;
    let by_password = proven.grant_type == "password";
    uaa.db
        .write(move |c| {
            // What was proven a moment ago must still hold: guesses that run side by side do not
            // get round the lock, and a password that has just been changed opens nothing.
            let current = user::find(c, &user_id)?;
            let same = current.is_some_and(|user| user.active && user.password_hash == hash);
            if !same {
                return Err(Refusal::bad_credentials());
            }
            if by_password {
                let failures = login_failure::of_user(c, &user_id)?;
                if lockout.locks(failures, now) {
                    return Err(password::locked());
                }
                if failures.is_some() {
                    login_failure::clear(c, &user_id)?;
                }
                user::logged_in(c, &user_id, now)?;
            }
            if let Some(row) = &row {
                refresh_token::insert(c, row)?;
            }
            Ok(())
        })
        .await?;
    Ok(response)
}

/// A refresh token for `grant`: its text, and the row to be kept.
fn new_refresh_token(
    uaa: &Uaa,
    grant: &Grant<'_>,
    user: &User,
    now: NaiveDateTime,
) -> (String, RefreshToken) {
    let token = refresh_token::generate();
    let validity = TimeDelta::seconds(uaa.refresh_validity(grant.client));
    let row = RefreshToken {
        id: digest_id(&token),
        user_id: user.id.clone(),
        client_id: grant.client.id.clone(),
        scopes: Json(grant.scopes.iter().cloned().collect()),
        signature: revocation_signature(grant.client, Some(user)),
        grant_type: grant.grant_type.to_owned(),
        authenticated_at: grant.authenticated_at,
        created_at: now,
        expires_at: now + validity,
    };
    (token, row)
}

fn nothing_granted() -> Refusal {
    Refusal::invalid_scope("None of the requested scopes is allowed to this user and client")
}

/// A user with his groups.
async fn user_with_groups(
    uaa: &Uaa,
    user_id: String,
) -> Result<Option<(User, Vec<(String, String)>)>, Refusal> {
    uaa.db
        .read(move |c| match user::find(c, &user_id)? {
            Some(user) => {
                let groups = group::of_user(c, &user.id)?;
                Ok(Some((user, groups)))
            }
            None => Ok(None),
        })
        .await
}
