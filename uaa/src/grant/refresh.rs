//! A refresh token for a new access token.

use cupola_db::now;

use super::{new_refresh_token, nothing_granted, user_with_groups};
use crate::body::Form;
use crate::model::client::Client;
use crate::model::refresh_token;
use crate::refusal::Refusal;
use crate::scope;
use crate::state::Uaa;
use crate::token::{Grant, TokenResponse, revocation_signature};

pub(super) async fn grant(
    uaa: &Uaa,
    client: &Client,
    form: &Form,
) -> Result<TokenResponse, Refusal> {
    let token = form.require("refresh_token")?.to_owned();
    let now = now();
    // One answer for all that is wrong with it: clients then ask for the password again.
    let dead = || Refusal::invalid_token("Invalid refresh token (expired, revoked or unknown)");
    let wanted = token.clone();
    let kept = uaa
        .db
        .read::<_, Refusal, _>(move |c| Ok(refresh_token::find(c, &wanted)?))
        .await?;
    let kept = kept.filter(|kept| kept.client_id == client.id && kept.expires_at > now);
    let kept = kept.ok_or_else(dead)?;
    let (user, groups) = user_with_groups(uaa, kept.user_id.clone())
        .await?
        .ok_or_else(dead)?;
    if !user.active || kept.signature != revocation_signature(client, Some(&user)) {
        return Err(dead());
    }
    // Never more than was granted at first, and only what user and client still have.
    let requested = scope::requested(form.get("scope"));
    let first = kept.scopes.0.iter().cloned().collect();
    let still = scope::grant(&scope::of_user(&groups), &client.scopes.0, Some(&first));
    let scopes = match &requested {
        Some(wanted) => still.intersection(wanted).cloned().collect(),
        None => still,
    };
    if scopes.is_empty() {
        return Err(nothing_granted());
    }
    let grant = Grant {
        client,
        user: Some(&user),
        scopes,
        grant_type: "refresh_token",
        authenticated_at: kept.authenticated_at,
    };
    let mut response = uaa.issue(&grant, now, false)?;
    if !uaa.rotate_refresh_tokens {
        response.refresh_token = Some(token);
        return Ok(response);
    }
    let (next, row) = new_refresh_token(uaa, &grant, &user, now);
    let row = refresh_token::RefreshToken {
        scopes: kept.scopes,
        ..row
    };
    uaa.db
        .write(move |c| {
            // Who comes second with the same token gets nothing.
            if !refresh_token::delete(c, &kept.id)? {
                return Err(Refusal::invalid_token(
                    "Invalid refresh token (used already)",
                ));
            }
            Ok::<_, Refusal>(refresh_token::insert(c, &row)?)
        })
        .await?;
    response.refresh_token = Some(next);
    Ok(response)
}
