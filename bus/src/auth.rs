//! Who may connect: nkeys by signature, users by password, anybody by token.
//!
//! Secrets are compared by their digests in constant time, and an unknown name costs what a known one
//! with a wrong password does.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use nkeys::{KeyPair, KeyPairType};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config;
use crate::permissions::{BadRule, Permissions};
use crate::protocol::ConnectOptions;
use crate::wire::tls::Leaf;

/// A configured user, as its connections share it.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Name or public nkey; what monitoring and logs say.
    pub name: String,
    /// What it may do; `None` is everything.
    pub permissions: Option<Permissions>,
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
    pub(crate) fn compile(from: &config::Authorization) -> Result<Self, AuthConfigError> {
        let mut users = Users {
            required: !from.users.is_empty(),
            ..Users::default()
        };
        for (index, user) in from.users.iter().enumerate() {
            users.add(index, user, from.default_permissions.as_ref())?;
        }
        if let Some(token) = &from.token {
            users.required = true;
            users.token = Some(Password::new(token));
            users.token_identity = Some(Arc::new(Identity {
                name: "token".to_owned(),
                permissions: compile_permissions("token", from.default_permissions.as_ref())?,
            }));
        }
        if let Some(name) = &from.no_auth_user {
            let identity = users
                .names
                .get(name)
                .map(|(_, identity)| identity)
                .or_else(|| users.nkeys.get(name).map(|(_, identity)| identity));
            let identity = identity
                .ok_or_else(|| AuthConfigError::UnknownNoAuthUser { name: name.clone() })?;
            users.no_auth = Some(Arc::clone(identity));
        }
        Ok(users)
    }

    fn add(
        &mut self,
        index: usize,
        user: &config::User,
        default: Option<&config::Permissions>,
    ) -> Result<(), AuthConfigError> {
        let identity = |name: &str| {
            let permissions = compile_permissions(name, user.permissions.as_ref().or(default))?;
            Ok(Arc::new(Identity {
                name: name.to_owned(),
                permissions,
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
                match self.nkeys.insert(nkey.clone(), (key, identity(nkey)?)) {
                    None => Ok(()),
                    Some(_) => Err(duplicate(nkey)),
                }
            }
            (Some(nkey), _) => Err(AuthConfigError::Ambiguous { name: nkey.clone() }),
            (None, Some(name)) => {
                let password = Password::new(&read_password(name, user)?);
                match self.names.insert(name.clone(), (password, identity(name)?)) {
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
        let Some(websocket) = &config.websocket else {
            return Ok(None);
        };
        let mut own = config.authorization.clone();
        if websocket.username.is_some() || websocket.token.is_some() {
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
        Users::compile(&own).map(Some)
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
        !self.nkeys.is_empty()
    }

    /// Who a client is that has not said so.
    pub(crate) fn no_auth(&self) -> Option<&Arc<Identity>> {
        self.no_auth.as_ref()
    }

    /// Checks what a client said in CONNECT, by nkey, then user, then token.
    pub(crate) fn check(&self, options: &ConnectOptions, nonce: &str) -> Verdict {
        if !self.required {
            return Verdict::Open;
        }
        if let Some(nkey) = &options.nkey {
            return match self.nkeys.get(nkey) {
                Some((key, identity)) if is_signed(key, nonce, options.sig.as_deref()) => {
                    Verdict::Known(Arc::clone(identity))
                }
                _ => Verdict::Refused,
            };
        }
        if let Some(name) = &options.user {
            let given = options.pass.clone().unwrap_or_default();
            if let Some((password, identity)) = self.names.get(name) {
                return password.check(given, identity);
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

    fn check_token(&self, given: SecretString) -> Verdict {
        match (&self.token, &self.token_identity) {
            (Some(token), Some(identity)) => token.check(given, identity),
            _ => Verdict::Refused,
        }
    }
}

impl Default for Identity {
    /// Nobody, who may do nothing of note; stands in where a check only has to take its time.
    fn default() -> Self {
        Identity {
            name: String::new(),
            permissions: Some(Permissions::default()),
        }
    }
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
    let decoded = URL_SAFE_NO_PAD
        .decode(signature)
        .or_else(|_| URL_SAFE.decode(signature));
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
        Users::compile(&serde_json::from_value(json).unwrap())
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
        let check = |json| name(users.check(&connect(json), ""));
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
                "",
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
                "n1",
            ))
        };
        assert_eq!(check(&sign("n1")).unwrap(), public);
        assert_eq!(check(&sign("n2")), None);
        assert_eq!(check("@@@"), None);
        assert_eq!(
            name(users.check(&connect(serde_json::json!({ "nkey": public })), "n1")),
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
