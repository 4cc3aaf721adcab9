//! The doors: where connections come in, and how they are given to workers.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::cluster::dialler::Dialled;
use crate::complaint::Complaint;
use crate::descriptors::{self, For};
use crate::hub::Hub;
use crate::socket::Listening;
use crate::worker::{self, Worker};

/// First and longest pause after a failed accept (usually: no file descriptors left).
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// Connections above the limit that may be about to hear so.
const DOOMED: usize = 64;
/// Routes beside them.
const ROUTES: usize = 1024;

/// Which door a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The one for clients.
    Clients,
    /// The one for websockets.
    Websocket,
    /// The one for other servers.
    Routes,
}

impl Door {
    /// What users' settings call those who come by it.
    pub(crate) fn way(self) -> &'static str {
        match self {
            Door::Clients => "STANDARD",
            Door::Websocket => "WEBSOCKET",
            Door::Routes => "ROUTE",
        }
    }

    /// Whose file descriptors they take.
    fn uses(self) -> For {
        match self {
            Door::Clients | Door::Websocket => For::Clients,
            Door::Routes => For::Routes,
        }
    }
}

/// A connection that has just come in.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) socket: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) door: Door,
    /// Set when it is this server that has come: what for.
    pub(crate) dialled: Option<Box<Dialled>>,
}

/// Accepts connections for ever and gives each to the least busy worker. Runs on the first one.
async fn accept(
    listener: TcpListener,
    door: Door,
    workers: &[Worker],
    hub: &Arc<Hub>,
) -> io::Result<()> {
    let Some(own) = workers.first() else {
        return Ok(());
    };
    let listener = Listening::new(listener, own.watch())?;
    let mut pause = ACCEPT_PAUSE.0;
    let (mut too_many, mut too_few) = (Complaint::default(), Complaint::default());
    loop {
        match listener.accept().await {
            Ok((socket, mut peer)) => {
                pause = ACCEPT_PAUSE.0;
                // What turns have kept back does not wait until there is nobody more to accept.
                own.flush();
                if descriptors::is_kept(&socket, door.uses()) {
                    if let Some(connections) = too_few.again(Instant::now()) {
                        tracing::error!(connections, "too few file descriptors: hung up");
                    }
                    continue;
                }
                // Of a door for both kinds of addresses: the one the client knows.
                peer.set_ip(peer.ip().to_canonical());
                let most = match door {
                    Door::Clients | Door::Websocket => hub.settings().limits.max_connections,
                    // Servers are let in when clients no longer are.
                    Door::Routes => hub.settings().limits.max_connections.saturating_add(ROUTES),
                };
                if hub.sessions.len() >= most.saturating_add(DOOMED) {
                    if let Some(connections) = too_many.again(Instant::now()) {
                        tracing::warn!(connections, client.peer = %peer, "too many connections: hung up");
                    }
                    continue;
                }
                let arrival = Arrival {
                    socket,
                    peer,
                    door,
                    dialled: None,
                };
                worker::assign(workers, hub, arrival);
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE.1);
            }
        }
    }
}

/// Runs [`accept`] on the first worker.
pub(crate) fn spawn_accept(
    listener: TcpListener,
    door: Door,
    workers: &Arc<Vec<Worker>>,
    hub: &Arc<Hub>,
    stop: CancellationToken,
) -> Option<tokio::task::JoinHandle<()>> {
    let (own, hub) = (Arc::clone(workers), Arc::clone(hub));
    let first = workers.first()?;
    Some(first.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            ended = accept(listener, door, &own, &hub) => {
                if let Err(error) = ended {
                    tracing::error!(%error, "accepting connections has ended");
                }
            }
        }
    }))
}

/// Errors of one connection that was gone before it was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
