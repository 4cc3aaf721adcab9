//! Whose certificates are accepted.
//!
//! Chains are checked by webpki. Two things are added: pins, and self-signed certificates that stand
//! in `ca_file` themselves. The latter are roots as far as webpki is concerned and may not be shown by
//! a peer; people who set up a pair of servers by hand have nothing else.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::leaf::Leaf;
use super::{TlsConfigError, files};
use crate::config::Tls;

/// SHA-256 of the keys that are accepted; all when empty.
#[derive(Clone, Debug, Default)]
struct Pins(Vec<String>);

/// Checks what clients show.
#[derive(Debug)]
struct Clients {
    chains: Arc<dyn ClientCertVerifier>,
    roots: Vec<CertificateDer<'static>>,
    pins: Pins,
}

/// Checks what servers show.
#[derive(Debug)]
struct Servers {
    /// `None` accepts every chain: the section says `insecure`.
    chains: Option<Arc<WebPkiServerVerifier>>,
    roots: Vec<CertificateDer<'static>>,
    /// A name that is as good as any address.
    name: Option<ServerName<'static>>,
    pins: Pins,
    provider: Arc<CryptoProvider>,
}

/// What accepts the certificates of clients as the section says.
pub(super) fn of_clients(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsConfigError> {
    let (store, roots) = files::roots(tls.ca_file.as_deref())?;
    let chains = WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
        .build()
        .map_err(|_| TlsConfigError::NoRoots)?;
    Ok(Arc::new(Clients {
        chains,
        roots,
        pins: Pins::read(tls)?,
    }))
}

/// What accepts the certificates of servers as the section says. Those that are known by address may bear
/// `name` instead.
pub(super) fn of_servers(
    tls: &Tls,
    name: Option<&str>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsConfigError> {
    let (chains, roots) = if tls.insecure {
        (None, Vec::new())
    } else {
        let (store, roots) = files::roots(tls.ca_file.as_deref())?;
        let provider = Arc::clone(provider);
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider)
            .build()
            .map_err(|_| TlsConfigError::NoRoots)?;
        (Some(chains), roots)
    };
    Ok(Arc::new(Servers {
        chains,
        roots,
        name: name.and_then(|name| ServerName::try_from(name.to_owned()).ok()),
        pins: Pins::read(tls)?,
        provider: Arc::clone(provider),
    }))
}

// === impl Pins ===

impl Pins {
    fn read(tls: &Tls) -> Result<Self, TlsConfigError> {
        let pins = tls.pinned_certs.iter().map(|pin| {
            let valid = pin.len() == 64 && pin.bytes().all(|byte| byte.is_ascii_hexdigit());
            valid
                .then(|| pin.to_ascii_lowercase())
                .ok_or_else(|| TlsConfigError::Pin(pin.clone()))
        });
        Ok(Pins(pins.collect::<Result<_, _>>()?))
    }

    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let leaf = Leaf::parse(certificate).ok_or(CertificateError::BadEncoding)?;
        if self.0.contains(&leaf.spki_sha256) {
            return Ok(());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }
}

/// Whether it is, byte for byte, one of those that are trusted, and its time has come and not passed.
fn is_trusted_itself(
    certificate: &CertificateDer<'_>,
    roots: &[CertificateDer<'static>],
    now: UnixTime,
) -> bool {
    roots
        .iter()
        .any(|root| root.as_ref() == certificate.as_ref())
        && Leaf::parse(certificate).is_some_and(|leaf| leaf.is_valid_at(now))
}

// === impl Clients ===

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = match self.chains.verify_client_cert(leaf, between, now) {
            Err(_) if is_trusted_itself(leaf, &self.roots, now) => ClientCertVerified::assertion(),
            result => result?,
        };
        self.pins.check(leaf)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

// === impl Servers ===

impl Servers {
    /// Whether the chain leads to somebody who is trusted, and the certificate is for this name.
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), Error> {
        let Some(chains) = &self.chains else {
            return Ok(());
        };
        match chains.verify_server_cert(leaf, between, name, ocsp, now) {
            Err(_) if is_trusted_itself(leaf, &self.roots, now) => {
                // Trusted, but it must be meant for this server all the same.
                let parsed = rustls::server::ParsedCertificate::try_from(leaf)?;
                rustls::client::verify_server_name(&parsed, name)
            }
            result => result.map(|_| ()),
        }
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(leaf, between, name, ocsp, now)
            .or_else(|error| match (name, &self.name) {
                (ServerName::IpAddress(_), Some(name)) => {
                    self.check(leaf, between, name, ocsp, now)
                }
                _ => Err(error),
            })?;
        self.pins.check(leaf)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
