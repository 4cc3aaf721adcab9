//! A role's process from start to end.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cupola_messages::component::{ANNOUNCE, Component, DISCOVER};
use cupola_types::{ComponentId, Role};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing_subscriber::EnvFilter;

use crate::bus::Bus;
use crate::config::{LogConfig, LogFormat, RoleConfig};
use crate::health::{Check, Health};
use crate::listeners::Listeners;
use crate::metrics::Metrics;
use crate::status::{self, Status};

/// Exit status of a process whose config is unusable (sysexits.h, EX_USAGE).
pub const EX_CONFIG: u8 = 64;
/// Exit status of a process that was told to stop once more while it was stopping.
const EX_AT_ONCE: i32 = 130;
const NOT_CONNECTED: &str = "not connected";
/// How long the tasks of a room may take to end after it has stopped.
const TASKS_END_WITHIN: Duration = Duration::from_secs(5);

/// Everything a room needs from the process around it.
#[derive(Debug)]
pub struct Deps {
    /// The connection to the bus, under the role's identity.
    pub bus: Bus,
    /// Sockets that a supervisor holds.
    pub listeners: Listeners,
    /// Where the room's metrics and varz keys go.
    pub metrics: Metrics,
    /// Where the room says how it stands.
    pub health: Health,
    /// Every task of the room is spawned here, so that its end can be waited for.
    pub tasks: TaskTracker,
    /// The process's id on the bus.
    pub id: ComponentId,
    /// Which of its kind the process is, from 0.
    pub index: u32,
}

/// Reads `config_path`, builds the room and runs it until SIGTERM or SIGINT.
///
/// `room` is given the role's config, the deps and the token that is cancelled at shutdown.
pub fn run<C, F, R>(role: Role, config_path: &Path, room: F) -> ExitCode
where
    C: DeserializeOwned,
    F: FnOnce(C, Deps, CancellationToken) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    let config = match RoleConfig::<C>::load(config_path, role, std::env::vars()) {
        Ok(config) => config,
        Err(error) => return unusable(role, &anyhow::Error::new(error)),
    };
    start_logging(&config.log);
    install_crypto();
    let listeners = match Listeners::from_environment() {
        Ok(listeners) => listeners,
        Err(error) => return unusable(role, &anyhow::Error::new(error)),
    };
    run_with(role, async move {
        let shutdown = shutdown_on_signals()?;
        run_room(role, config, listeners, room, shutdown).await
    })
}

/// Runs `process` on a small runtime and turns its result into an exit status.
pub fn run_with(role: Role, process: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    allow_many_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_name(role.as_str())
        .enable_all()
        .build();
    let ended = runtime
        .context("cannot start the runtime")
        .and_then(|runtime| {
            let ended = runtime.block_on(process);
            runtime.shutdown_timeout(Duration::from_secs(1));
            ended
        });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{role} failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes aws-lc-rs the process's one crypto provider. Calling it again does nothing.
pub fn install_crypto() {
    // Fails only when a provider is installed already, which then is this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Sends log lines to standard error. Calling it again does nothing.
pub fn start_logging(config: &LogConfig) {
    let filter = config
        .filter
        .as_deref()
        .unwrap_or("info,async_nats=warn,actix_server=warn");
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would tell of a full disk on standard error, and panic when that is on the disk.
        .log_internal_errors(false)
        .with_ansi(false);
    // Fails only when logging has been started already.
    let _ = match config.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}

/// A token that SIGTERM, SIGINT or SIGHUP cancels. Under nohup(1) SIGHUP stays without effect.
/// Whoever signals again does not want to wait: the process ends at once, as if it had been killed.
///
/// # Errors
/// When the signals cannot be caught.
pub fn shutdown_on_signals() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
    let mut hangup = match ignores_hangup() {
        true => None,
        false => Some(signal(SignalKind::hangup()).context("cannot catch SIGHUP")?),
    };
    let mut next = async move || {
        let hangup = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup => {}
        }
    };
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    // Ends with the process.
    tokio::spawn(async move {
        next().await;
        tracing::info!("stopping");
        token.cancel();
        next().await;
        tracing::warn!("told to stop again: ending at once");
        std::process::exit(EX_AT_ONCE);
    });
    Ok(shutdown)
}

