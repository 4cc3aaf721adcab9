//! What others ask: which instances are here, how they do, how the dea does.

use std::sync::Arc;

use cupola_component::{Asked, Bus, BusError, Requests};
use cupola_messages::Nothing;
use cupola_messages::dea::{FIND, FindInstances, FoundInstance, InstanceStats, STATUS, Status};
use cupola_types::{InstanceState, MemoryMb};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tracing::debug;

use crate::dea::{Dea, Shared};
use crate::instance::{Instance, seconds};

/// Questions that are being answered at a time; further ones wait on the bus.
const AT_A_TIME: usize = 32;

/// The questions of others.
#[derive(Debug)]
pub(crate) struct Queries {
    finds: Requests<FindInstances, FoundInstance>,
    statuses: Requests<Nothing, Status>,
}

// === impl Queries ===

impl Queries {
    pub(crate) async fn subscribe(bus: &Bus) -> Result<Self, BusError> {
        Ok(Self {
            finds: bus.serve(&FIND).await?,
            statuses: bus.serve(&STATUS).await?,
        })
    }

    /// Answers until the dea closes.
    pub(crate) async fn answer(mut self, dea: Shared) {
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        loop {
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
                return;
            };
            tokio::select! {
                () = dea.closing.cancelled() => return,
                Some(asked) = self.finds.next() => {
                    let on = Arc::clone(&dea);
                    dea.lives.spawn(async move {
                        find(&on, &asked).await;
                        drop(turn);
                    });
                }
                Some(asked) = self.statuses.next() => {
                    let on = Arc::clone(&dea);
                    dea.lives.spawn(async move {
                        let _ = asked.answer(&status(&on).await).await;
                        drop(turn);
                    });
                }
                else => return,
            }
        }
    }
}

/// One answer for each instance that is meant, each as soon as it is known.
async fn find(dea: &Dea, asked: &Asked<FindInstances, FoundInstance>) {
    let question = &asked.question;
    let selected = dea.registry.select(&question.filter);
    let mut answers: FuturesUnordered<_> = selected
        .iter()
        .map(|instance| found(dea, instance, question.include_stats))
        .collect();
    while let Some(answer) = answers.next().await {
        if let Err(error) = asked.answer(&answer).await {
            debug!(%error, "an answer was not sent");
            return;
        }
    }
}

async fn found(dea: &Dea, instance: &Instance, include_stats: bool) -> FoundInstance {
    let stats = if include_stats {
        stats(dea, instance).await
    } else {
        None
    };
    FoundInstance {
        dea: dea.id.clone(),
        droplet: instance.app.clone(),
        version: instance.version.clone(),
        instance: instance.guid.clone(),
        index: instance.index,
        state: instance.state(),
        state_timestamp: instance.state_since(),
        stats,
        file_uri_v2: None,
    }
}

async fn stats(dea: &Dea, instance: &Instance) -> Option<InstanceStats> {
    let serves = matches!(
        instance.state(),
        InstanceState::Running | InstanceState::Evacuating
    );
    let endpoint = instance.endpoint.filter(|_| serves)?;
    let usage = dea.containers.usage(&instance.guid).await?;
    let up = seconds(std::time::SystemTime::now()) - instance.born_at;
    Some(InstanceStats {
        name: instance.name.clone(),
        uris: instance.uris.clone(),
        host: endpoint.ip().to_string(),
        port: endpoint.port(),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float becomes an integer by saturating"
        )]
        uptime: up as u64,
        mem_quota: instance.limits.mem.bytes(),
        disk_quota: instance.limits.disk.bytes(),
        fds_quota: instance.limits.fds,
        usage,
    })
}

async fn status(dea: &Dea) -> Status {
    let (capacity, reserved, living) = dea.registry.read(|book| {
        let living = book.instances().filter(|i| i.state().holds_memory());
        let living: Vec<_> = living.map(|i| i.guid.clone()).collect();
        (book.capacity(), book.reserved(), living)
    });
    let usages = futures_util::future::join_all(living.iter().map(|g| dea.containers.usage(g)));
    let used: u64 = usages
        .await
        .into_iter()
        .flatten()
        .map(|usage| usage.mem)
        .sum();
    let hello = dea.hello();
    Status {
        id: hello.id,
        ip: hello.ip,
        version: hello.version,
        max_memory: capacity.memory,
        reserved_memory: reserved.memory,
        used_memory: MemoryMb(u32::try_from(used >> 20).unwrap_or(u32::MAX)),
        num_clients: u32::try_from(living.len()).ok(),
    }
}
