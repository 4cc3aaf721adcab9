//! A JWT as text: three parts, of which the last signs the first two.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::key::{self, KeyKind};

/// Longest token that is looked at. Accounts with many imports and revocations are large.
const LONGEST: usize = 1 << 20;
/// The newest version of the claims.
const NEWEST: i64 = 2;

/// A token whose signature is right, whoever the issuer may be.
#[derive(Clone, Debug)]
pub(super) struct Token<T> {
    /// Who signed it.
    pub issuer: String,
    /// What it is about.
    pub subject: String,
    /// A name for people.
    pub name: String,
    /// When it was made, in seconds since 1970; 0 when it does not say.
    pub issued_at: i64,
    /// When it ends; `None` for never.
    pub expires: Option<i64>,
    /// When it starts.
    pub not_before: Option<i64>,
    /// What it says.
    pub claims: T,
}

/// A token that is none, or says nothing we may believe.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not three parts in base64, or too long.
    #[error("is not a JWT")]
    Form,
    /// A header of another kind.
    #[error("has a header of another kind than ed25519-nkey")]
    Header,
    /// The claims are no JSON, or not the kind of JSON they should be.
    #[error("has claims that cannot be read")]
    Claims(#[source] serde_json::Error),
    /// Made by something newer.
    #[error("has claims of version {0}, which is newer than this server")]
    Version(i64),
    /// Another kind of token.
    #[error("is a token of type {found:?}, not {wanted:?}")]
    Type {
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// Issuer or subject are keys of the wrong kind.
    #[error("is issued by, or speaks of, a key of the wrong kind")]
    Keys,
    /// The issuer did not sign it.
    #[error("is not signed by its issuer")]
    Signature,
    /// Its time has not come, or is over.
    #[error("is not valid at this time")]
    Time,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    typ: String,
    #[serde(default)]
    alg: String,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    iat: i64,
    #[serde(default)]
    exp: i64,
    #[serde(default)]
    nbf: i64,
    /// Version 1 has these three out here.
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    tags: Option<Value>,
    #[serde(default)]
    issuer_account: String,
    #[serde(default)]
    nats: Value,
}

/// What a kind of token is called, and which keys it joins.
pub(super) trait Kind: DeserializeOwned {
    const TYPE: &'static str;
    const ISSUERS: &'static [KeyKind];
    const SUBJECT: KeyKind;
}

// === impl Token ===

impl<T: Kind> Token<T> {
    /// Reads a token and checks its signature.
    ///
    /// # Errors
    /// It is not one of this kind, or not signed by the issuer it names.
    pub(super) fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(TokenError::Form);
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Form);
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Form);
        let said: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Header)?;
        let known = said.typ.eq_ignore_ascii_case("jwt")
            && (said.alg.eq_ignore_ascii_case("ed25519-nkey")
                || said.alg.eq_ignore_ascii_case("ed25519"));
        if !known {
            return Err(TokenError::Header);
        }
        let mut envelope: Envelope =
            serde_json::from_slice(&decode(payload)?).map_err(TokenError::Claims)?;
        let first_version = !envelope.kind.is_empty();
        // What the first version signs is the payload alone.
        let signed = if first_version {
            payload
        } else {
            &text[..header.len() + 1 + payload.len()]
        };
        if !key::is_signed(&envelope.iss, signed.as_bytes(), &decode(signature)?) {
            return Err(TokenError::Signature);
        }
        let kind = if first_version {
            envelope.lift();
            envelope.kind.clone()
        } else {
            let version = envelope.nats.get("version").and_then(Value::as_i64);
            if let Some(version) = version.filter(|version| *version > NEWEST) {
                return Err(TokenError::Version(version));
            }
            let kind = envelope.nats.get("type").and_then(Value::as_str);
            kind.unwrap_or_default().to_owned()
        };
        if kind != T::TYPE {
            let wanted = T::TYPE;
            return Err(TokenError::Type {
                found: kind,
                wanted,
            });
        }
        let joined = key::kind(&envelope.iss).is_some_and(|kind| T::ISSUERS.contains(&kind))
            && key::kind(&envelope.sub) == Some(T::SUBJECT);
        if !joined {
            return Err(TokenError::Keys);
        }
        let time = |seconds: i64| (seconds > 0).then_some(seconds);
        Ok(Token {
            issuer: envelope.iss,
            subject: envelope.sub,
            name: envelope.name,
            issued_at: envelope.iat,
            expires: time(envelope.exp),
            not_before: time(envelope.nbf),
            claims: T::deserialize(envelope.nats).map_err(TokenError::Claims)?,
        })
    }
}

impl<T> Token<T> {
    /// Whether `now` (seconds since 1970) is within its time.
    pub(super) fn is_current(&self, now: i64) -> bool {
        self.expires.is_none_or(|end| now <= end)
            && self.not_before.is_none_or(|start| start <= now)
    }
}

impl Envelope {
    /// Puts what the first version has outside to where the second looks for it.
    fn lift(&mut self) {
        if self.nats.is_null() {
            self.nats = Value::Object(serde_json::Map::new());
        }
        if let Value::Object(nats) = &mut self.nats {
            if let Some(tags) = self.tags.take() {
                nats.insert("tags".to_owned(), tags);
            }
            if self.kind == "user" {
                // Users had no such limits, and none is what nought meant.
                for limit in ["subs", "data", "payload"] {
                    if nats.get(limit).and_then(Value::as_i64).unwrap_or(0) == 0 {
                        nats.insert(limit.to_owned(), (-1).into());
                    }
                }
            }
            if !self.issuer_account.is_empty() {
                nats.insert(
                    "issuer_account".to_owned(),
                    self.issuer_account.as_str().into(),
                );
            }
        }
    }
}

/// Picks the token out of a file that wraps it in lines of dashes.
pub(super) fn undecorated(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim);
    let begins = |line: &str| line.starts_with("---") && line.contains("BEGIN");
    if lines.by_ref().any(begins) {
        lines.find(|line| !line.is_empty()).unwrap_or_default()
    } else {
        text.trim()
    }
}