/// Whether whoever started this process wants it to survive the end of the terminal.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 1) // SIGHUP is signal 1
}

/// Raises the soft limit of open files to the hard one: each connection takes one.
fn allow_many_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}

fn unusable(role: Role, error: &anyhow::Error) -> ExitCode {
    start_logging(&LogConfig::default());
    tracing::error!("{role} cannot start: {error:#}");
    ExitCode::from(EX_CONFIG)
}

async fn run_room<C, F, R>(
    role: Role,
    config: RoleConfig<C>,
    mut listeners: Listeners,
    room: F,
    shutdown: CancellationToken,
) -> anyhow::Result<()>
where
    F: FnOnce(C, Deps, CancellationToken) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    let component = config.component;
    let bus_config = config
        .bus
        .context("the config has no [bus] section with `urls`")?;
    let bus = Bus::connect(&bus_config, &format!("{role}-{}", component.index)).await?;
    let status_address = component
        .status_address
        .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = TcpListener::from_std(listeners.take("status", Some(status_address))?)?;
    let (health, metrics, tasks) = (Health::default(), Metrics::default(), TaskTracker::new());
    let status = Arc::new(Status {
        kind: role.component_type(),
        index: component.index,
        uuid: format!("{}-{}", component.index, component.id),
        address: listener.local_addr()?,
        started: chrono::Utc::now()
            .format("%Y-%m-%d %H:%M:%S %z")
            .to_string(),
        since: Instant::now(),
        health: health.clone(),
        metrics: metrics.clone(),
    });
    let background = CancellationToken::new();
    tasks.spawn(status::serve(
        listener,
        Arc::clone(&status),
        background.clone(),
    ));
    let bus_check = match role {
        // It goes on routing with what it knows.
        Role::Router => health.advisory("bus", NOT_CONNECTED),
        _ => health.check("bus", NOT_CONNECTED),
    };
    bus.register(&metrics);
    tasks.spawn(watch_bus(bus.clone(), bus_check, background.clone()));
    tasks.spawn(announce(bus.clone(), status, background.clone()));

    tracing::info!(component.id = %component.id, "{role} starting");
    let deps = Deps {
        bus: bus.clone(),
        listeners,
        metrics,
        health,
        tasks: tasks.clone(),
        id: component.id,
        index: component.index,
    };
    let ended = room(config.role, deps, shutdown).await;
    background.cancel();
    tasks.close();
    if tokio::time::timeout(TASKS_END_WITHIN, tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("{} tasks did not end in time", tasks.len());
    }
    let _ = bus.flush(Duration::from_secs(1)).await;
    tracing::info!("{role} stopped");
    ended
}

/// Keeps the health check `bus` true.
async fn watch_bus(bus: Bus, check: Check, shutdown: CancellationToken) {
    let mut connected = bus.connected();
    loop {
        if *connected.borrow_and_update() {
            check.pass();
        } else {
            check.fail(NOT_CONNECTED);
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = connected.changed() => if changed.is_err() { return },
        }
    }
}

/// Says who this component is, once and whenever it is asked.
async fn announce(bus: Bus, status: Arc<Status>, shutdown: CancellationToken) {
    let myself = |uptime| Component {
        kind: status.kind.to_owned(),
        index: status.index,
        uuid: status.uuid.clone(),
        host: status.address.to_string(),
        credentials: Vec::new(),
        start: status.started.clone(),
        uptime,
    };
    let Ok(mut questions) = bus.serve(&DISCOVER).await else {
        return;
    };
    let first = async {
        if bus.connected().wait_for(|up| *up).await.is_ok() {
            let _ = bus.publish(&ANNOUNCE, &myself(None)).await;
        }
        std::future::pending::<()>().await
    };
    let answer = async {
        while let Some(asked) = questions.next().await {
            let _ = asked.answer(&myself(Some(status.uptime()))).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = first => {}
        () = answer => {}
    }
}
