//! HTTP Basic credentials: reading them and comparing them without telling where they differ.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

/// Longest header that is decoded.
const MAX_HEADER_BYTES: usize = 4096;

/// A user (or client) name with its password.
#[derive(Debug, Clone)]
pub struct Basic {
    /// The name.
    pub user: String,
    /// The password, possibly empty.
    pub password: SecretString,
}

// === impl Basic ===

impl Basic {
    /// The credentials of a request; `None` when there are none or they cannot be read.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, encoded) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > MAX_HEADER_BYTES {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        Some(Self {
            user: user.to_owned(),
            password: password.to_owned().into(),
        })
    }

    /// Whether these are the expected credentials. Takes the same time wherever they differ.
    #[must_use]
    pub fn matches(&self, user: &str, password: &SecretString) -> bool {
        let same_user = self.user.as_bytes().ct_eq(user.as_bytes());
        let given = self.password.expose_secret().as_bytes();
        let same_password = given.ct_eq(password.expose_secret().as_bytes());
        (same_user & same_password).into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use actix_web::http::header::HeaderValue;

    use super::*;

    fn read(header: &str) -> Option<Basic> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(header).unwrap());
        Basic::from_headers(&headers)
    }

    #[test]
    fn reads_the_cf_client_with_its_empty_secret() {
        let basic = read("Basic Y2Y6").unwrap();
        assert!(basic.matches("cf", &SecretString::default()));
        assert!(!basic.matches("cf", &SecretString::from("x")));
        assert!(!basic.matches("fc", &SecretString::default()));
    }

    #[test]
    fn a_password_may_hold_a_colon() {
        let basic = read(&format!("basic {}", STANDARD.encode("bulk:a:b"))).unwrap();
        assert!(basic.matches("bulk", &SecretString::from("a:b")));
    }

    #[test]
    fn what_cannot_be_read_is_none() {
        for header in ["Basic", "Basic ???", "Bearer Y2Y6", "Basic Y2Y="] {
            assert!(read(header).is_none(), "{header}");
        }
    }
}
