//! TLS as a codec, on rustls: both the side that accepts and the side that dials (routes).
//!
//! [`Acceptor`] and [`Connector`] are what a `tls` section becomes: checked once, shared by all
//! connections, replaced as a whole by a reload. A [`TlsCodec`] is one connection's own state.

mod acceptor;
mod connector;
mod dn;
mod error;
mod files;
mod leaf;
mod names;
mod trust;

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Connection, ProtocolVersion, ServerConfig};

pub(crate) use acceptor::{Acceptor, Listener};
pub(crate) use connector::Connector;
pub use error::TlsConfigError;
pub(crate) use leaf::Leaf;

use super::{Codec, CodecError, Decoded, Farewell, Handshake};

/// One connection's TLS.
#[derive(Debug)]
pub(crate) struct TlsCodec {
    connection: Connection,
}

/// What a handshake has come to; for monitoring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    /// `1.2` or `1.3`.
    pub(crate) version: &'static str,
    /// Name of the cipher suite, as Go writes it.
    pub(crate) cipher_suite: String,
}

// === impl TlsCodec ===

impl TlsCodec {
    pub(super) fn server(config: &Arc<ServerConfig>) -> Result<Self, CodecError> {
        let connection = rustls::ServerConnection::new(Arc::clone(config));
        Ok(TlsCodec {
            connection: connection.map_err(CodecError::Tls)?.into(),
        })
    }

    pub(super) fn client(
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, CodecError> {
        let connection = rustls::ClientConnection::new(Arc::clone(config), name);
        Ok(TlsCodec {
            connection: connection.map_err(CodecError::Tls)?.into(),
        })
    }

    /// Version and cipher suite, once the handshake is over.
    pub(crate) fn negotiated(&self) -> Option<Negotiated> {
        let version = match self.connection.protocol_version()? {
            ProtocolVersion::TLSv1_3 => "1.3",
            _ => "1.2",
        };
        let suite = self.connection.negotiated_cipher_suite()?;
        Some(Negotiated {
            version,
            cipher_suite: names::of_suite(suite),
        })
    }

    /// The peer's own certificate, if it has shown one and it can be read.
    pub(crate) fn peer(&self) -> Option<Leaf> {
        Leaf::parse(self.connection.peer_certificates()?.first()?)
    }

    fn take_plain(&mut self, plain: &mut Vec<u8>) {
        let mut reader = self.connection.reader();
        // An error means that there is nothing now; whether anything follows, the caller knows.
        while let Ok(chunk) = reader.fill_buf() {
            if chunk.is_empty() {
                return;
            }
            let length = chunk.len();
            plain.extend_from_slice(chunk);
            reader.consume(length);
        }
    }
}

impl Codec for TlsCodec {
    fn decode(&mut self, mut wire: &[u8], plain: &mut Vec<u8>) -> Result<Decoded, CodecError> {
        while !wire.is_empty() {
            // It takes a few KiB at a time, and nothing once the peer has said good-bye.
            match self.connection.read_tls(&mut wire) {
                Ok(0) | Err(_) => return Ok(Decoded::PeerClosed),
                Ok(_) => {}
            }
            let state = self.connection.process_new_packets();
            self.take_plain(plain);
            if state.map_err(CodecError::Tls)?.peer_has_closed() {
                return Ok(Decoded::PeerClosed);
            }
        }
        Ok(Decoded::Open)
    }

    fn encode(&mut self, mut plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CodecError> {
        while !plain.is_empty() {
            // It encrypts at once, but only as much as it would keep for a slow socket.
            let taken = self.connection.writer().write(plain).unwrap_or(0);
            plain = &plain[taken..];
            self.drain(wire);
            if taken == 0 {
                // It no longer takes anything: we have said good-bye, or no key may encrypt more.
                return Err(CodecError::Tls(rustls::Error::EncryptError));
            }
        }
        self.drain(wire);
        Ok(())
    }

    fn drain(&mut self, wire: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // Writing to memory does not fail.
            if !matches!(self.connection.write_tls(wire), Ok(1..)) {
                return;
            }
        }
    }

    fn is_ready(&self) -> bool {
        !self.connection.is_handshaking()
    }

    fn close(&mut self, _: Farewell, wire: &mut Vec<u8>) {
        self.connection.send_close_notify();
        self.drain(wire);
    }

    fn describe(&self, to: &mut Handshake) {
        to.tls = self.negotiated();
        to.peer = self.peer();
    }
}

#[cfg(test)]
mod tests;
