//! Emptying a dea without an outage (bus contract §2.2).
//!
//! Instances go on serving while the health manager has them replaced elsewhere; each is stopped
//! by the controller when its replacement runs. When nothing is left, or after a time, the dea
//! shuts down.

use std::time::Duration;

use cupola_messages::dea::{ExitReason, SHUTDOWN};
use cupola_types::InstanceState;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use crate::announce;
use crate::dea::Dea;
use crate::instance::Instance;

/// How often the state of every instance is told again while the dea is being emptied.
const REPEAT: Duration = Duration::from_secs(5);

/// Empties the dea; returns when nothing runs any more or the time for it is over.
pub(crate) async fn evacuate(dea: &Dea) {
    let deadline = Instant::now() + dea.config.evacuation_timeout;
    dea.registry.edit(crate::registry::Book::close);
    dea.hint(&SHUTDOWN, &dea.farewell()).await;
    info!("evacuating: {} instances", dea.registry.read(living));
    let emptied = async {
        while dea.registry.read(living) > 0 {
            tell_all(dea).await;
            let mut changes = dea.registry.changes();
            tokio::select! {
                () = sleep(REPEAT) => {}
                _ = changes.wait_for(|_| dea.registry.read(living) == 0) => {}
            }
        }
    };
    if timeout_at(deadline, emptied).await.is_err() {
        warn!(
            "evacuation gave up: {} instances are left",
            dea.registry.read(living)
        );
    }
}

/// Marks what lives, and says so. Repeated, because a message may be lost.
async fn tell_all(dea: &Dea) {
    let leaving = dea.registry.edit(|book| {
        let now = std::time::SystemTime::now();
        let mut leaving: Vec<Instance> = Vec::new();
        for instance in book.instances_mut() {
            let _ = instance.advance(InstanceState::Evacuating, now);
            if instance.state() == InstanceState::Evacuating {
                leaving.push(instance.clone());
            }
        }
        leaving
    });
    for instance in &leaving {
        dea.exits
            .tell(instance.exited(&dea.id, ExitReason::DeaEvacuation));
    }
    announce::heartbeat(dea).await;
}

fn living(book: &crate::registry::Book) -> usize {
    book.instances().filter(|i| !i.state().is_final()).count()
}
