//! Secrets at rest: values in rows are sealed with AES-256-GCM.
//!
//! A sealed value is `<key id>:<base64 of nonce and ciphertext>` and is bound to its place, so that
//! it cannot be moved to another row. Keys have ids: a new one seals from now on, the
//! earlier ones still open what they sealed.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::config::SecretsConfig;

/// A value could not be sealed or opened.
#[derive(Debug, Error)]
pub(crate) enum SealError {
    #[error("row key {0:?} is not 32 bytes in hex")]
    BadKey(String),
    #[error("there is no row key {0:?}")]
    UnknownKey(String),
    #[error("the sealed value of {0} is damaged, or was moved there from elsewhere")]
    Damaged(String),
    #[error("the value of {0} cannot be sealed")]
    Seal(String),
}

/// Seals and opens. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sealer {
    keys: Arc<HashMap<String, RandomizedNonceKey>>,
    current: String,
}

// === impl Sealer ===

impl Sealer {
    pub(crate) fn new(config: &SecretsConfig) -> Result<Self, SealError> {
        let mut keys = HashMap::new();
        for (id, secret) in &config.row_keys {
            let bad = || SealError::BadKey(id.clone());
            let bytes = hex::decode(secret.expose_secret()).map_err(|_| bad())?;
            let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| bad())?;
            if id.contains(':') {
                return Err(bad());
            }
            keys.insert(id.clone(), key);
        }
        if !keys.contains_key(&config.row_key) {
            return Err(SealError::UnknownKey(config.row_key.clone()));
        }
        Ok(Self {
            keys: Arc::new(keys),
            current: config.row_key.clone(),
        })
    }

    /// Seals a JSON object for `place`, such as `apps/<guid>/environment`.
    pub(crate) fn seal(
        &self,
        place: &str,
        object: &Map<String, Value>,
    ) -> Result<String, SealError> {
        let failed = || SealError::Seal(place.to_owned());
        let key = self.keys.get(&self.current).ok_or_else(failed)?;
        let mut bytes = serde_json::to_vec(object).map_err(|_| failed())?;
        let nonce = key
            .seal_in_place_append_tag(Aad::from(place.as_bytes()), &mut bytes)
            .map_err(|_| failed())?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut bytes);
        Ok(format!(
            "{}:{}",
            self.current,
            STANDARD_NO_PAD.encode(sealed)
        ))
    }

    /// Opens what was sealed for `place`; nothing sealed is an empty object.
    pub(crate) fn open(
        &self,
        place: &str,
        sealed: Option<&str>,
    ) -> Result<Map<String, Value>, SealError> {
        let Some(sealed) = sealed else {
            return Ok(Map::new());
        };
        let damaged = || SealError::Damaged(place.to_owned());
        let (id, text) = sealed.split_once(':').ok_or_else(damaged)?;
        let key = self
            .keys
            .get(id)
            .ok_or_else(|| SealError::UnknownKey(id.to_owned()))?;
        let mut bytes = STANDARD_NO_PAD.decode(text).map_err(|_| damaged())?;
        if bytes.len() < NONCE_LEN {
            return Err(damaged());
        }
        let mut rest = bytes.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).map_err(|_| damaged())?;
        let plain = key
            .open_in_place(nonce, Aad::from(place.as_bytes()), &mut rest)
            .map_err(|_| damaged())?;
        serde_json::from_slice(plain).map_err(|_| damaged())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} keys)", self.keys.len())
    }
}

/// The place of an app's environment.
pub(crate) fn environment_of(app_guid: &str) -> String {
    format!("apps/{app_guid}/environment")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn secrets(current: &str, ids: &[&str]) -> SecretsConfig {
        let key = |id: &&str| ((*id).to_owned(), id.repeat(64 / id.len()).into());
        SecretsConfig {
            url_signing_key: "00".repeat(32).into(),
            earlier_url_signing_keys: Vec::new(),
            row_key: current.to_owned(),
            row_keys: ids.iter().map(key).collect(),
            bulk_user: "bulk".to_owned(),
            bulk_password: "secret".to_owned().into(),
        }
    }

    fn object() -> Map<String, Value> {
        serde_json::json!({"PASSWORD": "hunter2"})
            .as_object()
            .cloned()
            .unwrap()
    }

    #[test]
    fn opens_what_it_sealed_and_shows_none_of_it() {
        let sealer = Sealer::new(&secrets("a", &["a"])).unwrap();
        let sealed = sealer.seal("apps/1/environment", &object()).unwrap();
        assert!(!sealed.contains("hunter2") && sealed.starts_with("a:"));
        assert_eq!(
            sealer.open("apps/1/environment", Some(&sealed)).unwrap(),
            object()
        );
        assert_ne!(
            sealed,
            sealer.seal("apps/1/environment", &object()).unwrap()
        );
        assert!(sealer.open("apps/1/environment", None).unwrap().is_empty());
    }

    #[test]
    fn refuses_values_that_were_changed_or_moved() {
        let sealer = Sealer::new(&secrets("a", &["a"])).unwrap();
        let sealed = sealer.seal("apps/1/environment", &object()).unwrap();
        assert!(sealer.open("apps/2/environment", Some(&sealed)).is_err());
        let mut changed = sealed.clone();
        changed.replace_range(10..11, if &sealed[10..11] == "A" { "B" } else { "A" });
        assert!(sealer.open("apps/1/environment", Some(&changed)).is_err());
        assert!(sealer.open("apps/1/environment", Some("a:AAAA")).is_err());
    }

    #[test]
    fn opens_with_an_earlier_key_after_a_rotation() {
        let before = Sealer::new(&secrets("a", &["a"])).unwrap();
        let sealed = before.seal("p", &object()).unwrap();
        let after = Sealer::new(&secrets("bb", &["a", "bb"])).unwrap();
        assert_eq!(after.open("p", Some(&sealed)).unwrap(), object());
        assert!(after.seal("p", &object()).unwrap().starts_with("bb:"));
        let without = Sealer::new(&secrets("bb", &["bb"])).unwrap();
        assert!(matches!(
            without.open("p", Some(&sealed)),
            Err(SealError::UnknownKey(_))
        ));
    }
}
