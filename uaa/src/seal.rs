//! Encryption of secrets that are kept in rows: AES-256-GCM under a configured key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

/// Shortest configured key, in characters.
const MIN_KEY_CHARACTERS: usize = 32;
/// Says how a sealed text was made.
const VERSION: &str = "v1:";
/// Bytes of the nonce in front of the ciphertext.
const NONCE_BYTES: usize = 12;

/// Why a secret cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error("encryption_key needs at least {MIN_KEY_CHARACTERS} characters")]
    WeakKey,
    #[error("cannot encrypt")]
    Seal,
    #[error("cannot decrypt: encryption_key is not the one that this database was written with")]
    Open,
}

/// Seals, opens and fingerprints. Every use derives its own key.
pub(crate) struct Seal {
    aead: RandomizedNonceKey,
    mac: hmac::Key,
}

// === impl Seal ===

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    pub(crate) fn new(key: &SecretString) -> Result<Self, SealError> {
        let key = key.expose_secret();
        if key.len() < MIN_KEY_CHARACTERS {
            return Err(SealError::WeakKey);
        }
        let derive = |purpose: &str| {
            let text = format!("cupola uaa {purpose}\n{key}");
            digest::digest(&SHA256, text.as_bytes())
        };
        let aead = RandomizedNonceKey::new(&AES_256_GCM, derive("seal").as_ref());
        Ok(Self {
            aead: aead.map_err(|_| SealError::WeakKey)?,
            mac: hmac::Key::new(hmac::HMAC_SHA256, derive("fingerprint").as_ref()),
        })
    }

    /// Encrypts `secret`; `context` (a row's id) must be given again to open it, so that sealed
    /// texts cannot be swapped between rows.
    pub(crate) fn seal(
        &self,
        context: &str,
        secret: &SecretSlice<u8>,
    ) -> Result<String, SealError> {
        let mut text = secret.expose_secret().to_vec();
        let nonce = self
            .aead
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut text)
            .map_err(|_| SealError::Seal)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&text);
        Ok(format!("{VERSION}{}", STANDARD.encode(sealed)))
    }

    pub(crate) fn open(&self, context: &str, sealed: &str) -> Result<SecretSlice<u8>, SealError> {
        let encoded = sealed.strip_prefix(VERSION).ok_or(SealError::Open)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SealError::Open)?;
        let (nonce, text) = bytes.split_at_checked(NONCE_BYTES).ok_or(SealError::Open)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Open)?;
        let mut text = text.to_vec();
        let opened = self
            .aead
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut text)
            .map_err(|_| SealError::Open)?;
        Ok(SecretSlice::from(opened.to_vec()))
    }

    /// A digest that tells whether two secrets are the same, and nothing else to who has not
    /// the key.
    pub(crate) fn fingerprint(&self, text: &[u8]) -> String {
        hex::encode(hmac::sign(&self.mac, text))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn seal(key: &str) -> Seal {
        Seal::new(&key.repeat(32).into()).unwrap()
    }

    #[test]
    fn opens_what_it_sealed_with_the_same_key_and_context_only() {
        let secret = SecretSlice::from(b"private".to_vec());
        let sealed = seal("a").seal("k1", &secret).unwrap();
        assert!(!sealed.contains("private"));
        assert_eq!(
            seal("a").open("k1", &sealed).unwrap().expose_secret(),
            b"private"
        );
        assert_eq!(seal("b").open("k1", &sealed).unwrap_err(), SealError::Open);
        assert_eq!(seal("a").open("k2", &sealed).unwrap_err(), SealError::Open);
        for broken in ["", "v1:", "v1:AAAA", "v2:AAAA", "v1:?"] {
            assert_eq!(seal("a").open("k1", broken).unwrap_err(), SealError::Open);
        }
    }

    #[test]
    fn refuses_a_short_key() {
        assert_eq!(Seal::new(&"short".into()).unwrap_err(), SealError::WeakKey);
    }

    #[test]
    fn a_fingerprint_depends_on_key_and_text() {
        assert_eq!(seal("a").fingerprint(b"x"), seal("a").fingerprint(b"x"));
        assert_ne!(seal("a").fingerprint(b"x"), seal("b").fingerprint(b"x"));
        assert_ne!(seal("a").fingerprint(b"x"), seal("a").fingerprint(b"y"));
    }
}
