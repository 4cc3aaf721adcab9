//! What every handler works with.

use std::sync::Arc;

use chrono::NaiveDateTime;
use cupola_db::Db;
use cupola_http::bearer::SigningError;

use crate::config::{BaseUrl, Config, Lockout};
use crate::keyring::Keyring;
use crate::model::client::Client;
use crate::password::Hasher;
use crate::refusal::Refusal;
use crate::token::{Grant, Issuer, TokenResponse, validity};

/// Shared by all handlers of the process.
#[derive(Debug)]
pub(crate) struct Uaa {
    pub(crate) db: Db,
    pub(crate) hasher: Hasher,
    pub(crate) keyring: Arc<Keyring>,
    /// Base URL in tokens and links.
    pub(crate) issuer: BaseUrl,
    /// Base URL of the login pages.
    pub(crate) login: BaseUrl,
    pub(crate) lockout: Lockout,
    pub(crate) rotate_refresh_tokens: bool,
    pub(crate) password_min_length: usize,
    access_validity: u32,
    refresh_validity: u32,
}

// === impl Uaa ===

impl Uaa {
    pub(crate) fn new(config: &Config, db: Db, hasher: Hasher, keyring: Arc<Keyring>) -> Self {
        Self {
            db,
            hasher,
            keyring,
            issuer: BaseUrl::new(&config.issuer),
            login: BaseUrl::new(config.login_url.as_ref().unwrap_or(&config.issuer)),
            lockout: config.lockout,
            rotate_refresh_tokens: config.rotate_refresh_tokens,
            password_min_length: config.password_min_length,
            access_validity: config.access_token_seconds,
            refresh_validity: config.refresh_token_seconds,
        }
    }

    /// Signs the tokens of a grant; an id token too when `with_id` and the scopes allow it.
    pub(crate) fn issue(
        &self,
        grant: &Grant<'_>,
        now: NaiveDateTime,
        with_id: bool,
    ) -> Result<TokenResponse, Refusal> {
        let key = self.keyring.active();
        let issuer = Issuer {
            url: &self.issuer,
            key: &key,
            now,
            default_validity: self.access_validity,
        };
        let failed = |error: SigningError| Refusal::internal(error);
        let mut response = issuer.access_token(grant).map_err(failed)?;
        if let (true, Some(user)) = (with_id && grant.scopes.contains("openid"), grant.user) {
            response.id_token = Some(issuer.id_token(grant, user).map_err(failed)?);
        }
        Ok(response)
    }

    /// Seconds that a refresh token of `client` lives.
    pub(crate) fn refresh_validity(&self, client: &Client) -> i64 {
        validity(client.refresh_validity, self.refresh_validity)
    }

    /// Checks a new password against the policy.
    pub(crate) fn check_new_password(&self, password: &str) -> Result<(), String> {
        if password.is_empty() {
            return Err("Password must not be empty.".to_owned());
        }
        let least = self.password_min_length;
        if password.chars().count() < least {
            return Err(format!(
                "Password must be at least {least} characters in length."
            ));
        }
        let most = crate::password::MAX_BYTES;
        if password.len() > most {
            return Err(format!(
                "Password must be no more than {most} characters in length."
            ));
        }
        Ok(())
    }
}
