//! What a token says, as on the wire and as the rooms use it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use cupola_types::UserGuid;
use serde::Deserialize;

/// Who sent a request, according to a verified token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The user; `None` when a client acts for itself.
    pub user_id: Option<UserGuid>,
    /// Login name of the user.
    pub user_name: Option<String>,
    /// Email of the user.
    pub email: Option<String>,
    /// The OAuth client that got the token.
    pub client_id: String,
    /// What the token allows.
    pub scopes: BTreeSet<String>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// When it was issued.
    pub issued_at: Option<DateTime<Utc>>,
    /// Where the user comes from (`uaa`, `ldap`, …).
    pub origin: Option<String>,
    /// How the token was got (`password`, `client_credentials`, …).
    pub grant_type: Option<String>,
    /// Id of the token itself.
    pub token_id: String,
    /// Who issued it.
    pub issuer: String,
}

/// The claims as they stand in the token.
#[derive(Debug, Deserialize)]
pub(super) struct WireClaims {
    #[serde(default)]
    jti: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    pub(super) iss: String,
    pub(super) exp: u64,
    iat: Option<u64>,
    #[serde(default)]
    aud: OneOrMany,
    #[serde(default)]
    scope: OneOrMany,
    client_id: Option<String>,
    cid: Option<String>,
    user_id: Option<String>,
    user_name: Option<String>,
    email: Option<String>,
    origin: Option<String>,
    grant_type: Option<String>,
}

/// A list that some issuers write as a single string.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

// === impl Claims ===

impl Claims {
    /// Whether the token holds `scope`.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.contains(scope)
    }

    /// Whether the token holds any of `scopes`.
    #[must_use]
    pub fn has_any_scope(&self, scopes: &[&str]) -> bool {
        scopes.iter().any(|scope| self.has_scope(scope))
    }

    /// The id that the actor has in the controller: the user's, or the client's own.
    #[must_use]
    pub fn actor_id(&self) -> &str {
        self.user_id
            .as_ref()
            .map_or(self.client_id.as_str(), UserGuid::as_str)
    }

    /// The name to show for the actor: the user's name, or the client's id.
    #[must_use]
    pub fn actor_name(&self) -> &str {
        self.user_name.as_deref().unwrap_or(&self.client_id)
    }
}

// === impl WireClaims ===

impl WireClaims {
    /// Refresh tokens of UAA end their id in `-r`; no resource server may take one.
    pub(super) fn is_refresh_token(&self) -> bool {
        self.jti.ends_with("-r")
    }

    pub(super) fn audience(&self) -> impl Iterator<Item = &str> {
        self.aud.iter()
    }
}

impl TryFrom<WireClaims> for Claims {
    type Error = &'static str;

    fn try_from(wire: WireClaims) -> Result<Self, &'static str> {
        let client_id = wire.client_id.or(wire.cid).unwrap_or_default();
        if client_id.is_empty() && wire.user_id.is_none() {
            return Err("it names neither a user nor a client");
        }
        let user_id = match wire.user_id {
            Some(id) => Some(id.parse().map_err(|_| "the user id is not usable")?),
            None if wire.sub == client_id || wire.sub.is_empty() => None,
            None => Some(wire.sub.parse().map_err(|_| "the subject is not usable")?),
        };
        Ok(Self {
            user_id,
            user_name: wire.user_name,
            email: wire.email,
            client_id,
            scopes: wire.scope.iter().map(str::to_owned).collect(),
            expires_at: time(wire.exp).ok_or("exp is out of range")?,
            issued_at: wire.iat.and_then(time),
            origin: wire.origin,
            grant_type: wire.grant_type,
            token_id: wire.jti,
            issuer: wire.iss,
        })
    }
}

// === impl OneOrMany ===

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl OneOrMany {
    /// The members; a single string counts as a list separated by spaces.
    fn iter(&self) -> impl Iterator<Item = &str> {
        let (one, many) = match self {
            Self::One(text) => (text.as_str(), &[][..]),
            Self::Many(list) => ("", list.as_slice()),
        };
        one.split_whitespace()
            .chain(many.iter().map(String::as_str))
    }
}

fn time(seconds: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)
}
