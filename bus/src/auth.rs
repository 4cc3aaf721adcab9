//! Who may connect: nkeys by signature, users by password, anybody by token.
//!
//! Secrets are compared by their digests in constant time, and an unknown name costs what a known one
//! with a wrong password does.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use chrono::Utc;
use nkeys::{KeyPair, KeyPairType};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use crate::account::GLOBAL;
use crate::config;
use crate::jwt::{Presented, Trust};
use crate::permissions::{BadRule, Permissions};
use crate::protocol::ConnectOptions;
use crate::wire::tls::Leaf;

/// A user, as its connections share it.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Name or public nkey; what monitoring and logs say.
    pub name: String,
    /// The account it belongs to.
    pub account: Arc<str>,
    /// What it may do; `None` is everything.
    pub permissions: Option<Permissions>,
    /// The same as it was written.
    pub granted: Option<config::Permissions>,
    /// Its own bounds.
    pub limits: UserLimits,
    /// Ways it may come (`STANDARD`, `WEBSOCKET`); all when absent.
    ways: Option<Vec<String>>,
    /// When it must go, and what it is told.
    pub until: Option<(Instant, Expiry)>,
    /// Who signed its JWT.
    pub issuer_key: Option<String>,
    /// Its name for people, from its JWT.
    pub name_tag: Option<String>,
    /// When its JWT was made.
    issued_at: i64,
    /// How it proves who it is, so that a reload can see whether that has changed.
    proof: Proof,
}

/// How much one connection of a user may use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UserLimits {
    pub max_subscriptions: Option<u32>,
    pub max_payload: Option<usize>,
}

/// Whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    User,
    Account,
}

/// How a user proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Proof {
    /// By a key, which is its name.
    Nkey,
    /// By a password with this digest (of the hash, if it is one).
    Password([u8; 32]),
    Token([u8; 32]),
    Jwt,
}

/// What a connection is, besides what it says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doorway<'a> {
    /// What it had to sign.
    pub nonce: &'a str,
    /// Where it comes from.
    pub address: IpAddr,
    /// How it comes: `STANDARD` or `WEBSOCKET`.
    pub way: &'a str,
}

/// What a reload means for a connection.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It stays as it is.
    Same,
    /// It stays, as this user from now on (or as nobody in particular).
    Now(Option<Arc<Identity>>),
    /// Its user is gone, or proves itself differently.
    Gone,
    /// Its JWT has been revoked.
    Revoked,
    /// Its account is gone or over.
    AccountOver,
}

/// The users a broker knows.
#[derive(Debug, Default)]
pub(crate) struct Users {
    nkeys: HashMap<String, (KeyPair, Arc<Identity>)>,
    names: HashMap<String, (Password, Arc<Identity>)>,
    token: Option<Password>,
    /// Whom a token makes one.
    token_identity: Option<Arc<Identity>>,
    no_auth: Option<Arc<Identity>>,
    trust: Option<Trust>,
    required: bool,
}

/// How a password is checked.
#[derive(Clone)]
enum Password {
    /// SHA-256 of a plain one.
    Digest([u8; 32]),
    /// A bcrypt hash, as it was written.
    Bcrypt(Arc<str>),
}

/// What came of checking credentials.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Nobody needs credentials here.
    Open,
    /// Let in.
    Known(Arc<Identity>),
    /// Turned away.
    Refused,
    /// Decided by a bcrypt hash, which takes its time: to be run where blocking is allowed.
    Slow(SlowCheck),
}

/// A password check that takes milliseconds of CPU.
#[derive(Debug)]
pub(crate) struct SlowCheck {
    given: SecretString,
    hash: Arc<str>,
    identity: Arc<Identity>,
}

