//! How routes are secured, in both directions.

use crate::config;
use crate::wire::tls::{Acceptor, Connector, Listener};
use crate::wire::{CodecError, TlsConfigError, tls::TlsCodec};

use super::dialler::Dialled;

/// What a `tls` section of a cluster becomes. A reload replaces it; routes that are there keep what they have.
#[derive(Debug)]
pub(crate) struct RouteTls {
    pub(crate) acceptor: Acceptor,
    pub(crate) connector: Connector,
}

// === impl RouteTls ===

impl RouteTls {
    /// Reads and checks the files; `None` when routes are in clear.
    pub(crate) fn compile(cluster: &config::Cluster) -> Option<Result<Self, TlsConfigError>> {
        let tls = cluster.tls.as_ref()?;
        let is_name = |host: &&str| host.parse::<std::net::IpAddr>().is_err();
        let mut hosts = cluster.routes.iter().map(|route| route.host.as_str());
        // Peers that were heard of are known by address; their certificates bear the same name, perhaps.
        let name = hosts.find(is_name);
        let both = Acceptor::new(tls, Listener::Routes)
            .and_then(|acceptor| Connector::new(tls, name).map(|connector| (acceptor, connector)));
        Some(both.map(|(acceptor, connector)| RouteTls {
            acceptor,
            connector,
        }))
    }

    /// The codec of a new connection: `dialled`, or else accepted.
    ///
    /// # Errors
    /// rustls has no connection to give.
    pub(super) fn codec(&self, dialled: Option<&Dialled>) -> Result<TlsCodec, CodecError> {
        match dialled {
            Some(dialled) => self.connector.connect(&dialled.url.host),
            None => self.acceptor.accept(),
        }
    }
}
