//! Bodies of answers: a text, or a stretch of a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// How much of a file is read at a time. A connection never holds much more than this, which is
/// what bounds the memory of the server.
const CHUNK_BYTES: usize = 32 * 1024;

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// A text; empty for none.
    Text(Bytes),
    /// A file from one offset up to another.
    Part {
        /// The file.
        file: File,
        /// Next byte to send.
        from: u64,
        /// First byte not to send.
        to: u64,
    },
}

impl Body {
    fn left(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Part { from, to, .. } => to - from,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    /// Reads from disk on the spot: a page that is not in memory holds up the one thread for the
    /// moment that the disk takes, which is cheaper than a pool of threads in every droplet.
    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = self.get_mut();
        if body.left() == 0 {
            return Poll::Ready(None);
        }
        let data = match body {
            Self::Text(text) => Ok(std::mem::take(text)),
            Self::Part { file, from, to } => read(file, *from, *to).inspect(|data| {
                *from += data.len() as u64;
            }),
        };
        Poll::Ready(Some(data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

fn read(file: &File, from: u64, to: u64) -> io::Result<Bytes> {
    let wanted = usize::try_from(to - from)
        .unwrap_or(usize::MAX)
        .min(CHUNK_BYTES);
    let mut chunk = vec![0; wanted];
    match file.read_at(&mut chunk, from)? {
        // The length was promised; ending the connection is the only way left to tell the client.
        0 => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file became shorter",
        )),
        n => {
            chunk.truncate(n);
            Ok(chunk.into())
        }
    }
}