/// An authorization section that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// A user has neither an nkey nor a name.
    #[error("user {index} has neither an nkey nor a name")]
    Nameless {
        /// Its place in the list, from 0.
        index: usize,
    },
    /// Both kinds of credentials in one entry.
    #[error("user {name:?} has an nkey and a name or password")]
    Ambiguous {
        /// Its nkey.
        name: String,
    },
    /// The password file cannot be read.
    #[error("cannot read the password of user {name:?} from {path}")]
    PasswordFile {
        /// The user's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// Not the public key of a user.
    #[error("{nkey:?} is not a public user nkey")]
    BadNkey {
        /// What was written.
        nkey: String,
    },
    /// The same user twice.
    #[error("user {name:?} is listed twice")]
    Duplicate {
        /// Name or nkey.
        name: String,
    },
    /// `no_auth_user` is nobody.
    #[error("no_auth_user {name:?} is not among the users")]
    UnknownNoAuthUser {
        /// What was written.
        name: String,
    },
    /// A permission is not a subject.
    #[error("permissions of user {name:?}")]
    Permissions {
        /// Name or nkey.
        name: String,
        /// Which one.
        source: BadRule,
    },
}

// === impl Users ===

impl Users {
    /// Compiles what was configured.
    ///
    /// # Errors
    /// An entry makes no sense or occurs twice.
    pub(crate) fn compile(
        from: &config::Authorization,
        accounts: &[config::accounts::Account],
        trust: Option<Trust>,
    ) -> Result<Self, AuthConfigError> {
        let mut users = Users::default();
        users.add_all(GLOBAL, &from.users, from.default_permissions.as_ref())?;
        for account in accounts {
            let default = account.default_permissions.as_ref();
            users.add_all(&account.name, &account.users, default)?;
        }
        if let Some(token) = &from.token {
            let permissions = compile_permissions("token", from.default_permissions.as_ref())?;
            users.token_identity = Some(Arc::new(Identity {
                permissions,
                proof: Proof::Token(digest(token)),
                ..Identity::nobody("token", GLOBAL)
            }));
            users.token = Some(Password::new(token));
        }
        users.required = !users.names.is_empty()
            || !users.nkeys.is_empty()
            || users.token.is_some()
            || trust.is_some();
        users.trust = trust;
        if let Some(name) = &from.no_auth_user {
            let identity = users
                .find(name)
                .ok_or_else(|| AuthConfigError::UnknownNoAuthUser { name: name.clone() })?;
            users.no_auth = Some(Arc::clone(identity));
        }
        Ok(users)
    }

    fn find(&self, name: &str) -> Option<&Arc<Identity>> {
        let named = self.names.get(name).map(|(_, identity)| identity);
        named.or_else(|| self.nkeys.get(name).map(|(_, identity)| identity))
    }

