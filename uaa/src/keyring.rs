//! The signing keys: one signs, all verify, and they take turns.
//!
//! ```text
//!   made ──(published, resource servers learn it)──► active ──(successor active)──► verifies only ──► gone
//!        PUBLISH_AHEAD                                signing_key_days              longest token life
//! ```
//!
//! The rows say everything: the key whose `activates_at` came last signs. So any number of UAAs on
//! one database agree without talking to each other.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use chrono::{NaiveDateTime, TimeDelta};
use cupola_db::{Db, now};
use cupola_http::bearer::{Policy, PublicKeyJwk, SigningKey, TokenVerifier};
use cupola_http::{Claims, TokenError};
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;

use crate::config::{BaseUrl, Config};
use crate::model::client;
use crate::model::signing_key::{self, StoredKey};
use crate::refusal::Refusal;
use crate::seal::Seal;

/// How long a successor is published before it signs, so that caches have seen it.
const PUBLISH_AHEAD: TimeDelta = TimeDelta::minutes(15);
/// Shortest pause between two looks at the table because of an unknown key.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(2);

/// The keys in use.
#[derive(Debug)]
pub(crate) struct Keyring {
    db: Db,
    seal: Arc<Seal>,
    policy: Policy,
    rotate_after: Option<TimeDelta>,
    longest_token: TimeDelta,
    ring: ArcSwap<Ring>,
    /// When the table was last looked at; held while looking.
    looked_at: Mutex<NaiveDateTime>,
}

#[derive(Debug)]
struct Ring {
    active: Arc<SigningKey>,
    /// All public halves, the active one first.
    public: Vec<PublicKeyJwk>,
    verifier: TokenVerifier,
}

/// What is to be done about the stored keys.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// When a new key is to become active, if one is needed.
    make: Option<NaiveDateTime>,
    /// Ids of keys that no live token can have been signed with.
    drop: Vec<String>,
}

// === impl Keyring ===

impl Keyring {
    /// Reads the keys; makes the first one where there is none.
    pub(crate) async fn open(
        db: Db,
        seal: Arc<Seal>,
        config: &Config,
        issuer: &BaseUrl,
    ) -> Result<Self, Refusal> {
        let policy = Policy::default().issued_by(issuer.join("/oauth/token"));
        let rotate_after = match config.signing_key_days {
            0 => None,
            days => Some(TimeDelta::days(days.into())),
        };
        let longest_token = TimeDelta::seconds(config.access_token_seconds.into());
        let maintained = maintain(&db, &seal, rotate_after, longest_token).await?;
        let ring = Ring::new(&maintained, &seal, &policy)?;
        Ok(Self {
            db,
            seal,
            policy,
            rotate_after,
            longest_token,
            ring: ArcSwap::from_pointee(ring),
            looked_at: Mutex::new(now()),
        })
    }

    /// The key that signs now.
    pub(crate) fn active(&self) -> Arc<SigningKey> {
        Arc::clone(&self.ring.load().active)
    }

    /// The public halves of all keys, the active one first.
    pub(crate) fn public(&self) -> Vec<PublicKeyJwk> {
        self.ring.load().public.clone()
    }

    /// Verifies a token of ours, even one that another UAA signed with a key made a moment ago.
    pub(crate) async fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let verdict = self.verify_with_known(token).await;
        if verdict != Err(TokenError::UnknownKey) {
            return verdict;
        }
        let mut looked_at = self.looked_at.lock().await;
        if now() - *looked_at > LOOK_AGAIN {
            *looked_at = now();
            if let Err(error) = self.reload().await {
                tracing::warn!(%error, "cannot read the signing keys");
                return Err(TokenError::KeysUnavailable);
            }
        }
        drop(looked_at);
        self.verify_with_known(token).await
    }

    async fn verify_with_known(&self, token: &str) -> Result<Claims, TokenError> {
        let ring = self.ring.load_full();
        ring.verifier
            .verify_token_at(token, SystemTime::now())
            .await
    }

    /// Makes a successor when it is time, drops what is not needed any more, and takes over what
    /// other UAAs have made.
    pub(crate) async fn turn(&self) -> Result<(), Refusal> {
        maintain(&self.db, &self.seal, self.rotate_after, self.longest_token).await?;
        self.reload().await
    }

    async fn reload(&self) -> Result<(), Refusal> {
        let stored = self
            .db
            .read::<_, Refusal, _>(|c| Ok(signing_key::all(c)?))
            .await?;
        let ring = Ring::new(&stored, &self.seal, &self.policy)?;
        if ring.public != self.ring.load().public {
            tracing::info!(
                key.id = ring.active.id(),
                keys = ring.public.len(),
                "signing keys changed"
            );
            self.ring.store(Arc::new(ring));
        }
        Ok(())
    }
}

