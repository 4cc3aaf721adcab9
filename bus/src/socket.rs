//! Sockets. A connection's task reads from its own where it lives, and any worker writes to it.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::watch::{READABLE, WRITABLE, Watch, Watched};

/// A door.
#[derive(Debug)]
pub(crate) struct Listening {
    // Before the descriptor goes.
    watched: Watched,
    listener: TcpListener,
}

/// The side that is read from.
#[derive(Debug)]
pub(crate) struct Incoming {
    // Before the descriptor goes.
    watched: Watched,
    socket: Arc<TcpStream>,
}

/// The side that is written to. Nothing waits here: a full socket is for the connection's task to wait for.
/// When this goes, so does the peer's hope for more.
#[derive(Debug)]
pub(crate) struct Outgoing(Arc<TcpStream>);

/// Makes both sides of a non-blocking socket. The first reports to this watch.
///
/// # Errors
/// The system cannot watch the socket.
pub(crate) fn split(socket: TcpStream, watch: &Arc<Watch>) -> io::Result<(Incoming, Outgoing)> {
    let socket = Arc::new(socket);
    let incoming = Incoming {
        watched: watch.add(&*socket)?,
        socket: Arc::clone(&socket),
    };
    Ok((incoming, Outgoing(socket)))
}

// === impl Listening ===

impl Listening {
    /// # Errors
    /// The system cannot watch the socket.
    pub(crate) fn new(listener: TcpListener, watch: &Arc<Watch>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Listening {
            watched: watch.add(&listener)?,
            listener,
        })
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// As the system says: there are no descriptors left, or one who came has gone already.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accept = || self.listener.accept();
        let (socket, peer) = poll_fn(|cx| self.watched.poll_io(cx, READABLE, accept)).await?;
        socket.set_nonblocking(true)?;
        Ok((socket, peer))
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
        let read = || read(&self.socket);
        let (count, all) = ready!(self.watched.poll_io(cx, READABLE, read))?;
        if all && count > 0 {
            // The system tells when more comes; an end that came along it has told.
            self.watched.clear(READABLE);
        }
        Poll::Ready(Ok(count))
    }

    /// Reports to this watch from now on.
    ///
    /// # Errors
    /// The system cannot watch the socket.
    pub(crate) fn report_to(&mut self, watch: &Arc<Watch>) -> io::Result<()> {
        self.watched.move_to(watch)
    }

    /// Waits until something may have changed about the room for what is written. Is told of each change once:
    /// to be called after a write that found none, and followed by another.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.watched.poll_ready(cx, WRITABLE));
        self.watched.clear(WRITABLE);
        Poll::Ready(())
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
