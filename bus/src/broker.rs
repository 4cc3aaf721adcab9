//! The door: `Config` in, [`build`], [`Broker::run`].

mod gate;
mod joining;
mod lame_duck;
mod reload;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::access::AccessError;
use crate::cluster::{Doors, Node};
use crate::config::{Cluster, Config};
use crate::doors::{self, Door};
use crate::events;
use crate::hub::{Hub, Stats};
use crate::monitor::{self, Scheme};
use crate::settings::Settings;
use crate::whereabouts::BadAdvertised;
use crate::wire::{TlsConfigError, WebsocketConfigError};
use crate::worker::{self, Worker};
use gate::Gate;
pub use gate::Purpose;
pub use reload::ReloadError;

/// More workers than this are only started when asked for.
const MOST_WORKERS: usize = 8;
/// How long connections may take to end at shutdown.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// How often they are told.
const CALL_AGAIN: Duration = Duration::from_millis(100);

/// The sockets a broker serves. What is not handed in is bound as configured.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For clients.
    pub clients: Option<TcpListener>,
    /// For monitoring.
    pub monitor: Option<TcpListener>,
    /// For websockets.
    pub websocket: Option<TcpListener>,
    /// For other servers of the cluster.
    pub cluster: Option<TcpListener>,
}

/// A broker that is ready to run: its sockets are open, clients queue up in them. One that is to join a
/// cluster has its addresses, but lets clients wait until [`Broker::open`] or [`Broker::run`].
#[derive(Debug)]
pub struct Broker {
    hub: Arc<Hub>,
    workers: Arc<Vec<Worker>>,
    clients: Gate,
    monitor: Option<Gate>,
    monitor_https: Option<Gate>,
    websocket: Option<Gate>,
    /// Where peers are let in; taken when they are.
    routes: Option<Gate>,
    cluster_address: Option<SocketAddr>,
    joined: bool,
    /// Ends what runs on the workers already.
    stop: DropGuard,
}

/// A look into a running broker.
#[derive(Clone, Debug)]
pub struct Handle {
    hub: Arc<Hub>,
}

