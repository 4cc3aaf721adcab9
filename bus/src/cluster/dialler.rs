//! Dialling peers: one task each, which lives as long as its peer is to be dialled.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::dial::{Attempts, Cause, Next, Outcome};
use super::info::Gossip;
use super::node::Node;
use crate::config::RouteUrl;
use crate::doors::{Arrival, Door};
use crate::hub::Hub;
use crate::worker::{self, Worker};

/// How long a peer may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// Every so manyth failure in a row is told as loudly as the first.
const REPORTED: u32 = 60;
/// Peers pursued at a time.
const PURSUED: usize = 1024;

/// A peer to be dialled.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) url: RouteUrl,
    pub(crate) cause: Cause,
    /// What this server was told when it heard of the peer.
    pub(crate) gossip: Gossip,
    /// Its id, when it was heard of.
    pub(crate) peer: Option<Box<str>>,
    /// Held until the first attempt has come to something, when clients wait for that.
    pub(crate) joining: Option<TaskTrackerToken>,
}

/// What goes along with a connection that this server has made.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) url: RouteUrl,
    pub(crate) configured: bool,
    pub(crate) gossip: Gossip,
    pub(crate) outcome: oneshot::Sender<Outcome>,
    /// Held until the peer has told what its clients listen to.
    pub(crate) joining: Option<TaskTrackerToken>,
}

/// Dials all configured peers, and those that are heard of, until `stop`. `joining` is held until each of
/// the former has been reached, or cannot be.
pub(crate) async fn run(
    node: Arc<Node>,
    hub: Arc<Hub>,
    workers: Arc<Vec<Worker>>,
    joining: TaskTrackerToken,
    stop: CancellationToken,
) {
    let Some(mut errands) = node.take_errands() else {
        return;
    };
    let mut tasks = JoinSet::new();
    let mut known: Vec<RouteUrl> = Vec::new();
    let mut told = false;
    let mut joining = Some(joining);
    loop {
        let changed = node.changed.notified();
        let routes = configured(&hub);
        for url in routes.iter().filter(|url| !known.contains(url)) {
            let errand = Errand {
                url: url.clone(),
                cause: Cause::Configured,
                gossip: Gossip::Default,
                peer: None,
                joining: joining.clone(),
            };
            let pursuit = pursue(
                Arc::clone(&node),
                Arc::clone(&hub),
                Arc::clone(&workers),
                errand,
            );
            tasks.spawn(pursuit);
        }
        known = routes;
        joining = None;
        tokio::select! {
            () = stop.cancelled() => break,
            () = hub.lame_duck.cancelled(), if !told => {
                told = true;
                node.leave(&hub);
            }
            () = changed => {}
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            Some(errand) = errands.recv() => {
                if tasks.len() < PURSUED {
                    let pursuit =
                        pursue(Arc::clone(&node), Arc::clone(&hub), Arc::clone(&workers), errand);
                    tasks.spawn(pursuit);
                } else {
                    node.errand_done(&errand);
                }
            }
        }
    }
    tasks.shutdown().await;
}

fn configured(hub: &Hub) -> Vec<RouteUrl> {
    let settings = hub.settings();
    let cluster = settings.config.cluster.as_ref();
    cluster
        .map(|cluster| cluster.routes.clone())
        .unwrap_or_default()
}

/// Dials one peer as often as is due.
async fn pursue(node: Arc<Node>, hub: Arc<Hub>, workers: Arc<Vec<Worker>>, mut errand: Errand) {
    let backoff = hub
        .settings()
        .config
        .cluster
        .as_ref()
        .is_some_and(|cluster| cluster.connect_backoff);
    let mut attempts = Attempts::new(errand.cause, backoff);
    loop {
        if errand.cause == Cause::Configured {
            if !configured(&hub).contains(&errand.url) {
                tracing::debug!("route {} is no longer configured", errand.url);
                break;
            }
        } else if errand.peer.as_ref().is_some_and(|peer| node.knows(peer)) {
            break;
        }
        let outcome = attempt(&hub, &workers, &mut errand, &attempts).await;
        let chance = rand::rng().random_range(0.0..1.0);
        match attempts.after(outcome, chance) {
            Next::Stop => break,
            Next::Dial(pause) => tokio::time::sleep(pause).await,
            Next::DialWithout(peer) => {
                loop {
                    let changed = node.changed.notified();
                    if !node.knows(&peer) {
                        break;
                    }
                    if errand.cause == Cause::Configured && !configured(&hub).contains(&errand.url)
                    {
                        node.dismiss(&peer);
                        break;
                    }
                    changed.await;
                }
                // The peer may be about to dial as well.
                tokio::time::sleep(Duration::from_secs(1).mul_f64(chance)).await;
            }
        }
    }
    node.errand_done(&errand);
}

/// Dials once, and stays until the route that comes of it has ended.
async fn attempt(
    hub: &Arc<Hub>,
    workers: &[Worker],
    errand: &mut Errand,
    attempts: &Attempts,
) -> Outcome {
    let joining = errand.joining.take();
    let url = &errand.url;
    tracing::debug!("trying to connect to route on {url}");
    let connected = tokio::time::timeout(CONNECT, connect(url)).await;
    let (socket, peer) =
        match connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(connected) => connected,
            Err(error) => {
                let number = attempts.failed() + 1;
                let text =
                    format!("Error trying to connect to route {url} (attempt {number}): {error}");
                if number % REPORTED == 1 {
                    tracing::error!("{text}");
                } else {
                    tracing::debug!("{text}");
                }
                return Outcome::Unreachable;
            }
        };
    let (outcome, told) = oneshot::channel();
    let dialled = Dialled {
        url: url.clone(),
        configured: errand.cause == Cause::Configured,
        gossip: errand.gossip,
        outcome,
        joining,
    };
    let arrival = Arrival {
        socket,
        peer,
        door: Door::Routes,
        dialled: Some(Box::new(dialled)),
    };
    worker::assign(workers, hub, arrival);
    told.await.unwrap_or(Outcome::Refused)
}

/// Connects to one of the host's addresses, chosen at random.
async fn connect(url: &RouteUrl) -> std::io::Result<(std::net::TcpStream, SocketAddr)> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((url.host.as_str(), url.port))
        .await?
        .collect();
    if found.is_empty() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    let first = rand::rng().random_range(0..found.len());
    let mut last = None;
    for address in found[first..].iter().chain(&found[..first]) {
        match TcpStream::connect(address).await {
            Ok(socket) => return Ok((socket.into_std()?, *address)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::ErrorKind::NotFound.into()))
}
