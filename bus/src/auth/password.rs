//! Passwords: plain ones by their digests, in constant time; bcrypt hashes where blocking is allowed.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Identity, Verdict};

/// How a password is checked.
#[derive(Clone)]
pub(super) enum Password {
    /// There is none, and none may be given.
    Empty,
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
        match secret.expose_secret() {
            "" => Password::Empty,
            hash if is_bcrypt(hash) => Password::Bcrypt(hash.into()),
            plain => Password::Digest(Sha256::digest(plain.as_bytes()).into()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Password::Empty)
    }

    pub(super) fn check(&self, given: SecretString, identity: &Arc<Identity>) -> Verdict {
        match self {
            Password::Empty if given.expose_secret().is_empty() => {
                Verdict::Known(Arc::clone(identity))
            }
            Password::Empty => Verdict::Refused,
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

/// Whether it is meant to be a hash; one that is damaged lets nobody in.
fn is_bcrypt(secret: &str) -> bool {
    matches!(
        secret.as_bytes(),
        [
            b'$',
            b'2',
            b'a' | b'b' | b'x' | b'y',
            b'$',
            b'0'..=b'9',
            b'0'..=b'9',
            b'$',
            ..
        ]
    )
}

// === impl SlowCheck ===

impl SlowCheck {
    /// Hashes and compares; blocks the thread for as long as the hash's cost says.
    pub(crate) fn run(self) -> Option<Arc<Identity>> {
        let same = bcrypt::verify(self.given.expose_secret(), &self.hash).unwrap_or(false);
        same.then_some(self.identity)
    }
}
