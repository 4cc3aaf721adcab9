//! Passwords and client secrets: argon2id, on threads of their own number.
//!
//! Hashing is expensive on purpose, so it is rationed: a few at a time, a few dozen waiting, the
//! rest is told to come back. A name that nobody has costs as much as one that somebody has.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::{constant_time, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
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
/// Memory of one hash, and passes over it: OWASP's second choice.
const MEMORY_KIB: u32 = 19_456;
/// Passes over that memory.
const PASSES: u32 = 2;
/// Memory that is asked of the C library for a hash, of which only as much is touched as the hash
/// needs. Blocks above 32 MiB it takes from the kernel and hands back at once; smaller ones it
/// keeps, for each thread that ever hashed (measured: 100 MiB after twenty logins side by side).
const RESERVED_BLOCKS: usize = 33 * 1024;
/// Bytes of a salt.
const SALT_BYTES: usize = 16;
/// Bytes of a hash.
const OUTPUT_BYTES: usize = 32;
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
        self.run(move || new_hash(&password)).await
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

/// A new hash as a PHC string.
fn new_hash(password: &SecretString) -> Result<String, Refusal> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|_| Refusal::internal("no randomness"))?;
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(unusable)?;
    let output = compute(&params, password, &salt)?;
    let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
    Ok(format!(
        "$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${salt}${output}"
    ))
}

/// Whether `password` belongs to a PHC string. The cost is that of the stored hash, so older
/// hashes stay good when the cost is changed.
fn matches(password: &SecretString, hash: &str) -> Result<bool, Refusal> {
    let hash = PasswordHash::new(hash).map_err(unusable)?;
    let params = Params::try_from(&hash).map_err(unusable)?;
    let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else {
        return Err(Refusal::internal("a stored hash has no salt or no output"));
    };
    let output = compute(&params, password, salt.as_ref())?;
    let same = constant_time::verify_slices_are_equal(&output, expected.as_bytes()).is_ok();
    Ok(same && !password.expose_secret().is_empty())
}

fn compute(
    params: &Params,
    password: &SecretString,
    salt: &[u8],
) -> Result<[u8; OUTPUT_BYTES], Refusal> {
    let blocks = params.block_count();
    let mut memory = Vec::with_capacity(blocks.max(RESERVED_BLOCKS));
    memory.resize(blocks, Block::new());
    let mut output = [0; OUTPUT_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(
            password.expose_secret().as_bytes(),
            salt,
            &mut output,
            &mut memory,
        )
        .map_err(unusable)?;
    Ok(output)
}

fn unusable(error: impl std::fmt::Display) -> Refusal {
    Refusal::internal(error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[tokio::test]
    async fn knows_its_own_hashes_and_no_others() {
        let hasher = Hasher::new().unwrap();
        let hash = hasher.hash(&"secret".into()).await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(hasher.verify(&"secret".into(), Some(&hash)).await.unwrap());
        assert!(!hasher.verify(&"Secret".into(), Some(&hash)).await.unwrap());
        assert!(!hasher.verify(&"secret".into(), None).await.unwrap());
        let again = hasher.hash(&"secret".into()).await.unwrap();
        assert_ne!(hash, again, "salted");
    }

    #[test]
    fn hashes_as_others_do() {
        // Made by another implementation of argon2id.
        let hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
                    $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(matches(&"password".into(), hash).unwrap());
        assert!(!matches(&"passwort".into(), hash).unwrap());
        for broken in [
            "",
            "$argon2id$v=19$m=19456,t=2,p=1",
            "$argon2id$v=19$m=1,t=0,p=1$AAAA$AAAA",
        ] {
            assert!(matches(&"password".into(), broken).is_err(), "{broken}");
        }
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

    /// Memory of this process that no file stands behind, in KiB.
    fn anonymous_kib() -> u64 {
        let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let line = rollup
            .lines()
            .find(|line| line.starts_with("Pss_Anon:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_burst_of_logins_leaves_no_memory_behind() {
        let hasher = Hasher::new().unwrap();
        let before = anonymous_kib();
        let password = SecretString::from("x");
        for _ in 0..3 {
            let burst = (0..10).map(|_| hasher.verify(&password, None));
            futures_util::future::join_all(burst).await;
        }
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        // Tests of the same process may be hashing, too.
        while anonymous_kib() > before + 8 * 1024 {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{before} -> {} KiB",
                anonymous_kib()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_flood_is_told_to_come_back() {
        let hasher = Hasher::new().unwrap();
        let password = SecretString::from("x");
        let flood = (0..200).map(|_| hasher.verify(&password, None));
        let outcomes = futures_util::future::join_all(flood).await;
        let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        // On a slow machine the patience of some who got a place ends, too.
        assert!(
            (200 - QUEUE - CONCURRENCY..200).contains(&refused),
            "{refused}"
        );
        assert!(
            hasher.verify(&password, None).await.is_ok(),
            "and then it may"
        );
    }

    #[test]
    fn a_place_is_given_back() {
        let waiting = AtomicUsize::new(0);
        let places: Vec<_> = (0..70).map(|_| Place::take(&waiting).ok()).collect();
        assert_eq!(places.iter().flatten().count(), QUEUE + CONCURRENCY);
        drop(places);
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
        assert!(Place::take(&waiting).is_ok());
    }
}
