//! What the dea says of itself unasked: room, instances, routes.
//!
//! Each is said at an interval, and at once when something changed, when somebody asks, when the
//! bus comes back, and when everybody else has come back to it. A burst of changes becomes one
//! message.

use std::time::Duration;

use cupola_messages::dea::{
    ADVERTISE, Advertise, HEARTBEAT, Heartbeat, InstanceHeartbeat, LOCATE, PlacementProperties,
};
use cupola_messages::{health, router};
use cupola_types::DeaId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::dea::{Dea, Shared};

/// Shortest time between two messages of a kind, so that a hundred starts do not become a
/// hundred heartbeats of a hundred instances.
const GAP: Duration = Duration::from_millis(50);
/// Room in a message for what is not instances.
const ENVELOPE_BYTES: usize = 512;

/// What makes somebody speak before the interval is over.
struct Occasions {
    changes: watch::Receiver<u64>,
    connected: watch::Receiver<bool>,
    settled: watch::Receiver<bool>,
}

/// Heartbeats until the dea closes.
pub(crate) async fn heartbeats(
    dea: Shared,
    mut asked: cupola_component::Subscription<cupola_messages::Nothing>,
) {
    let mut occasions = Occasions::of(&dea);
    while !dea.closing.is_cancelled() {
        heartbeat(&dea).await;
        tokio::select! {
            () = occasions.wait(dea.config.heartbeat_every) => {}
            Some(_) = asked.next() => {}
            () = dea.closing.cancelled() => {}
        }
    }
}

/// Says what runs here.
pub(crate) async fn heartbeat(dea: &Dea) {
    let beats = dea.registry.read(|book| {
        let announced = book.instances().filter(|i| i.is_announced());
        announced
            .map(crate::instance::Instance::heartbeat)
            .collect()
    });
    for part in parts(&dea.id, beats, dea.bus.max_payload()) {
        dea.hint(&HEARTBEAT, &part).await;
    }
}

/// Advertisements until the dea closes. One that is being emptied says nothing: it takes nothing.
pub(crate) async fn advertisements(
    dea: Shared,
    mut asked: cupola_component::Subscription<cupola_messages::Nothing>,
) {
    let mut occasions = Occasions::of(&dea);
    while !dea.closing.is_cancelled() {
        if let Some(room) = room(&dea) {
            dea.hint(&ADVERTISE, &room).await;
        }
        tokio::select! {
            () = occasions.wait(dea.config.advertise_every) => {}
            Some(_) = asked.next() => {}
            () = dea.closing.cancelled() => {}
        }
    }
}

/// Registers routes until the dea closes: at an interval, and when a router or the bus comes back.
/// Changes are told by the instances themselves.
pub(crate) async fn registrations(
    dea: Shared,
    mut routers: cupola_component::Subscription<router::RouterStart>,
) {
    let (mut connected, mut settled) = (dea.bus.connected(), dea.settled.clone());
    while !dea.closing.is_cancelled() {
        dea.routes.register_all().await;
        let next = Instant::now() + dea.config.register_every;
        tokio::select! {
            () = sleep_until(next) => {}
            Some(router) = routers.next() => debug!(router.id = router.id, "a router started"),
            Ok(()) = connected.changed() => {}
            Ok(()) = settled.changed() => {}
            () = dea.closing.cancelled() => {}
        }
    }
}

/// What the three listen to.
#[derive(Debug)]
pub(crate) struct Asks {
    pub(crate) heartbeat: cupola_component::Subscription<cupola_messages::Nothing>,
    pub(crate) advertise: cupola_component::Subscription<cupola_messages::Nothing>,
    pub(crate) register: cupola_component::Subscription<router::RouterStart>,
}

// === impl Asks ===

impl Asks {
    pub(crate) async fn subscribe(
        bus: &cupola_component::Bus,
    ) -> Result<Self, cupola_component::BusError> {
        Ok(Self {
            heartbeat: bus.subscribe(&health::HELLO).await?,
            advertise: bus.subscribe(&LOCATE).await?,
            register: bus.subscribe(&router::START).await?,
        })
    }
}

