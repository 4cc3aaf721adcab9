//! The life of one instance: a task that owns it from its birth to its end.
//!
//! ```text
//! BORN ─ STARTING ─ RUNNING ─┬─ STOPPING ─ (gone)     someone asked
//!   └────────┴─────────┴─────┴─ CRASHED               nobody asked
//! ```
//!
//! Everything that happens to an instance happens here, one after the other. Others reach it only
//! through its stop switch, which is looked at wherever the task waits.

mod ending;
mod resume;

use std::sync::Arc;
use std::time::Duration;

use cupola_messages::dea::{ExitReason, StartInstance};
use cupola_messages::environment::BadEnvironment;
use cupola_messages::logs::LogStream;
use cupola_types::{DiskMb, InstanceGuid, InstanceState};
use cupola_warden::WardenError;
use cupola_warden::aio::{Container, Process};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

pub(crate) use resume::Found;

use crate::dea::Shared;
use crate::droplet::{DropletLease, Ready};
use crate::environment;
use crate::health_check::accepts_connections;
use crate::instance::{Ending, HealthCheck, Instance};
use crate::launch;
use crate::output::{Carrier, Departure};
use crate::registry::{NotAdvanced, StopReason};
use crate::start_command::StartCommand;

/// The signal that asks a process to end.
const SIGTERM: i32 = nix::sys::signal::Signal::SIGTERM as i32;
/// How long the last words of an instance may take to be carried.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);
/// How long the unregistration may take to reach the broker before TERM is sent anyway.
const UNREGISTER_WITHIN: Duration = Duration::from_millis(200);
/// How long an instance that failed its health check is given to say why.
const FAILED_GRACE: Duration = Duration::from_secs(1);
/// How long unpacking a droplet may take.
const UNPACK_WITHIN: Duration = Duration::from_secs(300);

/// The task of one instance.
#[derive(Debug)]
pub(crate) struct Life {
    dea: Shared,
    guid: InstanceGuid,
    stop: watch::Receiver<Option<StopReason>>,
    container: Option<Container>,
    /// The app.
    process: Option<Process>,
    /// Carries the output of the app's process and ends with it.
    output: Option<JoinHandle<Departure>>,
    /// Keeps the droplet in the cache: the container stands on it.
    droplet: Option<DropletLease>,
}

/// Which way a life ends.
#[derive(Debug)]
enum End {
    /// Someone asked.
    Stop(StopReason),
    /// Nobody asked.
    Crash(Ending),
}

