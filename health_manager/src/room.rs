//! The room's one door, and the task that owns all knowledge.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cupola_component::{Backoff, Bus, Check, Deps};
use cupola_http::client;
use cupola_messages::Nothing;
use cupola_messages::dea::{self, ExitReason};
use cupola_messages::health::{
    self, ActualInstance as ToldInstance, AppActual, AppQuery, BulkActual, CrashCount,
    HEALTH_MANAGERS, MAX_BULK_APPS, StartProposal, StopProposal,
};
use cupola_types::AppGuid;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use rand::Rng as _;
use tokio::sync::mpsc;
use tokio::time::{Duration, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::Moment;
use crate::actual::Actual;
use crate::bulk::{BulkApi, BulkError};
use crate::config::Config;
use crate::crashes::Crashes;
use crate::decide::{Knowledge, Proposal, decide, summary};
use crate::desired::{Desired, DesiredApp};
use crate::ledger::Ledger;

/// Changes that are heard of together cause one fetch.
const FETCH_AFTER_CHANGE: Duration = Duration::from_millis(50);
/// Between two decisions at least, and at most when deciding takes long.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often time itself is looked at: lost DEAs, old crashes.
const TICK: Duration = Duration::from_secs(1);

/// The health manager, ready to run.
#[derive(Debug)]
pub struct Room {
    config: Config,
    deps: Deps,
    bulk: BulkApi,
    check: Check,
    figures: Figures,
}

#[derive(Debug, Clone, Default)]
struct Figures {
    apps: Gauge,
    missing: Gauge,
    extra: Gauge,
    starts: Counter,
    stops: Counter,
    fetch_errors: Counter,
}

/// A fetch of what is wanted, when it began and how it ended.
type Fetched = (Moment, Result<HashMap<AppGuid, DesiredApp>, BulkError>);

/// Sets everything up; nothing is heard yet.
///
/// # Errors
/// When the HTTP client cannot be made.
pub async fn build(config: Config, deps: Deps) -> anyhow::Result<Room> {
    let bulk = BulkApi {
        client: client::loopback("cupola-health-manager")?,
        url: config.cloud_controller_url.clone(),
        user: config.bulk_user.clone(),
        password: config.bulk_password.clone(),
    };
    let figures = Figures::default();
    let f = figures.clone();
    deps.metrics.register(|registry| {
        registry.register("health_manager_apps", "Apps that are wanted", f.apps);
        registry.register(
            "health_manager_missing",
            "Indices that nothing serves",
            f.missing,
        );
        registry.register(
            "health_manager_extra",
            "Instances that should not be",
            f.extra,
        );
        registry.register("health_manager_starts", "Starts proposed", f.starts);
        registry.register("health_manager_stops", "Stops proposed", f.stops);
        registry.register(
            "health_manager_fetch_errors",
            "Failed bulk fetches",
            f.fetch_errors,
        );
    });
    let check = deps.health.check("desired state", "not read yet");
    Ok(Room {
        config,
        deps,
        bulk,
        check,
        figures,
    })
}

impl Room {
    /// Watches until `shutdown`.
    ///
    /// # Errors
    /// When a subscription cannot be made or ends for good.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self {
            config,
            deps,
            bulk,
            check,
            figures,
        } = self;
        let bus = deps.bus.clone();
        let mut heartbeats = bus.subscribe(&dea::HEARTBEAT).await?;
        let mut advertisements = bus.subscribe(&dea::ADVERTISE).await?;
        let mut shutdowns = bus.subscribe(&dea::SHUTDOWN).await?;
        let mut exits = bus.subscribe(&dea::EXITED).await?;
        let mut updates = bus.subscribe(&health::UPDATED).await?;
        let mut queries = bus.serve_group(&health::APP_STATE, HEALTH_MANAGERS).await?;
        let mut bulk_queries = bus
            .serve_group(&health::APP_STATE_BULK, HEALTH_MANAGERS)
            .await?;
        let mut connected = bus.connected();

        let (fetched_to, mut fetched) = mpsc::channel(1);
        let (fetch, fetch_wanted) = mpsc::channel(1);
        let clock = Instant::now();
        deps.tasks.spawn(keep_fetching(
            bulk,
            config.clone(),
            clock,
            fetch_wanted,
            fetched_to,
            shutdown.clone(),
        ));

        let mut watch = Watch::new(config, bus, figures, clock);
        let up = *connected.borrow_and_update();
        watch.connection(up).await;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pace = Pace::new();
        loop {
            let wake_at = pace.due().unwrap_or_else(|| watch.wake_at());
            let relevant = tokio::select! {
                () = shutdown.cancelled() => {
                    watch.keep_crashes();
                    return Ok(());
                }
                Ok(()) = connected.changed() => {
                    let up = *connected.borrow_and_update();
                    watch.connection(up).await;
                    true
                }
                heartbeat = heartbeats.next() => watch.heartbeat(heartbeat.ok_or(Deaf)?),
                ad = advertisements.next() => {
                    watch.actual.advertised(ad.ok_or(Deaf)?.id, watch.now());
                    false
                }
                gone = shutdowns.next() => {
                    watch.actual.shut_down(&gone.ok_or(Deaf)?.id);
                    true
                }
                exited = exits.next() => {
                    watch.exited(exited.ok_or(Deaf)?);
                    true
                }
                update = updates.next() => {
                    watch.desired.mark_changed(update.ok_or(Deaf)?.droplet, watch.now());
                    let _ = fetch.try_send(()); // when one is wanted already, it will see this too
                    false
                }
                Some((began, result)) = fetched.recv() => watch.fetched(began, result, &check),
                asked = queries.next() => {
                    let asked = asked.ok_or(Deaf)?;
                    let _ = asked.answer(&watch.tell(&asked.question)).await;
                    false
                }
                asked = bulk_queries.next() => {
                    let asked = asked.ok_or(Deaf)?;
                    let apps = asked.question.0.iter().take(MAX_BULK_APPS);
                    let told = apps.map(|query| (query.droplet.clone(), watch.tell(query)));
                    let _ = asked.answer(&BulkActual(told.collect())).await;
                    false
                }
                _ = tick.tick() => watch.tick(),
                () = sleep_until(wake_at) => true,
            };
            if pace.allows(relevant) {
                let begun = Instant::now();
                watch.decide().await;
                pace.decided(begun);
            }
        }
    }
}