    fn add_all(
        &mut self,
        account: &str,
        users: &[config::User],
        default: Option<&config::Permissions>,
    ) -> Result<(), AuthConfigError> {
        let account: Arc<str> = account.into();
        for (index, user) in users.iter().enumerate() {
            self.add(&account, index, user, default)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        account: &Arc<str>,
        index: usize,
        user: &config::User,
        default: Option<&config::Permissions>,
    ) -> Result<(), AuthConfigError> {
        let identity = |name: &str, proof| {
            let granted = user.permissions.as_ref().or(default);
            Ok(Arc::new(Identity {
                permissions: compile_permissions(name, granted)?,
                granted: granted.cloned(),
                ways: user.connection_types.clone(),
                proof,
                ..Identity::nobody(name, account)
            }))
        };
        let duplicate = |name: &str| AuthConfigError::Duplicate {
            name: name.to_owned(),
        };
        match (&user.nkey, &user.user) {
            (Some(nkey), None) if user.password.is_none() && user.password_file.is_none() => {
                let key = KeyPair::from_public_key(nkey)
                    .ok()
                    .filter(|key| matches!(key.key_pair_type(), KeyPairType::User))
                    .ok_or_else(|| AuthConfigError::BadNkey { nkey: nkey.clone() })?;
                let entry = (key, identity(nkey, Proof::Nkey)?);
                match self.nkeys.insert(nkey.clone(), entry) {
                    None => Ok(()),
                    Some(_) => Err(duplicate(nkey)),
                }
            }
            (Some(nkey), _) => Err(AuthConfigError::Ambiguous { name: nkey.clone() }),
            (None, Some(name)) => {
                let secret = read_password(name, user)?;
                let proof = Proof::Password(digest(&secret));
                let entry = (Password::new(&secret), identity(name, proof)?);
                match self.names.insert(name.clone(), entry) {
                    None => Ok(()),
                    Some(_) => Err(duplicate(name)),
                }
            }
            (None, None) => Err(AuthConfigError::Nameless { index }),
        }
    }

    /// Who may come by websocket, when that is said separately.
    ///
    /// # Errors
    /// As of [`Users::compile`].
    pub(crate) fn of_websocket(config: &config::Config) -> Result<Option<Self>, AuthConfigError> {
        let (Some(websocket), None) = (&config.websocket, &config.operator) else {
            return Ok(None);
        };
        let mut accounts = &config.accounts[..];
        let mut own = config.authorization.clone();
        if websocket.username.is_some() || websocket.token.is_some() {
            accounts = &[];
            own.users = Vec::new();
            own.token.clone_from(&websocket.token);
            own.no_auth_user = None;
        } else if websocket.no_auth_user.is_none() {
            return Ok(None);
        }
        if let Some(name) = &websocket.username {
            own.users.push(config::User {
                user: Some(name.clone()),
                password: websocket.password.clone(),
                ..config::User::default()
            });
        }
        if websocket.no_auth_user.is_some() {
            own.no_auth_user.clone_from(&websocket.no_auth_user);
        }
        Users::compile(&own, accounts, None).map(Some)
    }

    /// The user a certificate names, where that is how users are known.
    pub(crate) fn check_certificate(&self, leaf: Option<&Leaf>) -> Verdict {
        let names = self.names.keys().map(String::as_str);
        let user = leaf.and_then(|leaf| leaf.user(names));
        match user.and_then(|user| self.names.get(user)) {
            Some((_, identity)) => Verdict::Known(Arc::clone(identity)),
            None => Verdict::Refused,
        }
    }

    /// Whether clients must say who they are.
    pub(crate) fn required(&self) -> bool {
        self.required && self.no_auth.is_none()
    }

    /// Whether INFO must carry a nonce to sign.
    pub(crate) fn needs_nonce(&self) -> bool {
        !self.nkeys.is_empty() || self.trust.is_some()
    }

    /// Who a client is that has not said so.
    pub(crate) fn no_auth(&self) -> Option<&Arc<Identity>> {
        self.no_auth.as_ref()
    }

    /// Checks what a client said in CONNECT: by JWT where there is an operator, else by nkey, then user,
    /// then token.
    pub(crate) fn check(&self, options: &ConnectOptions, door: &Doorway<'_>) -> Verdict {
        if !self.required {
            return Verdict::Open;
        }
        if let Some(trust) = &self.trust {
            return admit(trust, options, door);
        }
        if let Some(nkey) = &options.nkey {
            return match self.nkeys.get(nkey) {
                Some((key, identity))
                    if identity.may_come_by(door.way)
                        && is_signed(key, door.nonce, options.sig.as_deref()) =>
                {
                    Verdict::Known(Arc::clone(identity))
                }
                _ => Verdict::Refused,
            };
        }
        if let Some(name) = &options.user {
            let given = options.pass.clone().unwrap_or_default();
            if let Some((password, identity)) = self.names.get(name) {
                let verdict = password.check(given, identity);
                return if identity.may_come_by(door.way) {
                    verdict
                } else {
                    Verdict::Refused
                };
            }
            // As costly as a known name.
            let _ = Password::Digest([0; 32]).check(given, &Arc::default());
            return Verdict::Refused;
        }
        if let Some(token) = &options.auth_token {
            return self.check_token(token.clone());
        }
        match &self.no_auth {
            Some(identity) => Verdict::Known(Arc::clone(identity)),
            None => Verdict::Refused,
        }
    }

    /// What has become of a connection's user since it came in. `anonymous` is one that said nothing.
    pub(crate) fn standing(&self, identity: Option<&Identity>, anonymous: bool) -> Standing {
        if !self.required && self.trust.is_none() {
            // Nobody is asked any more, so nobody is turned away.
            return Standing::Now(None);
        }
        let Some(identity) = identity.filter(|_| !anonymous) else {
            return match (&self.no_auth, self.required) {
                (Some(identity), _) => Standing::Now(Some(Arc::clone(identity))),
                (None, false) => Standing::Now(None),
                (None, true) => Standing::Gone,
            };
        };
        let now = match (&identity.proof, &self.trust) {
            (Proof::Jwt, Some(trust)) => return trusted(trust, identity),
            (Proof::Jwt, None) => None,
            (Proof::Token(_), _) => self.token_identity.as_ref(),
            (Proof::Nkey | Proof::Password(_), _) => self.find(&identity.name),
        };
        match now.filter(|now| now.proof == identity.proof) {
            Some(now) => Standing::Now(Some(Arc::clone(now))),
            None => Standing::Gone,
        }
    }

    fn check_token(&self, given: SecretString) -> Verdict {
        match (&self.token, &self.token_identity) {
            (Some(token), Some(identity)) => token.check(given, identity),
            _ => Verdict::Refused,
        }
    }
}

// === impl Identity ===

impl Identity {
    fn nobody(name: &str, account: &str) -> Self {
        Identity {
            name: name.to_owned(),
            account: account.into(),
            permissions: None,
            granted: None,
            limits: UserLimits::default(),
            ways: None,
            until: None,
            issuer_key: None,
            name_tag: None,
            issued_at: 0,
            proof: Proof::Nkey,
        }
    }

