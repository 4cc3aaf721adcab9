//! The door of the room: what is built, run and stopped.

use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use cupola_component::{AppLog, Check, Deps};
use cupola_messages::dea::{HELLO, SHUTDOWN};
use cupola_messages::logs::LogSource;
use cupola_types::DeaId;
use cupola_warden::aio::Depot;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::adopt::{Adopted, adopt};
use crate::announce::{self, Asks};
use crate::capacity::Capacity;
use crate::config::Config;
use crate::containers::Containers;
use crate::crash_reaper;
use crate::dea::{Dea, Shared};
use crate::droplet::{DropletCache, Form};
use crate::evacuation::evacuate;
use crate::exits::Exits;
use crate::facilities;
use crate::instance::seconds;
use crate::metrics;
use crate::orders::Orders;
use crate::output::Positions;
use crate::queries::Queries;
use crate::registry::{Book, Registry, StopReason};
use crate::routes::Routes;
use crate::settled;
use crate::snapshot;

/// How often old crashes and unused droplets are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// Containers that are made and filled at a time.
const LAUNCHES_AT_A_TIME: usize = 4;
/// Places in the depot for containers that are still being removed while others start.
const LEAVING: u32 = 6;
/// How long the bus may take at the start before the dea goes on without it.
const BUS_WITHIN: Duration = Duration::from_secs(2);
/// How long the last messages may take to reach the broker.
const FAREWELL_WITHIN: Duration = Duration::from_secs(1);
/// How long killed containers may take to be gone, on top of the grace.
const KILL_WITHIN: Duration = Duration::from_secs(15);

/// A built dea. Nothing of it speaks before it is run.
#[derive(Debug)]
pub struct Room {
    dea: Shared,
    adopted: Adopted,
    orders: Orders,
    queries: Queries,
    asks: Asks,
    tasks: TaskTracker,
    check: Check,
    /// Ends the sending of log lines: the last thing to end.
    log_end: CancellationToken,
}

/// Builds a dea: opens its folders, finds what lived on, and subscribes.
///
/// # Errors
/// When the config makes no sense, the machine lacks what containers need, or a folder cannot be
/// used. Nothing is lost by trying again.
pub async fn build(config: Config, deps: Deps) -> anyhow::Result<Room> {
    config.check()?;
    let check = deps.health.check("dea", "starting");
    make_private_dir(&config.data_dir)?;
    let depot_config = config.depot.config(config.data_dir.join("depot"), "dea")?;
    let mut capacity = Capacity::of_machine(config.wanted_capacity(), &config.data_dir);
    let places = depot_config.containers_max.saturating_sub(LEAVING);
    capacity.max_instances = capacity.max_instances.min(places);
    let facilities = facilities::of_machine(&depot_config, &config.data_dir).await?;
    let form = match facilities.mapped_layers {
        true => Form::Layer,
        false => Form::Archive,
    };
    let depot = Depot::open(depot_config)
        .await
        .context("cannot open the depot of containers")?;
    info!(
        memory_mb = capacity.memory.0,
        disk_mb = capacity.disk.0,
        instances = capacity.max_instances,
        "room for instances"
    );

    let bus = deps.bus;
    let id = DeaId::new(deps.id.as_str());
    let component = format!("dea-{}", deps.index);
    let log_end = CancellationToken::new();
    let (log, sending) = AppLog::new(bus.clone(), LogSource::Dea, log_end.clone());
    deps.tasks.spawn(sending);
    let closing = CancellationToken::new();
    let (settle, settled) = watch::channel(false);
    deps.tasks
        .spawn(settled::keep(bus.connected(), settle, closing.clone()));
    let (exits, telling) = Exits::new(bus.clone(), settled.clone(), closing.clone());
    deps.tasks.spawn(telling);
    let lives = TaskTracker::new();
    let registry = Registry::new(capacity);
    let droplets = config.data_dir.join("droplets");
    let droplets = DropletCache::open(droplets, form, config.cache_limits(), deps.tasks.clone())
        .context("cannot open the droplet cache")?;
    let positions = Positions::open(config.data_dir.join("positions"))
        .context("cannot open the notes of how far logs were carried")?;
    let dea = Arc::new(Dea {
        routes: Routes::new(bus.clone(), registry.clone(), id.clone(), component.clone()),
        id,
        config,
        bus,
        settled,
        registry,
        droplets,
        depot,
        containers: Containers::default(),
        positions,
        exits,
        log,
        launches: Semaphore::new(LAUNCHES_AT_A_TIME),
        lives,
        closing,
    });

    // Heard from now on: an order that comes while living containers are looked for must wait,
    // not be lost.
    let orders = Orders::subscribe(&dea.bus, &dea.id).await?;
    let queries = Queries::subscribe(&dea.bus).await?;
    let asks = Asks::subscribe(&dea.bus).await?;
    let adopted = adopt(&dea).await?;
    metrics::register(&dea, &deps.metrics);
    Ok(Room {
        dea,
        adopted,
        orders,
        queries,
        asks,
        tasks: deps.tasks,
        check,
        log_end,
    })
}