/// A subscription ended, which only happens when the connection is closed for good.
#[derive(Debug, thiserror::Error)]
#[error("the subscriptions ended")]
struct Deaf;

/// Keeps decisions from taking all the time when much happens at once: what comes shortly after a
/// decision waits for the next one.
struct Pace {
    wanted: bool,
    not_before: Instant,
}

impl Pace {
    fn new() -> Self {
        Self {
            wanted: false,
            not_before: Instant::now(),
        }
    }

    /// When the wanted decision may be made.
    fn due(&self) -> Option<tokio::time::Instant> {
        self.wanted.then(|| self.not_before.into())
    }

    /// Whether to decide now.
    fn allows(&mut self, relevant: bool) -> bool {
        self.wanted |= relevant;
        self.wanted && Instant::now() >= self.not_before
    }

    fn decided(&mut self, begun: Instant) {
        self.wanted = false;
        let pause = (begun.elapsed() * 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        self.not_before = Instant::now() + pause;
    }
}

/// All knowledge, owned by one task.
struct Watch {
    config: Config,
    bus: Bus,
    figures: Figures,
    clock: Instant,
    desired: Desired,
    actual: Actual,
    crashes: Crashes,
    ledger: Ledger,
    again_at: Option<Moment>,
    crashes_changed: bool,
}

impl Watch {
    fn new(config: Config, bus: Bus, figures: Figures, clock: Instant) -> Self {
        let crashes = config
            .state_file
            .as_deref()
            .map(|path| Crashes::load(path, clock.elapsed(), unix_now()))
            .unwrap_or_default();
        Self {
            config,
            bus,
            figures,
            clock,
            desired: Desired::default(),
            actual: Actual::default(),
            crashes,
            ledger: Ledger::default(),
            again_at: None,
            crashes_changed: false,
        }
    }

