//! `tls { … }`: certificates, and who must show one.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::units;

/// How connections of one listener, or those of the cluster, are secured.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the server's certificate and what leads from it to a root.
    pub cert_file: Option<PathBuf>,
    /// PEM file with its private key.
    pub key_file: Option<PathBuf>,
    /// More certificates, chosen from by the name the client asks for; in place of the one above.
    pub certs: Vec<CertificatePair>,
    /// PEM file with the roots that certificates of the other side must lead to; the system's when
    /// absent.
    pub ca_file: Option<PathBuf>,
    /// Clients must show a certificate.
    pub verify: bool,
    /// They must, and a name in it says which user they are.
    pub verify_and_map: bool,
    /// For routes: they must, and a name in it is the host of a configured route.
    pub verify_cert_and_check_known_urls: bool,
    /// How long a handshake may take. Default 2 s.
    #[serde(deserialize_with = "units::duration")]
    pub timeout: Duration,
    /// Whether the handshake comes before INFO. Default: after.
    pub handshake_first: HandshakeFirst,
    /// The oldest version accepted. Default 1.2.
    pub min_version: TlsVersion,
    /// Names of cipher suites as in Go (`TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`); all good ones when
    /// empty.
    pub cipher_suites: Vec<String>,
    /// Names of key exchange groups as in Go (`X25519`, `CurveP256`); all good ones when empty.
    pub curve_preferences: Vec<String>,
    /// When not empty, only certificates of these keys are accepted: hexadecimal SHA-256 of their
    /// SubjectPublicKeyInfo.
    pub pinned_certs: Vec<String>,
    /// Handshakes begun per second; 0, the default, means as many as come.
    pub connection_rate_limit: u32,
    /// Certificates of servers dialled are not checked. For tests.
    pub insecure: bool,
}

/// A certificate and its key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificatePair {
    /// PEM file with the certificate and what leads from it to a root.
    pub cert_file: PathBuf,
    /// PEM file with its private key.
    pub key_file: PathBuf,
}

/// Whether a client's handshake comes before the server's INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HandshakeFirst {
    /// INFO comes first, in clear: what all clients can do.
    #[default]
    No,
    /// The handshake comes first: nothing is ever sent in clear.
    Yes,
    /// First when the client begins it within this time; else INFO comes first.
    Auto(Duration),
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Text that is no value of a setting of TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTlsError {
    /// Neither 1.2 nor 1.3.
    #[error("{0:?} is no version of TLS that can be asked for: \"1.2\" or \"1.3\"")]
    Version(String),
    /// None of the ways to begin.
    #[error("{0:?} is not true, false, \"auto\" or a duration like \"50ms\"")]
    HandshakeFirst(String),
}

// === impl Tls ===

impl Tls {
    /// How long a handshake may take unless it is said.
    pub const TIMEOUT: Duration = Duration::from_secs(2);
}

impl Default for Tls {
    fn default() -> Self {
        Tls {
            cert_file: None,
            key_file: None,
            certs: Vec::new(),
            ca_file: None,
            verify: false,
            verify_and_map: false,
            verify_cert_and_check_known_urls: false,
            timeout: Self::TIMEOUT,
            handshake_first: HandshakeFirst::No,
            min_version: TlsVersion::V1_2,
            cipher_suites: Vec::new(),
            curve_preferences: Vec::new(),
            pinned_certs: Vec::new(),
            connection_rate_limit: 0,
            insecure: false,
        }
    }
}

// === impl HandshakeFirst ===

impl HandshakeFirst {
    /// How long `auto` waits for a client to begin.
    pub const AUTO: Duration = Duration::from_millis(50);

    /// Reads `true`, `false`, `on`, `off`, `auto` or a duration.
    ///
    /// # Errors
    /// It is none of them.
    pub fn parse(text: &str) -> Result<Self, ParseTlsError> {
        let wrong = || ParseTlsError::HandshakeFirst(text.to_owned());
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" => Ok(HandshakeFirst::Yes),
            "false" | "off" | "no" => Ok(HandshakeFirst::No),
            "auto" => Ok(HandshakeFirst::Auto(Self::AUTO)),
            wait => units::parse_duration(wait)
                .map(HandshakeFirst::Auto)
                .map_err(|_| wrong()),
        }
    }
}

impl<'de> Deserialize<'de> for HandshakeFirst {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Plain(bool),
            Text(String),
        }
        match Either::deserialize(source)? {
            Either::Plain(true) => Ok(HandshakeFirst::Yes),
            Either::Plain(false) => Ok(HandshakeFirst::No),
            Either::Text(text) => Self::parse(&text).map_err(serde::de::Error::custom),
        }
    }
}

// === impl TlsVersion ===

impl TlsVersion {
    /// Reads `1.2` or `1.3`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, ParseTlsError> {
        match text.trim() {
            "1.2" => Ok(TlsVersion::V1_2),
            "1.3" => Ok(TlsVersion::V1_3),
            other => Err(ParseTlsError::Version(other.to_owned())),
        }
    }
}

impl<'de> Deserialize<'de> for TlsVersion {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(source)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_section_reads_as_documented() {
        let tls: Tls = serde_json::from_value(serde_json::json!({
            "cert_file": "server.pem", "key_file": "key.pem", "timeout": "500ms",
            "handshake_first": "auto", "min_version": "1.3", "verify_and_map": true,
        }))
        .unwrap();
        assert_eq!(tls.timeout, Duration::from_millis(500));
        assert_eq!(
            tls.handshake_first,
            HandshakeFirst::Auto(HandshakeFirst::AUTO)
        );
        assert_eq!(tls.min_version, TlsVersion::V1_3);
        assert!(tls.verify_and_map && !tls.verify);
        assert!(serde_json::from_str::<Tls>(r#"{"cert": "x"}"#).is_err());
    }

    #[test]
    fn ways_to_begin() {
        for (text, way) in [
            ("true", HandshakeFirst::Yes),
            ("off", HandshakeFirst::No),
            ("300ms", HandshakeFirst::Auto(Duration::from_millis(300))),
        ] {
            assert_eq!(HandshakeFirst::parse(text), Ok(way), "{text}");
        }
        assert!(HandshakeFirst::parse("soon").is_err());
        assert!(TlsVersion::parse("1.1").is_err());
    }
}
