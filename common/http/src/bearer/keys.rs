//! The keys a verifier knows: fixed, or fetched from UAA and kept.
//!
//! A fetch happens when a token names a key that is not known, when a signature fails, and now
//! and then so that a withdrawn key dies. Fetches are one at a time and rationed, so that tokens
//! with made-up key ids cannot make us flood UAA. While UAA is away the keys we have stay good.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::TokenError;

/// Shortest pause between two fetches when the first succeeded.
const PAUSE_AFTER_SUCCESS: Duration = Duration::from_secs(3);
/// Shortest pause between two fetches when the first failed: UAA may be just starting.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(250);
/// Keys older than this are fetched anew on use, so that a withdrawn key dies.
const MAX_AGE: Duration = Duration::from_secs(300);
/// Shortest pause between two fetches for age alone: while UAA is away, one request in this time
/// pays for the attempt, all others go on with the keys there are.
const PAUSE_FOR_AGE: Duration = Duration::from_secs(30);
/// How long one fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// Most keys that are kept; UAA has one or two.
const MAX_KEYS: usize = 32;
/// Largest key set that is read.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// Why a key set is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The request failed.
    #[error("cannot fetch the signing keys")]
    Fetch(#[from] reqwest::Error),
    /// The answer is not a key set.
    #[error("the signing keys are not a JSON key set")]
    Parse(#[from] serde_json::Error),
    /// The answer is larger than any key set.
    #[error("the answer with the signing keys has more than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// No RSA key in it.
    #[error("the key set holds no RSA signing key")]
    Empty,
}

#[derive(Debug)]
pub(super) struct Keys {
    known: ArcSwap<KeySet>,
    /// Where more come from; a fixed set has no such place.
    source: Option<Source>,
}

#[derive(Debug)]
struct Source {
    url: Url,
    client: reqwest::Client,
    /// Held during a fetch, so that there is one at a time.
    last: Mutex<Option<LastFetch>>,
}

#[derive(Debug, Clone, Copy)]
struct LastFetch {
    at: Instant,
    succeeded: bool,
}

#[derive(Debug, Default)]
struct KeySet {
    by_id: HashMap<String, Arc<DecodingKey>>,
    fetched_at: Option<Instant>,
    /// Counts fetches; tells whether somebody else has fetched meanwhile.
    generation: u64,
}

#[derive(Deserialize)]
struct WireKeySet {
    keys: Vec<WireKey>,
}

#[derive(Deserialize)]
struct WireKey {
    kty: String,
    #[serde(default)]
    kid: String,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

// === impl Keys ===

impl Keys {
    pub(super) fn fixed(jwks: &[u8]) -> Result<Self, KeysError> {
        Ok(Self {
            known: ArcSwap::from_pointee(KeySet::parse(jwks)?),
            source: None,
        })
    }

    pub(super) fn remote(url: Url, client: reqwest::Client) -> Self {
        let source = Source {
            url,
            client,
            last: Mutex::new(None),
        };
        Self {
            known: ArcSwap::from_pointee(KeySet::default()),
            source: Some(source),
        }
    }

    /// The key with this id, and the generation of the set that it was found in. A token without
    /// key id goes with the only key there is.
    pub(super) async fn find(
        &self,
        kid: Option<&str>,
    ) -> Result<(Arc<DecodingKey>, u64), TokenError> {
        let known = self.known.load_full();
        match known.get(kid) {
            Some(key) if !known.is_old() => Ok((key, known.generation)),
            Some(key) => {
                self.refresh_for_age().await;
                let known = self.known.load_full();
                Ok((known.get(kid).unwrap_or(key), known.generation))
            }
            None => {
                self.refresh(known.generation).await?;
                let known = self.known.load_full();
                let key = known.get(kid).ok_or(TokenError::UnknownKey)?;
                Ok((key, known.generation))
            }
        }
    }

    /// The key with this id out of a set newer than generation `seen`, fetched if the ration
    /// allows; `None` when there is nothing newer to try.
    pub(super) async fn find_newer(
        &self,
        kid: Option<&str>,
        seen: u64,
    ) -> Option<Arc<DecodingKey>> {
        // With UAA away, the signature stays wrong rather than unknown: a key has spoken.
        let _ = self.refresh(seen).await;
        let known = self.known.load_full();
        if known.generation > seen {
            known.get(kid)
        } else {
            None
        }
    }

    /// Fetches, unless somebody did since generation `seen` or did a moment ago.
    async fn refresh(&self, seen: u64) -> Result<(), TokenError> {
        let Some(source) = &self.source else {
            return Ok(());
        };
        let mut last = source.last.lock().await;
        if self.known.load().generation > seen {
            return Ok(());
        }
        match *last {
            Some(fetch) if fetch.at.elapsed() < fetch.pause() => {
                if fetch.succeeded {
                    Ok(())
                } else {
                    Err(TokenError::KeysUnavailable)
                }
            }
            _ => self.fetch(source, &mut last).await,
        }
    }

    /// Fetches because the keys are old. Nobody waits for another's attempt, and a failed one
    /// changes nothing: old keys are better than none.
    async fn refresh_for_age(&self) {
        let Some(source) = &self.source else { return };
        let Ok(mut last) = source.last.try_lock() else {
            return;
        };
        if last.is_none_or(|fetch| fetch.at.elapsed() >= PAUSE_FOR_AGE) {
            let _ = self.fetch(source, &mut last).await;
        }
    }

    async fn fetch(&self, source: &Source, last: &mut Option<LastFetch>) -> Result<(), TokenError> {
        let fetched = source.fetch().await;
        *last = Some(LastFetch {
            at: Instant::now(),
            succeeded: fetched.is_ok(),
        });
        match fetched {
            Ok(mut set) => {
                set.generation = self.known.load().generation + 1;
                tracing::debug!(keys = set.by_id.len(), "fetched the token signing keys");
                self.known.store(Arc::new(set));
                Ok(())
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, url = %source.url, "cannot fetch the token signing keys");
                Err(TokenError::KeysUnavailable)
            }
        }
    }
}

// === impl Source ===

impl Source {
    async fn fetch(&self) -> Result<KeySet, KeysError> {
        let request = self.client.get(self.url.clone()).timeout(FETCH_TIMEOUT);
        let mut response = request.send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(KeysError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        KeySet::parse(&body)
    }
}

// === impl LastFetch ===

impl LastFetch {
    fn pause(self) -> Duration {
        if self.succeeded {
            PAUSE_AFTER_SUCCESS
        } else {
            PAUSE_AFTER_FAILURE
        }
    }
}

// === impl KeySet ===

impl KeySet {
    fn parse(jwks: &[u8]) -> Result<Self, KeysError> {
        let wire: WireKeySet = serde_json::from_slice(jwks)?;
        let by_id: HashMap<_, _> = wire
            .keys
            .into_iter()
            .filter_map(WireKey::into_key)
            .take(MAX_KEYS)
            .collect();
        if by_id.is_empty() {
            return Err(KeysError::Empty);
        }
        Ok(Self {
            by_id,
            fetched_at: Some(Instant::now()),
            generation: 1,
        })
    }

    fn get(&self, kid: Option<&str>) -> Option<Arc<DecodingKey>> {
        match kid {
            Some(kid) => self.by_id.get(kid).cloned(),
            None if self.by_id.len() == 1 => self.by_id.values().next().cloned(),
            None => None,
        }
    }

    fn is_old(&self) -> bool {
        self.fetched_at.is_some_and(|at| at.elapsed() > MAX_AGE)
    }
}

impl WireKey {
    fn into_key(self) -> Option<(String, Arc<DecodingKey>)> {
        if self.kty != "RSA" || self.alg.is_some_and(|alg| alg != "RS256") {
            return None;
        }
        let key = DecodingKey::from_rsa_components(&self.n?, &self.e?).ok()?;
        Some((self.kid, Arc::new(key)))
    }
}
