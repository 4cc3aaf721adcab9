//! A core: one thread with its own runtime, its own copy of the listening socket, its own connections
//! and counters. Cores share the route table, which is read without locks, and nothing else.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, HeaderValue};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access_log::{AccessLine, AccessLog};
use crate::config::Config;
use crate::engine::Engine;
use crate::headers::{RequestRules, names};
use crate::registry::{Clock, Registry};
use crate::stats::{CoreStats, Stats};
use crate::sticky::Stickiness;
use crate::watch::{Limits, SWEEP_EVERY, Watches};

/// How long to leave accepting alone when the process is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections beyond the limit that are told so at a time; further ones are just closed.
const MAX_REFUSALS: usize = 256;
/// How long such a client may take to listen.
const REFUSE_WITHIN: Duration = Duration::from_millis(500);
/// What it is told.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    X-Cf-RouterError: Connection Limit Reached\r\n\
    Connection: close\r\n\
    Content-Length: 65\r\n\r\n\
    503 Service Unavailable: The router has no room for connections.\n";

/// Where a router is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Waits for the first registrations; accepts nothing.
    Warming,
    /// Serves, but a route that is not known yet may still be on its way.
    Settling,
    /// Serves.
    Serving,
    /// Serves, but fails its health check.
    Draining,
    /// Accepts nothing more and finishes what is in flight.
    Closing,
}

/// What all cores are given.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Clock,
    pub(crate) stats: Stats,
    pub(crate) stage: watch::Receiver<Stage>,
    /// Where access lines go; nowhere when the log is off.
    pub(crate) lines: Option<mpsc::Sender<Vec<AccessLine>>>,
}

/// One core's state.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Clock,
    pub(crate) stats: Arc<CoreStats>,
    pub(crate) watches: Rc<Watches>,
    pub(crate) access_log: AccessLog,
    pub(crate) request_rules: RequestRules,
    pub(crate) stickiness: Stickiness,
    pub(crate) stage: Cell<Stage>,
    /// `ip:port` that clients connect to.
    pub(crate) own_address: String,
    health_user_agent: Option<HeaderValue>,
    trace_key: Option<HeaderValue>,
    /// For request ids, which need to be unique, not secret.
    random: RefCell<SmallRng>,
    refusals: Cell<usize>,
}

/// The running cores.
#[derive(Debug)]
pub(crate) struct Cores {
    threads: Vec<std::thread::JoinHandle<()>>,
    /// Cancelled when any core has ended, for whatever reason.
    ended: CancellationToken,
}

// === impl Cores ===

impl Cores {
    /// Starts a core for each of `config.threads()`, each with its own duplicate of `listener`.
    ///
    /// # Errors
    /// When a socket cannot be duplicated, or a thread or runtime not be made.
    pub(crate) fn start<E: Engine>(listener: &StdListener, shared: &Shared) -> io::Result<Self> {
        let ended = CancellationToken::new();
        let open = Arc::new(AtomicUsize::new(0));
        let mut threads = Vec::new();
        for number in 0..shared.config.threads() {
            let (listener, shared) = (listener.try_clone()?, shared.clone());
            let (ended, open) = (ended.clone().drop_guard(), Arc::clone(&open));
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let thread = std::thread::Builder::new().name(format!("router-core-{number}"));
            threads.push(thread.spawn(move || {
                let _ended = ended;
                let tasks = LocalSet::new();
                let served = tasks.block_on(&runtime, run::<E>(number, listener, shared, open));
                if let Err(error) = served {
                    tracing::error!(core.number = number, "core failed: {error}");
                }
                // Tasks that are left are cut off here, with their connections.
                drop(tasks);
                runtime.shutdown_background();
            })?);
        }
        Ok(Self { threads, ended })
    }

    /// Cancelled when a core has ended.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Waits until all cores have ended; blocks.
    pub(crate) fn join(self) {
        for thread in self.threads {
            let _ = thread.join(); // a panic has been reported by the runtime
        }
    }
}

async fn run<E: Engine>(
    number: usize,
    listener: StdListener,
    shared: Shared,
    open: Arc<AtomicUsize>,
) -> io::Result<()> {
    let own_address = listener.local_addr()?.to_string();
    let mut stage = shared.stage.clone();
    let core = Rc::new(Core::new(number, shared, own_address));
    let engine = Rc::new(E::new(Rc::clone(&core)));
    let background = CancellationToken::new();
    let tracker = TaskTracker::new();
    spawn_local(background.clone().run_until_cancelled_owned({
        let (core, engine) = (Rc::clone(&core), Rc::clone(&engine));
        async move { core.sweep(&*engine).await }
    }));
    spawn_local(background.clone().run_until_cancelled_owned({
        let core = Rc::clone(&core);
        async move { core.access_log.run(&core.stats).await }
    }));

    // The socket is listening all the while: who connects during warm-up waits, and is not refused.
    let listener = TcpListener::from_std(listener)?;
    loop {
        let now = *stage.borrow_and_update();
        core.stage.set(now);
        if now == Stage::Closing {
            break;
        }
        tokio::select! {
            biased;
            changed = stage.changed() => if changed.is_err() { break },
            accepted = listener.accept(), if now != Stage::Warming => {
                core.admit(accepted, &engine, &tracker, &open).await;
            }
        }
    }
    drop(listener);
    core.stage.set(Stage::Closing);
    core.watches.wake_all();
    tracker.close();
    if timeout(core.config.drain_timeout, tracker.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            connections = tracker.len(),
            "connections cut off at the end of the drain"
        );
    }
    background.cancel();
    core.access_log.hand_over(&core.stats);
    Ok(())
}

