//! The socket of a connection, with or without a codec.
//!
//! Any worker may write to any connection, so a codec has a lock of its own, held by the one writer at a
//! time and by the connection's task while it decodes. What a codec has made and the socket has not taken
//! stays beside it, bounded by what one write hands to it.

use std::io::{self, IoSlice};
use std::sync::OnceLock;

use parking_lot::{Mutex, MutexGuard};

use super::{Codec, CodecError, Decoded, Farewell, Handshake};
use crate::outbound::Written;
use crate::socket::Outgoing;

/// Bytes given to a codec before what it made of them is written.
const ENCODE_STEP: usize = 64 << 10;

/// What may wait beside a codec when it is read from: a peer that makes it answer and does not read the
/// answers has no claim to our memory.
const RESIDUE_MAX: usize = 4 * ENCODE_STEP;

/// The sending side of a connection.
#[derive(Debug)]
pub(crate) struct Wire {
    tcp: Outgoing,
    coded: OnceLock<Mutex<Coded>>,
}

/// A codec with what the socket has not taken yet.
#[derive(Debug)]
struct Coded {
    codec: Box<dyn Codec>,
    residue: Vec<u8>,
    written: usize,
}

/// The one who writes.
pub(crate) struct Writer<'a> {
    tcp: &'a Outgoing,
    coded: Option<MutexGuard<'a, Coded>>,
}

// === impl Wire ===

impl Wire {
    pub(crate) fn new(tcp: Outgoing) -> Self {
        Wire {
            tcp,
            coded: OnceLock::new(),
        }
    }

    /// From now on everything goes through `codec`. Once in the life of a connection, with nothing queued.
    pub(crate) fn set_codec(&self, codec: Box<dyn Codec>) {
        let _ = self.coded.set(Mutex::new(Coded {
            codec,
            residue: Vec::new(),
            written: 0,
        }));
    }

    pub(crate) fn is_coded(&self) -> bool {
        self.coded.get().is_some()
    }

    /// Whether the handshake, if there is one, is over.
    pub(crate) fn is_ready(&self) -> bool {
        self.coded
            .get()
            .is_none_or(|coded| coded.lock().codec.is_ready())
    }

    /// Bytes that the codec holds and the socket has not taken.
    pub(crate) fn residue(&self) -> usize {
        let waiting = |coded: &Mutex<Coded>| {
            let coded = coded.lock();
            coded.residue.len() - coded.written
        };
        self.coded.get().map_or(0, waiting)
    }

    /// Bytes that the codec keeps of what has come.
    pub(crate) fn kept(&self) -> usize {
        let kept = |coded: &Mutex<Coded>| coded.lock().codec.kept();
        self.coded.get().map_or(0, kept)
    }

    /// Decodes what was read. What the codec wants to say is left for the next writer; the second value
    /// tells whether there is any.
    pub(crate) fn decode(
        &self,
        wire: &[u8],
        plain: &mut Vec<u8>,
    ) -> (Result<Decoded, CodecError>, bool) {
        let Some(coded) = self.coded.get() else {
            plain.extend_from_slice(wire);
            return (Ok(Decoded::Open), false);
        };
        let coded = &mut *coded.lock();
        let mut decoded = coded.codec.decode(wire, plain);
        coded.codec.drain(&mut coded.residue);
        if coded.residue.len() - coded.written > RESIDUE_MAX {
            decoded = Err(CodecError::Deaf);
        }
        (decoded, !coded.is_empty())
    }

    /// What the handshake has come to.
    pub(crate) fn handshake(&self) -> Handshake {
        let mut handshake = Handshake::default();
        if let Some(coded) = self.coded.get() {
            coded.lock().codec.describe(&mut handshake);
        }
        handshake
    }

    /// Says good-bye in the codec's way; `true` when there is something to write.
    pub(crate) fn close(&self, farewell: Farewell) -> bool {
        let Some(coded) = self.coded.get() else {
            return false;
        };
        let coded = &mut *coded.lock();
        coded.codec.close(farewell, &mut coded.residue);
        !coded.is_empty()
    }

    /// Takes the sending side. One at a time, as [`crate::outbound::Outbound::writing`] says.
    #[inline]
    pub(crate) fn writer(&self) -> Writer<'_> {
        Writer {
            tcp: &self.tcp,
            coded: self.coded.get().map(Mutex::lock),
        }
    }
}

// === impl Writer ===

impl Writer<'_> {
    /// Writes some of `slices` and returns how much of them it took. Behind a codec, what is taken is not
    /// yet on its way: see [`Writer::finish`].
    #[inline]
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (&mut self.coded, slices) {
            (None, [only]) => self.tcp.write(only),
            (None, several) => self.tcp.write_vectored(several),
            (Some(coded), slices) => {
                coded.flush(self.tcp)?;
                let mut taken = 0;
                for slice in slices {
                    let part = &slice[..slice.len().min(ENCODE_STEP - taken)];
                    let Coded { codec, residue, .. } = &mut **coded;
                    codec.encode(part, residue).map_err(io::Error::other)?;
                    taken += part.len();
                    if taken == ENCODE_STEP {
                        break;
                    }
                }
                Ok(taken)
            }
        }
    }

    /// Gets what a codec still holds onto the wire.
    #[inline]
    pub(crate) fn finish(&mut self) -> Written {
        let Some(coded) = &mut self.coded else {
            return Written::All;
        };
        match coded.flush(self.tcp) {
            Ok(()) => Written::All,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Written::Full,
            Err(error) => Written::Broken(error),
        }
    }
}

// === impl Coded ===

impl Coded {
    fn is_empty(&self) -> bool {
        self.residue.len() == self.written
    }

    fn flush(&mut self, tcp: &Outgoing) -> io::Result<()> {
        while self.written < self.residue.len() {
            match tcp.write(&self.residue[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.written = 0;
        self.residue.clear();
        if self.residue.capacity() > ENCODE_STEP {
            self.residue = Vec::new();
        }
        Ok(())
    }
}
