//! After a restart: finds the containers that lived on and makes them instances again.
//!
//! The depot says which containers there are and how they do, the snapshot which instances there
//! were. What the snapshot does not know is told by the note that each container carries, so a
//! lost snapshot loses no app.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::Arc;

use anyhow::Context as _;
use cupola_types::{InstanceGuid, InstanceState};
use cupola_warden::aio::{Container, Process, Recovered};
use cupola_warden::{ContainerState, Info};
use tracing::{info, warn};

use crate::dea::Shared;
use crate::instance::Instance;
use crate::launch::INSTANCE_NOTE;
use crate::lifecycle::{Found, Life};
use crate::snapshot;

/// What there is to go on with: instances in the registry, their tasks not yet running.
#[derive(Debug)]
pub(crate) struct Adopted {
    lives: Vec<(Life, InstanceState, Found)>,
    strays: Vec<Container>,
}

/// Reads the snapshot and the depot, and fills the registry.
pub(crate) async fn adopt(dea: &Shared) -> anyhow::Result<Adopted> {
    let saved = snapshot::load(&snapshot::path(&dea.config.data_dir));
    let mut found = HashMap::new();
    let mut adopted = Adopted {
        lives: Vec::new(),
        strays: Vec::new(),
    };
    let recovered = dea
        .depot
        .recover()
        .await
        .context("cannot look for living containers")?;
    for one in recovered {
        if let Some((guid, what, note)) = look(one) {
            found.insert(guid, (what, note));
        }
    }
    for instance in saved {
        let what = found
            .remove(&instance.guid)
            .map_or(Found::Lost, |(what, _)| what);
        adopted.add(dea, instance, what);
    }
    for (guid, (what, note)) in found {
        match note.filter(|instance| instance.guid == guid) {
            Some(instance)
                if matches!(
                    what,
                    Found::Alive {
                        process: Some(_),
                        ..
                    }
                ) =>
            {
                warn!(instance.guid = %guid, "the snapshot does not know a living container");
                adopted.add(dea, instance, what);
            }
            _ => adopted.stray(what),
        }
    }
    let known: Vec<_> = dea.registry.all();
    dea.positions
        .keep_only(|name| known.iter().any(|i| i.guid.as_str() == name));
    Ok(adopted)
}

// === impl Adopted ===

impl Adopted {
    /// Lets the adopted instances go on, and removes what belongs to nobody.
    pub(crate) fn go_on(self, dea: &Shared) {
        let (lives, strays) = (self.lives.len(), self.strays.len());
        for (life, saved, found) in self.lives {
            dea.lives.spawn(life.resume(saved, found));
        }
        for container in self.strays {
            dea.lives.spawn(async move {
                if let Err(error) = container.destroy().await {
                    warn!(container.id = %container.id(), %error, "a stray was not removed");
                }
            });
        }
        if lives + strays > 0 {
            info!(instances = lives, strays, "went on with what was found");
        }
        let depot = dea.depot.clone();
        dea.lives.spawn(async move {
            if let Err(error) = depot.sweep().await {
                warn!(%error, "the depot was not swept");
            }
        });
    }

    fn add(&mut self, dea: &Shared, instance: Instance, found: Found) {
        let since = instance.state_since();
        let (mut instance, saved) = instance.resumed();
        if let Found::Alive { container, .. } = &found {
            let port = dea.config.containers.port;
            let address = container
                .address()
                .map(|address| SocketAddrV4::new(address, port));
            instance.endpoint = instance.endpoint.or(address);
            use InstanceState::{Evacuating, Running, Starting};
            let state = match saved {
                Running | Evacuating => saved,
                InstanceState::Stopping => InstanceState::Resuming,
                // It had just begun, or was being adopted when the dea was killed again: whether
                // it is up will be seen.
                _ => Starting,
            };
            let _ = instance.resume_as(state, since);
        }
        let guid = instance.guid.clone();
        let stop = dea.registry.edit(|book| book.readmit(instance));
        if saved == InstanceState::Crashed {
            return self.stray(found); // it is only remembered
        }
        let mut life = Life::new(Arc::clone(dea), guid, stop);
        life.hold_droplet();
        self.lives.push((life, saved, found));
    }

    fn stray(&mut self, found: Found) {
        match found {
            Found::Alive { container, .. } | Found::Ended { container, .. } => {
                self.strays.push(container);
            }
            Found::Lost => {}
        }
    }
}

/// What one container of the depot is to us.
fn look(one: Recovered) -> Option<(InstanceGuid, Found, Option<Instance>)> {
    match one {
        Recovered::Attached { container, info } => {
            let guid = InstanceGuid::new(info.id.as_str());
            let note = info.properties.get(INSTANCE_NOTE);
            let note = note.and_then(|note| serde_json::from_str(note).ok());
            let process = main_process(&container, &info);
            let found = match (info.state, info.ended) {
                (ContainerState::Ended, Some(ended)) => Found::Ended {
                    container,
                    process,
                    ended,
                },
                _ => Found::Alive {
                    container,
                    process,
                    cpu_ns: info.stats.cpu_ns,
                },
            };
            Some((guid, found, note))
        }
        Recovered::Exited {
            container, ended, ..
        } => {
            let guid = InstanceGuid::new(container.id().as_str());
            Some((
                guid,
                Found::Ended {
                    container,
                    process: None,
                    ended,
                },
                None,
            ))
        }
        Recovered::Lost { .. } => None,
    }
}

fn main_process(container: &Container, info: &Info) -> Option<Process> {
    let main = info.processes.iter().find(|process| process.main)?;
    Some(container.process(main.id))
}
