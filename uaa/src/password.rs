//! Passwords and client secrets: argon2id, on threads of their own number.
//!
//! Hashing is expensive on purpose, so it is rationed: a few at a time, a few dozen waiting, the
//! rest is told to come back. A name that nobody has costs as much as one that somebody has.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{constant_time, hmac, rand};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use crate::refusal::Refusal;

/// Hashes that run at once. Each takes a core and [`MEMORY_KIB`].
const CONCURRENCY: usize = 2;
/// Hashes that wait for their turn; at about thirty milliseconds each, the last of them waits
/// a second.
const QUEUE: usize = 64;
/// How long one waits for its turn before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);
/// Memory of one hash. With four passes it is as strong as OWASP's 19 MiB with two, and the
/// process stays small.
const MEMORY_KIB: u32 = 9216;
/// Passes over that memory.
const PASSES: u32 = 4;
/// Longest password.
pub(crate) const MAX_BYTES: usize = 255;
/// Client secrets that are remembered as right, so that not every token request hashes.
const REMEMBERED: usize = 256;

/// Hashes and verifies. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hasher {
    shared: Arc<Shared>,
}

struct Shared {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// A hash that no password has, for names that nobody has.
    nobody: String,
    /// By client id: a keyed digest of hash and secret that were found to match.
    remembered: Mutex<HashMap<String, [u8; 32]>>,
    /// Made anew in each process.
    memory_key: hmac::Key,
}

// === impl Hasher ===

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

impl Hasher {
    /// A hasher; costs nothing until it is used.
    pub(crate) fn new() -> Result<Self, Refusal> {
        let mut key = [0; 32];
        rand::fill(&mut key).map_err(|_| Refusal::internal("no randomness"))?;
        let (salt, output) = ("A".repeat(22), "A".repeat(43));
        Ok(Self {
            shared: Arc::new(Shared {
                turns: Arc::new(Semaphore::new(CONCURRENCY)),
                waiting: AtomicUsize::new(0),
                nobody: format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${salt}${output}"),
                remembered: Mutex::new(HashMap::new()),
                memory_key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            }),
        })
    }

