//! Worker threads: each a single-threaded runtime with its own desk, serving its share of connections.
//!
//! A connection lives on one worker from accept to end, so its reads, its parsing and its deliveries
//! never change threads; only the appended bytes cross over, in the receiver's queue.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::RouteSession;
use crate::cluster::dialler::{self, Dialled};
use crate::complaint::Complaint;
use crate::delivery::Desk;
use crate::descriptors::{self, For};
use crate::hub::Hub;
use crate::session::Session;
use crate::socket::Listening;

/// How often outdated cache entries and spare buffers are let go.
const SWEEP: Duration = Duration::from_secs(10);
/// Polls of tasks between two looks at the sockets: low, as one poll can be a 64 KiB read.
const EVENT_INTERVAL: u32 = 8;
/// First and longest pause after a failed accept (usually: no file descriptors left).
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// Connections above the limit that may be about to hear so.
const DOOMED: usize = 64;
/// Routes beside them.
const ROUTES: usize = 1024;

/// One worker thread.
#[derive(Debug)]
pub(crate) struct Worker {
    handle: Handle,
    desk: Arc<Mutex<Desk>>,
    /// Connections it serves.
    load: Arc<AtomicUsize>,
    stop: CancellationToken,
    /// Resolves when the thread has nothing left to do.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

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

// === impl Worker ===

impl Worker {
    /// Starts worker number `index`.
    ///
    /// # Errors
    /// The system gives no thread, or no means to wait for sockets.
    pub(crate) async fn start(index: usize, hub: Arc<Hub>) -> io::Result<Self> {
        let desk = Arc::new(Mutex::new(Desk::new(Arc::clone(&hub))));
        let stop = CancellationToken::new();
        let (to_starter, from_thread) = oneshot::channel();
        let (at_end, ended) = oneshot::channel();
        let (own_desk, own_stop) = (Arc::clone(&desk), stop.clone());
        let kept_back = Arc::clone(&desk);
        thread::Builder::new()
            .name(format!("bus-{index}"))
            .spawn(move || {
                let _at_end: oneshot::Sender<()> = at_end;
                let built = Builder::new_current_thread()
                    .enable_all()
                    .event_interval(EVENT_INTERVAL)
                    // Nothing is ready any more: what turns have kept back goes out.
                    .on_thread_park(move || kept_back.lock().flush())
                    .build();
                match built {
                    Ok(runtime) => {
                        let _ = to_starter.send(Ok(runtime.handle().clone()));
                        runtime.block_on(keep_tidy(index, &own_desk, &hub, &own_stop));
                    }
                    Err(error) => {
                        let _ = to_starter.send(Err(error));
                    }
                }
            })?;
        let handle = from_thread.await.map_err(io::Error::other)??;
        Ok(Worker {
            handle,
            desk,
            load: Arc::default(),
            stop,
            ended: Mutex::new(Some(ended)),
        })
    }

    /// Gives it a connection to serve.
    fn serve(&self, hub: &Arc<Hub>, arrival: Arrival) {
        let (hub, desk, load) = (
            Arc::clone(hub),
            Arc::clone(&self.desk),
            Arc::clone(&self.load),
        );
        load.fetch_add(1, Ordering::Relaxed);
        let tracker = hub.sessions.clone();
        let task = tracker.track_future(async move {
            let peer = arrival.peer;
            if let Err(error) = converse(hub, desk, arrival).await {
                tracing::warn!(client.peer = %peer, %error, "cannot take a connection over");
            }
            load.fetch_sub(1, Ordering::Relaxed);
        });
        self.handle.spawn(task);
    }

    /// Ends the threads of all of them and what is left there. All are told before the first is waited for,
    /// and no thread is made to wait: whoever has lost the connection to a server should find it gone.
    pub(crate) async fn stop_all(workers: &[Worker]) {
        for worker in workers {
            worker.stop.cancel();
        }
        for worker in workers {
            let ended = worker.ended.lock().take();
            if let Some(ended) = ended {
                // Nothing is ever sent: that the sender is gone is the message.
                let _ = ended.await;
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves a connection from its first word to its last. What is long about it lies apart.
async fn converse(hub: Arc<Hub>, desk: Arc<Mutex<Desk>>, arrival: Arrival) -> io::Result<()> {
    if let (Door::Routes, Some(node)) = (arrival.door, hub.cluster().cloned()) {
        let session = RouteSession::new(hub, node, desk, arrival)?;
        Box::pin(session.run()).await;
    } else {
        let session = Box::new(Session::new(hub, desk, arrival)?);
        session.run().await;
    }
    Ok(())
}

/// What a worker's thread does besides its connections, until it is stopped.
async fn keep_tidy(index: usize, desk: &Mutex<Desk>, hub: &Hub, stop: &CancellationToken) {
    let mut every = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {
                let caches = desk.lock().tidy(&hub.accounts.all());
                hub.monitor.report_caches(index, caches);
            }
        }
    }
}

/// Accepts connections for ever and gives each to the least busy worker. Runs on the first one.
async fn accept(
    listener: TcpListener,
    door: Door,
    workers: &[Worker],
    hub: &Arc<Hub>,
) -> io::Result<()> {
    let listener = Listening::new(listener)?;
    let mut pause = ACCEPT_PAUSE.0;
    let (mut too_many, mut too_few) = (Complaint::default(), Complaint::default());
    loop {
        match listener.accept().await {
            Ok((socket, mut peer)) => {
                pause = ACCEPT_PAUSE.0;
                // What turns have kept back does not wait until there is nobody more to accept.
                if let Some(own) = workers.first() {
                    own.desk.lock().flush();
                }
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
                place(workers, hub, arrival);
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

/// Gives a connection to the least busy worker.
pub(crate) fn place(workers: &[Worker], hub: &Arc<Hub>, arrival: Arrival) {
    let least = workers
        .iter()
        .min_by_key(|worker| worker.load.load(Ordering::Relaxed));
    if let Some(worker) = least {
        worker.serve(hub, arrival);
    }
}

/// Dials the other servers of the cluster, from the first worker, until `stop`. The first attempts are
/// tracked by `joining`.
pub(crate) fn spawn_dialler(
    workers: &Arc<Vec<Worker>>,
    hub: &Arc<Hub>,
    joining: &TaskTracker,
    stop: CancellationToken,
) {
    let (own, hub) = (Arc::clone(workers), Arc::clone(hub));
    if let (Some(first), Some(node)) = (workers.first(), hub.cluster().cloned()) {
        let joining = joining.token();
        first
            .handle
            .spawn(dialler::run(node, hub, own, joining, stop));
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
    Some(first.handle.spawn(async move {
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
