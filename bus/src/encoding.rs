//! How an answer or event is packed, when its reader says what it can unpack.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

/// The header that says how a payload is packed.
const NAME: &str = "Content-Encoding";

/// A way to pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    /// Not at all: the reader knows none that we know. nats-server says so as well.
    Identity,
}

impl Encoding {
    /// The best of those in an `Accept-Encoding`.
    pub(crate) fn of(accepted: &str) -> Self {
        if accepted.to_ascii_lowercase().contains("gzip") {
            Encoding::Gzip
        } else {
            Encoding::Identity
        }
    }

    /// A header block and the packed payload behind it; the length of the block.
    pub(crate) fn pack(self, payload: &[u8]) -> (usize, Vec<u8>) {
        let name = match self {
            Encoding::Gzip => "gzip",
            Encoding::Identity => "identity",
        };
        let mut message = format!("NATS/1.0\r\n{NAME}: {name}\r\n\r\n").into_bytes();
        let block = message.len();
        match self {
            Encoding::Identity => message.extend_from_slice(payload),
            Encoding::Gzip => {
                let mut packer = GzEncoder::new(&mut message, Compression::fast());
                // Writing to memory cannot fail.
                let _ = packer.write_all(payload).and_then(|()| packer.try_finish());
            }
        }
        (block, message)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        for (accepted, named) in [("br, GZIP", "gzip"), ("snappy", "identity")] {
            let (block, message) = Encoding::of(accepted).pack(b"hello hello");
            let head = String::from_utf8(message[..block].to_vec()).unwrap();
            assert_eq!(
                head,
                format!("NATS/1.0\r\nContent-Encoding: {named}\r\n\r\n")
            );
            let mut payload = message[block..].to_vec();
            if named == "gzip" {
                let mut packed = flate2::read::GzDecoder::new(&message[block..]);
                payload.clear();
                packed.read_to_end(&mut payload).unwrap();
            }
            assert_eq!(payload, b"hello hello");
        }
    }
}