    fn now(&self) -> Moment {
        self.clock.elapsed()
    }

    async fn connection(&mut self, up: bool) {
        self.actual.set_connected(up, self.now());
        if up {
            // Everybody shall say now what they run; when this is lost they do so within 10 s.
            let _ = self.bus.publish(&health::HELLO, &Nothing).await;
        }
    }

    fn heartbeat(&mut self, heartbeat: dea::Heartbeat) -> bool {
        let now = self.now();
        let fresh_before = self.actual.is_fresh(&self.config.timing, now);
        let changed = self.actual.heartbeat(heartbeat, now);
        changed || !fresh_before
    }

    fn exited(&mut self, exited: dea::Exited) {
        let crashed = exited.reason == ExitReason::Crashed;
        if exited.reason == ExitReason::DeaEvacuation {
            return; // it still serves; the heartbeat says so
        }
        self.actual.ended(&exited.instance, crashed);
        if crashed {
            let key = (exited.droplet, exited.version, exited.index);
            self.crashes.note(key, self.now(), unix_now());
            self.crashes_changed = true;
        }
    }

    fn fetched(
        &mut self,
        began: Moment,
        result: Result<HashMap<AppGuid, DesiredApp>, BulkError>,
        check: &Check,
    ) -> bool {
        match result {
            Ok(apps) => {
                check.pass();
                for (guid, app) in &apps {
                    let before = self.desired.get(guid).map(|known| &known.version);
                    if before.is_some_and(|version| *version != app.version) {
                        self.crashes.forgive(guid, &app.version);
                        self.crashes_changed = true;
                    }
                }
                self.desired.replace(apps, began);
                self.figures
                    .apps
                    .set(i64::try_from(self.desired.len()).unwrap_or(i64::MAX));
                true
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(
                    "what is wanted cannot be read: {error} {}",
                    cause.unwrap_or_default()
                );
                check.fail(&error.to_string());
                self.figures.fetch_errors.inc();
                false
            }
        }
    }

    fn tick(&mut self) -> bool {
        let now = self.now();
        self.crashes.forget_old(&self.config.timing, now);
        self.keep_crashes();
        let lost = self.actual.expire(&self.config.timing, now);
        for dea in &lost {
            tracing::warn!(dea.id = %dea, "no heartbeat for too long: its instances count as lost");
        }
        !lost.is_empty()
    }

    /// Writes the crash counts down when they changed.
    fn keep_crashes(&mut self) {
        if self.crashes_changed
            && let Some(path) = &self.config.state_file
        {
            keep(path, &self.crashes.to_json());
            self.crashes_changed = false;
        }
    }

    /// When to decide again if nothing is heard until then.
    fn wake_at(&self) -> tokio::time::Instant {
        match self.again_at {
            Some(at) => (self.clock + at).into(),
            None => tokio::time::Instant::now() + Duration::from_secs(3_600),
        }
    }

    /// Decides and says what came of it.
    async fn decide(&mut self) {
        let now = self.now();
        let knowledge = Knowledge {
            desired: &self.desired,
            actual: &self.actual,
            crashes: &self.crashes,
            ledger: &self.ledger,
            timing: &self.config.timing,
        };
        let decision = decide(knowledge, now);
        self.again_at = decision.again_at;
        if decision.fresh {
            self.ledger.note(&decision, now);
            let (missing, extra, _) = summary(&decision);
            self.figures
                .missing
                .set(i64::try_from(missing).unwrap_or(i64::MAX));
            self.figures
                .extra
                .set(i64::try_from(extra).unwrap_or(i64::MAX));
        }
        for proposal in decision.proposals {
            self.propose(proposal).await;
        }
    }

