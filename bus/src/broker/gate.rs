//! A door for clients: its address is taken early, so that peers can be told of it, and it is opened when
//! this server is of use to those who come.

use std::io;
use std::net::{SocketAddr, TcpListener};

use tokio::net::TcpSocket;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

#[derive(Debug)]
pub(super) enum Gate {
    /// Nobody can connect yet.
    Closed(TcpSocket),
    Open(TcpListener),
    /// It could not be opened.
    Lost,
}

// === impl Gate ===

impl Gate {
    /// Takes an address, but does not listen.
    ///
    /// # Errors
    /// The system does not give it.
    pub(super) fn closed(address: SocketAddr) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // As listeners do: what is left of connections of a server before must not be in the way.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Gate::Closed(socket))
    }

    /// # Errors
    /// There is no socket, or it has no address.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Gate::Closed(socket) => socket.local_addr(),
            Gate::Open(listener) => listener.local_addr(),
            Gate::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// From now on it can be connected to.
    ///
    /// # Errors
    /// Somebody else listens there by now.
    pub(super) fn open(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Gate::Lost) {
            Gate::Closed(socket) => Gate::Open(socket.listen(BACKLOG)?.into_std()?),
            other => other,
        };
        Ok(())
    }

    /// Where clients come in, if it is open.
    pub(super) fn into_listener(self) -> Option<TcpListener> {
        match self {
            Gate::Open(listener) => Some(listener),
            Gate::Closed(_) | Gate::Lost => None,
        }
    }
}
