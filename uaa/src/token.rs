//! What a token says: access tokens, id tokens and the answer that carries them.

use chrono::NaiveDateTime;
use cupola_http::bearer::{SigningError, SigningKey};
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::BaseUrl;
use crate::model::client::Client;
use crate::model::random_hex;
use crate::model::user::User;
use crate::scope::{self, Scopes};

/// Hex digits of a revocation signature.
const SIGNATURE_DIGITS: usize = 16;

/// For whom and for what a token is made.
#[derive(Debug, Clone)]
pub(crate) struct Grant<'a> {
    pub(crate) client: &'a Client,
    /// `None` when the client acts for itself.
    pub(crate) user: Option<&'a User>,
    pub(crate) scopes: Scopes,
    pub(crate) grant_type: &'a str,
    /// When the user proved who he is.
    pub(crate) authenticated_at: NaiveDateTime,
}

/// Where and by whom tokens are issued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Issuer<'a> {
    pub(crate) url: &'a BaseUrl,
    pub(crate) key: &'a SigningKey,
    pub(crate) now: NaiveDateTime,
    /// Seconds that an access token lives where its client says nothing.
    pub(crate) default_validity: u32,
}

/// The answer to a granted token request.
#[derive(Debug, Serialize)]
pub(crate) struct TokenResponse {
    pub(crate) access_token: String,
    pub(crate) token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
    pub(crate) expires_in: i64,
    pub(crate) scope: String,
    pub(crate) jti: String,
}

// === impl Issuer ===

impl Issuer<'_> {
    /// Signs an access token.
    pub(crate) fn access_token(&self, grant: &Grant<'_>) -> Result<TokenResponse, SigningError> {
        let validity = validity(grant.client.access_validity, self.default_validity);
        let issued_at = self.now.and_utc().timestamp();
        let jti = random_hex();
        let client = grant.client;
        let scopes: Vec<&str> = grant.scopes.iter().map(String::as_str).collect();
        let mut claims = json!({
            "jti": jti,
            "scope": scopes,
            "client_id": client.id,
            "cid": client.id,
            "azp": client.id,
            "grant_type": grant.grant_type,
            "rev_sig": revocation_signature(client, grant.user),
            "iat": issued_at,
            "exp": issued_at + validity,
            "iss": self.url.join("/oauth/token"),
            "zid": "uaa",
            "aud": scope::audience(&client.id, scopes.iter().copied()),
        });
        let about = match grant.user {
            Some(user) => json!({
                "sub": user.id,
                "user_id": user.id,
                "user_name": user.user_name,
                "email": user.email,
                "origin": user.origin,
                "auth_time": grant.authenticated_at.and_utc().timestamp(),
            }),
            None => json!({ "sub": client.id, "authorities": client.authorities.0 }),
        };
        merge(&mut claims, about);
        let keys = self.url.join("/token_keys");
        Ok(TokenResponse {
            access_token: self.key.sign(&claims, Some(&keys))?,
            token_type: "bearer",
            id_token: None,
            refresh_token: None,
            expires_in: validity,
            scope: scopes.join(" "),
            jti,
        })
    }

    /// Signs an id token: who logged in, for the client alone.
    pub(crate) fn id_token(&self, grant: &Grant<'_>, user: &User) -> Result<String, SigningError> {
        let validity = validity(grant.client.access_validity, self.default_validity);
        let issued_at = self.now.and_utc().timestamp();
        let mut claims = userinfo(user);
        let about = json!({
            "aud": [grant.client.id],
            "azp": grant.client.id,
            "cid": grant.client.id,
            "client_id": grant.client.id,
            "iss": self.url.join("/oauth/token"),
            "zid": "uaa",
            "iat": issued_at,
            "exp": issued_at + validity,
            "jti": random_hex(),
            "origin": user.origin,
            "auth_time": grant.authenticated_at.and_utc().timestamp(),
            "amr": ["pwd"],
            "scope": ["openid"],
        });
        merge(&mut claims, about);
        self.key.sign(&claims, Some(&self.url.join("/token_keys")))
    }
}

/// What `/userinfo` and an id token say about a user.
pub(crate) fn userinfo(user: &User) -> Value {
    json!({
        "sub": user.id,
        "user_id": user.id,
        "user_name": user.user_name,
        "name": format!("{} {}", user.given_name, user.family_name).trim(),
        "given_name": user.given_name,
        "family_name": user.family_name,
        "email": user.email,
        "email_verified": user.verified,
        "previous_logon_time": user.previous_logon_at.map(|t| t.and_utc().timestamp_millis()),
    })
}

/// A digest of all that a token depends on. When any of it changes (a password, a secret, a name,
/// one of the salts), tokens that carry the old digest are dead.
pub(crate) fn revocation_signature(client: &Client, user: Option<&User>) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut part = |text: &str| {
        context.update(&(text.len() as u64).to_le_bytes());
        context.update(text.as_bytes());
    };
    part(&client.id);
    client.secrets.0.iter().for_each(|secret| part(secret));
    part(&client.salt);
    if let Some(user) = user {
        part(&user.id);
        part(user.password_hash.as_deref().unwrap_or_default());
        part(&user.salt);
        part(&user.email);
        part(&user.user_name);
    }
    hex::encode(context.finish())[..SIGNATURE_DIGITS].to_owned()
}

/// Seconds that a token lives.
pub(crate) fn validity(of_client: Option<i32>, default: u32) -> i64 {
    of_client
        .filter(|seconds| *seconds > 0)
        .map_or(default.into(), i64::from)
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revocation_signature_depends_on_each_part() {
        let (client, user) = (Client::new("cf"), User::new("uaa", "bob"));
        let before = revocation_signature(&client, Some(&user));
        assert_eq!(before, revocation_signature(&client, Some(&user)));
        let changes: [fn(&mut Client, &mut User); 6] = [
            |_, user| user.password_hash = Some("x".to_owned()),
            |_, user| user.salt = "x".to_owned(),
            |_, user| user.email = "x".to_owned(),
            |_, user| user.user_name = "x".to_owned(),
            |client, _| client.secrets.0.push("x".to_owned()),
            |client, _| client.salt = "x".to_owned(),
        ];
        for change in changes {
            let (mut client, mut user) = (client.clone(), user.clone());
            change(&mut client, &mut user);
            assert_ne!(before, revocation_signature(&client, Some(&user)));
        }
    }
}
