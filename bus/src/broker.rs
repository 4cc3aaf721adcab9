//! The door: `Config` in, [`build`], [`Broker::run`].

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::auth::{AuthConfigError, Users};
use crate::config::{Config, Limits};
use crate::hub::{Hub, Settings, Stats};
use crate::monitor;
use crate::worker::{self, Door, Worker};

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
}

/// A broker that is ready to run: its sockets are open, clients queue up in them.
#[derive(Debug)]
pub struct Broker {
    hub: Arc<Hub>,
    workers: Arc<Vec<Worker>>,
    clients: TcpListener,
    monitor: Option<TcpListener>,
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
    /// The users make no sense.
    #[error("authorization")]
    Authorization(#[from] AuthConfigError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A socket that was handed in is not usable.
    #[error("cannot use the listening socket")]
    Socket(#[source] io::Error),
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
            monitor: None,
        }
    }
}

/// Checks the configuration, opens the sockets and starts the workers.
///
/// # Errors
/// The configuration makes no sense, or the system refuses sockets or threads.
pub async fn build(config: Config, listeners: impl Into<Listeners>) -> Result<Broker, BuildError> {
    let listeners = listeners.into();
    check(&config.limits)?;
    let users = Users::compile(&config.authorization)?;
    let clients = match listeners.clients {
        Some(listener) => listener,
        None => bind(config.listen)?,
    };
    let monitor = match (listeners.monitor, config.monitor) {
        (Some(listener), _) => Some(listener),
        (None, Some(address)) => Some(bind(address)?),
        (None, None) => None,
    };
    let address = clients.local_addr().map_err(BuildError::Socket)?;
    let hub = Arc::new(Hub::new(
        config.server_name,
        address,
        Settings {
            limits: config.limits,
            users,
            connect_urls: config.client_advertise.into_iter().collect(),
        },
    ));
    let count = config.workers.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST_WORKERS))
    });
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
    })
}

fn bind(address: SocketAddr) -> Result<TcpListener, BuildError> {
    TcpListener::bind(address).map_err(|source| BuildError::Listen { address, source })
}

fn check(limits: &Limits) -> Result<(), BuildError> {
    let wrong = |text| Err(BuildError::Limits(text));
    if limits.max_payload > limits.max_pending {
        return wrong("max_payload must not be above max_pending");
    }
    if limits.max_payload >= 1_000_000_000 {
        return wrong("max_payload must be below 1 GB");
    }
    if limits.max_control_line < 64 || limits.max_control_line > 1 << 20 {
        return wrong("max_control_line must be between 64 bytes and 1 MB");
    }
    if limits.max_connections == 0 {
        return wrong("max_connections must not be 0");
    }
    if limits.ping_interval.is_zero() || limits.ping_interval > Duration::from_secs(366 * 86_400) {
        return wrong("ping_interval must be above 0 and below a year");
    }
    if limits.write_deadline.is_zero() || limits.auth_timeout.is_zero() {
        return wrong("write_deadline and the authorization timeout must not be 0");
    }
    Ok(())
}

// === impl Broker ===

impl Broker {
    /// Where clients connect.
    ///
    /// # Errors
    /// The socket has no address.
    pub fn client_address(&self) -> io::Result<SocketAddr> {
        self.clients.local_addr()
    }

    /// Where monitoring is served, if it is.
    pub fn monitor_address(&self) -> Option<SocketAddr> {
        self.monitor
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
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
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let Broker {
            hub,
            workers,
            clients,
            monitor,
        } = self;
        let stop = shutdown.child_token();
        let accepting = worker::spawn_accept(clients, Door::Clients, &workers, &hub, stop.clone());
        let result = {
            let monitoring = monitor::serve(
                monitor,
                Handle {
                    hub: Arc::clone(&hub),
                },
                stop.clone(),
            );
            let accepting = async {
                match accepting {
                    Some(task) => task.await.ok(),
                    None => None,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => Ok(()),
                result = monitoring => result.map_err(RunError::Monitor),
                _ = accepting => if shutdown.is_cancelled() { Ok(()) } else { Err(RunError::Accept) },
            }
        };
        stop.cancel();
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
        for worker in workers.iter() {
            worker.stop().await;
        }
        result
    }
}

// === impl Handle ===

impl Handle {
    /// The broker in numbers.
    pub fn stats(&self) -> Stats {
        self.hub.stats()
    }

    /// What `/varz` says.
    pub fn varz(&self) -> serde_json::Value {
        monitor::varz(&self.hub)
    }
}
