//! The room: takes orders, keeps count of builds, tells what is left.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use cupola_component::{AppLog, Asked, Bus, Deps, Health};
use cupola_messages::Nothing;
use cupola_messages::dea::Refusal;
use cupola_messages::logs::LogSource;
use cupola_messages::staging::{self as wire, Advertise, StartAnswer, StartStaging, StopStaging};
use cupola_types::{AppGuid, DiskMb, MemoryMb, StagerId, StagingTaskId};
use cupola_warden::DepotConfig;
use cupola_warden::aio::{Depot, Recovered};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::builtin::Carried;
use crate::capacity::{Capacity, Reservation, Room as Space};
use crate::config::Config;
use crate::journal::{Entry, Journal};
use crate::report::{Reporter, Told};
use crate::staging::{Stop, Workshop, interrupted};
use crate::stats::Stats;
use crate::transfer::Transfer;

/// How long builds may take to end when the stager is asked to stop.
const END_WITHIN: Duration = Duration::from_secs(8);

/// The stager, ready to run.
#[derive(Debug)]
pub struct Room {
    shop: Arc<Workshop>,
    reporter: Reporter,
    capacity: Capacity,
    stats: Stats,
    bus: Bus,
    tasks: TaskTracker,
    log_ended: CancellationToken,
    running: HashMap<StagingTaskId, Running>,
    builds: JoinSet<StagingTaskId>,
}

/// A build in hand.
#[derive(Debug)]
struct Running {
    app: AppGuid,
    stop: watch::Sender<Option<Stop>>,
    runs_as: Id,
    entry: Entry,
}

/// Builds the room: opens its folder, puts away what an earlier process left, lays out the
/// buildpacks.
///
/// # Errors
/// When the config makes no sense, the folder cannot be used or another stager uses it, or a helper
/// executable is missing.
pub async fn build(config: Config, deps: Deps) -> anyhow::Result<Room> {
    config.check()?;
    let data = config.data_dir.clone();
    let scratch = data.join("scratch");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let depot_config = config.depot.config(data.join("depot"), "stg")?;
    let server = config.static_file_server()?;
    for helper in [&depot_config.warden, &server] {
        ensure!(
            helper.is_file(),
            "the helper executable {} is missing",
            helper.display()
        );
    }
    let depot = Depot::open(depot_config.clone()).await?;
    clear(&depot).await?;
    probe(depot_config, &deps.health, &deps.tasks);
    let carried = match &config.buildpacks_dir {
        Some(folder) => Carried::take(folder.clone())?,
        None => {
            Carried::lay_out(data.join("buildpacks")).context("cannot lay out the buildpacks")?
        }
    };
    let journal = Journal::open(data.join("journal"))?;
    let transfer = Transfer::new(scratch).context("cannot make an HTTP client")?;
    let reporter = Reporter {
        transfer: transfer.clone(),
        journal,
        within: config.report_within,
    };
    let capacity = Capacity::new(Space {
        memory: config.memory,
        disk: config.disk,
        tasks: config.max_tasks,
    });
    let log_ended = CancellationToken::new();
    let (log, send_log) = AppLog::new(deps.bus.clone(), LogSource::Staging, log_ended.clone());
    deps.tasks.spawn(send_log);
    let id = StagerId::new(deps.id.as_str());
    let shop = Workshop {
        config,
        id,
        depot,
        carried,
        server,
        transfer,
        log,
    };
    Ok(Room {
        shop: Arc::new(shop),
        reporter,
        stats: Stats::new(&deps.metrics, &capacity),
        capacity,
        bus: deps.bus,
        tasks: deps.tasks,
        log_ended,
        running: HashMap::new(),
        builds: JoinSet::new(),
    })
}

/// Whatever is in the depot belongs to builds of a process that is gone: the journal tells of them.
async fn clear(depot: &Depot) -> anyhow::Result<()> {
    for found in depot.recover().await? {
        let (Recovered::Attached { container, .. } | Recovered::Exited { container, .. }) = found
        else {
            continue;
        };
        let id = container.id();
        tracing::info!(container.id = %id, "removing the container of an interrupted build");
        container.destroy().await?;
    }
    Ok(())
}

/// Finds out beside the start what the machine lacks, and says it by name.
fn probe(config: DepotConfig, health: &Health, tasks: &TaskTracker) {
    let check = health.check("containers", "not tried yet");
    check.pass();
    tasks.spawn(async move {
        let found = cupola_warden::aio::probe(&config).await;
        match found.and_then(|facilities| facilities.require()) {
            Ok(()) => check.pass(),
            Err(error) => {
                tracing::error!("builds cannot be contained: {error}");
                check.fail(&error.to_string());
            }
        }
    });
}

