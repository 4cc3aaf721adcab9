//! The listening sockets that the supervisor holds for its roles.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context as _, bail};
use cupola_types::Role;
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep};

use crate::args::Unusable;

/// Connections that may wait while a role restarts.
const BACKLOG: u32 = 4_096;

/// How long an address may still be held by the roles of a supervisor that was killed: the kernel
/// ends them after it, each in its own time.
const LET_GO: Duration = Duration::from_secs(3);
const TRY_AGAIN: Duration = Duration::from_millis(5);

/// One socket, held open over the restarts of its role.
#[derive(Debug)]
pub(crate) struct HeldSocket {
    pub(crate) role: Role,
    /// The name under which the role asks for it.
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) listener: TcpListener,
}

/// A socket to be held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) role: Role,
    pub(crate) name: &'static str,
    /// Where it must be, when the operator said so.
    pub(crate) fixed: Option<SocketAddr>,
    /// The flag by which the operator can say so.
    pub(crate) flag: Option<&'static str>,
}

impl Wanted {
    /// The name under which the address is remembered.
    pub(crate) fn key(&self) -> String {
        format!("{}.{}", self.role, self.name)
    }
}

/// Opens all sockets: where the operator said, else where they were last time, else anywhere on
/// loopback. `remembered` is brought up to date. An address of last time that is still in use is
/// waited for up to [`LET_GO`], all of them together.
pub(crate) async fn open(
    wanted: &[Wanted],
    remembered: &mut BTreeMap<String, SocketAddr>,
) -> anyhow::Result<Vec<HeldSocket>> {
    let mut held = Vec::new();
    let deadline = Instant::now() + LET_GO;
    for socket in wanted {
        let listener = match (socket.fixed, remembered.get(&socket.key())) {
            (Some(address), _) => match listen_by(address, deadline).await {
                Ok(listener) => listener,
                Err(error) => bail!(Unusable(format!(
                    "cannot listen on {address} for {}: {error}; {}",
                    socket.role,
                    advice(socket.flag)
                ))),
            },
            (None, Some(address)) => match listen_by(*address, deadline).await {
                Ok(listener) => listener,
                Err(error) => {
                    let moved = listen(anywhere())?;
                    if socket.flag.is_some() {
                        tracing::warn!(
                            "{} moves away from {address}, where it was last time: {error}",
                            socket.role
                        );
                    }
                    moved
                }
            },
            (None, None) => listen(anywhere())?,
        };
        let address = listener
            .local_addr()
            .context("a socket without an address")?;
        remembered.insert(socket.key(), address);
        held.push(HeldSocket {
            role: socket.role,
            name: socket.name,
            address,
            listener,
        });
    }
    Ok(held)
}

fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn advice(flag: Option<&str>) -> String {
    match flag {
        Some(flag) => format!("choose another with {flag} ADDR:PORT"),
        None => "choose another address".to_owned(),
    }
}

/// Listens on an address, waiting until `deadline` for its last holder to let go.
async fn listen_by(address: SocketAddr, deadline: Instant) -> std::io::Result<TcpListener> {
    loop {
        match listen(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                sleep(TRY_AGAIN).await;
            }
            done => return done,
        }
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn wanted(fixed: Option<SocketAddr>) -> Wanted {
        Wanted {
            role: Role::Router,
            name: "http",
            fixed,
            flag: Some("--http"),
        }
    }

    #[tokio::test]
    async fn an_address_that_was_chosen_once_is_kept() {
        let mut remembered = BTreeMap::new();
        let first = open(&[wanted(None)], &mut remembered).await.unwrap()[0].address;
        let again = open(&[wanted(None)], &mut remembered).await.unwrap()[0].address;
        assert_eq!(first, again);
    }

    #[tokio::test]
    async fn an_address_that_a_dying_role_still_holds_is_waited_for() {
        let dying = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = dying.local_addr().unwrap();
        let mut remembered = [("router.http".to_owned(), address)].into();
        let sockets = [wanted(None)];
        let (held, ()) = tokio::join!(open(&sockets, &mut remembered), async {
            sleep(Duration::from_millis(50)).await;
            drop(dying);
        });
        assert_eq!(held.unwrap()[0].address, address);
    }

    #[tokio::test]
    async fn an_address_that_is_taken_names_the_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = open(&[wanted(Some(address))], &mut BTreeMap::new())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&address.to_string()) && error.contains("--http"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_remembered_address_that_is_taken_gives_way() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut remembered = [("router.http".to_owned(), taken.local_addr().unwrap())].into();
        let held = open(&[wanted(None)], &mut remembered).await.unwrap();
        assert_ne!(held[0].address, taken.local_addr().unwrap());
    }
}
