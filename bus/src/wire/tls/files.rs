//! Certificates and keys from PEM files.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::TlsConfigError;

/// A certificate with its chain and key.
pub(super) fn pair(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsConfigError> {
    let chain = certificates(certificate)?;
    let pem = read(key)?;
    let secret = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsConfigError::NoKey { path: key.into() },
        error => damaged(key, &error),
    })?;
    CertifiedKey::from_der(chain, secret, provider)
        .map(Arc::new)
        .map_err(|source| TlsConfigError::Pair {
            certificate: certificate.into(),
            key: key.into(),
            source,
        })
}

/// All certificates of a file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let pem = read(path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| damaged(path, &error))?;
    if found.is_empty() {
        return Err(TlsConfigError::NoCertificate { path: path.into() });
    }
    Ok(found)
}

/// Whom to trust: the certificates of a file, or those of the system.
pub(super) fn roots(
    file: Option<&Path>,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsConfigError> {
    let mut store = RootCertStore::empty();
    let Some(path) = file else {
        // Systems carry a few roots that nobody can read; they are none of ours.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(TlsConfigError::NoRoots);
        }
        return Ok((store, Vec::new()));
    };
    let named = certificates(path)?;
    for certificate in &named {
        store
            .add(certificate.clone())
            .map_err(|source| TlsConfigError::Root {
                path: path.into(),
                source,
            })?;
    }
    Ok((store, named))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsConfigError> {
    std::fs::read(path).map_err(|source| TlsConfigError::Read {
        path: path.into(),
        source,
    })
}

fn damaged(path: &Path, error: &pem::Error) -> TlsConfigError {
    TlsConfigError::Pem {
        path: path.into(),
        reason: error.to_string(),
    }
}
