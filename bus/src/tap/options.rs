//! What a tap asks for besides its subject: `every=100,bytes=256`.

use std::num::NonZeroU32;

/// Bytes of a message that a tap gets unless it says otherwise.
const BYTES: usize = 4096;

/// How much of what it matches a tap wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// One of so many messages.
    pub(crate) every: NonZeroU32,
    /// So many bytes of each, headers included.
    pub(crate) bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            every: NonZeroU32::MIN,
            bytes: BYTES,
        }
    }
}

impl Options {
    /// Reads what stands where other subscriptions have their queue group.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut options = Options::default();
        for option in std::str::from_utf8(text).ok()?.split(',') {
            match option.split_once('=')? {
                ("every", number) => options.every = number.parse().ok()?,
                ("bytes", number) => options.bytes = number.parse().ok()?,
                _ => return None,
            }
        }
        Some(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_meant_and_nothing_else() {
        let read =
            |text: &str| Options::parse(text.as_bytes()).map(|it| (it.every.get(), it.bytes));
        assert_eq!(read("every=100,bytes=0"), Some((100, 0)));
        assert_eq!(read("bytes=256"), Some((1, 256)));
        for wrong in [
            "",
            "every=0",
            "every",
            "every=-1",
            "bytes=1,",
            "workers",
            "bytes=1KB",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(Options::parse(b"every=\xff"), None);
    }
}
