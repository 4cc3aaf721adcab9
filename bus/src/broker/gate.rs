//! A door: its address is taken early, so that peers can be told of it, and it is opened when this server
//! is of use to those who come.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpSocket;

use super::BuildError;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Who is to come in by a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Clients.
    Clients,
    /// Monitoring, over HTTP or HTTPS.
    Monitor,
    /// Clients over websockets.
    Websockets,
    /// Other servers of the cluster.
    Routes,
}

#[derive(Debug)]
pub(super) struct Gate {
    purpose: Purpose,
    /// As it was asked for, with the port it got.
    pub(super) address: SocketAddr,
    /// Nobody can connect yet.
    closed: Option<TcpSocket>,
    open: Option<TcpListener>,
}

// === impl Purpose ===

impl Purpose {
    /// Says that such a door cannot be had, in the words of nats-server's log, which test suites and
    /// scripts look for.
    pub(super) fn refused(self, address: SocketAddr, reason: &io::Error) -> String {
        let reason = match reason.raw_os_error() {
            Some(code) => Errno::from_raw(code).desc().to_lowercase(),
            None => reason.to_string(),
        };
        let reason = format!("listen tcp {address}: bind: {reason}");
        match self {
            Purpose::Clients => format!("Error listening on port: {address}, {reason:?}"),
            Purpose::Monitor => {
                format!("Can't start monitoring: can't listen to the monitor port: {reason}")
            }
            Purpose::Websockets => format!("Unable to listen for websocket connections: {reason}"),
            Purpose::Routes => {
                let port = address.port();
                format!("Error listening on router port: {port} - {reason}")
            }
        }
    }
}

// === impl Gate ===

impl Gate {
    /// One that is open already.
    ///
    /// # Errors
    /// The socket has no address.
    pub(super) fn of(purpose: Purpose, listener: TcpListener) -> Result<Self, BuildError> {
        Ok(Gate {
            purpose,
            address: listener.local_addr().map_err(BuildError::Socket)?,
            closed: None,
            open: Some(listener),
        })
    }

    /// Takes an address and listens.
    ///
    /// # Errors
    /// The system does not give it.
    pub(super) fn opened(purpose: Purpose, address: SocketAddr) -> Result<Self, BuildError> {
        let mut gate = Gate::closed(purpose, address)?;
        gate.open()?;
        Ok(gate)
    }

    /// Takes an address, but does not listen. All addresses of IPv4 are those of IPv6 as well, as they are
    /// for nats-server: clients that find a name to be both may try the latter first, or no other.
    ///
    /// # Errors
    /// The system does not give it.
    pub(super) fn closed(purpose: Purpose, address: SocketAddr) -> Result<Self, BuildError> {
        let bound = if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
            let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
            match bind(both) {
                // IPv4 is what was asked for; a machine may have nothing else.
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => bind(address),
                bound => bound,
            }
        } else {
            bind(address)
        };
        let socket = bound.map_err(|reason| BuildError::Listen {
            purpose,
            address,
            reason,
        })?;
        let port = socket.local_addr().map_err(BuildError::Socket)?.port();
        Ok(Gate {
            purpose,
            address: SocketAddr::new(address.ip(), port),
            closed: Some(socket),
            open: None,
        })
    }

    /// From now on it can be connected to.
    ///
    /// # Errors
    /// Somebody else listens there by now.
    pub(super) fn open(&mut self) -> Result<(), BuildError> {
        if let Some(socket) = self.closed.take() {
            let listener = socket.listen(BACKLOG).and_then(|it| it.into_std());
            self.open = Some(listener.map_err(|reason| BuildError::Listen {
                purpose: self.purpose,
                address: self.address,
                reason,
            })?);
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