    fn may_come_by(&self, way: &str) -> bool {
        let same = |allowed: &String| allowed.eq_ignore_ascii_case(way);
        self.ways.as_ref().is_none_or(|ways| ways.iter().any(same))
    }
}

impl Default for Identity {
    /// Nobody, who may do nothing of note; stands in where a check only has to take its time.
    fn default() -> Self {
        Identity {
            permissions: Some(Permissions::default()),
            ..Identity::nobody("", GLOBAL)
        }
    }
}

/// Lets in who presents a JWT that a trusted operator stands behind.
fn admit(trust: &Trust, options: &ConnectOptions, door: &Doorway<'_>) -> Verdict {
    let Some(jwt) = &options.jwt else {
        return Verdict::Refused;
    };
    let presented = Presented {
        jwt: jwt.expose_secret(),
        signature: options.sig.as_deref(),
        nonce: door.nonce,
        address: door.address,
        way: door.way,
        now: Utc::now(),
    };
    let admitted = match trust.admit(&presented) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            tracing::debug!(client.address = %door.address, %refusal, "user with a JWT refused");
            return Verdict::Refused;
        }
    };
    let account = &admitted.account;
    let default = account.describe().default_permissions;
    let granted = admitted.permissions.as_ref().or(default.as_ref());
    let permissions = match granted.map(Permissions::compile).transpose() {
        Ok(permissions) => permissions,
        Err(rule) => {
            tracing::debug!(%rule, "user with a JWT refused");
            return Verdict::Refused;
        }
    };
    // What ends beyond any clock does not end.
    let in_time = |left: Duration| Instant::now().checked_add(left);
    let user = admitted.left.and_then(in_time).map(|at| (at, Expiry::User));
    let account_left = account
        .expires()
        .and_then(|end| u64::try_from(end - presented.now.timestamp()).ok());
    let over = account_left
        .and_then(|left| in_time(Duration::from_secs(left)))
        .map(|at| (at, Expiry::Account));
    let granted = granted.cloned();
    Verdict::Known(Arc::new(Identity {
        permissions,
        granted,
        limits: UserLimits {
            max_subscriptions: admitted.max_subscriptions,
            max_payload: admitted.max_payload,
        },
        until: user.into_iter().chain(over).min_by_key(|(at, _)| *at),
        issuer_key: Some(admitted.issuer),
        name_tag: (!admitted.name.is_empty()).then_some(admitted.name),
        issued_at: admitted.issued_at,
        proof: Proof::Jwt,
        ..Identity::nobody(&admitted.key, account.key())
    }))
}

