//! Sockets. A connection's task reads from its own where it lives, and any worker writes to it.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What the task of a connection wants to be told of.
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A door.
#[derive(Debug)]
pub(crate) struct Listening(AsyncFd<TcpListener>);

/// The side that is read from. It reports to the worker on which it was made.
#[derive(Debug)]
pub(crate) struct Incoming(AsyncFd<Arc<TcpStream>>);

/// The side that is written to. Nothing waits here: a full socket is for the connection's task to wait for.
/// When this goes, so does the peer's hope for more.
#[derive(Debug)]
pub(crate) struct Outgoing(Arc<TcpStream>);

/// Makes both sides of a non-blocking socket.
///
/// # Errors
/// The system cannot watch the socket.
pub(crate) fn split(socket: TcpStream) -> io::Result<(Incoming, Outgoing)> {
    let socket = Arc::new(socket);
    let incoming = watch(Arc::clone(&socket), BOTH)?;
    Ok((Incoming(incoming), Outgoing(socket)))
}

/// Has the worker on which this is called told what happens to a socket. For those of the standard library only.
#[expect(
    deprecated,
    reason = "sound for what keeps one descriptor open for as long as it lives; to say so takes `unsafe`"
)]
fn watch<T: AsRawFd>(socket: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(socket, interest)
}

// === impl Listening ===

impl Listening {
    /// # Errors
    /// The system cannot watch the socket.
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        watch(listener, Interest::READABLE).map(Listening)
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// As the system says: there are no descriptors left, or one who came has gone already.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accept = |listener: &TcpListener| {
            let (socket, peer) = listener.accept()?;
            socket.set_nonblocking(true)?;
            Ok((socket, peer))
        };
        self.0.async_io(Interest::READABLE, accept).await
    }
}

// === impl Incoming ===

impl Incoming {
    /// Reads what there is, as far as `buffer` holds it; 0 at the end.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let room = buffer.len();
        self.poll_with(cx, |mut socket| {
            let count = socket.read(buffer)?;
            Ok((count, count < room))
        })
    }

    /// Appends what there is to `target`, as far as `most` bytes go; 0 at the end.
    pub(crate) fn poll_append(
        &self,
        cx: &mut Context<'_>,
        target: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let before = target.len();
        self.poll_with(cx, |socket| {
            let limit = u64::try_from(most).unwrap_or(u64::MAX);
            let read = socket.take(limit).read_to_end(target);
            match (read, target.len() - before) {
                (Err(error), 0) => Err(error),
                (Err(error), _) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                (_, count) => Ok((count, count < most)),
            }
        })
    }

    /// Reads what there is, as far as `buffer` holds it, and leaves it where it is; 0 at the end.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(cx, |socket| Ok((socket.peek(buffer)?, false)))
    }

    /// Reads; `read` says how much, and whether that was all, so that it is not asked again in vain.
    fn poll_with(
        &self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(&TcpStream) -> io::Result<(usize, bool)>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            match read(self.0.get_ref()) {
                Ok((count, all)) => {
                    if all && count > 0 {
                        // The system tells when more comes; an end that came along it has told.
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Has the worker on which this is called told what happens, in place of the one that was.
    ///
    /// # Errors
    /// The system cannot watch the socket.
    pub(crate) fn watch_from_here(&mut self) -> io::Result<()> {
        let socket = Arc::clone(self.0.get_ref());
        self.0 = watch(socket, BOTH)?;
        Ok(())
    }

    /// Waits until something may have changed about the room for what is written. Is told of each change once:
    /// to be called after a write that found none, and followed by another.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_write_ready(cx))?.clear_ready();
        Poll::Ready(Ok(()))
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// Writes some of it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the socket is full.
    #[inline]
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    /// As [`write`](Self::write), from several places.
    #[inline]
    pub(crate) fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self.0).write_vectored(slices)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // It may be broken already.
        let _ = self.0.shutdown(Shutdown::Write);
    }
}
