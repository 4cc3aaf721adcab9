//! How bytes get to and from a socket: as they are, or through codecs (TLS, websockets).
//!
//! A codec does no I/O and knows no clock. It has a lock of its own, so that the worker that writes and
//! the task that reads see the same state. A connection without one is plain TCP and pays nothing.

mod connection;
#[allow(
    dead_code,
    unused_imports,
    reason = "sessions and routes are about to use it"
)]
pub(crate) mod tls;

pub(crate) use connection::Wire;
pub use tls::TlsConfigError;

/// What lies between a socket and the protocol.
pub(crate) trait Codec: Send + std::fmt::Debug {
    /// Takes bytes from the peer and appends what they say to `plain`. What must be sent in answer
    /// (handshake, pong) is kept for [`Codec::drain`]. Takes all of `wire`.
    ///
    /// # Errors
    /// The peer breaks the rules; the connection is to be ended after one more [`Codec::drain`].
    fn decode(&mut self, wire: &[u8], plain: &mut Vec<u8>) -> Result<Decoded, CodecError>;

    /// Takes bytes for the peer and appends their encoding to `wire`, after what [`Codec::drain`]
    /// would have said. Not before [`Codec::is_ready`].
    ///
    /// # Errors
    /// They cannot be encoded; the connection is to be ended.
    fn encode(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Appends what the codec itself has to say.
    fn drain(&mut self, wire: &mut Vec<u8>);

    /// Whether the handshake is over.
    fn is_ready(&self) -> bool;

    /// Appends the farewell: a `close_notify`, a close frame.
    fn close(&mut self, wire: &mut Vec<u8>);
}

/// What a call of [`Codec::decode`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// More may come.
    Open,
    /// The peer has said good-bye; nothing more will come.
    PeerClosed,
}

/// Why bytes could not be decoded or encoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    /// TLS: a failed handshake, an alert, a forged record.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// Websocket: a refused upgrade, a wrong frame.
    #[error("websocket: {0}")]
    Websocket(String),
}
