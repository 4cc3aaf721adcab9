//! Passwords: plain ones by their digests, in constant time; bcrypt hashes where blocking is allowed.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Identity, Verdict};

/// How a password is checked.
#[derive(Clone)]
pub(super) enum Password {
    /// SHA-256 of a plain one.
    Digest([u8; 32]),
    /// A bcrypt hash, as it was written.
    Bcrypt(Arc<str>),
}

/// A password check that takes milliseconds of CPU.
#[derive(Debug)]
pub(crate) struct SlowCheck {
    given: SecretString,
    hash: Arc<str>,
    identity: Arc<Identity>,
}

// === impl Password ===

impl Password {
    pub(super) fn new(secret: &SecretString) -> Self {
        let secret = secret.expose_secret();
        if is_bcrypt(secret) {
            Password::Bcrypt(secret.into())
        } else {
            Password::Digest(Sha256::digest(secret.as_bytes()).into())
        }
    }

    pub(super) fn check(&self, given: SecretString, identity: &Arc<Identity>) -> Verdict {
        match self {
            // Nobody is let in by not having a password.
            Password::Digest(_) if given.expose_secret().is_empty() => Verdict::Refused,
            Password::Digest(digest) => {
                let given: [u8; 32] = Sha256::digest(given.expose_secret().as_bytes()).into();
                if bool::from(given.ct_eq(digest)) {
                    Verdict::Known(Arc::clone(identity))
                } else {
                    Verdict::Refused
                }
            }
            Password::Bcrypt(hash) => Verdict::Slow(SlowCheck {
                given,
                hash: Arc::clone(hash),
                identity: Arc::clone(identity),
            }),
        }
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Password")
    }
}

fn is_bcrypt(secret: &str) -> bool {
    secret.len() == 60
        && ["$2a$", "$2b$", "$2x$", "$2y$"]
            .iter()
            .any(|p| secret.starts_with(p))
}

// === impl SlowCheck ===

impl SlowCheck {
    /// Hashes and compares; blocks the thread for as long as the hash's cost says.
    pub(crate) fn run(self) -> Option<Arc<Identity>> {
        let same = bcrypt::verify(self.given.expose_secret(), &self.hash).unwrap_or(false);
        same.then_some(self.identity)
    }
}