/// Why a broker could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A limit that makes no sense.
    #[error("{0}")]
    Limits(&'static str),
    /// The certificates for clients are not in order.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    /// Websockets cannot be served as they are meant to be.
    #[error(transparent)]
    Websocket(#[from] WebsocketConfigError),
    /// Users, accounts or operators make no sense.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// What clients are to be told makes no sense.
    #[error(transparent)]
    Advertised(#[from] BadAdvertised),
    /// An address cannot be listened on.
    #[error("{}", purpose.refused(*address, reason))]
    Listen {
        /// Who was to come in by it.
        purpose: Purpose,
        /// The address.
        address: SocketAddr,
        /// Why not.
        reason: io::Error,
    },
    /// A socket that was handed in is not usable.
    #[error("cannot use the listening socket")]
    Socket(#[source] io::Error),
    /// The certificates of the cluster make no sense.
    #[error("TLS of the cluster")]
    ClusterTls(#[source] TlsConfigError),
    /// What is to cross routes is said in subjects that are none.
    #[error("permissions of the cluster: {0}")]
    ClusterPermissions(#[source] crate::permissions::BadRule),
    /// No thread to run on.
    #[error("cannot start worker {index}")]
    Worker {
        /// Which one.
        index: usize,
        /// Why not.
        source: io::Error,
    },
}

/// Why a running broker ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Clients cannot be let in.
    #[error(transparent)]
    Open(#[from] BuildError),
    /// Monitoring cannot be served.
    #[error("cannot serve monitoring")]
    Monitor(#[source] io::Error),
    /// Nobody accepts connections any more.
    #[error("accepting connections has ended")]
    Accept,
}

impl From<TcpListener> for Listeners {
    fn from(clients: TcpListener) -> Self {
        Listeners {
            clients: Some(clients),
            ..Listeners::default()
        }
    }
}

/// Checks the configuration, opens the sockets and starts the workers.
///
/// # Errors
/// The configuration makes no sense, or the system refuses sockets or threads.
pub async fn build(config: Config, listeners: impl Into<Listeners>) -> Result<Broker, BuildError> {
    let listeners = listeners.into();
    let (settings, access) = Settings::compile(&config)?;
    let joins = (config.cluster.as_ref()).is_some_and(|cluster| !cluster.routes.is_empty());
    let gate = |purpose, address| match joins {
        true => Gate::closed(purpose, address),
        false => Gate::opened(purpose, address),
    };
    let clients = match listeners.clients {
        Some(listener) => Gate::of(Purpose::Clients, listener)?,
        None => gate(Purpose::Clients, config.listen)?,
    };
    let monitor = match (listeners.monitor, config.monitor) {
        (Some(listener), _) => Some(Gate::of(Purpose::Monitor, listener)?),
        (None, Some(address)) => Some(Gate::opened(Purpose::Monitor, address)?),
        (None, None) => None,
    };
    let websocket = match (listeners.websocket, &config.websocket) {
        (Some(listener), Some(_)) => Some(Gate::of(Purpose::Websockets, listener)?),
        (None, Some(websocket)) => Some(gate(Purpose::Websockets, websocket.listen)?),
        (_, None) => None,
    };
    let monitor_https = (config.monitor_https)
        .map(|address| Gate::opened(Purpose::Monitor, address))
        .transpose()?;
    let at = |gate: &Option<Gate>| gate.as_ref().map(|gate| gate.address);
    let state = monitor::State::new(&config, at(&monitor), at(&monitor_https));
    let hub = Arc::new(Hub::new(
        config.server_name,
        clients.address,
        settings,
        state,
    ));
    if let Some(websocket) = &websocket {
        let _ = hub.websocket_address.set(websocket.address);
    }
    // Before anything is listened to, as the peers are to be told.
    let routes = match &config.cluster {
        Some(cluster) => join_cluster(&hub, cluster, listeners.cluster)?,
        None => None,
    };
    access.apply(&hub.accounts, hub.system_client());
    let cluster_address = at(&routes);
    if let Some(address) = cluster_address {
        let _ = hub.monitor.cluster_address.set(address);
    }
    hub.events.attach(&hub);
    let count = config
        .workers
        .unwrap_or_else(|| worker::cores().min(MOST_WORKERS));
    let mut workers = Vec::new();
    for index in 0..count.max(1) {
        let worker = Worker::start(index, Arc::clone(&hub)).await;
        workers.push(worker.map_err(|source| BuildError::Worker { index, source })?);
    }
    Ok(Broker {
        hub,
        workers: Arc::new(workers),
        clients,
        monitor,
        monitor_https,
        websocket,
        routes,
        cluster_address,
        joined: false,
        stop: CancellationToken::new().drop_guard(),
    })
}

/// Takes this server's part in the cluster, and opens the door for the others.
fn join_cluster(
    hub: &Hub,
    cluster: &Cluster,
    listener: Option<TcpListener>,
) -> Result<Option<Gate>, BuildError> {
    let gate = match (listener, cluster.listen) {
        (Some(listener), _) => Some(Gate::of(Purpose::Routes, listener)?),
        (None, Some(address)) => Some(Gate::opened(Purpose::Routes, address)?),
        (None, None) => None,
    };
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let address = gate.as_ref().map_or(nowhere, |gate| gate.address);
    let doors = Doors {
        routes: address,
        clients: hub.address,
        websockets: hub.websocket_address.get().copied(),
    };
    let node = Node::new(cluster, &hub.id, &hub.name, doors);
    node.interest.restrict(hub.settings().route_rights.as_ref());
    hub.join_cluster(Arc::new(node));
    Ok(gate)
}

/// Whether a broker could be built from this; opens nothing.
///
/// # Errors
/// The configuration makes no sense.
pub fn check(config: &Config) -> Result<(), BuildError> {
    Settings::compile(config).map(|_| ())
}

// === impl Broker ===

impl Broker {
    /// Where clients connect.
    ///
    /// # Errors
    /// The socket has no address.
    pub fn client_address(&self) -> io::Result<SocketAddr> {
        Ok(self.clients.address)
    }

    /// Where monitoring is served, if it is.
    pub fn monitor_address(&self) -> Option<SocketAddr> {
        self.monitor.as_ref().map(|gate| gate.address)
    }

    /// Where monitoring is served over HTTPS, if it is.
    pub fn monitor_https_address(&self) -> Option<SocketAddr> {
        self.monitor_https.as_ref().map(|gate| gate.address)
    }

    /// Where websockets are served, and whether over TLS, if they are.
    pub fn websocket_address(&self) -> Option<(SocketAddr, bool)> {
        let address = self.websocket.as_ref()?.address;
        let settings = self.hub.settings();
        let door = settings.security.websocket.as_ref();
        Some((address, door.is_some_and(|door| door.tls.is_some())))
    }

    /// Where other servers of the cluster connect, if they may.
    pub fn cluster_address(&self) -> Option<SocketAddr> {
        self.cluster_address
    }

    /// The server's id, as in INFO.
    pub fn id(&self) -> &str {
        &self.hub.id
    }

    /// The server's name, as in INFO.
    pub fn name(&self) -> &str {
        &self.hub.name
    }

    /// A look inside, for those who serve metrics.
    pub fn handle(&self) -> Handle {
        Handle {
            hub: Arc::clone(&self.hub),
        }
    }

    /// Serves until `shutdown`, then ends all connections.
    ///
    /// # Errors
    /// The broker cannot go on serving.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), RunError> {
        self.open().await?;
        let Broker {
            hub,
            workers,
            clients,
            monitor,
            monitor_https,
            websocket,
            stop,
            ..
        } = self;
        let stop = stop.disarm();
        // Closed before the rest when this server leaves in an orderly way.
        let doors = stop.child_token();
        let accept = |gate: Gate, door| {
            let listener = gate.into_listener()?;
            doors::spawn_accept(listener, door, &workers, &hub, doors.clone())
        };
        let accepting = accept(clients, Door::Clients);
        let websockets = websocket.and_then(|gate| accept(gate, Door::Websocket));
        let result = {
            let monitoring = async {
                let monitor = monitor.and_then(Gate::into_listener);
                let monitor_https = monitor_https.and_then(Gate::into_listener);
                let answers = monitor::Answers::new(&hub.memory);
                let serve = |listener, scheme| {
                    let (hub, answers) = (Arc::clone(&hub), Arc::clone(&answers));
                    monitor::serve(listener, scheme, hub, answers, stop.clone())
                };
                tokio::try_join!(
                    serve(monitor, Scheme::Http),
                    serve(monitor_https, Scheme::Https),
                )
                .map(|_| ())
            };
            hub.monitor.enter(monitor::Stage::Serving);
            let accepting = async {
                match (accepting, websockets) {
                    (Some(clients), Some(websockets)) => {
                        tokio::select! {
                            _ = clients => {}
                            _ = websockets => {}
                        }
                    }
                    (Some(clients), None) => {
                        let _ = clients.await;
                    }
                    _ => {}
                }
                if doors.is_cancelled() {
                    // As was asked.
                    std::future::pending::<()>().await;
                }
            };
            let leaving = async {
                hub.lame_duck.cancelled().await;
                doors.cancel();
                hub.monitor.enter(monitor::Stage::LameDuck);
                events::announce(&hub, "LAMEDUCK");
                let pace = hub.settings().config.lame_duck;
                lame_duck::leave(&hub, pace).await;
            };
            let speaking = events::serve(Arc::clone(&hub), stop.clone());
            tokio::select! {
                () = shutdown.cancelled() => Ok(()),
                () = leaving => Ok(()),
                () = speaking => Ok(()),
                result = monitoring => result.map_err(RunError::Monitor),
                () = accepting => Err(RunError::Accept),
            }
        };
        stop.cancel();
        hub.monitor.enter(monitor::Stage::Stopping);
        events::announce(&hub, "SHUTDOWN");
        hub.sessions.close();
        let all_gone = async {
            loop {
                // Again and again: one that was being accepted may have missed the first call.
                hub.end_all();
                if tokio::time::timeout(CALL_AGAIN, hub.sessions.wait())
                    .await
                    .is_ok()
                {
                    return;
                }
            }
        };
        if tokio::time::timeout(SHUTDOWN, all_gone).await.is_err() {
            tracing::warn!(
                sessions = hub.sessions.len(),
                "connections cut off at shutdown"
            );
        }
        Worker::stop_all(&workers).await;
        result
    }
}

// === impl Handle ===

impl Handle {
    /// The broker in numbers.
    pub fn stats(&self) -> Stats {
        self.hub.stats()
    }

    /// Has the broker leave in an orderly way: it lets nobody new in, tells the clients to go elsewhere
    /// and sends away who does not, at the pace of its configuration. Then [`Broker::run`] ends.
    pub fn lame_duck(&self) {
        self.hub.lame_duck.cancel();
    }

    /// Whether it has been told to leave.
    pub fn is_leaving(&self) -> bool {
        self.hub.lame_duck.is_cancelled()
    }

    /// Puts another configuration into force. Connections whose user is no longer known are closed, the
    /// others go on under the new rules.
    ///
    /// # Errors
    /// The configuration makes no sense, or changes what only a restart can change. Then nothing changes.
    pub fn reload(&self, config: &Config) -> Result<(), ReloadError> {
        reload::apply(&self.hub, config)
    }

    /// Asks for a token whenever a message of the system account wants the configuration read again
    /// (`$SYS.REQ.SERVER.<id>.RELOAD`). One that waits already stands for all.
    pub fn on_reload_request(&self, reload: tokio::sync::mpsc::Sender<()>) {
        self.hub.on_reload(reload);
    }

    /// Other servers of the cluster this one has a route to.
    pub fn peers(&self) -> usize {
        self.hub.cluster().map_or(0, |node| node.peer_count())
    }

    /// Connections to other servers: one to each, but for moments.
    pub fn routes(&self) -> usize {
        self.hub.cluster().map_or(0, |node| node.routes().len())
    }

    /// What `/varz` says.
    pub fn varz(&self) -> serde_json::Value {
        let varz = monitor::Report::new(&self.hub).varz();
        serde_json::to_value(varz).unwrap_or_default()
    }
}