/// A step of a start that failed.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Droplet(#[from] Arc<crate::droplet::DropletError>),
    #[error(transparent)]
    Command(#[from] crate::start_command::MissingStartCommand),
    #[error("cannot make the environment")]
    Environment(#[from] BadEnvironment),
    #[error("the container failed")]
    Container(#[from] WardenError),
    #[error("the droplet alone takes more than the {disk} of disk that it may use")]
    OverDisk { disk: DiskMb },
    #[error("the container has no network address")]
    NoAddress,
}

// === impl Life ===

impl Life {
    pub(crate) fn new(
        dea: Shared,
        guid: InstanceGuid,
        stop: watch::Receiver<Option<StopReason>>,
    ) -> Self {
        Self {
            dea,
            guid,
            stop,
            container: None,
            process: None,
            output: None,
            droplet: None,
        }
    }

    /// Starts the instance and stays with it until its end.
    pub(crate) async fn run(mut self, order: StartInstance) {
        let end = match self.start(order).await {
            Ok(()) => self.serve().await,
            Err(end) => end,
        };
        self.finish(end).await;
    }

    async fn start(&mut self, order: StartInstance) -> Result<(), End> {
        let instance = self.proceed(InstanceState::Starting)?;
        let text = format!("Starting app instance (index {})", instance.index);
        self.dea.tell(&instance, LogStream::Out, &text);
        let begun = std::time::Instant::now();
        let launched = self.launch(&order, &instance).await;
        let process = launched.map_err(|error| self.failed(&instance, error))??;
        self.carry(process, 0);
        self.come_up(begun).await
    }

    /// Droplet, container, process. The outer error is a failure, the inner one a stop.
    async fn launch(
        &mut self,
        order: &StartInstance,
        instance: &Instance,
    ) -> Result<Result<Process, End>, StartError> {
        let dea = Arc::clone(&self.dea);
        let lease = tokio::select! {
            lease = dea.droplets.acquire(&instance.droplet, &order.executable_uri) => lease?,
            reason = self.stopped() => return Ok(Err(End::Stop(reason))),
        };
        let command = StartCommand::resolve(order, lease.contents())?;
        let (droplet, shared_bytes) = (lease.ready().map_err(Arc::new)?, lease.shared_bytes());
        if shared_bytes >= instance.limits.disk.bytes() {
            return Err(StartError::OverDisk {
                disk: instance.limits.disk,
            });
        }
        self.droplet = Some(lease);

        let _turn = tokio::select! {
            turn = dea.launches.acquire() => turn,
            reason = self.stopped() => return Ok(Err(End::Stop(reason))),
        };
        // Not given up half-way: it takes milliseconds, and then there is something to destroy.
        let mut spec = launch::container(&dea.config, order, instance, shared_bytes)?;
        let archive = match droplet {
            Ready::Layer(layer) => {
                spec.layers.push(layer);
                None
            }
            Ready::Archive(archive) => Some(archive),
        };
        let container = dea.depot.create(spec).await?;
        self.adopt_container(container.clone(), 0);
        let address = container.address().ok_or(StartError::NoAddress)?;
        let endpoint = std::net::SocketAddrV4::new(address, dea.config.containers.port);
        dea.registry.edit(|book| {
            if let Some(instance) = book.get_mut(&self.guid) {
                instance.endpoint = Some(endpoint);
            }
        });

        if let Some(archive) = archive {
            let how = launch::unpack(&dea.config);
            let unpacked = tokio::select! {
                unpacked = container.unpack(archive, how, UNPACK_WITHIN) => unpacked,
                reason = self.stopped() => return Ok(Err(End::Stop(reason))),
            };
            unpacked?;
        }
        let env = environment::build(order, instance, endpoint)?;
        Ok(Ok(container.run(launch::process(&command, env)).await?))
    }

    fn failed(&self, instance: &Instance, error: StartError) -> End {
        let ending = ending::of_failed_start(&error);
        let error = anyhow::Error::new(error);
        warn!(instance.guid = %self.guid, app.guid = %instance.app, "start failed: {error:#}");
        let text = format!(
            "Failed to start app instance (index {}): {error:#}",
            instance.index
        );
        self.dea.tell(instance, LogStream::Err, &text);
        End::Crash(ending)
    }

    /// Waits for the health check and makes the instance RUNNING.
    async fn come_up(&mut self, begun: std::time::Instant) -> Result<(), End> {
        let Some(instance) = self.dea.registry.get(&self.guid) else {
            return Err(End::Stop(StopReason::Ordered));
        };
        if let (HealthCheck::Port { limit_s }, Some(endpoint)) =
            (instance.health_check, instance.endpoint)
        {
            let healthy = tokio::select! {
                healthy = accepts_connections(endpoint, Duration::from_secs(limit_s)) => healthy,
                departure = departed(&mut self.output) => {
                    return Err(End::Crash(ending::of(&departure)));
                }
                reason = wait_stop(&mut self.stop) => return Err(End::Stop(reason)),
            };
            if !healthy {
                let text = format!(
                    "Instance (index {}) failed to accept connections within {limit_s} seconds",
                    instance.index
                );
                self.dea.tell(&instance, LogStream::Err, &text);
                return Err(End::Crash(ending::of_failed_health_check()));
            }
        }
        let instance = self.proceed(InstanceState::Running)?;
        self.dea.routes.register(&self.guid).await;
        info!(
            instance.guid = %self.guid,
            app.guid = %instance.app,
            instance.index = instance.index.0,
            elapsed_ms = begun.elapsed().as_millis(),
            "instance running"
        );
        Ok(())
    }

    /// Stays with a running instance.
    async fn serve(&mut self) -> End {
        tokio::select! {
            departure = departed(&mut self.output) => End::Crash(ending::of(&departure)),
            reason = wait_stop(&mut self.stop) => End::Stop(reason),
        }
    }

    /// Brings the instance to its end and cleans up behind it.
    async fn finish(mut self, end: End) {
        match end {
            End::Stop(reason) => self.finish_stop(reason).await,
            End::Crash(ending) => self.finish_crash(ending).await,
        }
    }

    async fn finish_stop(&mut self, reason: StopReason) {
        let Ok(instance) = self
            .dea
            .registry
            .advance(&self.guid, InstanceState::Stopping)
        else {
            return self.clean_up().await;
        };
        let text = format!("Stopping app instance (index {})", instance.index);
        self.dea.tell(&instance, LogStream::Out, &text);
        // First of all, so that no request goes to a process that is being told to end.
        self.dea.routes.unregister(&instance).await;
        let _ = self.dea.bus.flush(UNREGISTER_WITHIN).await;
        self.stop_container(self.dea.config.stop_grace).await;
        let told = match reason {
            StopReason::Ordered => ExitReason::Stopped,
            StopReason::Shutdown => ExitReason::DeaShutdown,
        };
        self.dea.registry.edit(|book| book.remove(&self.guid));
        self.dea.exits.tell(instance.exited(&self.dea.id, told));
        let text = format!("Stopped app instance (index {})", instance.index);
        self.dea.tell(&instance, LogStream::Out, &text);
        info!(instance.guid = %self.guid, app.guid = %instance.app, ?reason, "instance stopped");
        self.clean_up().await;
    }

    async fn finish_crash(&mut self, ending: Ending) {
        if self.output.is_some() {
            // It still runs: a failed health check. Its room is free only when it does not.
            self.stop_container(FAILED_GRACE).await;
        }
        let text = ending::sentence(&ending);
        let crashed = self
            .dea
            .registry
            .amend(&self.guid, InstanceState::Crashed, |i| {
                i.ending = Some(ending)
            });
        if let Ok(instance) = crashed {
            self.dea.routes.unregister(&instance).await;
            self.dea
                .exits
                .tell(instance.exited(&self.dea.id, ExitReason::Crashed));
            let line = format!("App instance exited (index {}): {text}", instance.index);
            self.dea.tell(&instance, LogStream::Err, &line);
            info!(instance.guid = %self.guid, app.guid = %instance.app, "instance crashed: {text}");
        }
        self.clean_up().await;
    }

    /// TERM to the app, KILL to everything that is left after `grace`; then its last words.
    async fn stop_container(&mut self, grace: Duration) {
        let Some(container) = self.container.clone() else {
            return;
        };
        // The wait for the app to end is a wait for its output to end: it holds no thread, so
        // that a hundred instances that ignore TERM are stopped in the time of one.
        let asked = match &self.process {
            Some(process) if self.output.is_some() => process.signal(SIGTERM).await.is_ok(),
            _ => false,
        };
        if asked && timeout(grace, departed(&mut self.output)).await.is_err() {
            info!(instance.guid = %self.guid, "still there after {grace:?}: killed");
        }
        match container.stop(Duration::ZERO).await {
            Ok(_) | Err(WardenError::Lost { .. } | WardenError::Unknown(_)) => {}
            Err(error) => warn!(instance.guid = %self.guid, %error, "stop failed; destroying"),
        }
        self.last_words().await;
    }

    /// Waits until the output has been carried to its end.
    async fn last_words(&mut self) {
        if self.output.is_some() {
            let _ = timeout(LAST_WORDS_WITHIN, departed(&mut self.output)).await;
        }
    }

    async fn clean_up(&mut self) {
        self.dea.containers.remove(&self.guid);
        if let Some(output) = self.output.take() {
            output.abort();
        }
        if let Some(container) = self.container.take()
            && let Err(error) = container.destroy().await
        {
            // The sweep at the next start tries again.
            warn!(instance.guid = %self.guid, %error, "a container was not removed");
        }
        self.dea.positions.forget(&self.guid);
    }

    /// Takes the droplet of an earlier life into use again: its container still stands on it.
    pub(crate) fn hold_droplet(&mut self) {
        if let Some(instance) = self.dea.registry.get(&self.guid) {
            self.droplet = self.dea.droplets.reacquire(&instance.droplet);
        }
    }

    fn adopt_container(&mut self, container: Container, cpu_ns: u64) {
        let shared = self.droplet.as_ref().map_or(0, DropletLease::shared_bytes);
        self.dea
            .containers
            .insert(&self.guid, container.clone(), cpu_ns, shared);
        self.container = Some(container);
    }

    /// Carries the output of `process` from position `from`, in a task of its own.
    fn carry(&mut self, process: Process, from: u64) {
        let Some(instance) = self.dea.registry.get(&self.guid) else {
            return;
        };
        let carrier = Carrier {
            app: instance.app,
            index: instance.index,
            app_log: self
                .dea
                .log
                .speaking_as(cupola_messages::logs::LogSource::App),
            loss_log: self
                .dea
                .log
                .speaking_as(cupola_messages::logs::LogSource::Loggregator),
            settled: self.dea.settled.clone(),
            limits: self.dea.config.output_limits(),
        };
        self.process = Some(process.clone());
        let (dea, guid) = (Arc::clone(&self.dea), self.guid.clone());
        let carrying =
            async move { Box::pin(carrier.carry(process, &dea.positions, &guid, from)).await };
        self.output = Some(self.dea.lives.spawn(carrying));
    }

    /// Moves on. An instance that is being evacuated stays in that state while it goes on.
    fn proceed(&self, next: InstanceState) -> Result<Instance, End> {
        match self.dea.registry.advance(&self.guid, next) {
            Ok(instance) => Ok(instance),
            Err(NotAdvanced::Illegal(edge)) if edge.from == InstanceState::Evacuating => self
                .dea
                .registry
                .get(&self.guid)
                .ok_or(End::Stop(StopReason::Ordered)),
            Err(error) => {
                warn!(instance.guid = %self.guid, %error, "giving an instance up");
                Err(End::Stop(StopReason::Ordered))
            }
        }
    }

    async fn stopped(&mut self) -> StopReason {
        wait_stop(&mut self.stop).await
    }
}

/// Waits for the stop switch. Cancel-safe.
async fn wait_stop(stop: &mut watch::Receiver<Option<StopReason>>) -> StopReason {
    match stop.wait_for(Option::is_some).await {
        Ok(reason) => reason.unwrap_or(StopReason::Ordered),
        // The switch went with the entry: nobody knows the instance any more.
        Err(_) => StopReason::Ordered,
    }
}

/// Waits for the end of the app's process; for ever when there is none. Cancel-safe.
async fn departed(output: &mut Option<JoinHandle<Departure>>) -> Departure {
    match output {
        Some(task) => {
            let departure = task.await.unwrap_or_default();
            *output = None;
            departure
        }
        None => std::future::pending().await,
    }
}