// === impl Core ===

impl Core {
    fn new(number: usize, shared: Shared, own_address: String) -> Self {
        let config = shared.config;
        let kept = config
            .hop_by_hop_headers_to_filter
            .iter()
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
            .collect();
        let value = |text: &str| match text {
            "" => None,
            text => HeaderValue::from_str(text).ok(),
        };
        Self {
            registry: shared.registry,
            clock: shared.clock,
            stats: shared.stats.core(number),
            watches: Watches::new(),
            access_log: AccessLog::new(shared.lines),
            request_rules: RequestRules {
                forwarded_proto: config.forwarded_proto,
                kept,
            },
            stickiness: Stickiness {
                names: config.sticky_session_cookie_names.clone(),
                secure: config.secure_cookies,
            },
            stage: Cell::new(Stage::Warming),
            own_address,
            health_user_agent: value(&config.health_check_user_agent),
            trace_key: value(config.trace_key.as_deref().unwrap_or_default()),
            random: RefCell::new(SmallRng::from_os_rng()),
            refusals: Cell::new(0),
            config,
        }
    }

    /// Whether the health check fails and connections are not kept.
    pub(crate) fn is_draining(&self) -> bool {
        self.stage.get() >= Stage::Draining
    }

    /// A fresh `X-Vcap-Request-Id`.
    pub(crate) fn request_id(&self) -> HeaderValue {
        let id = uuid::Builder::from_random_bytes(self.random.borrow_mut().random()).into_uuid();
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = id.hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"))
    }

    /// Whether a load balancer asks how we are.
    pub(crate) fn is_health_check(&self, headers: &HeaderMap) -> bool {
        self.health_user_agent.is_some()
            && headers.get(USER_AGENT) == self.health_user_agent.as_ref()
    }

    /// Whether the client knows the key and wants to learn who answers.
    pub(crate) fn is_traced(&self, headers: &HeaderMap) -> bool {
        self.trace_key.is_some() && headers.get(&names::VCAP_TRACE) == self.trace_key.as_ref()
    }

    /// Starts to serve an accepted connection.
    async fn admit<E: Engine>(
        self: &Rc<Self>,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        engine: &Rc<E>,
        tracker: &TaskTracker,
        open: &Arc<AtomicUsize>,
    ) {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return,
            Err(error) => {
                tracing::warn!("accepting paused: {error}");
                sleep(ACCEPT_PAUSE).await;
                return;
            }
        };
        if open.fetch_add(1, Ordering::Relaxed) >= self.config.max_connections {
            open.fetch_sub(1, Ordering::Relaxed);
            self.turn_away(stream);
            return;
        }
        self.stats.connections.count();
        let (core, engine, open) = (Rc::clone(self), Rc::clone(engine), Arc::clone(open));
        tracker.spawn_local(async move {
            // Counts down even when serving panics.
            let _place = Place { core, open };
            engine.serve(stream, peer).await;
        });
    }

    /// Tells a client that there is no room, when that is cheap.
    fn turn_away(self: &Rc<Self>, stream: TcpStream) {
        self.stats.connections_refused.count();
        if self.refusals.get() >= MAX_REFUSALS || stream.try_write(REFUSAL).is_err() {
            return;
        }
        self.refusals.set(self.refusals.get() + 1);
        let core = Rc::clone(self);
        spawn_local(async move {
            // Wait until it has spoken, for closing before would reset the connection.
            let _ = timeout(REFUSE_WITHIN, stream.readable()).await;
            let _ = stream.try_read(&mut [0; 16 * 1024]);
            core.refusals.set(core.refusals.get() - 1);
        });
    }

    /// Keeps deadlines, for ever.
    async fn sweep(&self, engine: &impl Engine) {
        let limits = Limits {
            idle: self.config.client_idle,
            head: self.config.head_timeout,
            exchange: self.config.endpoint_timeout,
        };
        let mut ticks = interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.watches.sweep(&limits);
            engine.tidy();
        }
    }
}

/// A connection's place under the limit.
struct Place {
    core: Rc<Core>,
    open: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.core.stats.connections_closed.count();
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
