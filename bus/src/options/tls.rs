//! `tls { … }`, of whatever listener it is.

use crate::conf::{ConfError, Kind, Map};
use crate::config::{CertificatePair, HandshakeFirst, Tls, TlsVersion};

use super::read::Field;

/// Certificates from a store of the system, and staples: other systems, or not ours to check.
const WITHOUT_EFFECT: [&str; 6] = [
    "cert_store",
    "cert_match_by",
    "cert_match",
    "ca_certs_match",
    "cert_match_skip_invalid",
    "ocsp_peer",
];
const KNOWN: [&str; 16] = [
    "cert_file",
    "key_file",
    "certs",
    "ca_file",
    "verify",
    "verify_and_map",
    "verify_cert_and_check_known_urls",
    "timeout",
    "handshake_first",
    "min_version",
    "cipher_suites",
    "curve_preferences",
    "pinned_certs",
    "connection_rate_limit",
    "insecure",
    "allow_insecure_cipher_suites",
];

/// Whose section it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Clients,
    Routes,
}

/// Reads the section.
pub(super) fn read(field: Field<'_>, of: Of, ignored: &mut Vec<String>) -> Result<Tls, ConfError> {
    let section = field;
    let mut tls = Tls::default();
    for entry in field.map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "cert_file" => tls.cert_file = Some(field.text()?.into()),
            "key_file" => tls.key_file = Some(field.text()?.into()),
            "certs" | "certificates" => {
                for map in field.maps()? {
                    tls.certs.push(pair(field, map)?);
                }
            }
            "ca_file" => tls.ca_file = Some(field.text()?.into()),
            "verify" => tls.verify = field.boolean()?,
            "verify_and_map" => {
                tls.verify_and_map = field.boolean()?;
                tls.verify |= tls.verify_and_map;
            }
            "verify_cert_and_check_known_urls" => {
                if of == Of::Clients {
                    return Err(field.wrong("not supported in this context"));
                }
                tls.verify_cert_and_check_known_urls = field.boolean()?;
                tls.verify |= tls.verify_cert_and_check_known_urls;
            }
            "timeout" => tls.timeout = field.duration_or(Tls::TIMEOUT)?,
            "handshake_first" | "first" | "immediate" => tls.handshake_first = first(field)?,
            "min_version" => {
                tls.min_version = TlsVersion::parse(&field.number_text()?)
                    .map_err(|error| field.wrong(error.to_string()))?;
            }
            "cipher_suites" => tls.cipher_suites = some(field)?,
            "curve_preferences" => tls.curve_preferences = some(field)?,
            "pinned_certs" => tls.pinned_certs = pins(field)?,
            "connection_rate_limit" => {
                tls.connection_rate_limit = u32::try_from(field.count()?).unwrap_or(u32::MAX);
            }
            "insecure" => tls.insecure = field.boolean()?,
            // There are none here that could be allowed.
            "allow_insecure_cipher_suites" => {
                field.boolean()?;
            }
            other if WITHOUT_EFFECT.contains(&other) => ignored.push(format!("tls.{other}")),
            _ => field.unknown(&KNOWN)?,
        }
    }
    if tls.cert_file.is_some() && !tls.certs.is_empty() {
        return Err(section.wrong("cannot combine 'cert_file' option with 'certs' option"));
    }
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => Err(section.wrong("missing 'key_file' in TLS configuration")),
        (None, Some(_)) => Err(section.wrong("missing 'cert_file' in TLS configuration")),
        _ => Ok(tls),
    }
}

fn pair(section: Field<'_>, map: &Map) -> Result<CertificatePair, ConfError> {
    let (mut cert_file, mut key_file) = (None, None);
    for entry in map.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "cert_file" => cert_file = Some(field.text()?.into()),
            "key_file" => key_file = Some(field.text()?.into()),
            _ => field.unknown(&["cert_file", "key_file"])?,
        }
    }
    match (cert_file, key_file) {
        (Some(cert_file), Some(key_file)) => Ok(CertificatePair {
            cert_file,
            key_file,
        }),
        _ => Err(section.wrong("both 'cert_file' and 'key_file' are required")),
    }
}

fn first(field: Field<'_>) -> Result<HandshakeFirst, ConfError> {
    match &field.value().kind {
        Kind::Bool(true) => Ok(HandshakeFirst::Yes),
        Kind::Bool(false) => Ok(HandshakeFirst::No),
        _ => match field.text()?.as_str() {
            "auto_fallback" => Ok(HandshakeFirst::Auto(HandshakeFirst::AUTO)),
            text => HandshakeFirst::parse(text).map_err(|error| field.wrong(error.to_string())),
        },
    }
}

/// SHA-256 in hexadecimal.
fn pins(field: Field<'_>) -> Result<Vec<String>, ConfError> {
    let pins = field.texts()?;
    let is_pin = |pin: &str| pin.len() == 64 && pin.bytes().all(|byte| byte.is_ascii_hexdigit());
    match pins.iter().find(|pin| !is_pin(pin)) {
        Some(pin) => Err(field.wrong(format!("{pin:?} is no SHA-256 in hexadecimal"))),
        None => Ok(pins),
    }
}

/// A list that must name something.
fn some(field: Field<'_>) -> Result<Vec<String>, ConfError> {
    match field.texts()? {
        names if names.is_empty() => Err(field.wrong("cannot be empty")),
        names => Ok(names),
    }
}
