//! The dialling side of a `tls` section: routes to other servers.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;

use super::{TlsCodec, TlsConfigError, files, names, trust};
use crate::config::Tls;
use crate::wire::CodecError;

/// What is needed to dial servers.
#[derive(Debug)]
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
    /// How long a handshake may take.
    pub(crate) timeout: Duration,
}

/// Shows its certificate whoever asks.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

// === impl Connector ===

impl Connector {
    /// Reads the files a section names and checks that all goes together. The certificates of servers that
    /// are dialled by address may bear `name` instead.
    ///
    /// # Errors
    /// It does not; the error names file, cause and what to do.
    pub(crate) fn new(tls: &Tls, name: Option<&str>) -> Result<Self, TlsConfigError> {
        let provider = Arc::new(names::provider(tls)?);
        let shown = match (&tls.cert_file, &tls.key_file, tls.certs.first()) {
            (_, _, Some(pair)) => Some((&pair.cert_file, &pair.key_file)),
            (Some(certificate), Some(key), None) => Some((certificate, key)),
            (Some(_), None, None) => return Err(TlsConfigError::Missing("key_file")),
            (None, Some(_), None) => return Err(TlsConfigError::Missing("cert_file")),
            (None, None, None) => None,
        };
        let shown = shown
            .map(|(certificate, key)| files::pair(certificate, key, &provider))
            .transpose()?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(names::versions(tls))
            .map_err(TlsConfigError::Combination)?
            .dangerous()
            .with_custom_certificate_verifier(trust::of_servers(tls, name, &provider)?);
        let mut config = match shown {
            Some(pair) => builder.with_client_cert_resolver(Arc::new(Shown(pair))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(Connector {
            config: Arc::new(config),
            timeout: tls.timeout,
        })
    }

    /// The codec of a connection to `host` (a name or an address), whose certificate must be for it.
    ///
    /// # Errors
    /// `host` is neither.
    pub(crate) fn connect(&self, host: &str) -> Result<TlsCodec, CodecError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| CodecError::Tls(rustls::Error::General(format!("{host:?} is no host"))))?;
        TlsCodec::client(&self.config, name)
    }
}

// === impl Shown ===

impl rustls::client::ResolvesClientCert for Shown {
    fn resolve(
        &self,
        _roots: &[&[u8]],
        schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let usable = self.0.key.choose_scheme(schemes).is_some();
        usable.then(|| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
