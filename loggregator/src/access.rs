//! Who may read an app's log. The cloud controller is asked, with the reader's own token.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cupola_http::api_error::{self, ApiError};
use cupola_types::AppGuid;
use reqwest::StatusCode;
use sha2::{Digest as _, Sha256};
use url::Url;

/// How long a yes is believed.
const BELIEVED: Duration = Duration::from_secs(30);
/// Most answers remembered; when there are more, all are forgotten.
const REMEMBERED: usize = 4_096;
/// How long the cloud controller may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

type Key = ([u8; 32], AppGuid);

/// Asks, and remembers for a short time.
#[derive(Debug)]
pub(crate) struct Access {
    client: reqwest::Client,
    cloud_controller: Url,
    allowed: Mutex<HashMap<Key, Instant>>,
}

impl Access {
    pub(crate) fn new(client: reqwest::Client, cloud_controller: Url) -> Self {
        Self {
            client,
            cloud_controller,
            allowed: Mutex::default(),
        }
    }

    /// Passes when the owner of the token in `authorization` may read the app.
    ///
    /// # Errors
    /// What the cloud controller answers, or that it does not.
    pub(crate) async fn check(&self, authorization: &str, app: &AppGuid) -> Result<(), ApiError> {
        let key = (Sha256::digest(authorization.as_bytes()).into(), app.clone());
        if self.remembers(&key) {
            return Ok(());
        }
        let unreachable = |error: &dyn std::fmt::Display| {
            tracing::warn!("the cloud controller cannot be asked: {error}");
            api_error::SERVER_ERROR
                .bare()
                .with_status(actix_web::http::StatusCode::SERVICE_UNAVAILABLE)
                .with_description(
                    "the cloud controller cannot be asked who may read this log; try again",
                )
        };
        let url = self
            .cloud_controller
            .join(&format!("/v2/apps/{app}"))
            .map_err(|error| unreachable(&error))?;
        let answer = self
            .client
            .get(url)
            .header(reqwest::header::AUTHORIZATION, authorization)
            .timeout(ANSWER_WITHIN)
            .send()
            .await
            .map_err(|error| unreachable(&error))?;
        match answer.status() {
            StatusCode::OK => {
                self.remember(key);
                Ok(())
            }
            StatusCode::UNAUTHORIZED => Err(api_error::INVALID_AUTH_TOKEN.bare()),
            StatusCode::FORBIDDEN => Err(api_error::NOT_AUTHORIZED.bare()),
            StatusCode::NOT_FOUND => Err(api_error::APP_NOT_FOUND.with(app)),
            status => Err(unreachable(&status)),
        }
    }

    fn remembers(&self, key: &Key) -> bool {
        let allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        allowed
            .get(key)
            .is_some_and(|since| since.elapsed() < BELIEVED)
    }

    fn remember(&self, key: Key) {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if allowed.len() >= REMEMBERED {
            allowed.clear();
        }
        allowed.insert(key, Instant::now());
    }
}
