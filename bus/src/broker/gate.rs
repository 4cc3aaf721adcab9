//! A door: its address is taken early, so that peers can be told of it, and it is opened when this server
//! is of use to those who come.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpSocket;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

#[derive(Debug)]
pub(super) struct Gate {
    /// As it was asked for, with the port it got.
    pub(super) address: SocketAddr,
    /// Nobody can connect yet.
    closed: Option<TcpSocket>,
    open: Option<TcpListener>,
}

// === impl Gate ===

impl Gate {
    /// One that is open already.
    ///
    /// # Errors
    /// The socket has no address.
    pub(super) fn of(listener: TcpListener) -> io::Result<Self> {
        Ok(Gate {
            address: listener.local_addr()?,
            closed: None,
            open: Some(listener),
        })
    }

    /// Takes an address, but does not listen. All addresses of IPv4 are those of IPv6 as well, as they are
    /// for nats-server: clients that find a name to be both may try the latter first, or no other.
    ///
    /// # Errors
    /// The system does not give it.
    pub(super) fn closed(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
            let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
            match bind(both) {
                // IPv4 is what was asked for; a machine may have nothing else.
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => bind(address)?,
                bound => bound?,
            }
        } else {
            bind(address)?
        };
        let port = socket.local_addr()?.port();
        Ok(Gate {
            address: SocketAddr::new(address.ip(), port),
            closed: Some(socket),
            open: None,
        })
    }

    /// From now on it can be connected to.
    ///
    /// # Errors
    /// Somebody else listens there by now.
    pub(super) fn open(&mut self) -> io::Result<()> {
        if let Some(socket) = self.closed.take() {
            self.open = Some(socket.listen(BACKLOG)?.into_std()?);
        }
        Ok(())
    }

    /// Where they come in, if it is open.
    pub(super) fn into_listener(self) -> Option<TcpListener> {
        self.open
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    }
    // As listeners do: what is left of connections of a server before must not be in the way.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
