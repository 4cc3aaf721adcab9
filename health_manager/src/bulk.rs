//! Reads what is wanted from the cloud controller (bus contract §2.6).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use cupola_types::{AppGuid, AppState, AppVersion, PackageState};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::desired::DesiredApp;

const BATCH: usize = 500;
/// Most batches of one fetch: a million apps would be a mistake.
const MAX_BATCHES: usize = 2_000;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// The fetch did not come to its end; nothing of it is used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BulkError {
    #[error("the bulk API cannot be reached")]
    Request(#[source] reqwest::Error),
    #[error("the bulk API answers {0}")]
    Status(reqwest::StatusCode),
    #[error("the bulk API answers what cannot be read")]
    Body(#[source] serde_json::Error),
    #[error("the bulk API's answer is larger than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("the bulk API does not come to an end")]
    Endless,
    #[error("the bulk API takes longer than its answer would be of use")]
    TooSlow,
}

/// The cloud controller's bulk API.
#[derive(Debug, Clone)]
pub(crate) struct BulkApi {
    pub(crate) client: reqwest::Client,
    pub(crate) url: Url,
    pub(crate) user: String,
    pub(crate) password: SecretString,
}

#[derive(Debug, Deserialize)]
struct Batch {
    results: BTreeMap<AppGuid, Record>,
    bulk_token: Value,
}

#[derive(Debug, Deserialize)]
struct Record {
    instances: u32,
    state: AppState,
    package_state: PackageState,
    version: AppVersion,
}

impl BulkApi {
    /// All apps, or an error: half of them would look like a mass deletion.
    pub(crate) async fn fetch(
        &self,
        within: Duration,
    ) -> Result<HashMap<AppGuid, DesiredApp>, BulkError> {
        let fetched = tokio::time::timeout(within, self.fetch_all());
        fetched.await.unwrap_or(Err(BulkError::TooSlow))
    }

    async fn fetch_all(&self) -> Result<HashMap<AppGuid, DesiredApp>, BulkError> {
        let mut apps = HashMap::new();
        let mut token = "{}".to_owned();
        for _ in 0..MAX_BATCHES {
            let batch = self.batch(&token).await?;
            if batch.results.is_empty() {
                return Ok(apps);
            }
            for (app, record) in batch.results {
                let Record {
                    instances,
                    state,
                    package_state,
                    version,
                } = record;
                apps.insert(
                    app,
                    DesiredApp {
                        version,
                        instances,
                        state,
                        package: package_state,
                    },
                );
            }
            let next = batch.bulk_token.to_string();
            if std::mem::replace(&mut token, next) == token {
                return Err(BulkError::Endless);
            }
        }
        Err(BulkError::Endless)
    }

    async fn batch(&self, token: &str) -> Result<Batch, BulkError> {
        let mut url = self.url.clone();
        url.set_path("/bulk/apps");
        url.query_pairs_mut()
            .append_pair("batch_size", &BATCH.to_string())
            .append_pair("bulk_token", token);
        let mut answer = self
            .client
            .get(url)
            .basic_auth(&self.user, Some(self.password.expose_secret()))
            .timeout(ANSWER_WITHIN)
            .send()
            .await
            .map_err(BulkError::Request)?;
        if !answer.status().is_success() {
            return Err(BulkError::Status(answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(BulkError::Request)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BODY_BYTES {
                return Err(BulkError::TooLarge);
            }
        }
        serde_json::from_slice(&body).map_err(BulkError::Body)
    }
}
