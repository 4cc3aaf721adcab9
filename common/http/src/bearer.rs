//! Bearer tokens: RS256 JWTs of our UAA, verified here without asking it each time.
//!
//! Resource servers build one [`TokenVerifier`], put it into `app_data` as `web::Data` and let
//! handlers take an [`Authenticated`]. [`SigningKey`] is the other side: UAA signs with it, and
//! tests make their own tokens with it.

mod claims;
mod keys;
mod signing;

use std::ops::Deref;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use url::Url;

use crate::api_error::{self, ApiError};

pub use claims::Claims;
pub use keys::KeysError;
pub use signing::{PublicKeyJwk, SigningError, SigningKey};

use claims::WireClaims;
use keys::Keys;

/// Longest token that is looked at. Ours have about one kilobyte.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Which tokens a resource server accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The `iss` a token must carry; `None` accepts any.
    pub issuer: Option<String>,
    /// A token's `aud` must hold one of these; an empty list accepts any.
    pub audience: Vec<String>,
    /// How long after `exp` a token is still taken, for clocks that differ.
    pub leeway: Duration,
}

/// Verifies bearer tokens against the keys of a UAA.
#[derive(Debug)]
pub struct TokenVerifier {
    policy: Policy,
    keys: Keys,
}

/// Why a request does not count as authenticated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No `Authorization` header.
    #[error("no bearer token was sent")]
    Missing,
    /// Not a bearer token, not a JWT of the right form, or a refresh token.
    #[error("the token is malformed: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Its time is over; a refresh helps.
    #[error("the token has expired")]
    Expired,
    /// Signed by another key than it says, or changed after signing.
    #[error("the token's signature is wrong")]
    WrongSignature,
    /// Signed by a key that UAA does not (or no longer) publish.
    #[error("the token was signed by an unknown key")]
    UnknownKey,
    /// Issued by somebody else.
    #[error("the token was issued by another server")]
    WrongIssuer,
    /// Meant for other resource servers.
    #[error("the token is not meant for this server")]
    WrongAudience,
    /// The keys could not be fetched; trying again later helps.
    #[error("the token cannot be verified because the signing keys are unavailable")]
    KeysUnavailable,
}

/// Extractor: the claims of a verified token. Needs a `web::Data<TokenVerifier>`.
#[derive(Debug, Clone)]
pub struct Authenticated(pub Claims);

// === impl Policy ===

impl Default for Policy {
    fn default() -> Self {
        Self {
            issuer: None,
            audience: Vec::new(),
            leeway: Duration::from_secs(5),
        }
    }
}

impl Policy {
    /// Tokens that name `audience`, whoever issued them with the right key.
    #[must_use]
    pub fn for_audience(audience: &str) -> Self {
        Self {
            audience: vec![audience.to_owned()],
            ..Self::default()
        }
    }

    /// Asks for this `iss` as well.
    #[must_use]
    pub fn issued_by(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }
}

// === impl TokenVerifier ===

impl TokenVerifier {
    /// A verifier that fetches the keys from `keys_url` (`<uaa>/token_keys`) when it first needs
    /// them, and again when a token names a key it does not know.
    #[must_use]
    pub fn fetching(policy: Policy, keys_url: Url, client: reqwest::Client) -> Self {
        Self {
            policy,
            keys: Keys::remote(keys_url, client),
        }
    }

    /// A verifier with these keys and no others, for tests and for tools.
    ///
    /// # Errors
    /// When `jwks` is not a key set.
    pub fn fixed(policy: Policy, jwks: &[u8]) -> Result<Self, KeysError> {
        Ok(Self {
            policy,
            keys: Keys::fixed(jwks)?,
        })
    }

    /// Verifies the value of an `Authorization` header.
    ///
    /// # Errors
    /// See [`TokenError`]; only `KeysUnavailable` is worth another try with the same token.
    pub async fn verify(&self, authorization: Option<&str>) -> Result<Claims, TokenError> {
        let header = authorization.ok_or(TokenError::Missing)?.trim();
        if header.is_empty() {
            return Err(TokenError::Missing);
        }
        let (scheme, token) = header.split_once(' ').ok_or(malformed("no scheme"))?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(malformed("the scheme is not bearer"));
        }
        self.verify_token(token.trim()).await
    }

    /// Verifies a bare token.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn verify_token(&self, token: &str) -> Result<Claims, TokenError> {
        self.verify_token_at(token, SystemTime::now()).await
    }

    /// Verifies a bare token as if it were `now`.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn verify_token_at(
        &self,
        token: &str,
        now: SystemTime,
    ) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(malformed("it is too long"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| malformed("not a JWT"))?;
        if header.alg != Algorithm::RS256 {
            return Err(malformed("the algorithm is not RS256"));
        }
        let kid = header.kid.as_deref();
        let (key, seen) = self.keys.find(kid).await?;
        let wire = match decode(token, &key) {
            // UAA may have begun anew with another key under the same id.
            Err(TokenError::WrongSignature) => {
                let key = self.keys.find_newer(kid, seen).await;
                let key = key.ok_or(TokenError::WrongSignature)?;
                decode(token, &key)?
            }
            decoded => decoded?,
        };
        self.check(&wire, now)?;
        Claims::try_from(wire).map_err(malformed)
    }

    fn check(&self, wire: &WireClaims, now: SystemTime) -> Result<(), TokenError> {
        if wire.is_refresh_token() {
            return Err(malformed("it is a refresh token"));
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if wire.exp.saturating_add(self.policy.leeway.as_secs()) <= now {
            return Err(TokenError::Expired);
        }
        if self
            .policy
            .issuer
            .as_ref()
            .is_some_and(|issuer| *issuer != wire.iss)
        {
            return Err(TokenError::WrongIssuer);
        }
        let audience = &self.policy.audience;
        if !audience.is_empty() && !wire.audience().any(|aud| audience.iter().any(|a| a == aud)) {
            return Err(TokenError::WrongAudience);
        }
        Ok(())
    }
}

/// Checks the signature alone; the claims are checked by [`TokenVerifier::check`], whose clock
/// and errors are ours.
fn decode(token: &str, key: &DecodingKey) -> Result<WireClaims, TokenError> {
    let mut signature_only = Validation::new(Algorithm::RS256);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_aud = false;
    match jsonwebtoken::decode::<WireClaims>(token, key, &signature_only) {
        Ok(data) => Ok(data.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidSignature => TokenError::WrongSignature,
            ErrorKind::Json(_) => malformed("a claim is missing or of the wrong type"),
            _ => malformed("not a JWT"),
        }),
    }
}

fn malformed(reason: &'static str) -> TokenError {
    TokenError::Malformed { reason }
}

// === as an extractor ===

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Missing => api_error::NOT_AUTHENTICATED.bare(),
            TokenError::KeysUnavailable => api_error::UAA_UNAVAILABLE.bare(),
            _ => api_error::INVALID_AUTH_TOKEN.bare().caused_by(error),
        }
    }
}

impl Deref for Authenticated {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.0
    }
}

impl FromRequest for Authenticated {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let verifier = request.app_data::<web::Data<TokenVerifier>>().cloned();
        let header = request.headers().get(AUTHORIZATION).cloned();
        Box::pin(async move {
            let verifier = verifier.ok_or_else(|| ApiError::internal("no TokenVerifier is set"))?;
            let header = header
                .as_ref()
                .map(|value| value.to_str().unwrap_or("not text"));
            Ok(Self(verifier.verify(header).await?))
        })
    }
}

#[cfg(test)]
mod tests;