    async fn propose(&self, proposal: Proposal) {
        let message_id = format!("{:016x}", rand::rng().random::<u64>());
        let said = match proposal {
            Proposal::Start {
                key: (droplet, version, instance_index),
            } => {
                tracing::info!(app.guid = %droplet, "missing index {instance_index}: proposing a start");
                self.figures.starts.inc();
                let start = StartProposal {
                    message_id,
                    droplet,
                    version,
                    instance_index,
                };
                self.bus.publish(&health::START, &start).await
            }
            Proposal::Stop {
                instance,
                is_duplicate,
            } => {
                tracing::info!(
                    app.guid = %instance.app,
                    "unwanted instance {}: proposing a stop",
                    instance.instance
                );
                self.figures.stops.inc();
                let stop = StopProposal {
                    message_id,
                    droplet: instance.app,
                    version: instance.version,
                    instance_guid: instance.instance,
                    instance_index: instance.index,
                    is_duplicate,
                };
                self.bus.publish(&health::STOP, &stop).await
            }
        };
        if let Err(error) = said {
            tracing::warn!("a proposal was not sent and will be repeated: {error}");
        }
    }

    /// What is known of an app; empty when it is not fresh.
    fn tell(&self, query: &AppQuery) -> AppActual {
        if !self.actual.is_fresh(&self.config.timing, self.now()) {
            return AppActual::default();
        }
        let instances = self.actual.of_app(&query.droplet);
        let instances = instances.filter(|(_, i)| i.version == query.version);
        let crashes = self.crashes.of_app(&query.droplet);
        let crashes = crashes.filter(|((_, version, _), _)| *version == query.version);
        AppActual {
            droplet: Some(query.droplet.clone()),
            version: Some(query.version.clone()),
            instance_heartbeats: instances
                .map(|(dea, i)| ToldInstance {
                    droplet: i.app.clone(),
                    version: i.version.clone(),
                    instance: i.instance.clone(),
                    index: i.index,
                    state: i.state,
                    state_timestamp: i.state_timestamp,
                    dea_guid: dea.to_string(),
                })
                .collect(),
            crash_counts: crashes
                .map(|((app, version, index), crash)| CrashCount {
                    droplet: app.clone(),
                    version: version.clone(),
                    instance_index: *index,
                    crash_count: crash.count,
                    created_at: crash.last_unix,
                })
                .collect(),
        }
    }
}

/// Fetches on a timer and when asked; after a failure ever later. When changes come without an end
/// the pauses are as long as the fetches.
async fn keep_fetching(
    bulk: BulkApi,
    config: Config,
    clock: Instant,
    mut wanted: mpsc::Receiver<()>,
    fetched: mpsc::Sender<Fetched>,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let began = clock.elapsed();
        let result = tokio::select! {
            () = shutdown.cancelled() => return,
            result = bulk.fetch(config.timing.desired_fresh) => result,
        };
        let failed = result.is_err();
        let pause_after_change = (clock.elapsed() - began).max(FETCH_AFTER_CHANGE);
        if fetched.send((began, result)).await.is_err() {
            return;
        }
        let pause = async {
            if failed {
                sleep(backoff.next_pause()).await;
                return;
            }
            backoff.reset();
            tokio::select! {
                () = sleep(config.timing.fetch_every) => {}
                Some(()) = wanted.recv() => sleep(pause_after_change).await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = pause => {}
        }
        while wanted.try_recv().is_ok() {}
    }
}

/// Writes the file whole or not at all. A failure costs only the memory of crashes.
fn keep(path: &PathBuf, text: &[u8]) {
    let temporary = path.with_extension("new");
    let written = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = written {
        tracing::warn!("crash counts are not kept in {}: {error}", path.display());
    }
}

fn unix_now() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}