// === impl Room ===

impl Room {
    /// Runs until `shutdown`, or until the dea has been emptied after SIGUSR2. Then every instance
    /// is stopped.
    ///
    /// # Errors
    /// When signals cannot be caught.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self {
            dea,
            adopted,
            orders,
            queries,
            asks,
            tasks,
            check,
            log_end,
        } = self;
        let mut empty_out = signal(SignalKind::user_defined2()).context("cannot catch SIGUSR2")?;
        // What is found to have happened meanwhile should be heard.
        let _ = dea.bus.wait_connected(BUS_WITHIN).await;
        adopted.go_on(&dea);
        tasks.spawn(announce::registrations(Arc::clone(&dea), asks.register));
        tasks.spawn(announce::heartbeats(Arc::clone(&dea), asks.heartbeat));
        tasks.spawn(announce::advertisements(Arc::clone(&dea), asks.advertise));
        tasks.spawn(orders.obey(Arc::clone(&dea)));
        tasks.spawn(queries.answer(Arc::clone(&dea)));
        tasks.spawn(snapshot::keep(Arc::clone(&dea)));
        tasks.spawn(sweep(Arc::clone(&dea)));
        dea.hint(&HELLO, &dea.hello()).await;
        check.pass();

        tokio::select! {
            () = shutdown.cancelled() => {}
            () = emptied(&dea, &mut empty_out, &check) => info!("evacuated"),
        }
        check.fail("shutting down");
        close(&dea).await;
        // What the last instances said goes out before the end.
        log_end.cancel();
        Ok(())
    }
}

/// Ends when somebody asked for an evacuation and it is over.
async fn emptied(dea: &Dea, empty_out: &mut Signal, check: &Check) {
    if empty_out.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
    check.fail("being evacuated");
    tokio::select! {
        () = evacuate(dea) => {}
        // The drain script repeats the signal; that changes nothing.
        () = async { while empty_out.recv().await.is_some() {} } => {}
    }
}

/// Stops every instance and leaves.
async fn close(dea: &Shared) {
    let begun = Instant::now();
    dea.registry.edit(Book::close);
    dea.hint(&SHUTDOWN, &dea.farewell()).await;
    dea.registry
        .read(|book| book.stop_all(StopReason::Shutdown));
    let left = async {
        while dea
            .registry
            .read(|book| book.instances().any(|i| !i.state().is_final()))
        {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let within = dea.config.stop_grace + KILL_WITHIN;
    if timeout(within, left).await.is_err() {
        warn!("instances did not end in {within:?}");
    }
    dea.closing.cancel();
    dea.lives.close();
    if timeout(KILL_WITHIN, dea.lives.wait()).await.is_err() {
        warn!("{} tasks of instances did not end", dea.lives.len());
    }
    announce::heartbeat(dea).await;
    let _ = dea.bus.flush(FAREWELL_WITHIN).await;
    info!(
        elapsed_ms = begun.elapsed().as_millis(),
        "every instance has been stopped"
    );
}

/// Forgets old crashes and unused droplets now and then.
async fn sweep(dea: Shared) {
    let mut tick = interval(SWEEP_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = dea.closing.cancelled() => return,
        }
        let (now, keep) = (seconds(SystemTime::now()), dea.config.crash_lifetime);
        let expired = dea
            .registry
            .read(|book| crash_reaper::expired(book.instances(), now, keep));
        if !expired.is_empty() {
            dea.registry
                .edit(|book| expired.iter().for_each(|guid| drop(book.remove(guid))));
        }
        let droplets = dea.droplets.clone();
        let _ = tokio::task::spawn_blocking(move || droplets.sweep(Instant::now())).await;
    }
}

fn make_private_dir(path: &std::path::Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))
}
