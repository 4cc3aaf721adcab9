//! What can be wrong with a `tls` section.

use std::io;
use std::path::PathBuf;

/// A `tls` section that cannot be honoured.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// A file that must be named is not.
    #[error("tls: {0} is missing; name the PEM file")]
    Missing(&'static str),
    /// A file cannot be read.
    #[error("tls: cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not PEM.
    #[error("tls: {path} is damaged: {reason}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file without certificates.
    #[error(
        "tls: {path} holds no certificate; it must have a part that starts with BEGIN CERTIFICATE"
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file without a usable key.
    #[error(
        "tls: {path} holds no private key that can be used; it must have a part that starts with \
         BEGIN PRIVATE KEY (or RSA or EC PRIVATE KEY) and is not encrypted"
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key are each fine, but not together.
    #[error("tls: certificate {certificate} and key {key} do not go together: {source}")]
    Pair {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// A root that is no certificate.
    #[error("tls: {path} holds a certificate that cannot be a root: {source}")]
    Root {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// Nothing to check certificates against.
    #[error("tls: this system has no root certificates; name those to trust by ca_file")]
    NoRoots,
    /// A cipher suite or group nobody knows.
    #[error("tls: {setting}: {name:?} is unknown; known are {known}")]
    UnknownName {
        /// Which setting.
        setting: &'static str,
        /// What was written.
        name: String,
        /// What could be.
        known: String,
    },
    /// All that was named is too weak to be offered.
    #[error("tls: {setting} names nothing that is still safe to use; known are {known}")]
    NothingLeft {
        /// Which setting.
        setting: &'static str,
        /// What could be named.
        known: String,
    },
    /// A pin that is no hash.
    #[error("tls: pinned_certs: {0:?} is not a SHA-256 in hexadecimal (64 digits)")]
    Pin(String),
    /// Pins that would refuse everybody.
    #[error("tls: pinned_certs needs verify: true, else no client shows a certificate")]
    PinsWithoutVerify,
    /// What rustls objects to.
    #[error("tls: cipher_suites, curve_preferences and min_version do not go together: {0}")]
    Combination(rustls::Error),
}