    /// A new hash of `password`, as a PHC string.
    pub(crate) async fn hash(&self, password: &SecretString) -> Result<String, Refusal> {
        let password = password.clone();
        self.run(move || {
            let mut salt = [0; 16];
            rand::fill(&mut salt).map_err(|_| Refusal::internal("no randomness"))?;
            let hash = argon2()?
                .hash_password_with_salt(password.expose_secret().as_bytes(), &salt)
                .map_err(|error| Refusal::internal(error.to_string()))?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether `password` belongs to `hash`. Without a hash the work is done all the same, and
    /// the answer is no.
    pub(crate) async fn verify(
        &self,
        password: &SecretString,
        hash: Option<&str>,
    ) -> Result<bool, Refusal> {
        let known = hash.is_some();
        let hash = hash.unwrap_or(&self.shared.nobody).to_owned();
        let password = password.clone();
        let matches = self.run(move || matches(&password, &hash)).await?;
        // An empty password is never right, whatever somebody managed to store.
        Ok(matches && known)
    }

    /// Whether `secret` is one of a client's. Right ones are remembered for the life of the
    /// process; the empty secret is compared without hashing.
    pub(crate) async fn verify_client(
        &self,
        client_id: &str,
        secret: &SecretString,
        hashes: &[String],
    ) -> Result<bool, Refusal> {
        if secret.expose_secret().is_empty() {
            return Ok(hashes.iter().any(String::is_empty));
        }
        for hash in hashes.iter().filter(|hash| !hash.is_empty()) {
            let digest = self.digest(hash, secret);
            let known = self.shared.remembered.lock().get(client_id).copied();
            if known.is_some_and(|k| constant_time::verify_slices_are_equal(&k, &digest).is_ok()) {
                return Ok(true);
            }
            if self.verify(secret, Some(hash)).await? {
                self.remember(client_id, digest);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn digest(&self, hash: &str, secret: &SecretString) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.shared.memory_key);
        context.update(hash.as_bytes());
        context.update(&[0]);
        context.update(secret.expose_secret().as_bytes());
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn remember(&self, client_id: &str, digest: [u8; 32]) {
        let mut remembered = self.shared.remembered.lock();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(client_id.to_owned(), digest);
    }

    /// Runs `work` on the blocking pool when its turn comes. The turn ends with the work, even if
    /// nobody waits for it any more.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let _place = Place::take(&self.shared.waiting)?;
        let turn = tokio::time::timeout(PATIENCE, self.shared.turns.clone().acquire_owned());
        let turn = turn
            .await
            .map_err(|_| Refusal::busy())?
            .map_err(Refusal::internal)?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(Refusal::internal)?
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self, Refusal> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE + CONCURRENCY {
            return Err(Refusal::busy());
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn argon2() -> Result<Argon2<'static>, Refusal> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None)
        .map_err(|error| Refusal::internal(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn matches(password: &SecretString, hash: &str) -> Result<bool, Refusal> {
    let hash = PasswordHash::new(hash).map_err(|error| Refusal::internal(error.to_string()))?;
    let password = password.expose_secret().as_bytes();
    // The cost is that of the stored hash, so older hashes stay good when the cost is raised.
    let verified = argon2()?.verify_password(password, &hash);
    Ok(verified.is_ok() && !password.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[tokio::test]
    async fn knows_its_own_hashes_and_no_others() {
        let hasher = Hasher::new().unwrap();
        let hash = hasher.hash(&"secret".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=9216,t=4,p=1$"), "{hash}");
        assert!(hasher.verify(&"secret".into(), Some(&hash)).await.unwrap());
        assert!(!hasher.verify(&"Secret".into(), Some(&hash)).await.unwrap());
        assert!(!hasher.verify(&"secret".into(), None).await.unwrap());
        let again = hasher.hash(&"secret".into()).await.unwrap();
        assert_ne!(hash, again, "salted");
    }

    #[tokio::test]
    async fn an_empty_password_never_matches() {
        let hasher = Hasher::new().unwrap();
        let hash = hasher.hash(&"".into()).await.unwrap();
        assert!(!hasher.verify(&"".into(), Some(&hash)).await.unwrap());
    }

    #[tokio::test]
    async fn a_client_may_have_the_empty_secret_and_two_live_ones() {
        let hasher = Hasher::new().unwrap();
        let empty = [String::new()];
        assert!(
            hasher
                .verify_client("cf", &"".into(), &empty)
                .await
                .unwrap()
        );
        assert!(
            !hasher
                .verify_client("cf", &"x".into(), &empty)
                .await
                .unwrap()
        );
        let old = hasher.hash(&"old".into()).await.unwrap();
        let new = hasher.hash(&"new".into()).await.unwrap();
        let both = [old.clone(), new];
        for _ in 0..2 {
            assert!(
                hasher
                    .verify_client("c", &"old".into(), &both)
                    .await
                    .unwrap()
            );
            assert!(
                hasher
                    .verify_client("c", &"new".into(), &both)
                    .await
                    .unwrap()
            );
        }
        assert!(!hasher.verify_client("c", &"".into(), &both).await.unwrap());
        // A secret that was taken away is not remembered.
        assert!(
            !hasher
                .verify_client("c", &"old".into(), &both[1..])
                .await
                .unwrap()
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_flood_is_told_to_come_back() {
        let hasher = Hasher::new().unwrap();
        let password = SecretString::from("x");
        let flood = (0..200).map(|_| hasher.verify(&password, None));
        let outcomes = futures_util::future::join_all(flood).await;
        let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert_eq!(refused, 200 - QUEUE - CONCURRENCY);
        assert!(
            hasher.verify(&password, None).await.is_ok(),
            "and then it may"
        );
    }
}
