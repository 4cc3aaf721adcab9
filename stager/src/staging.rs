//! One build from its order to its result.

mod build;
mod droplet;
mod fetch;
mod job;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cupola_component::AppLog;
use cupola_messages::environment::BadEnvironment;
use cupola_messages::staging::{Completed, StartStaging};
use cupola_types::{DiskMb, MemoryMb, StagerId, StagingTaskId};
use cupola_warden::aio::{Container, Depot};
use cupola_warden::{Bind, ContainerId, ContainerSpec, Limits, WardenError};
use sha1::{Digest as _, Sha1};
use tokio::sync::watch;

use crate::builtin::Carried;
use crate::config::Config;
use crate::failure::Failure;
use crate::output::Output;
use crate::transfer::Transfer;
use crate::{environment, inside};
use build::Build;
use droplet::Droplet;

/// How long it may take to put the build cache away.
const KEEP_CACHE_WITHIN: Duration = Duration::from_secs(120);

/// What all builds share.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) config: Config,
    pub(crate) id: StagerId,
    pub(crate) depot: Depot,
    pub(crate) carried: Carried,
    /// `cupola-staticfile` on the host.
    pub(crate) server: PathBuf,
    pub(crate) transfer: Transfer,
    pub(crate) log: AppLog,
}

/// Why a build should end before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The controller has no use for it any more.
    Asked,
    /// The stager goes away.
    ShuttingDown,
}

/// A build that has ended, and what is left to put away.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) completed: Completed,
    pub(crate) took: Duration,
    container: Option<Container>,
}

// === impl Workshop ===

impl Workshop {
    /// What a build of `order` may use.
    pub(crate) fn room_for(&self, order: &StartStaging) -> (MemoryMb, DiskMb) {
        let (memory, disk) = (self.config.build_memory, self.config.build_disk);
        (memory.max(order.memory_limit), disk.max(order.disk_limit))
    }

    /// The environment of a build of `order`.
    pub(crate) fn environment(
        &self,
        order: &StartStaging,
    ) -> Result<Vec<(String, String)>, BadEnvironment> {
        let (memory, _) = self.room_for(order);
        let seconds = self.time_limit(order).as_secs();
        environment::variables(order, memory, seconds, &self.config.environment)
    }

    /// Builds `order` until it is done, `stop` says otherwise or its time is over.
    ///
    /// Not to be cancelled: what it returns has a container in it that must be put away.
    pub(crate) async fn stage(
        &self,
        order: &StartStaging,
        mut stop: watch::Receiver<Option<Stop>>,
    ) -> Finished {
        let started = Instant::now();
        let mut output = Output::new(self.log.clone(), order.app_id.clone());
        let (container, ended) = match self.make_container(order).await {
            Err(failure) => (None, Err(failure)),
            Ok(container) => {
                let limit = self.time_limit(order);
                let build = Build::new(self, order, &container, &mut output);
                let ended = tokio::select! {
                    biased;
                    ended = build.run() => ended,
                    () = tokio::time::sleep(limit) => Err(Failure::Expired { limit }),
                    stopped = stop.wait_for(Option::is_some) => Err(match stopped.as_deref() {
                        Ok(Some(Stop::Asked)) => Failure::Stopped,
                        _ => Failure::ShuttingDown,
                    }),
                };
                (Some(container), ended)
            }
        };
        output.finish();
        if let Err(failure) = &ended {
            output.complain(&format!("Staging failed: {failure}"));
        }
        let completed = self.completed(order, ended);
        Finished {
            completed,
            took: started.elapsed(),
            container,
        }
    }

    /// Keeps the build cache for the next build, if it is wanted, and removes the container.
    pub(crate) async fn put_away(&self, order: &StartStaging, finished: Finished) {
        let Some(container) = finished.container else {
            return;
        };
        let worked = finished.completed.error_info.is_none();
        if worked && let Some(url) = &order.buildpack_cache_upload_uri {
            let keep = self.keep_cache(&container, url);
            let kept = tokio::time::timeout(KEEP_CACHE_WITHIN, keep).await;
            if !matches!(kept, Ok(Ok(()))) {
                tracing::warn!(app.guid = %order.app_id, "the build cache is not kept: {kept:?}");
            }
        }
        if let Err(error) = container.destroy().await {
            let id = container.id();
            tracing::error!(container.id = %id, "a build container is not removed: {error}");
        }
    }

    /// Removes what a build left whose task is gone.
    pub(crate) async fn clear_away(&self, task: &StagingTaskId) -> Result<(), WardenError> {
        match self.depot.container(&container_id(task)?).await {
            Ok(container) => container.destroy().await,
            Err(WardenError::Unknown(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn make_container(&self, order: &StartStaging) -> Result<Container, Failure> {
        let config = &self.config;
        let (memory, disk) = self.room_for(order);
        let mut spec = ContainerSpec::new(container_id(&order.task_id)?);
        if let Some(stack) = config.stacks.get(&order.stack) {
            spec.stack = stack.clone();
        }
        spec.hostname = "staging".to_owned();
        spec.network = config.containers.network;
        spec.limits = Limits {
            memory_bytes: Some(memory.bytes()),
            cpu_shares: config.containers.cpu_shares,
            pids: config.containers.max_processes,
            disk_bytes: Some(disk.bytes()),
            disk_inodes: config.max_entries.saturating_mul(2),
            disk_mode: config.containers.disk_limit,
            ..Limits::default()
        };
        let server = format!("{}/cupola-staticfile", inside::TOOLS);
        spec.binds = vec![
            Bind::read_only(self.carried.folder(), inside::CARRIED),
            Bind::read_only(&self.server, server),
        ];
        spec.env = self.environment(order)?;
        spec.properties
            .insert("app".to_owned(), order.app_id.to_string());
        spec.properties
            .insert("task".to_owned(), order.task_id.to_string());
        Ok(self.depot.create(spec).await?)
    }

    fn time_limit(&self, order: &StartStaging) -> Duration {
        let most = self.config.max_staging_time;
        match order.timeout {
            0 => most,
            wanted => most.min(Duration::from_secs(wanted.into())),
        }
    }

    fn completed(&self, order: &StartStaging, ended: Result<Droplet, Failure>) -> Completed {
        let mut completed = result_of(order, &self.id);
        match ended {
            Ok(droplet) => {
                completed.detected_buildpack = droplet.detected;
                completed.buildpack_key = Some(droplet.buildpack_key);
                completed.droplet_sha1 = Some(droplet.sha1);
                completed.detected_start_command = droplet.detected_command;
            }
            Err(failure) => completed.error_info = Some(failure.report()),
        }
        completed
    }
}

/// What the controller is told when this process does not live to see the end.
pub(crate) fn interrupted(order: &StartStaging, stager: &StagerId) -> Completed {
    let error_info = Some(Failure::Restarted.report());
    Completed {
        error_info,
        ..result_of(order, stager)
    }
}

fn result_of(order: &StartStaging, stager: &StagerId) -> Completed {
    Completed {
        task_id: order.task_id.clone(),
        app_id: order.app_id.clone(),
        stager_id: Some(stager.clone()),
        detected_buildpack: None,
        buildpack_key: None,
        droplet_sha1: None,
        detected_start_command: None,
        error_info: None,
    }
}

/// Task ids may be longer than the names of containers, and of a larger alphabet.
fn container_id(task: &StagingTaskId) -> Result<ContainerId, WardenError> {
    let digest = hex::encode(Sha1::digest(task.as_str()));
    ContainerId::new(&digest[..20])
}
