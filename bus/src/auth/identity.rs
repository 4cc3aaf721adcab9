//! A user as its connections know it, from the configuration or from a JWT.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use super::Verdict;
use crate::account::GLOBAL;
use crate::config;
use crate::jwt::{Presented, Trust};
use crate::permissions::Permissions;
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
    pub(super) ways: Option<Vec<String>>,
    /// When it must go, and what it is told.
    pub until: Option<(Instant, Expiry)>,
    /// Who signed its JWT.
    pub issuer_key: Option<String>,
    /// Its name for people, from its JWT.
    pub name_tag: Option<String>,
    /// When its JWT was made.
    pub(super) issued_at: i64,
    /// How it proves who it is, so that a reload can see whether that has changed.
    pub(super) proof: Proof,
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
pub(super) enum Proof {
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
    /// Whether a certificate says here who one is.
    pub maps_certificates: bool,
    /// The one it has shown.
    pub certificate: Option<&'a Leaf>,
}

/// What a reload means for a connection.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It stays as it is.
    Same,
    /// It stays, as this user from now on (or as nobody in particular).
    Now(Option<Arc<Identity>>),
    /// It came when nobody was asked, and said who it is all the same: that is to be checked now.
    Unknown,
    /// Its user is gone, or belongs to another account: it had better come again.
    Moved,
    /// Its user proves itself differently.
    Gone,
    /// Its JWT has been revoked.
    Revoked,
    /// Its account is gone or over.
    AccountOver,
}

// === impl Identity ===

impl Identity {
    pub(super) fn nobody(name: &str, account: &str) -> Self {
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

    /// What stands for the peers of a cluster, when not everything may cross.
    pub(crate) fn of_routes(permissions: Permissions) -> Self {
        Identity {
            permissions: Some(permissions),
            ..Identity::nobody("", GLOBAL)
        }
    }

    pub(super) fn may_come_by(&self, way: &str) -> bool {
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
pub(super) fn admit(trust: &Trust, options: &ConnectOptions, door: &Doorway<'_>) -> Verdict {
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
pub(super) fn trusted(trust: &Trust, identity: &Identity) -> Standing {
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
