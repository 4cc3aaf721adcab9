//! The one way to talk to the platform: it sends requests with a live token, renews the token
//! once when it has ended, retries what may be retried, and turns refusals into errors that say
//! what to do.

mod error;
mod renewal;
mod request;
mod trace;
mod transport;

pub(crate) use error::ApiError;
pub(crate) use request::{Answer, Body, Request};
pub(crate) use trace::Trace;
pub(crate) use transport::{Transport, collect, is_this_machine};

use std::sync::{Mutex, MutexGuard, PoisonError};

use cupola_types::{OrgGuid, SpaceGuid};
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::patience;
use crate::session::{Named, Session, SessionError, Store, Target, Tokens};

/// How often a request that changes nothing is sent when the platform does not answer.
const TRIES: u32 = 4;

#[derive(Debug)]
pub(crate) struct Client {
    transport: Transport,
    store: Store,
    /// Held only to read or replace the session, never across an await.
    session: Mutex<Session>,
    warnings: Mutex<Vec<String>>,
}

// === impl Client ===

impl Client {
    pub(crate) fn new(transport: Transport, store: Store) -> Result<Self, SessionError> {
        let session = Mutex::new(store.load()?);
        Ok(Self {
            transport,
            store,
            session,
            warnings: Mutex::default(),
        })
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    // --- the session ---

    fn lock_session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the session here and on disk.
    pub(crate) fn remember(&self, change: impl FnOnce(&mut Session)) -> Result<(), SessionError> {
        let session = self.store.update(change)?;
        *self.lock_session() = session;
        Ok(())
    }

    pub(crate) fn target(&self) -> Result<Target, ApiError> {
        self.lock_session().target.clone().ok_or(ApiError::NoTarget)
    }

    pub(crate) fn tokens(&self) -> Result<Tokens, ApiError> {
        self.target()?;
        self.lock_session()
            .tokens
            .clone()
            .ok_or(ApiError::NotLoggedIn)
    }

    /// Who is logged in, by name.
    pub(crate) fn holder(&self) -> Result<String, ApiError> {
        Ok(self.tokens()?.holder())
    }

    pub(crate) fn org(&self) -> Result<Named<OrgGuid>, ApiError> {
        self.tokens()?;
        self.lock_session().org.clone().ok_or(ApiError::NoOrg)
    }

    pub(crate) fn space(&self) -> Result<Named<SpaceGuid>, ApiError> {
        self.org()?;
        self.lock_session().space.clone().ok_or(ApiError::NoSpace)
    }

    /// The deprecation and other warnings that came with the answers, each once.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *warnings)
    }

    fn keep_warnings(&self, answer: &Answer) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        for warning in answer.warnings() {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }

    // --- requests to the cloud controller ---

    /// The address of a path of the API, with its query.
    pub(crate) fn api_url(&self, path: &str) -> Result<Url, ApiError> {
        let base = self.target()?.api;
        join(&base, path)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let request = Request::new(Method::GET, self.api_url(path)?);
        self.send(&request).await?.json()
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        let request = Request::new(Method::POST, self.api_url(path)?).json(body)?;
        self.send(&request).await?.json()
    }

    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        let request = Request::new(Method::PUT, self.api_url(path)?).json(body)?;
        self.send(&request).await?.json()
    }

    /// A PUT that only ties two things together.
    pub(crate) async fn associate(&self, path: &str) -> Result<(), ApiError> {
        let request = Request::new(Method::PUT, self.api_url(path)?);
        self.send(&request).await.map(drop)
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Answer, ApiError> {
        let request = Request::new(Method::DELETE, self.api_url(path)?);
        self.send(&request).await
    }

    /// Sends with the token and takes only success for an answer.
    pub(crate) async fn send(&self, request: &Request) -> Result<Answer, ApiError> {
        let answer = self.send_any(request).await?;
        answer.accepted()
    }

    /// Sends with the token; any status is an answer, but for 401, which renews the token once.
    pub(crate) async fn send_any(&self, request: &Request) -> Result<Answer, ApiError> {
        let token = self.live_token().await?;
        let answer = self.send_patiently(&request.clone().bearer(&token)).await?;
        if answer.status != reqwest::StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let token = self.renew(&token).await?;
        self.send_patiently(&request.clone().bearer(&token)).await
    }

    /// Sends without a token.
    pub(crate) async fn send_open(&self, request: &Request) -> Result<Answer, ApiError> {
        self.send_patiently(request).await
    }

    async fn send_patiently(&self, request: &Request) -> Result<Answer, ApiError> {
        let mut attempt = 1;
        loop {
            let outcome = self.transport.send(request).await;
            let again = match &outcome {
                Ok(answer) => request.is_repeatable() && answer.is_passing_trouble(),
                // Where no connection came about nothing was asked yet.
                Err(error) => {
                    error.never_arrived() || (request.is_repeatable() && error.is_passing())
                }
            };
            if !again || attempt >= TRIES {
                let answer = outcome?;
                self.keep_warnings(&answer);
                return Ok(answer);
            }
            tokio::time::sleep(patience::before_retry(attempt)).await;
            attempt += 1;
        }
    }
}

/// Resolves a path of the API against its base. An absolute address is taken only when it leads
/// to the same origin, for the token must not go elsewhere.
pub(crate) fn join(base: &Url, path: &str) -> Result<Url, ApiError> {
    let joined = match Url::parse(path) {
        Ok(absolute) => absolute,
        Err(_) => {
            let prefix = base.as_str().trim_end_matches('/');
            let path = path.trim_start_matches('/');
            Url::parse(&format!("{prefix}/{path}")).map_err(|source| ApiError::BadAddress {
                address: path.to_owned(),
                source,
            })?
        }
    };
    if joined.origin() != base.origin() {
        return Err(ApiError::ForeignAddress {
            address: joined.into(),
            base: base.clone(),
        });
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn paths_are_resolved_under_the_base_and_the_token_stays_at_home() {
        let base: Url = "http://127.0.0.1:8080/".parse().unwrap();
        let joined = |path| join(&base, path).map(String::from);
        assert_eq!(joined("/v2/info").unwrap(), "http://127.0.0.1:8080/v2/info");
        assert_eq!(
            joined("v2/apps?q=name:a").unwrap(),
            "http://127.0.0.1:8080/v2/apps?q=name:a"
        );
        assert_eq!(
            joined("http://127.0.0.1:8080/x").unwrap(),
            "http://127.0.0.1:8080/x"
        );
        assert!(joined("http://127.0.0.1:9090/x").is_err());
        assert!(joined("https://evil.example.com/x").is_err());
        assert_eq!(
            joined("//evil.example.com/x").unwrap(),
            "http://127.0.0.1:8080/evil.example.com/x"
        );
    }
}