// === impl Room ===

impl Room {
    /// Runs until `shutdown`, then ends the builds in hand, which are reported as interrupted.
    ///
    /// # Errors
    /// When the bus can no longer be heard.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut stops = self.bus.subscribe(&wire::STOP).await?;
        let mut locates = self.bus.subscribe(&wire::LOCATE).await?;
        let mut starts = self.bus.serve(&wire::start(&self.shop.id)).await?;
        let mut connected = self.bus.connected();
        self.tell_what_was_left(&shutdown)?;
        let every = self.shop.config.advertise_every;
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ends_by: Option<Instant> = None;
        let capacity = self.capacity.clone();
        loop {
            let draining = ends_by.is_some();
            if draining && self.running.is_empty() {
                break;
            }
            tokio::select! {
                // In this order: a stop that came before a start of the same app is meant for an
                // older build.
                biased;
                () = shutdown.cancelled(), if !draining => {
                    ends_by = Some(Instant::now() + END_WITHIN);
                    self.stop_all();
                    self.advertise(true).await;
                }
                () = sleep_until(ends_by.unwrap_or_else(Instant::now)), if draining => {
                    tracing::warn!("{} builds did not end in time", self.running.len());
                    break;
                }
                Some(ended) = self.builds.join_next_with_id() => {
                    self.ended(ended, &shutdown).await;
                    self.advertise(draining).await;
                }
                stop = stops.next() => match stop {
                    Some(stop) => self.stop(&stop),
                    None => bail!("the bus can no longer be heard"),
                },
                asked = starts.next() => match asked {
                    Some(asked) => {
                        self.start(asked, &shutdown).await;
                        self.advertise(draining).await;
                    }
                    None => bail!("the bus can no longer be heard"),
                },
                located = locates.next() => match located {
                    Some(Nothing) => self.advertise(draining).await,
                    None => bail!("the bus can no longer be heard"),
                },
                () = capacity.changed() => self.advertise(draining).await,
                Ok(()) = connected.changed() => self.advertise(draining).await,
                _ = ticks.tick() => self.advertise(draining).await,
            }
        }
        // The last lines of the builds are on their way before the bus is given up.
        self.log_ended.cancel();
        Ok(())
    }

    async fn start(
        &mut self,
        asked: Asked<StartStaging, StartAnswer>,
        shutdown: &CancellationToken,
    ) {
        let task_id = asked.question.task_id.clone();
        let answer = match self.accept(&asked.question, shutdown) {
            Ok(()) => StartAnswer::Accepted {
                task_id: task_id.clone(),
            },
            Err((reason, detail)) => {
                tracing::info!(task.id = %task_id, "refusing a build: {detail}");
                StartAnswer::Refused { reason, detail }
            }
        };
        if let Err(error) = asked.answer(&answer).await {
            tracing::warn!(task.id = %task_id, "the answer to an order is lost: {error}");
        }
    }

    fn accept(
        &mut self,
        order: &StartStaging,
        shutdown: &CancellationToken,
    ) -> Result<(), (Refusal, String)> {
        if self.running.contains_key(&order.task_id) {
            return Ok(()); // said twice
        }
        if shutdown.is_cancelled() {
            return Err((
                Refusal::ShuttingDown,
                "the stager is shutting down".to_owned(),
            ));
        }
        if self.shop.config.stacks.get(&order.stack).is_none() {
            return Err((
                Refusal::NoStack,
                format!("there is no stack {:?} here", order.stack),
            ));
        }
        if let Err(error) = self.shop.environment(order) {
            return Err((Refusal::Invalid, error.to_string()));
        }
        let (memory, disk) = self.shop.room_for(order);
        let reservation = self.capacity.reserve(memory, disk)?;
        let completed = interrupted(order, &self.shop.id);
        let entry = Entry {
            completed_uri: order.completed_uri.clone(),
            completed,
        };
        self.reporter.journal.put(&entry).map_err(|error| {
            tracing::error!("no order can be taken: {error}");
            (
                Refusal::NoDisk,
                "the stager cannot write its journal".to_owned(),
            )
        })?;
        tracing::info!(app.guid = %order.app_id, task.id = %order.task_id, "building");
        let (stop, stopped) = watch::channel(None);
        let order = Arc::new(order.clone());
        let build = Task {
            shop: Arc::clone(&self.shop),
            reporter: self.reporter.clone(),
            stats: self.stats.clone(),
            order: Arc::clone(&order),
            shutdown: shutdown.clone(),
        };
        let runs_as = self.builds.spawn(build.run(stopped, reservation)).id();
        let running = Running {
            app: order.app_id.clone(),
            stop,
            runs_as,
            entry,
        };
        self.running.insert(order.task_id.clone(), running);
        Ok(())
    }

    fn stop(&self, stop: &StopStaging) {
        for running in self
            .running
            .values()
            .filter(|running| running.app == stop.app_id)
        {
            running.stop.send_replace(Some(Stop::Asked));
        }
    }

    fn stop_all(&self) {
        for running in self.running.values() {
            running.stop.send_replace(Some(Stop::ShuttingDown));
        }
    }

    async fn ended(
        &mut self,
        ended: Result<(Id, StagingTaskId), JoinError>,
        shutdown: &CancellationToken,
    ) {
        let error = match ended {
            Ok((_, task)) => {
                self.running.remove(&task);
                return;
            }
            Err(error) => error,
        };
        // A defect of ours: the build is given up, and the controller hears of it.
        let mut found = self.running.iter();
        let Some((task, _)) = found.find(|(_, running)| running.runs_as == error.id()) else {
            return;
        };
        let task = task.clone();
        tracing::error!(task.id = %task, "a build ended by a panic: {error}");
        if let Err(error) = self.shop.clear_away(&task).await {
            tracing::error!(task.id = %task, "its container is not removed: {error}");
        }
        if let Some(running) = self.running.remove(&task) {
            self.insist(running.entry, shutdown);
        }
    }

    /// Tells of builds that an earlier process took and did not tell of.
    fn tell_what_was_left(&self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        for entry in self.reporter.journal.entries()? {
            let task = &entry.completed.task_id;
            tracing::info!(task.id = %task, "telling of a build of an earlier process");
            self.insist(entry, shutdown);
        }
        Ok(())
    }

    fn insist(&self, entry: Entry, shutdown: &CancellationToken) {
        let (reporter, shutdown) = (self.reporter.clone(), shutdown.clone());
        self.tasks
            .spawn(async move { reporter.insist(&entry, &shutdown).await });
    }

    async fn advertise(&self, draining: bool) {
        self.stats.in_hand(self.running.len());
        let left = match draining {
            true => Space {
                memory: MemoryMb(0),
                disk: DiskMb(0),
                tasks: 0,
            },
            false => self.capacity.left(),
        };
        let advertisement = Advertise {
            id: self.shop.id.clone(),
            stacks: self.shop.config.stacks.names().map(str::to_owned).collect(),
            available_memory: left.memory,
            available_disk: Some(left.disk),
            tasks: self.running.keys().cloned().collect(),
        };
        // While the bus is away nobody hears it; it is said again when the bus is back.
        let _ = self.bus.publish(&wire::ADVERTISE, &advertisement).await;
    }
}

