//! Listening sockets: taken over from a supervisor by name, or bound here.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};

/// A role cannot have a socket that it needs.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Nobody handed it over and no address is configured.
    #[error("no socket named {name:?} was handed over and no address is configured for it")]
    Missing {
        /// The socket's name.
        name: String,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address} for {name:?}")]
    Bind {
        /// The socket's name.
        name: String,
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What was handed over is not a listening TCP socket.
    #[error("the socket named {name:?} that was handed over is not usable")]
    Inherited {
        /// The socket's name.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The sockets that a supervisor holds for this process, by name, in the way of systemd socket
/// activation (`LISTEN_FDS`, `LISTEN_FDNAMES`; sd_listen_fds(3)).
#[derive(Debug, Default)]
pub struct Listeners {
    inherited: HashMap<String, Vec<TcpListener>>,
}

impl Listeners {
    /// No inherited sockets.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Takes over what the environment announces, once per process.
    ///
    /// # Errors
    /// [`ListenError::Inherited`] when a handed-over descriptor is no TCP socket.
    pub fn from_environment() -> Result<Self, ListenError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let mut handed_over = listenfd::ListenFd::from_env();
        let mut inherited: HashMap<String, Vec<TcpListener>> = HashMap::new();
        for index in 0..handed_over.len() {
            let name = names.get(index).copied().unwrap_or("unknown").to_owned();
            let socket =
                handed_over
                    .take_tcp_listener(index)
                    .map_err(|source| ListenError::Inherited {
                        name: name.clone(),
                        source,
                    })?;
            inherited.entry(name).or_default().extend(socket);
        }
        Ok(Self { inherited })
    }

    /// Adds a socket, as a supervisor would.
    pub fn insert(&mut self, name: &str, socket: TcpListener) {
        self.inherited
            .entry(name.to_owned())
            .or_default()
            .push(socket);
    }

    /// The socket `name`, or one bound to `fallback`. Non-blocking.
    ///
    /// # Errors
    /// A [`ListenError`] that names the socket.
    pub fn take(
        &mut self,
        name: &str,
        fallback: Option<SocketAddr>,
    ) -> Result<TcpListener, ListenError> {
        let bind = |address: SocketAddr| {
            TcpListener::bind(address).map_err(|source| ListenError::Bind {
                name: name.to_owned(),
                address,
                source,
            })
        };
        let socket = match (self.inherited.get_mut(name).and_then(Vec::pop), fallback) {
            (Some(socket), _) => socket,
            (None, Some(address)) => bind(address)?,
            (None, None) => {
                return Err(ListenError::Missing {
                    name: name.to_owned(),
                });
            }
        };
        socket
            .set_nonblocking(true)
            .map_err(|source| ListenError::Inherited {
                name: name.to_owned(),
                source,
            })?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_handed_over_socket_wins_over_the_configured_address() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let mut listeners = Listeners::none();
        listeners.insert("http", held);
        let fallback = Some("127.0.0.1:0".parse().unwrap());
        assert_eq!(
            listeners
                .take("http", fallback)
                .unwrap()
                .local_addr()
                .unwrap(),
            address
        );
        assert_ne!(
            listeners
                .take("http", fallback)
                .unwrap()
                .local_addr()
                .unwrap(),
            address
        );
    }

    #[test]
    fn a_socket_that_nobody_configured_is_named() {
        let error = Listeners::none().take("http", None).unwrap_err();
        assert!(error.to_string().contains("\"http\""));
    }
}
