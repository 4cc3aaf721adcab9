//! Asking UAA who a user name belongs to.

use std::time::{Duration, Instant};

use cupola_http::{ApiError, api_error};
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::config::UaaConfig;

/// UAA answers at once or is in trouble.
const WITHIN: Duration = Duration::from_secs(5);
/// A token is not used in its last moments.
const TOKEN_MARGIN: Duration = Duration::from_secs(30);

/// A client of UAA, as this controller.
pub(crate) struct UaaClient {
    base: String,
    credentials: Option<(String, SecretString)>,
    http: Client,
    token: Mutex<Option<(SecretString, Instant)>>,
}

#[derive(Deserialize)]
struct Token {
    access_token: SecretString,
    #[serde(default)]
    expires_in: u64,
}

#[derive(Deserialize)]
struct Found {
    resources: Vec<FoundUser>,
}

#[derive(Deserialize)]
struct FoundUser {
    id: String,
}

// === impl UaaClient ===

impl UaaClient {
    pub(crate) fn new(config: &UaaConfig, http: Client) -> Self {
        let credentials = config.client_id.clone().map(|id| {
            (
                id,
                config
                    .client_secret
                    .clone()
                    .unwrap_or_else(|| String::new().into()),
            )
        });
        Self {
            base: config.internal_base(),
            credentials,
            http,
            token: Mutex::new(None),
        }
    }

    /// The guid of the user of that name; `None` when there is none, or when this controller has no
    /// credentials to ask with.
    ///
    /// # Errors
    /// `UaaUnavailable` when UAA does not answer as it should.
    pub(crate) async fn user_id(&self, username: &str) -> Result<Option<String>, ApiError> {
        let Some(token) = self.token().await? else {
            return Ok(None);
        };
        let quoted = username.replace('\\', "\\\\").replace('"', "\\\"");
        let answer = self
            .http
            .get(format!("{}/ids/Users", self.base))
            .query(&[("filter", format!("userName eq \"{quoted}\""))])
            .bearer_auth(token.expose_secret())
            .timeout(WITHIN)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(unavailable)?;
        let found: Found = answer.json().await.map_err(unavailable)?;
        match found.resources.as_slice() {
            [] => Ok(None),
            [user] => Ok(Some(user.id.clone())),
            _ => Err(api_error::USER_IS_IN_MULTIPLE_ORIGINS.with("several")),
        }
    }

    async fn token(&self) -> Result<Option<SecretString>, ApiError> {
        let Some((id, secret)) = &self.credentials else {
            return Ok(None);
        };
        let mut kept = self.token.lock().await;
        if let Some((token, until)) = &*kept
            && *until > Instant::now()
        {
            return Ok(Some(token.clone()));
        }
        let answer = self
            .http
            .post(format!("{}/oauth/token", self.base))
            .basic_auth(id, Some(secret.expose_secret()))
            .form(&[("grant_type", "client_credentials")])
            .timeout(WITHIN)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(unavailable)?;
        let token: Token = answer.json().await.map_err(unavailable)?;
        let life = Duration::from_secs(token.expires_in).saturating_sub(TOKEN_MARGIN);
        *kept = Some((token.access_token.clone(), Instant::now() + life));
        Ok(Some(token.access_token))
    }
}

fn unavailable(error: reqwest::Error) -> ApiError {
    api_error::UAA_UNAVAILABLE
        .bare()
        .caused_by(error.without_url())
}