/// One build, on its own task.
struct Task {
    shop: Arc<Workshop>,
    reporter: Reporter,
    stats: Stats,
    order: Arc<StartStaging>,
    shutdown: CancellationToken,
}

impl Task {
    async fn run(
        self,
        stop: watch::Receiver<Option<Stop>>,
        reservation: Reservation,
    ) -> StagingTaskId {
        let order = &*self.order;
        let finished = self.shop.stage(order, stop).await;
        self.stats.ended(&finished.completed, finished.took);
        let entry = Entry {
            completed_uri: order.completed_uri.clone(),
            completed: finished.completed.clone(),
        };
        let failure = entry
            .completed
            .error_info
            .as_ref()
            .map(|info| info.kind.as_str());
        tracing::info!(
            app.guid = %order.app_id,
            task.id = %order.task_id,
            duration_ms = finished.took.as_millis(),
            staging.failure = failure,
            "built"
        );
        if let Err(error) = self.reporter.journal.put(&entry) {
            tracing::error!(task.id = %order.task_id, "the result is kept in memory only: {error}");
        }
        let told = self.reporter.tell(&entry).await;
        self.shop.put_away(order, finished).await;
        drop(reservation);
        if told == Told::NotYet {
            self.reporter.insist(&entry, &self.shutdown).await;
        }
        order.task_id.clone()
    }
}
