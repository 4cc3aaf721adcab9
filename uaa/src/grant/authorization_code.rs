//! A code that `/oauth/authorize` gave out.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cupola_db::now;
use subtle::ConstantTimeEq as _;

use super::{Proven, issue_to_user, user_with_groups};
use crate::body::Form;
use crate::model::authorization_code::{self, AuthorizationCode};
use crate::model::client::Client;
use crate::refusal::Refusal;
use crate::state::Uaa;
use crate::token::TokenResponse;

pub(super) async fn grant(
    uaa: &Uaa,
    client: &Client,
    form: &Form,
) -> Result<TokenResponse, Refusal> {
    let code = form.require("code")?.to_owned();
    let shown: String = code.chars().take(64).collect();
    let invalid = || Refusal::invalid_grant(format!("Invalid authorization code: {shown}"));
    // Redeemed first, checked then: a code that is tried with anything wrong is used up.
    let kept = uaa
        .db
        .write::<_, Refusal, _>(move |c| Ok(authorization_code::redeem(c, &code)?))
        .await?;
    let kept = kept.ok_or_else(invalid)?;
    if kept.client_id != client.id || kept.expires_at <= now() {
        return Err(invalid());
    }
    let given = form.get("redirect_uri").unwrap_or_default();
    if !kept.redirect_uri.is_empty() && given != kept.redirect_uri {
        return Err(Refusal::redirect_uri_mismatch());
    }
    if !verifies(&kept, form.get("code_verifier")) {
        return Err(Refusal::invalid_grant("Invalid code verifier"));
    }
    let (user, groups) = user_with_groups(uaa, kept.user_id)
        .await?
        .ok_or_else(invalid)?;
    if !user.active {
        return Err(invalid());
    }
    let proven = Proven {
        client,
        user,
        groups,
        requested: Some(kept.scopes.0.into_iter().collect()),
        grant_type: "authorization_code",
        authenticated_at: kept.authenticated_at,
        with_id: true,
    };
    issue_to_user(uaa, proven).await
}

/// Proof Key for Code Exchange: who began must end.
fn verifies(kept: &AuthorizationCode, verifier: Option<&str>) -> bool {
    let (Some(challenge), verifier) = (&kept.challenge, verifier) else {
        return verifier.is_none();
    };
    let Some(verifier) = verifier else {
        return false;
    };
    let derived = match kept.challenge_method.as_deref() {
        Some("S256") => URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())),
        _ => verifier.to_owned(),
    };
    derived.as_bytes().ct_eq(challenge.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use cupola_db::Json;

    use super::*;

    #[test]
    fn the_verifier_must_belong_to_the_challenge() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let mut kept = AuthorizationCode {
            id: String::new(),
            user_id: String::new(),
            client_id: String::new(),
            scopes: Json(vec![]),
            redirect_uri: String::new(),
            challenge: Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned()),
            challenge_method: Some("S256".to_owned()),
            authenticated_at: now(),
            expires_at: now(),
        };
        assert!(verifies(&kept, Some(verifier)));
        assert!(!verifies(&kept, Some("other")));
        assert!(!verifies(&kept, None));
        kept.challenge = None;
        assert!(verifies(&kept, None));
        assert!(
            !verifies(&kept, Some(verifier)),
            "a verifier without a challenge is a mix-up"
        );
    }
}