/// Carries out the plan. Making a key takes a while, so it is made outside the transaction; if
/// another UAA was quicker, its key is taken and ours thrown away.
async fn maintain(
    db: &Db,
    seal: &Arc<Seal>,
    rotate_after: Option<TimeDelta>,
    longest_token: TimeDelta,
) -> Result<Vec<StoredKey>, Refusal> {
    let (stored, longest) = db
        .read::<_, Refusal, _>(|c| Ok((signing_key::all(c)?, client::longest_access_validity(c)?)))
        .await?;
    let longest = TimeDelta::seconds(longest.unwrap_or_default().into()).max(longest_token);
    let plan = Plan::new(&stored, now(), rotate_after, longest);
    if plan.make.is_none() && plan.drop.is_empty() {
        return Ok(stored);
    }
    let made = match plan.make {
        Some(activates_at) => Some(make(Arc::clone(seal), activates_at).await?),
        None => None,
    };
    db.write(move |c| {
        let current = signing_key::all(c)?;
        let plan = Plan::new(&current, now(), rotate_after, longest);
        if let (Some(_), Some(key)) = (plan.make, &made) {
            signing_key::insert(c, key)?;
        }
        for id in &plan.drop {
            signing_key::delete(c, id)?;
        }
        Ok::<_, Refusal>(signing_key::all(c)?)
    })
    .await
}

async fn make(seal: Arc<Seal>, activates_at: NaiveDateTime) -> Result<StoredKey, Refusal> {
    let made = tokio::task::spawn_blocking(move || {
        let key = SigningKey::generate().map_err(Refusal::internal)?;
        let private = key.to_pkcs8().map_err(Refusal::internal)?;
        let sealed = seal.seal(key.id(), &private).map_err(Refusal::internal)?;
        Ok(StoredKey {
            id: key.id().to_owned(),
            sealed,
            created_at: now(),
            activates_at,
        })
    });
    made.await.map_err(Refusal::internal)?
}

// === impl Ring ===

impl Ring {
    fn new(stored: &[StoredKey], seal: &Seal, policy: &Policy) -> Result<Self, Refusal> {
        let index = active_index(stored, now());
        let index = index.ok_or_else(|| Refusal::internal("there is no signing key"))?;
        let mut keys = Vec::with_capacity(stored.len());
        for key in stored {
            let private = seal.open(&key.id, &key.sealed).map_err(Refusal::internal)?;
            let key = SigningKey::from_pkcs8(private.expose_secret());
            keys.push(Arc::new(key.map_err(Refusal::internal)?));
        }
        let active = keys.remove(index);
        let public: Vec<PublicKeyJwk> = [&active]
            .into_iter()
            .chain(&keys)
            .map(|key| key.jwk().clone())
            .collect();
        let set = serde_json::json!({ "keys": public }).to_string();
        let verifier = TokenVerifier::fixed(policy.clone(), set.as_bytes());
        let verifier = verifier.map_err(Refusal::internal)?;
        Ok(Self {
            active,
            public,
            verifier,
        })
    }
}

/// The key that signs at `now`: the last to have become active, else the first to come.
fn active_index(stored: &[StoredKey], now: NaiveDateTime) -> Option<usize> {
    let come = stored.iter().rposition(|key| key.activates_at <= now);
    come.or(if stored.is_empty() { None } else { Some(0) })
}

// === impl Plan ===

