//! Tells the routers where instances are.
//!
//! A router believes the last it hears, so a registration may never be sent after the unregister
//! that belongs behind it. Hence one rule and one lock: the state of an instance changes first, and
//! whoever tells the routers looks at the state again under the lock, until it is sent.

use cupola_component::Bus;
use cupola_messages::dea::UpdateRoutes;
use cupola_messages::router::{REGISTER, Registration, UNREGISTER};
use cupola_types::{DeaId, InstanceGuid};
use tokio::sync::Mutex;
use tracing::debug;

use crate::instance::Instance;
use crate::registry::Registry;

/// Registers and unregisters instances.
#[derive(Debug)]
pub(crate) struct Routes {
    bus: Bus,
    registry: Registry,
    dea: DeaId,
    component: String,
    /// Held from the look at an instance until what was seen has been sent. Sending is bounded
    /// by the bus client's own limit.
    telling: Mutex<()>,
}

// === impl Routes ===

impl Routes {
    pub(crate) fn new(bus: Bus, registry: Registry, dea: DeaId, component: String) -> Self {
        Self {
            bus,
            registry,
            dea,
            component,
            telling: Mutex::new(()),
        }
    }

    /// Registers the instance, if it is one to route to.
    pub(crate) async fn register(&self, guid: &InstanceGuid) {
        let _telling = self.telling.lock().await;
        let routable = self.registry.get(guid).filter(|i| i.state().is_routable());
        let registration = routable.and_then(|i| i.registration(&self.dea, &self.component));
        if let Some(registration) = registration {
            self.say_register(&registration).await;
        }
    }

    /// Registers everything there is to route to.
    pub(crate) async fn register_all(&self) {
        let routable = self.registry.read(|book| {
            let routable = book.instances().filter(|i| i.state().is_routable());
            routable.map(|i| i.guid.clone()).collect::<Vec<_>>()
        });
        for guid in routable {
            self.register(&guid).await;
        }
    }

    /// Unregisters an instance whose state no longer is one to route to.
    pub(crate) async fn unregister(&self, instance: &Instance) {
        let _telling = self.telling.lock().await;
        if let Some(registration) = instance.registration(&self.dea, &self.component) {
            self.say_unregister(&registration).await;
        }
    }

    /// Gives the instances of an app other routes: added ones are registered, removed ones
    /// unregistered. The instances stay what they are; in particular they keep their ids.
    pub(crate) async fn update(&self, order: &UpdateRoutes) {
        let _telling = self.telling.lock().await;
        for (before, after) in self
            .registry
            .edit(|book| reroute(book.instances_mut(), order))
        {
            if !after.state().is_routable() {
                continue;
            }
            let only = |these: &[String], not: &[String]| {
                these
                    .iter()
                    .filter(|uri| !not.contains(uri))
                    .cloned()
                    .collect::<Vec<_>>()
            };
            let added = only(&after.uris, &before.uris);
            let removed = only(&before.uris, &after.uris);
            if let Some(whole) = after.registration(&self.dea, &self.component)
                && !added.is_empty()
            {
                let registration = Registration {
                    uris: added,
                    ..whole
                };
                self.say_register(&registration).await;
            }
            if let Some(whole) = before.registration(&self.dea, &self.component)
                && !removed.is_empty()
            {
                let registration = Registration {
                    uris: removed,
                    ..whole
                };
                self.say_unregister(&registration).await;
            }
        }
    }

    async fn say_register(&self, registration: &Registration) {
        // Lost ones are repeated at the next reconnect or refresh.
        if let Err(error) = self.bus.publish(&REGISTER, registration).await {
            debug!("not registered: {error}");
        }
    }

    async fn say_unregister(&self, registration: &Registration) {
        // A router that does not hear it refuses the dead endpoint, and prunes it in time.
        if let Err(error) = self.bus.publish(&UNREGISTER, registration).await {
            debug!("not unregistered: {error}");
        }
    }
}

/// Applies `order` to the instances of its version; returns each changed one as it was and as it
/// is.
fn reroute<'a>(
    instances: impl Iterator<Item = &'a mut Instance>,
    order: &UpdateRoutes,
) -> Vec<(Instance, Instance)> {
    let mut changed = Vec::new();
    let meant = |i: &Instance| {
        let same_version = order
            .version
            .as_ref()
            .is_none_or(|version| *version == i.version);
        i.app == order.droplet && same_version && !i.state().is_final()
    };
    for instance in instances.filter(|i| meant(i) && i.uris != order.uris) {
        let before = instance.clone();
        instance.uris.clone_from(&order.uris);
        changed.push((before, instance.clone()));
    }
    changed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::time::UNIX_EPOCH;

    use cupola_types::{AppGuid, AppVersion, InstanceState};

    use super::*;
    use crate::instance::tests::instance;

    #[test]
    fn new_routes_keep_the_instance_s_ids_and_leave_others_alone() {
        let mut list = [
            instance("a", 0),
            instance("b", 0),
            instance("a", 1),
            instance("a", 2),
        ];
        list[2].advance(InstanceState::Crashed, UNIX_EPOCH).unwrap();
        list[3].version = AppVersion::new("older");
        let order = UpdateRoutes {
            droplet: AppGuid::new("a"),
            uris: vec!["new.example.test".to_owned()],
            version: Some(AppVersion::new("v1")),
        };
        let changed = reroute(list.iter_mut(), &order);
        let [(before, after)] = changed.as_slice() else {
            panic!("{changed:?}")
        };
        assert_eq!(
            (&before.guid, &before.private_id),
            (&after.guid, &after.private_id)
        );
        assert_eq!(after.uris, order.uris);
        for other in &list[1..] {
            assert_eq!(other.uris, ["shop.example.test"]);
        }
        assert!(
            reroute(list.iter_mut(), &order).is_empty(),
            "a second time changes nothing"
        );
    }
}
