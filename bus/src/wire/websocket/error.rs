//! What can be wrong with a `websocket` section.

/// A `websocket` section that cannot be honoured.
#[derive(Debug, thiserror::Error)]
pub enum WebsocketConfigError {
    /// Neither TLS nor the permission to go without.
    #[error(
        "websocket requires TLS configuration: add a tls block to it, or no_tls: true where only \
         trusted peers can reach it"
    )]
    NoTls,
    /// Its certificates.
    #[error("websocket")]
    Tls(#[from] crate::wire::TlsConfigError),
    /// An origin that no browser would send.
    #[error("websocket: allowed_origins: {0:?} is not of the form https://host[:port]")]
    Origin(String),
    /// A header that is part of the upgrade itself, or would break it.
    #[error("websocket: headers: {0:?} cannot be set here")]
    Header(String),
}
