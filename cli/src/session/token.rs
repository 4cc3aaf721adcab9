//! Tokens: opaque to us but for the claims that are shown or that save a request.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Text that must not appear in output, errors or traces.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tokens {
    pub(crate) access: Secret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh: Option<Secret>,
    /// Set when a client logged in rather than a person: it gets no refresh token and simply asks
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<ClientCredentials>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientCredentials {
    pub(crate) id: String,
    pub(crate) secret: Secret,
}

/// The claims of an access token that are used here; none is trusted for anything but display.
#[derive(Debug, Default, Deserialize)]
struct Claims {
    #[serde(default)]
    user_name: Option<String>,
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default)]
    exp: Option<i64>,
}

// === impl Secret ===

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the request that needs it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

// === impl Tokens ===

impl Tokens {
    /// Who is logged in, for the lines that say "as …".
    pub(crate) fn holder(&self) -> String {
        let claims = self.claims();
        claims
            .user_name
            .or(claims.client_id)
            .unwrap_or_else(|| "unknown user".to_owned())
    }

    pub(crate) fn user_id(&self) -> Option<String> {
        self.claims().user_id
    }

    /// Whether the access token ends within `seconds`; false when it does not tell.
    pub(crate) fn ends_within(&self, seconds: i64) -> bool {
        let now = crate::clock::now().timestamp();
        self.claims()
            .exp
            .is_some_and(|exp| exp.saturating_sub(now) < seconds)
    }

    fn claims(&self) -> Claims {
        let payload = self.access.reveal().split('.').nth(1).unwrap_or_default();
        URL_SAFE_NO_PAD
            .decode(payload.trim_end_matches('='))
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(claims: &str) -> Tokens {
        let jwt = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        Tokens {
            access: Secret::new(jwt),
            refresh: None,
            client: None,
        }
    }

    #[test]
    fn claims_are_read_without_trust() {
        let admin = tokens(r#"{"user_name":"admin","user_id":"u-1","exp":1}"#);
        assert_eq!(admin.holder(), "admin");
        assert_eq!(admin.user_id().as_deref(), Some("u-1"));
        assert!(admin.ends_within(30));
        assert_eq!(tokens(r#"{"client_id":"bot"}"#).holder(), "bot");
        assert!(!tokens(r#"{"client_id":"bot"}"#).ends_within(30));
        for garbage in ["", "x", "a.b.c", "a.%%%.c"] {
            let odd = Tokens {
                access: Secret::new(garbage),
                refresh: None,
                client: None,
            };
            assert_eq!(odd.holder(), "unknown user");
        }
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert!(!format!("{:?}", tokens("{}")).contains("e30"));
    }
}
