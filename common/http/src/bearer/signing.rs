//! The signing side of RS256: a key pair with an id.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::SecretSlice;
use serde::{Deserialize, Serialize};

/// Hex digits of the public key's hash that make up the key id.
const KEY_ID_DIGITS: usize = 16;

/// An RSA key that signs tokens, with the id under which its public half is published.
pub struct SigningKey {
    id: String,
    pair: KeyPair,
    jwk: PublicKeyJwk,
}

/// A key cannot be made, read or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// Making a key failed.
    #[error("cannot generate an RSA key")]
    Generate,
    /// The stored key is not one.
    #[error("the stored signing key is not an RSA key in PKCS#8")]
    Read,
    /// Encoding one of the halves failed.
    #[error("cannot encode the signing key")]
    Encode,
    /// The claims are not JSON.
    #[error("cannot write the claims of a token: {0}")]
    Claims(String),
    /// Signing failed.
    #[error("cannot sign a token")]
    Sign,
}

/// The public half, as an element of `/token_keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKeyJwk {
    /// Always `RSA`.
    pub kty: String,
    /// Public exponent, base64url.
    pub e: String,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub use_for: String,
    /// Key id.
    pub kid: String,
    /// Always `RS256`.
    pub alg: String,
    /// The public key as PEM.
    pub value: String,
    /// Modulus, base64url.
    pub n: String,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    kid: &'a str,
    typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    jku: Option<&'a str>,
}

// === impl SigningKey ===

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// A new RSA key of 2048 bits. Takes tens to hundreds of milliseconds of CPU.
    ///
    /// # Errors
    /// When the library cannot make one.
    pub fn generate() -> Result<Self, SigningError> {
        Self::from_pair(KeyPair::generate(KeySize::Rsa2048).map_err(|_| SigningError::Generate)?)
    }

    /// Reads a key written by [`Self::to_pkcs8`].
    ///
    /// # Errors
    /// When it is not an RSA key in PKCS#8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SigningError> {
        Self::from_pair(KeyPair::from_pkcs8(der).map_err(|_| SigningError::Read)?)
    }

    fn from_pair(pair: KeyPair) -> Result<Self, SigningError> {
        let public = pair.public_key();
        let der: PublicKeyX509Der<'_> = public.as_der().map_err(|_| SigningError::Encode)?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der.as_ref());
        let id = hex::encode(digest.as_ref())[..KEY_ID_DIGITS].to_owned();
        let components = RsaPublicKeyComponents::<Vec<u8>>::from(public);
        let jwk = PublicKeyJwk {
            kty: "RSA".to_owned(),
            e: URL_SAFE_NO_PAD.encode(&components.e),
            use_for: "sig".to_owned(),
            kid: id.clone(),
            alg: "RS256".to_owned(),
            value: public_pem(der.as_ref()),
            n: URL_SAFE_NO_PAD.encode(&components.n),
        };
        Ok(Self { id, pair, jwk })
    }

    /// The private key, to be stored where only UAA can read it.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn to_pkcs8(&self) -> Result<SecretSlice<u8>, SigningError> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().map_err(|_| SigningError::Encode)?;
        Ok(SecretSlice::from(der.as_ref().to_vec()))
    }

    /// The key id: derived from the public half, so the same key always has the same one.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public half.
    #[must_use]
    pub fn jwk(&self) -> &PublicKeyJwk {
        &self.jwk
    }

    /// A key set with this key alone, for [`super::TokenVerifier::fixed`].
    #[must_use]
    pub fn jwks(&self) -> Vec<u8> {
        serde_json::json!({ "keys": [self.jwk] })
            .to_string()
            .into_bytes()
    }

    /// A signed token with these claims; `jku` tells where the keys are published.
    ///
    /// # Errors
    /// When the claims are not JSON or the key cannot sign.
    pub fn sign(&self, claims: &impl Serialize, jku: Option<&str>) -> Result<String, SigningError> {
        let header = Header {
            alg: "RS256",
            kid: &self.id,
            typ: "JWT",
            jku,
        };
        let mut token = encode_part(&header)?;
        token.push('.');
        token.push_str(&encode_part(claims)?);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                token.as_bytes(),
                &mut signature,
            )
            .map_err(|_| SigningError::Sign)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
        Ok(token)
    }
}

fn encode_part(part: &impl Serialize) -> Result<String, SigningError> {
    let json = serde_json::to_vec(part).map_err(|e| SigningError::Claims(e.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

fn public_pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, remaining) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = remaining;
    }
    pem.push_str("-----END PUBLIC KEY-----");
    pem
}