/// Whether a user with a JWT may stay with the accounts as they are now.
fn trusted(trust: &Trust, identity: &Identity) -> Standing {
    let Some(account) = trust.account(&identity.account) else {
        return Standing::AccountOver;
    };
    if !account.is_current(Utc::now().timestamp()) || account.violation().is_some() {
        return Standing::AccountOver;
    }
    if account.has_revoked(&identity.name, identity.issued_at) {
        return Standing::Revoked;
    }
    let issuer = identity.issuer_key.as_deref().unwrap_or_default();
    if !account.is_signer(issuer, trust.is_strict(account.issuer())) {
        return Standing::Gone;
    }
    Standing::Same
}

fn digest(secret: &SecretString) -> [u8; 32] {
    Sha256::digest(secret.expose_secret().as_bytes()).into()
}

fn compile_permissions(
    name: &str,
    from: Option<&config::Permissions>,
) -> Result<Option<Permissions>, AuthConfigError> {
    from.map(Permissions::compile)
        .transpose()
        .map_err(|source| AuthConfigError::Permissions {
            name: name.to_owned(),
            source,
        })
}

fn read_password(name: &str, user: &config::User) -> Result<SecretString, AuthConfigError> {
    if let Some(password) = &user.password {
        return Ok(password.clone());
    }
    let Some(path) = &user.password_file else {
        // Known by a certificate, or the one that clients become who say nothing.
        return Ok(SecretString::default());
    };
    let text = std::fs::read_to_string(path).map_err(|source| AuthConfigError::PasswordFile {
        name: name.to_owned(),
        path: path.clone(),
        source,
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).into())
}

fn is_signed(key: &KeyPair, nonce: &str, signature: Option<&str>) -> bool {
    let Some(signature) = signature else {
        return false;
    };
    // Clients write it in either alphabet, with or without padding.
    let decoded = URL_SAFE_NO_PAD
        .decode(signature)
        .or_else(|_| URL_SAFE.decode(signature))
        .or_else(|_| STANDARD.decode(signature));
    decoded.is_ok_and(|signature| {
        signature.len() == 64 && key.verify(nonce.as_bytes(), &signature).is_ok()
    })
}

// === impl Password ===

impl Password {
    fn new(secret: &SecretString) -> Self {
        let secret = secret.expose_secret();
        if is_bcrypt(secret) {
            Password::Bcrypt(secret.into())
        } else {
            Password::Digest(Sha256::digest(secret.as_bytes()).into())
        }
    }

    fn check(&self, given: SecretString, identity: &Arc<Identity>) -> Verdict {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn users(json: serde_json::Value) -> Result<Users, AuthConfigError> {
        Users::compile(&serde_json::from_value(json).unwrap(), &[], None)
    }

    fn door(nonce: &str) -> Doorway<'_> {
        Doorway {
            nonce,
            address: [127, 0, 0, 1].into(),
            way: "STANDARD",
        }
    }

    fn connect(json: serde_json::Value) -> ConnectOptions {
        serde_json::from_value(json).unwrap()
    }

    fn name(verdict: Verdict) -> Option<String> {
        match verdict {
            Verdict::Known(identity) => Some(identity.name.clone()),
            Verdict::Slow(check) => check.run().map(|identity| identity.name.clone()),
            Verdict::Open => Some("open".to_owned()),
            Verdict::Refused => None,
        }
    }