// === impl Occasions ===

impl Occasions {
    fn of(dea: &Dea) -> Self {
        Self {
            changes: dea.registry.changes(),
            connected: dea.bus.connected(),
            settled: dea.settled.clone(),
        }
    }

    /// Waits for a change or the end of `period`, but never less than the gap. Cancel-safe.
    async fn wait(&mut self, period: Duration) {
        let said = Instant::now();
        tokio::select! {
            () = sleep_until(said + period) => {}
            Ok(()) = self.changes.changed() => {}
            Ok(()) = self.connected.changed() => {}
            Ok(()) = self.settled.changed() => {}
        }
        sleep_until(said + GAP).await;
        self.changes.mark_unchanged();
        self.connected.mark_unchanged();
        self.settled.mark_unchanged();
    }
}

fn room(dea: &Dea) -> Option<Advertise> {
    dea.registry.read(|book| {
        let free = book.available();
        let full = book.len() >= book.capacity().max_instances as usize;
        (!book.is_closed()).then(|| Advertise {
            id: dea.id.clone(),
            stacks: dea.config.stacks.names().map(str::to_owned).collect(),
            available_memory: if full {
                cupola_types::MemoryMb(0)
            } else {
                free.memory
            },
            available_disk: Some(free.disk),
            app_id_to_count: book.count_by_app(),
            placement_properties: PlacementProperties {
                zone: dea.config.zone.clone(),
            },
        })
    })
}

/// Heartbeats with all of `beats`, each small enough for the broker. Without instances there is
/// one all the same: silence means absence.
fn parts(dea: &DeaId, beats: Vec<InstanceHeartbeat>, max_payload: usize) -> Vec<Heartbeat> {
    let room = max_payload.saturating_sub(ENVELOPE_BYTES).max(1);
    let mut lists = vec![Vec::new()];
    let mut used = 0;
    for beat in beats {
        let size = serde_json::to_vec(&beat).map_or(0, |text| text.len() + 1);
        if used + size > room && used > 0 {
            lists.push(Vec::new());
            used = 0;
        }
        used += size;
        if let Some(list) = lists.last_mut() {
            list.push(beat);
        }
    }
    let count = u32::try_from(lists.len()).unwrap_or(u32::MAX);
    let number = |part| (count > 1).then_some(part);
    let heartbeats = lists
        .into_iter()
        .zip(0..)
        .map(|(droplets, part)| Heartbeat {
            dea: dea.clone(),
            droplets,
            part: number(part),
            parts: number(count),
        });
    heartbeats.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use cupola_messages::Message as _;
    use proptest::prelude::*;

    use super::*;
    use crate::instance::tests::instance;

    #[test]
    fn a_dea_without_instances_says_so() {
        let said = parts(&DeaId::new("d"), Vec::new(), 1024);
        assert_eq!(said.len(), 1);
        assert!(said[0].droplets.is_empty() && said[0].part.is_none() && said[0].parts.is_none());
    }

    proptest! {
        #[test]
        fn every_instance_is_in_exactly_one_part_that_fits(
            count in 0..60_u32,
            max_payload in 1200..6000_usize,
        ) {
            let beats: Vec<_> = (0..count).map(|n| instance("some-app", n).heartbeat()).collect();
            let said = parts(&DeaId::new("d"), beats.clone(), max_payload);
            for (number, part) in said.iter().zip(0_u32..).map(|(part, n)| (n, part)) {
                prop_assert!(part.encode().unwrap().len() <= max_payload);
                if said.len() > 1 {
                    prop_assert_eq!(part.part, Some(number));
                    prop_assert_eq!(part.parts, u32::try_from(said.len()).ok());
                    prop_assert!(!part.droplets.is_empty());
                }
            }
            let together: Vec<_> = said.into_iter().flat_map(|part| part.droplets).collect();
            prop_assert_eq!(together, beats);
        }
    }
}
