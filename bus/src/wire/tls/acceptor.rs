//! The accepting side of a `tls` section.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Leaf, TlsCodec, TlsConfigError, files, names, trust};
use crate::config::{HandshakeFirst, Tls};
use crate::wire::CodecError;

/// What a listener needs to secure its connections.
#[derive(Debug)]
pub(crate) struct Acceptor {
    config: Arc<ServerConfig>,
    /// Clients must show a certificate.
    pub(crate) verifies: bool,
    /// A name in it says which user they are.
    pub(crate) maps_users: bool,
    /// How long a handshake may take.
    pub(crate) timeout: Duration,
    /// Whether it comes before INFO.
    pub(crate) first: HandshakeFirst,
    rate: Option<Rate>,
    /// Until when its first certificate is valid, in seconds since 1970.
    not_after: Option<i64>,
}

/// Who comes to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Clients, who show certificates if the section wants them.
    Clients,
    /// Other servers, who always do: each is as powerful as we are.
    Routes,
    /// Monitors, who never do: they only read.
    Monitors,
}

/// Handshakes begun in the second that `since` began.
#[derive(Debug)]
struct Rate {
    limit: u32,
    begun: Mutex<(Instant, u32)>,
}

/// Picks the certificate a client asks for.
#[derive(Debug)]
struct Choice(Vec<Arc<CertifiedKey>>);

// === impl Acceptor ===

impl Acceptor {
    /// Reads the files a section names and checks that all goes together.
    ///
    /// # Errors
    /// It does not; the error names file, cause and what to do.
    pub(crate) fn new(tls: &Tls, listener: Listener) -> Result<Self, TlsConfigError> {
        let provider = Arc::new(names::provider(tls)?);
        let chosen = certificates(tls, &provider)?;
        let maps_users = tls.verify_and_map && listener == Listener::Clients;
        let verifies = match listener {
            Listener::Clients => {
                tls.verify || tls.verify_and_map || tls.verify_cert_and_check_known_urls
            }
            Listener::Routes => true,
            Listener::Monitors => false,
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(names::versions(tls))
            .map_err(TlsConfigError::Combination)?;
        let builder = if verifies {
            builder.with_client_cert_verifier(trust::of_clients(tls, &provider)?)
        } else if tls.pinned_certs.is_empty() || listener == Listener::Monitors {
            builder.with_no_client_auth()
        } else {
            return Err(TlsConfigError::PinsWithoutVerify);
        };
        let first = chosen.first().and_then(|pair| pair.cert.first());
        let not_after = first.and_then(Leaf::parse).map(|leaf| leaf.not_after());
        let mut config = builder.with_cert_resolver(Arc::new(Choice(chosen)));
        // NATS clients do not resume sessions. Offering it would cost each of them a ticket, and a
        // resumed session has not been looked at by the certificates of a later reload.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Acceptor {
            config: Arc::new(config),
            verifies,
            maps_users,
            timeout: tls.timeout,
            first: tls.handshake_first,
            not_after,
            rate: (tls.connection_rate_limit > 0).then(|| Rate {
                limit: tls.connection_rate_limit,
                begun: Mutex::new((Instant::now(), 0)),
            }),
        })
    }

    /// Until when its first certificate is valid, as RFC 3339.
    pub(crate) fn not_after(&self) -> Option<String> {
        let at = chrono::DateTime::from_timestamp(self.not_after?, 0)?;
        Some(at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
    }

    /// What it is made of, for a connection that is no [`TlsCodec`].
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The codec of a new connection.
    ///
    /// # Errors
    /// rustls has no connection to give, which is a defect.
    pub(crate) fn accept(&self) -> Result<TlsCodec, CodecError> {
        TlsCodec::server(&self.config)
    }

    /// Whether one more handshake may begin in this second; counts it.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        let Some(rate) = &self.rate else { return true };
        let (since, count) = &mut *rate.begun.lock();
        if now.duration_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= rate.limit
    }
}

fn certificates(
    tls: &Tls,
    provider: &CryptoProvider,
) -> Result<Vec<Arc<CertifiedKey>>, TlsConfigError> {
    if !tls.certs.is_empty() {
        let pairs = tls.certs.iter();
        return pairs
            .map(|pair| files::pair(&pair.cert_file, &pair.key_file, provider))
            .collect();
    }
    let certificate = tls.cert_file.as_deref();
    let key = tls.key_file.as_deref();
    Ok(vec![files::pair(
        certificate.ok_or(TlsConfigError::Missing("cert_file"))?,
        key.ok_or(TlsConfigError::Missing("key_file"))?,
        provider,
    )?])
}

// === impl Choice ===

impl ResolvesServerCert for Choice {
    /// The first that bears the name and whose kind of key the client knows; else the first of such
    /// a key; else the first.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let [first, rest @ ..] = &self.0[..] else {
            return None;
        };
        if rest.is_empty() {
            return Some(Arc::clone(first));
        }
        let usable =
            |pair: &&Arc<CertifiedKey>| pair.key.choose_scheme(hello.signature_schemes()).is_some();
        let asked = hello
            .server_name()
            .and_then(|name| ServerName::try_from(name).ok());
        let bears_it = |pair: &&Arc<CertifiedKey>| {
            let certificate = pair.cert.first();
            asked.as_ref().zip(certificate).is_some_and(|(name, cert)| {
                rustls::server::ParsedCertificate::try_from(cert)
                    .and_then(|cert| rustls::client::verify_server_name(&cert, name))
                    .is_ok()
            })
        };
        let best = self.0.iter().find(|pair| usable(pair) && bears_it(pair));
        let best = best.or_else(|| self.0.iter().find(usable));
        best.or(Some(first)).map(Arc::clone)
    }
}
