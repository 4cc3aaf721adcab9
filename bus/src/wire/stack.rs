//! Websocket over TLS.

use super::tls::TlsCodec;
use super::websocket::WebsocketCodec;
use super::{Codec, CodecError, Decoded, Farewell, Handshake};

/// What an idle connection may keep for the next bytes.
const IDLE: usize = 4 << 10;

/// A websocket inside of TLS.
#[derive(Debug)]
pub(crate) struct Stack {
    tls: TlsCodec,
    websocket: WebsocketCodec,
    /// What one hands to the other.
    between: Vec<u8>,
    /// The peer has ended TLS.
    tls_closed: bool,
}

// === impl Stack ===

impl Stack {
    pub(crate) fn new(tls: TlsCodec, websocket: WebsocketCodec) -> Self {
        Stack {
            tls,
            websocket,
            between: Vec::new(),
            tls_closed: false,
        }
    }

    /// Keeps the buffer for the next time, unless it has become large: most connections are idle.
    fn lay_aside(&mut self, between: Vec<u8>) {
        if between.capacity() <= IDLE {
            self.between = between;
        }
    }

    /// Sends through TLS what the websocket says.
    fn pass_on(
        &mut self,
        wire: &mut Vec<u8>,
        say: impl FnOnce(&mut WebsocketCodec, &mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        let mut between = std::mem::take(&mut self.between);
        between.clear();
        let said = say(&mut self.websocket, &mut between);
        let passed = if between.is_empty() {
            self.tls.drain(wire);
            Ok(())
        } else {
            self.tls.encode(&between, wire)
        };
        self.lay_aside(between);
        said.and(passed)
    }
}

impl Codec for Stack {
    fn decode(&mut self, wire: &[u8], plain: &mut Vec<u8>) -> Result<Decoded, CodecError> {
        let mut between = std::mem::take(&mut self.between);
        between.clear();
        let opened = self.tls.decode(wire, &mut between);
        let heard = if between.is_empty() && !self.websocket.has_waiting() {
            Ok(Decoded::Open)
        } else {
            self.websocket.decode(&between, plain)
        };
        self.lay_aside(between);
        self.tls_closed |= opened? == Decoded::PeerClosed;
        Ok(match heard? {
            Decoded::Open if self.tls_closed => Decoded::PeerClosed,
            heard => heard,
        })
    }

    fn encode(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CodecError> {
        self.pass_on(wire, |websocket, between| websocket.encode(plain, between))
    }

    fn drain(&mut self, wire: &mut Vec<u8>) {
        // An error means that TLS has ended, and with it the need to say anything.
        let _ = self.pass_on(wire, |websocket, between| {
            websocket.drain(between);
            Ok(())
        });
    }

    fn kept(&self) -> usize {
        self.websocket.kept()
    }

    fn is_ready(&self) -> bool {
        self.tls.is_ready() && self.websocket.is_ready()
    }

    fn close(&mut self, farewell: Farewell, wire: &mut Vec<u8>) {
        let _ = self.pass_on(wire, |websocket, between| {
            websocket.close(farewell, between);
            Ok(())
        });
        self.tls.close(farewell, wire);
    }

    fn describe(&self, to: &mut Handshake) {
        self.tls.describe(to);
        self.websocket.describe(to);
    }
}
