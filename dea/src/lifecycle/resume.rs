//! The second life: an instance of before a restart of the dea.

use cupola_types::InstanceState;
use cupola_warden::Ended;
use cupola_warden::aio::{Container, Process};
use tracing::info;

use super::{End, Life, ending};
use crate::instance::Ending;
use crate::output::Departure;
use crate::registry::StopReason;

/// What was found of an instance's container.
#[derive(Debug)]
pub(crate) enum Found {
    /// It lives.
    Alive {
        container: Container,
        /// The app, if it had been started.
        process: Option<Process>,
        /// Processor time used so far.
        cpu_ns: u64,
    },
    /// It ended while no dea looked.
    Ended {
        container: Container,
        /// The app, if the end of its output can still be read.
        process: Option<Process>,
        ended: Ended,
    },
    /// Nothing is left of it.
    Lost,
}

// === impl Life ===

impl Life {
    /// Goes on with an instance that was saved in state `saved`.
    pub(crate) async fn resume(mut self, saved: InstanceState, found: Found) {
        let end = match found {
            Found::Alive {
                container,
                process,
                cpu_ns,
            } => {
                self.adopt_container(container, cpu_ns);
                self.take_up(saved, process).await
            }
            Found::Ended {
                container,
                process,
                ended,
            } => {
                self.adopt_container(container, 0);
                self.take_note(saved, process, &ended).await
            }
            Found::Lost if saved == InstanceState::Stopping => End::Stop(StopReason::Ordered),
            Found::Lost => End::Crash(ending::of(&Departure::default())),
        };
        self.finish(end).await;
    }

    /// Goes on with a container that lives.
    async fn take_up(&mut self, saved: InstanceState, process: Option<Process>) -> End {
        let Some(process) = process else {
            // What it needed to start, secrets among it, went with the dea that was told it.
            let description = "failed to start: the dea restarted meanwhile".to_owned();
            return End::Crash(Ending {
                status: -1,
                description,
            });
        };
        let from = self.dea.positions.get(&self.guid);
        self.carry(process, from);
        match saved {
            InstanceState::Stopping => End::Stop(StopReason::Ordered),
            InstanceState::Running | InstanceState::Evacuating => {
                self.dea.routes.register(&self.guid).await;
                info!(instance.guid = %self.guid, "instance adopted");
                self.serve().await
            }
            _ => match self.come_up(std::time::Instant::now()).await {
                Ok(()) => self.serve().await,
                Err(end) => end,
            },
        }
    }

    /// Reads the last words of a container that ended and tells how.
    async fn take_note(
        &mut self,
        saved: InstanceState,
        process: Option<Process>,
        ended: &Ended,
    ) -> End {
        if let Some(process) = process {
            let from = self.dea.positions.get(&self.guid);
            self.carry(process, from);
            self.last_words().await;
        }
        let asked =
            saved == InstanceState::Stopping || ended.reason == cupola_warden::EndReason::Stopped;
        if asked {
            End::Stop(StopReason::Ordered)
        } else {
            End::Crash(ending::of(&ending::seen_later(ended)))
        }
    }
}
