//! Cipher suites, groups and versions by the names that Go, and so nats-server, gives them.

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

use super::TlsConfigError;
use crate::config::{Tls, TlsVersion};

/// Suites that Go knows and that are not safe (or, with static RSA and CBC, not safe enough) any
/// more. A file that names them beside good ones starts; a client that has only these cannot come.
const WEAK_SUITES: [&str; 16] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
];
/// Names of good ones that Go has in two forms.
const ALIASES: [(&str, &str); 2] = [
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
];
/// Groups Go knows, and ours; `None` where there is none.
const GROUPS: [(&str, Option<&dyn SupportedKxGroup>); 6] = [
    ("X25519", Some(aws_lc_rs::kx_group::X25519)),
    ("CurveP256", Some(aws_lc_rs::kx_group::SECP256R1)),
    ("CurveP384", Some(aws_lc_rs::kx_group::SECP384R1)),
    ("CurveP521", None),
    ("X25519MLKEM768", Some(aws_lc_rs::kx_group::X25519MLKEM768)),
    (
        "SecP256r1MLKEM768",
        Some(aws_lc_rs::kx_group::SECP256R1MLKEM768),
    ),
];

/// The cryptography a section allows.
pub(super) fn provider(tls: &Tls) -> Result<CryptoProvider, TlsConfigError> {
    let mut provider = aws_lc_rs::default_provider();
    if !tls.cipher_suites.is_empty() {
        provider.cipher_suites = suites(&tls.cipher_suites)?;
    }
    if !tls.curve_preferences.is_empty() {
        provider.kx_groups = groups(&tls.curve_preferences)?;
    }
    Ok(provider)
}

/// The versions a section allows.
pub(super) fn versions(tls: &Tls) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match tls.min_version {
        TlsVersion::V1_2 => &BOTH,
        TlsVersion::V1_3 => &BOTH[..1],
    }
}

/// What Go calls a suite.
pub(super) fn of_suite(suite: SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or("unknown");
    name.replacen("TLS13_", "TLS_", 1)
}

/// As Go does, the list is about TLS 1.2; suites of 1.3 are all good and stay unless some are named.
fn suites(named: &[String]) -> Result<Vec<SupportedCipherSuite>, TlsConfigError> {
    let known = || {
        let names: Vec<_> = aws_lc_rs::ALL_CIPHER_SUITES
            .iter()
            .map(|suite| of_suite(*suite))
            .collect();
        names.join(", ")
    };
    let mut chosen = Vec::new();
    for name in named {
        let name = ALIASES
            .iter()
            .find(|(alias, _)| alias == name)
            .map_or(name.as_str(), |(_, full)| full);
        let found = aws_lc_rs::ALL_CIPHER_SUITES
            .iter()
            .find(|suite| of_suite(**suite) == name);
        match found {
            Some(suite) => chosen.push(*suite),
            None if WEAK_SUITES.contains(&name) => {
                tracing::warn!("tls: cipher suite {name} is not safe and is not offered");
            }
            None => {
                return Err(TlsConfigError::UnknownName {
                    setting: "cipher_suites",
                    name: name.to_owned(),
                    known: known(),
                });
            }
        }
    }
    if chosen.is_empty() {
        return Err(TlsConfigError::NothingLeft {
            setting: "cipher_suites",
            known: known(),
        });
    }
    if !chosen.iter().any(|suite| suite.tls13().is_some()) {
        let newer = aws_lc_rs::ALL_CIPHER_SUITES.iter().copied();
        chosen.extend(newer.filter(|suite| suite.tls13().is_some()));
    }
    Ok(chosen)
}

fn groups(named: &[String]) -> Result<Vec<&'static dyn SupportedKxGroup>, TlsConfigError> {
    let known = || {
        let usable = GROUPS.iter().filter(|(_, group)| group.is_some());
        usable.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    };
    let mut chosen = Vec::new();
    for name in named {
        match GROUPS.iter().find(|(known, _)| known == name) {
            Some((_, Some(group))) => chosen.push(*group),
            Some((_, None)) => tracing::warn!("tls: group {name} is not offered by this server"),
            None => {
                return Err(TlsConfigError::UnknownName {
                    setting: "curve_preferences",
                    name: name.clone(),
                    known: known(),
                });
            }
        }
    }
    if chosen.is_empty() {
        return Err(TlsConfigError::NothingLeft {
            setting: "curve_preferences",
            known: known(),
        });
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn named(suites: &[&str], curves: &[&str]) -> Tls {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Tls {
            cipher_suites: own(suites),
            curve_preferences: own(curves),
            ..Tls::default()
        }
    }

    #[test]
    fn names_of_go_are_known() {
        let tls = named(
            &[
                "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                "TLS_RSA_WITH_AES_128_CBC_SHA",
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
            ],
            &["CurveP384", "CurveP521", "X25519"],
        );
        let provider = provider(&tls).unwrap();
        let suites: Vec<_> = provider
            .cipher_suites
            .iter()
            .map(|s| of_suite(*s))
            .collect();
        assert_eq!(
            suites[..2],
            [
                "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"
            ]
        );
        assert!(suites.contains(&"TLS_AES_128_GCM_SHA256".to_owned()));
        assert_eq!(provider.kx_groups.len(), 2);
        assert_eq!(
            provider.kx_groups[0].name(),
            aws_lc_rs::kx_group::SECP384R1.name()
        );
    }

    #[test]
    fn unknown_and_weak_ones_are_errors_that_name_the_known() {
        let error = provider(&named(&["TLS_NONE"], &[]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("\"TLS_NONE\" is unknown") && error.contains("TLS_AES_128_GCM_SHA256"),
            "{error}"
        );
        let error = provider(&named(&[], &["P256"])).unwrap_err().to_string();
        assert!(error.contains("known are X25519, CurveP256"), "{error}");
        let weak = provider(&named(&["TLS_RSA_WITH_RC4_128_SHA"], &[]));
        assert!(matches!(weak, Err(TlsConfigError::NothingLeft { .. })));
    }
}