impl Plan {
    /// `stored` is sorted by the time of activation.
    fn new(
        stored: &[StoredKey],
        now: NaiveDateTime,
        rotate_after: Option<TimeDelta>,
        longest_token: TimeDelta,
    ) -> Self {
        let Some(active) = active_index(stored, now) else {
            return Self {
                make: Some(now),
                drop: Vec::new(),
            };
        };
        let has_successor = active + 1 < stored.len();
        let due = rotate_after.is_some_and(|age| now - stored[active].activates_at >= age);
        let make = (due && !has_successor).then(|| now + PUBLISH_AHEAD);
        // A key has signed until its successor became active; add what a token lives, and a little
        // for clocks that differ.
        let needed = longest_token + TimeDelta::minutes(10);
        let retired = stored
            .windows(2)
            .filter(|pair| pair[1].activates_at + needed < now);
        Self {
            make,
            drop: retired.map(|pair| pair[0].id.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use cupola_db::sql;
    use cupola_db::testkit::{self, TestDb};
    use diesel::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::MIGRATIONS;
    use crate::schema::signing_keys;

    fn key(id: &str, activates_at: NaiveDateTime) -> StoredKey {
        let (id, sealed) = (id.to_owned(), String::new());
        StoredKey {
            id,
            sealed,
            created_at: activates_at,
            activates_at,
        }
    }

    const AGE: Option<TimeDelta> = Some(TimeDelta::days(90));
    const TOKEN: TimeDelta = TimeDelta::hours(12);

    #[test]
    fn makes_the_first_key_at_once() {
        let now = now();
        assert_eq!(
            Plan::new(&[], now, AGE, TOKEN),
            Plan {
                make: Some(now),
                drop: vec![]
            }
        );
    }

    #[test]
    fn a_key_lives_through_its_stations() {
        let start = now();
        let mut stored = vec![key("a", start)];
        let quiet = Plan {
            make: None,
            drop: vec![],
        };
        let at = |days, minutes| start + TimeDelta::days(days) + TimeDelta::minutes(minutes);
        assert_eq!(Plan::new(&stored, at(89, 0), AGE, TOKEN), quiet);
        assert_eq!(Plan::new(&stored, at(1000, 0), None, TOKEN), quiet);

        let made = Plan::new(&stored, at(90, 0), AGE, TOKEN).make;
        assert_eq!(made, Some(at(90, 15)), "published ahead");
        stored.extend(made.map(|activates_at| key("b", activates_at)));
        assert_eq!(
            Plan::new(&stored, at(90, 1), AGE, TOKEN),
            quiet,
            "only one successor"
        );
        assert_eq!(active_index(&stored, at(90, 14)), Some(0));
        assert_eq!(active_index(&stored, at(90, 15)), Some(1));

        assert_eq!(
            Plan::new(&stored, at(90, 12 * 60), AGE, TOKEN),
            quiet,
            "tokens still live"
        );
        let plan = Plan::new(&stored, at(91, 0), AGE, TOKEN);
        assert_eq!(
            plan,
            Plan {
                make: None,
                drop: vec!["a".to_owned()]
            }
        );
    }

    #[test]
    fn a_clock_that_went_back_still_has_a_key() {
        let stored = [key("a", now() + TimeDelta::hours(1))];
        assert_eq!(active_index(&stored, now()), Some(0));
    }

    async fn open(test: &TestDb) -> Keyring {
        let issuer = "http://uaa.test".parse().unwrap();
        let mut config = Config::new(test.config.clone(), issuer, "k".repeat(32).into());
        config.signing_key_days = 90;
        let seal = Arc::new(Seal::new(&config.encryption_key).unwrap());
        Keyring::open(
            test.db.clone(),
            seal,
            &config,
            &BaseUrl::new(&config.issuer),
        )
        .await
        .unwrap()
    }

    /// Lets every key become active this much earlier than it did.
    async fn pass(test: &TestDb, time: TimeDelta) {
        let moved = test.db.write::<_, Refusal, _>(move |c| {
            for key in signing_key::all(c)? {
                let earlier = signing_keys::activates_at.eq(key.activates_at - time);
                let row = signing_keys::table.find(&key.id);
                sql!(c, c => diesel::update(row).set(earlier).execute(c))?;
            }
            Ok(())
        });
        moved.await.unwrap();
    }

    fn token(ring: &Keyring) -> String {
        let claims = json!({
            "iss": "http://uaa.test/oauth/token", "client_id": "cf", "sub": "cf", "exp": u32::MAX
        });
        ring.active().sign(&claims, None).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keys_take_turns_and_two_processes_follow() {
        let test = testkit::sqlite(MIGRATIONS).await;
        let (one, two) = (open(&test).await, open(&test).await);
        let first = one.active().id().to_owned();
        assert_eq!(
            two.active().id(),
            first,
            "the second process makes none of its own"
        );
        let old = token(&one);

        pass(&test, TimeDelta::days(90)).await;
        one.turn().await.unwrap();
        assert_eq!(
            (one.public().len(), one.active().id()),
            (2, first.as_str()),
            "published ahead"
        );
        pass(&test, TimeDelta::minutes(16)).await;
        one.turn().await.unwrap();
        assert_ne!(one.active().id(), first);

        let new = token(&one);
        assert!(one.verify(&old).await.is_ok() && one.verify(&new).await.is_ok());
        // The other process has not heard of the new key, meets it, and looks it up.
        *two.looked_at.lock().await = now() - TimeDelta::minutes(1);
        assert!(two.verify(&new).await.is_ok());

        pass(&test, TimeDelta::hours(13)).await;
        one.turn().await.unwrap();
        assert_eq!(one.public().len(), 1);
        assert_eq!(one.verify(&old).await, Err(TokenError::UnknownKey));
        assert!(one.verify(&new).await.is_ok());
    }
}
