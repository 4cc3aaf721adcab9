//! How bytes get to and from a socket: as they are, or through codecs (TLS, websockets).
//!
//! A codec does no I/O and knows no clock. It has a lock of its own, so that the worker that writes and
//! the task that reads see the same state. A connection without one is plain TCP and pays nothing.

mod connection;
pub(crate) mod stack;
pub(crate) mod tls;
pub(crate) mod websocket;

pub(crate) use connection::Wire;
pub use tls::TlsConfigError;
pub use websocket::WebsocketConfigError;

/// What lies between a socket and the protocol.
pub(crate) trait Codec: Send + std::fmt::Debug {
    /// Takes bytes from the peer and appends what they say to `plain`. What must be sent in answer
    /// (handshake, pong) is kept for [`Codec::drain`]. Takes all of `wire`.
    ///
    /// # Errors
    /// The peer breaks the rules; the connection is to be ended after [`Codec::close`], which tells it so.
    fn decode(&mut self, wire: &[u8], plain: &mut Vec<u8>) -> Result<Decoded, CodecError>;

    /// Takes bytes for the peer and appends their encoding to `wire`, after what [`Codec::drain`]
    /// would have said. Not before [`Codec::is_ready`].
    ///
    /// # Errors
    /// They cannot be encoded; the connection is to be ended.
    fn encode(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Appends what the codec itself has to say.
    fn drain(&mut self, wire: &mut Vec<u8>);

    /// Bytes it keeps of what has come: large ones, that a peer can make it keep for long.
    fn kept(&self) -> usize {
        0
    }

    /// Whether the handshake is over.
    fn is_ready(&self) -> bool;

    /// Appends the farewell: a `close_notify`, a close frame.
    fn close(&mut self, farewell: Farewell, wire: &mut Vec<u8>);

    /// Tells what the handshake has come to.
    fn describe(&self, to: &mut Handshake);
}

/// What a call of [`Codec::decode`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// All is decoded; more may come.
    Open,
    /// There is more to what has come already: to be called again, with nothing, once `plain` is handled.
    More,
    /// The peer has said good-bye; nothing more will come.
    PeerClosed,
}

/// Why bytes could not be decoded or encoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    /// A failed handshake, an alert, a forged record.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// A refused upgrade.
    #[error("websocket handshake error: {0}")]
    Upgrade(&'static str),
    /// A wrong frame.
    #[error("websocket: {0}")]
    Frame(&'static str),
    /// It asks and asks, and does not read the answers.
    #[error("it does not read what it is answered")]
    Deaf,
}

/// How a connection ends, as far as a codec can say it; with a text for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// All is said.
    Done(&'static str),
    /// This server is being shut down, or does not hear anything any more.
    GoingAway(&'static str),
    /// The peer may not be here, or not any longer.
    Refused(&'static str),
    /// It broke the rules.
    Protocol(&'static str),
    /// What it sent is too large.
    TooBig(&'static str),
    /// It is for another reason.
    Other(&'static str),
}

/// What the handshakes of a connection have come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handshake {
    /// Version and cipher suite, over TLS.
    pub(crate) tls: Option<tls::Negotiated>,
    /// The certificate the peer has shown.
    pub(crate) peer: Option<tls::Leaf>,
    /// What the upgrade request told, over a websocket.
    pub(crate) websocket: Option<websocket::Greeting>,
}
