//! URLs that open one door for a while: HMAC-signed, bound to method, path and an expiry.
//!
//! The cloud controller hands them out so that stager and DEA can fetch and store blobs without
//! any credential of their own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretSlice};
use url::form_urlencoded;

/// Shortest key that is accepted, in bytes.
const MIN_KEY_BYTES: usize = 32;
/// Separates this use of the key from any other.
const DOMAIN: &[u8] = b"cupola signed url v1\n";

/// Signs URLs and checks them.
#[derive(Debug, Clone)]
pub struct UrlSigner {
    /// The first signs; all verify, so that a key can be replaced without breaking live URLs.
    keys: Vec<hmac::Key>,
}

/// Why a signed URL does not open the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A key is too short to be one.
    #[error("a URL signing key needs at least {MIN_KEY_BYTES} bytes")]
    WeakKey,
    /// `expires` or `signature` is not there or cannot be read.
    #[error("the URL is not signed")]
    Missing,
    /// Signed for another method or path, or not by us.
    #[error("the URL's signature is wrong")]
    Wrong,
    /// Its time is over.
    #[error("the URL has expired")]
    Expired,
}

// === impl UrlSigner ===

impl UrlSigner {
    /// A signer with one key.
    ///
    /// # Errors
    /// When the key is shorter than 32 bytes.
    pub fn new(key: &SecretSlice<u8>) -> Result<Self, SignatureError> {
        Ok(Self {
            keys: vec![hmac_key(key)?],
        })
    }

    /// Accepts URLs that were signed with an earlier key, too.
    ///
    /// # Errors
    /// When the key is shorter than 32 bytes.
    pub fn also_accept(mut self, earlier: &SecretSlice<u8>) -> Result<Self, SignatureError> {
        self.keys.push(hmac_key(earlier)?);
        Ok(self)
    }

    /// `path` with `?expires=…&signature=…`, good for `method` until `now + valid_for`.
    ///
    /// `path` is the host-relative path as it will be requested, percent-encoded where needed,
    /// without a query.
    #[must_use]
    pub fn sign(&self, method: &str, path: &str, now: SystemTime, valid_for: Duration) -> String {
        let expires = unix_seconds(now).saturating_add(valid_for.as_secs());
        // A signer is never without a key; an empty signature would open nothing.
        let tag = self
            .keys
            .first()
            .map(|key| hmac::sign(key, &message(method, path, expires)));
        let signature = tag.map(hex::encode).unwrap_or_default();
        format!("{path}?expires={expires}&signature={signature}")
    }

    /// Checks a request: its method, its path as received, and its query string.
    ///
    /// # Errors
    /// When it is not signed, signed wrongly, or its time is over. Comparison takes the same time
    /// wherever the signatures differ.
    pub fn verify(
        &self,
        method: &str,
        path: &str,
        query: &str,
        now: SystemTime,
    ) -> Result<(), SignatureError> {
        let parameter = |name: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(key, _)| key == name).map(|(_, value)| value)
        };
        let expires = parameter("expires").ok_or(SignatureError::Missing)?;
        let expires: u64 = expires.parse().map_err(|_| SignatureError::Missing)?;
        let signature = parameter("signature").ok_or(SignatureError::Missing)?;
        let signature = hex::decode(&*signature).map_err(|_| SignatureError::Wrong)?;
        let message = message(method, path, expires);
        let genuine = |key| hmac::verify(key, &message, &signature).is_ok();
        if !self.keys.iter().any(genuine) {
            return Err(SignatureError::Wrong);
        }
        if expires <= unix_seconds(now) {
            return Err(SignatureError::Expired);
        }
        Ok(())
    }
}

fn hmac_key(key: &SecretSlice<u8>) -> Result<hmac::Key, SignatureError> {
    let bytes = key.expose_secret();
    if bytes.len() < MIN_KEY_BYTES {
        return Err(SignatureError::WeakKey);
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, bytes))
}

/// Method and path cannot hold a newline, so the parts cannot be shifted against each other.
fn message(method: &str, path: &str, expires: u64) -> Vec<u8> {
    let mut message = DOMAIN.to_vec();
    message.extend_from_slice(format!("{method}\n{path}\n{expires}").as_bytes());
    message
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::*;

    fn signer(byte: u8) -> UrlSigner {
        UrlSigner::new(&SecretSlice::from(vec![byte; 32])).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn verdict(
        signer: &UrlSigner,
        method: &str,
        url: &str,
        now: u64,
    ) -> Result<(), SignatureError> {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        signer.verify(method, path, query, at(now))
    }

    #[test]
    fn opens_its_door_until_it_expires() {
        let url = signer(1).sign(
            "GET",
            "/internal/blobs/ab/cd",
            at(1_000),
            Duration::from_secs(60),
        );
        assert_eq!(verdict(&signer(1), "GET", &url, 1_059), Ok(()));
        assert_eq!(
            verdict(&signer(1), "GET", &url, 1_060),
            Err(SignatureError::Expired)
        );
    }

    #[test]
    fn opens_no_other_door() {
        let url = signer(1).sign("GET", "/a", at(1_000), Duration::from_secs(60));
        for (method, url) in [
            ("PUT", url.clone()),
            ("GET", url.replace("/a?", "/b?")),
            ("GET", url.replace("expires=1060", "expires=9999")),
        ] {
            assert_eq!(
                verdict(&signer(1), method, &url, 1_000),
                Err(SignatureError::Wrong)
            );
        }
        assert_eq!(
            verdict(&signer(2), "GET", &url, 1_000),
            Err(SignatureError::Wrong)
        );
        assert_eq!(
            verdict(&signer(1), "GET", "/a", 1_000),
            Err(SignatureError::Missing)
        );
    }

    #[test]
    fn an_earlier_key_still_opens() {
        let url = signer(1).sign("GET", "/a", at(1_000), Duration::from_secs(60));
        let newer = signer(2)
            .also_accept(&SecretSlice::from(vec![1; 32]))
            .unwrap();
        assert_eq!(verdict(&newer, "GET", &url, 1_000), Ok(()));
        assert!(UrlSigner::new(&SecretSlice::from(vec![1; 31])).is_err());
    }

    proptest! {
        #[test]
        fn no_text_opens_by_chance(query in "(expires=[0-9]{0,12}&signature=[0-9a-f]{0,64}|.{0,40})") {
            prop_assert!(signer(1).verify("GET", "/a", &query, at(0)).is_err());
        }
    }
}
