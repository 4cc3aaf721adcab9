//! Who may connect: nkeys by signature, users by password, anybody by token.
//!
//! Secrets are compared by their digests in constant time, and an unknown name costs what a known one
//! with a wrong password does.

mod identity;
mod password;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use nkeys::{KeyPair, KeyPairType};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use crate::account::GLOBAL;
use crate::config;
use crate::jwt::Trust;
use crate::permissions::{BadRule, Permissions};
use crate::protocol::ConnectOptions;
pub(crate) use identity::{Doorway, Expiry, Identity, Standing};
use identity::{Proof, admit, trusted};
use password::Password;
pub(crate) use password::SlowCheck;

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
    /// Whether there are doors where a certificate says who one is.
    certificates: bool,
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
        let token = from.token.as_ref();
        if let Some(token) = token.filter(|token| !token.expose_secret().is_empty()) {
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
        let users = Users::compile(&own, accounts, None)?;
        Ok(Some(users.beside_certificates(config)))
    }

    /// Takes note of whether some users may be known by their certificates.
    pub(crate) fn beside_certificates(mut self, config: &config::Config) -> Self {
        let websocket = config.websocket.as_ref().and_then(|own| own.tls.as_ref());
        let mut doors = config.tls.iter().chain(websocket);
        self.certificates = doors.any(|tls| tls.verify_and_map);
        self
    }

    /// Whether there are users at all, and clients are one of them in the end.
    pub(crate) fn are_known(&self) -> bool {
        self.required
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

    /// Checks what a client said in CONNECT: by JWT where there is an operator, else by nkey, then user
    /// (or the certificate that names one), then token. What is not configured is not looked at.
    pub(crate) fn check(&self, options: &ConnectOptions, door: &Doorway<'_>) -> Verdict {
        if !self.required {
            return Verdict::Open;
        }
        if let Some(trust) = &self.trust {
            return admit(trust, options, door);
        }
        let silent =
            options.user.is_none() && options.pass.is_none() && options.auth_token.is_none();
        let default = self.no_auth.as_ref().filter(|_| silent);
        if !self.nkeys.is_empty() {
            if let Some(nkey) = &options.nkey {
                return self.check_nkey(nkey, options, door);
            }
            if let Some(identity) = default.filter(|who| self.nkeys.contains_key(&who.name)) {
                return Verdict::known_by(identity, door);
            }
        }
        if !self.names.is_empty() {
            if door.maps_certificates {
                let names = self.names.iter();
                let names = names.filter(|(_, (_, who))| who.may_come_by(door.way));
                let user = door
                    .certificate
                    .and_then(|leaf| leaf.user(names.map(|(name, _)| name.as_str())));
                return user.map_or(Verdict::Refused, |user| {
                    self.check_password(user, options, door)
                });
            }
            if let Some(identity) = default {
                return Verdict::known_by(identity, door);
            }
            if let Some(name) = &options.user {
                return self.check_password(name, options, door);
            }
        }
        match (&self.token, &self.token_identity) {
            (Some(token), Some(identity)) => {
                token.check(options.auth_token.clone().unwrap_or_default(), identity)
            }
            _ => Verdict::Refused,
        }
    }

    fn check_nkey(&self, nkey: &str, options: &ConnectOptions, door: &Doorway<'_>) -> Verdict {
        match self.nkeys.get(nkey) {
            Some((key, identity)) if is_signed(key, door.nonce, options.sig.as_deref()) => {
                Verdict::known_by(identity, door)
            }
            _ => Verdict::Refused,
        }
    }

    fn check_password(&self, name: &str, options: &ConnectOptions, door: &Doorway<'_>) -> Verdict {
        let given = options.pass.clone().unwrap_or_default();
        let Some((password, identity)) = self.names.get(name) else {
            // As costly as a known name.
            let _ = Password::Digest([0; 32]).check(given, &Arc::default());
            return Verdict::Refused;
        };
        // One without a password may be known by a certificate, and must not be claimed by name then.
        let bare = password.is_empty() && self.certificates && !door.maps_certificates;
        if bare && self.no_auth.as_ref().is_none_or(|who| who.name != name) {
            return Verdict::Refused;
        }
        let verdict = password.check(given, identity);
        if identity.may_come_by(door.way) {
            verdict
        } else {
            Verdict::Refused
        }
    }

    /// What has become of a connection's user since it came in. `anonymous` is one that said nothing.
    pub(crate) fn standing(&self, identity: Option<&Identity>, anonymous: bool) -> Standing {
        if anonymous {
            return match &self.no_auth {
                Some(identity) => Standing::Now(Some(Arc::clone(identity))),
                None if self.required => Standing::Gone,
                None => Standing::Now(None),
            };
        }
        let now = match identity.map(|who| (&who.proof, who)) {
            None if self.required => return Standing::Unknown,
            None => return Standing::Now(None),
            Some((Proof::Jwt, who)) => {
                let trust = self.trust.as_ref();
                return trust.map_or(Standing::Gone, |trust| trusted(trust, who));
            }
            Some((Proof::Token(_), _)) if !self.required => return Standing::Now(None),
            Some((Proof::Token(_), _)) => self.token_identity.as_ref(),
            Some((Proof::Nkey | Proof::Password(_), who)) => {
                let found = self.find(&who.name);
                let Some(found) = found.filter(|found| found.account == who.account) else {
                    return Standing::Moved;
                };
                Some(found)
            }
        };
        let proof = identity.map(|who| &who.proof);
        match now.filter(|now| Some(&now.proof) == proof) {
            Some(now) => Standing::Now(Some(Arc::clone(now))),
            None => Standing::Gone,
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// For one who has shown who it is, if it may come by this door.
    fn known_by(identity: &Arc<Identity>, door: &Doorway<'_>) -> Self {
        if identity.may_come_by(door.way) {
            Verdict::Known(Arc::clone(identity))
        } else {
            Verdict::Refused
        }
    }
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
    let failed = |source| AuthConfigError::PasswordFile {
        name: name.to_owned(),
        path: path.clone(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(failed(std::io::Error::other("it is empty"))),
        password => Ok(password.into()),
    }
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

#[cfg(test)]
mod tests;