    #[test]
    fn passwords_tokens_and_nobody() {
        let users = users(serde_json::json!({
            "token": "tok", "no_auth_user": "guest",
            "users": [{ "user": "a", "password": "pw" }, { "user": "guest" }],
        }))
        .unwrap();
        let check = |json| name(users.check(&connect(json), &door("")));
        assert_eq!(
            check(serde_json::json!({ "user": "a", "pass": "pw" })).unwrap(),
            "a"
        );
        assert_eq!(
            check(serde_json::json!({ "user": "a", "pass": "no" })),
            None
        );
        assert_eq!(check(serde_json::json!({ "user": "a" })), None);
        assert_eq!(
            check(serde_json::json!({ "user": "zz", "pass": "pw" })),
            None
        );
        assert_eq!(
            check(serde_json::json!({ "auth_token": "tok" })).unwrap(),
            "token"
        );
        // A token in the user's place is none, as with nats-server.
        assert_eq!(check(serde_json::json!({ "user": "tok" })), None);
        assert_eq!(check(serde_json::json!({ "auth_token": "no" })), None);
        assert_eq!(check(serde_json::json!({})).unwrap(), "guest");
        // One without a password cannot be claimed by name.
        assert_eq!(check(serde_json::json!({ "user": "guest" })), None);
        assert_eq!(
            check(serde_json::json!({ "user": "guest", "pass": "" })),
            None
        );
        assert!(!users.required());
    }

    #[test]
    fn a_bcrypt_hash_is_never_a_password() {
        let hash = bcrypt::hash("pw", 4).unwrap();
        let users =
            users(serde_json::json!({ "users": [{ "user": "a", "password": hash }] })).unwrap();
        let check = |pass: &str| {
            name(users.check(
                &connect(serde_json::json!({ "user": "a", "pass": pass })),
                &door(""),
            ))
        };
        assert_eq!(check("pw").unwrap(), "a");
        assert_eq!(check("other"), None);
        assert_eq!(check(&hash), None);
    }

    #[test]
    fn nkeys_sign_the_nonce() {
        let key = KeyPair::new_user();
        let public = key.public_key();
        let users = users(serde_json::json!({ "users": [{ "nkey": public }] })).unwrap();
        let sign = |text: &str| URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()).unwrap());
        let check = |sig: &str| {
            name(users.check(
                &connect(serde_json::json!({ "nkey": public, "sig": sig })),
                &door("n1"),
            ))
        };
        assert_eq!(check(&sign("n1")).unwrap(), public);
        // As some libraries write it. Its letters differ with the key, so any is as good as another.
        let standard = STANDARD.encode(key.sign(b"n1").unwrap());
        assert_eq!(check(&standard).unwrap(), public);
        assert_eq!(check(&sign("n2")), None);
        assert_eq!(check("@@@"), None);
        assert_eq!(
            name(users.check(&connect(serde_json::json!({ "nkey": public })), &door("n1"))),
            None
        );
        assert!(users.needs_nonce() && users.required());
    }

    #[test]
    fn nonsense_is_refused_at_the_start() {
        let account = KeyPair::new_account().public_key();
        for (json, says) in [
            (serde_json::json!({ "users": [{}] }), "neither"),
            (
                serde_json::json!({ "users": [{ "nkey": "U1", "user": "a" }] }),
                "and a name",
            ),
            (
                serde_json::json!({ "users": [{ "nkey": "nonsense" }] }),
                "not a public user nkey",
            ),
            (
                serde_json::json!({ "users": [{ "nkey": account }] }),
                "not a public user nkey",
            ),
            (
                serde_json::json!({ "users": [
                    { "user": "a", "password": "x" }, { "user": "a", "password": "y" }] }),
                "twice",
            ),
            (serde_json::json!({ "no_auth_user": "b" }), "not among"),
            (
                serde_json::json!({ "users": [
                    { "user": "a", "password": "x", "permissions": { "publish": { "deny": ["a..b"] } } }] }),
                "permissions of user",
            ),
        ] {
            let error = users(json).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
