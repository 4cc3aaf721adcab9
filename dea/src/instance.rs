//! One running copy of an app, as the dea knows it.

use std::net::SocketAddrV4;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cupola_messages::dea::{
    ExitReason, Exited, InstanceFilter, InstanceHeartbeat, Limits, StartInstance,
};
use cupola_messages::router::Registration;
use cupola_types::{
    AppGuid, AppVersion, DeaId, IllegalTransition, InstanceGuid, InstanceIndex, InstanceState,
};
use serde::{Deserialize, Serialize};

use crate::droplet::{BadSha, DropletSha};

/// Longest time a health check is given, whatever the order says.
const MAX_HEALTH_CHECK: Duration = Duration::from_secs(600);

/// How it is found out that an instance has come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HealthCheck {
    /// Its port accepts a connection within this many seconds.
    Port {
        /// Limit in seconds.
        limit_s: u64,
    },
    /// It is up as soon as its process runs.
    None,
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ending {
    /// Exit status, 128 + n after signal n, -1 when there is none.
    pub(crate) status: i32,
    /// A short reason for a person.
    pub(crate) description: String,
}

/// One running copy of an app. What the snapshot holds: no environment, no service, no signed
/// address, since nothing secret is needed to adopt a container that runs already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) guid: InstanceGuid,
    /// What the routers know it by; nobody else is told.
    pub(crate) private_id: String,
    pub(crate) app: AppGuid,
    pub(crate) version: AppVersion,
    pub(crate) name: String,
    pub(crate) index: InstanceIndex,
    pub(crate) uris: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) cc_partition: String,
    pub(crate) droplet: DropletSha,
    pub(crate) health_check: HealthCheck,
    /// Where it listens, once its container is there.
    pub(crate) endpoint: Option<SocketAddrV4>,
    /// How it ended, once it has.
    pub(crate) ending: Option<Ending>,
    /// When it was accepted, in seconds since the epoch.
    pub(crate) born_at: f64,
    state: InstanceState,
    state_since: f64,
}

// === impl HealthCheck ===

impl HealthCheck {
    /// The check that an order asks for.
    fn of(order: &StartInstance, default_limit: Duration) -> Self {
        let kind = order.health_check_type.as_deref();
        if kind.is_some_and(|kind| kind == "none" || kind == "process") {
            return Self::None;
        }
        // As of old: an app without routes has no port to look at, unless told otherwise.
        if kind.is_none() && order.uris.is_empty() {
            return Self::None;
        }
        let asked = order
            .health_check_timeout
            .map(|s| Duration::from_secs(s.into()));
        let limit = asked
            .filter(|limit| !limit.is_zero())
            .unwrap_or(default_limit);
        Self::Port {
            limit_s: limit.min(MAX_HEALTH_CHECK).as_secs().max(1),
        }
    }
}

// === impl Instance ===

impl Instance {
    /// A new instance in state BORN, as the order describes it.
    pub(crate) fn born(
        order: &StartInstance,
        default_health_check: Duration,
        now: SystemTime,
    ) -> Result<Self, BadSha> {
        let now = seconds(now);
        Ok(Self {
            guid: InstanceGuid::generate(),
            private_id: format!("{}{}", InstanceGuid::generate(), InstanceGuid::generate()),
            app: order.droplet.clone(),
            version: order.version.clone(),
            name: order.name.clone(),
            index: order.index,
            uris: order.uris.clone(),
            limits: order.limits,
            cc_partition: order.cc_partition.clone(),
            droplet: DropletSha::parse(&order.sha1)?,
            health_check: HealthCheck::of(order, default_health_check),
            endpoint: None,
            ending: None,
            born_at: now,
            state: InstanceState::Born,
            state_since: now,
        })
    }

    pub(crate) fn state(&self) -> InstanceState {
        self.state
    }

    /// When the present state began, in seconds since the epoch.
    pub(crate) fn state_since(&self) -> f64 {
        self.state_since
    }

    /// Moves to `next`, if the lifecycle has that edge.
    pub(crate) fn advance(
        &mut self,
        next: InstanceState,
        now: SystemTime,
    ) -> Result<(), IllegalTransition> {
        self.state = self.state.to(next)?;
        self.state_since = seconds(now);
        Ok(())
    }

    /// The instance as it begins its second life after a restart of the dea, and the state that
    /// it was saved in. Crashed ones stay what they are.
    pub(crate) fn resumed(mut self) -> (Self, InstanceState) {
        let saved = self.state;
        if !saved.is_final() {
            self.state = InstanceState::Resuming;
        }
        (self, saved)
    }

    /// Sets back a state that was saved before a restart, with the time it had then.
    pub(crate) fn resume_as(
        &mut self,
        saved: InstanceState,
        since: f64,
    ) -> Result<(), IllegalTransition> {
        self.state = self.state.to(saved)?;
        self.state_since = since;
        Ok(())
    }

    pub(crate) fn selected_by(&self, filter: &InstanceFilter) -> bool {
        filter.selects(&self.app, &self.version, &self.guid, self.index, self.state)
    }

    /// Whether heartbeats speak of it.
    pub(crate) fn is_announced(&self) -> bool {
        use InstanceState::{Crashed, Evacuating, Running, Starting};
        matches!(self.state, Starting | Running | Crashed | Evacuating)
    }

    /// Whether it belongs in the snapshot: everything with a container, and crashes to tell of.
    pub(crate) fn is_saved(&self) -> bool {
        !matches!(self.state, InstanceState::Born | InstanceState::Stopped)
    }

    pub(crate) fn heartbeat(&self) -> InstanceHeartbeat {
        InstanceHeartbeat {
            cc_partition: self.cc_partition.clone(),
            droplet: self.app.clone(),
            version: self.version.clone(),
            instance: self.guid.clone(),
            index: self.index,
            state: self.state,
            state_timestamp: self.state_since,
        }
    }

    /// What the routers are told; `None` while there is nothing to route to.
    pub(crate) fn registration(&self, dea: &DeaId, component: &str) -> Option<Registration> {
        let endpoint = self.endpoint?;
        if self.uris.is_empty() {
            return None;
        }
        Some(Registration {
            host: endpoint.ip().to_string(),
            port: endpoint.port(),
            uris: self.uris.clone(),
            tags: [("component".to_owned(), component.to_owned())].into(),
            app: Some(self.app.to_string()),
            dea: Some(dea.to_string()),
            private_instance_id: Some(self.private_id.clone()),
            private_instance_index: Some(self.index.to_string()),
            ..Registration::default()
        })
    }

    /// The message that tells of its end.
    pub(crate) fn exited(&self, dea: &DeaId, reason: ExitReason) -> Exited {
        let ending = self.ending.as_ref();
        Exited {
            cc_partition: self.cc_partition.clone(),
            droplet: self.app.clone(),
            version: self.version.clone(),
            instance: self.guid.clone(),
            index: self.index,
            reason,
            #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970 fit")]
            crash_timestamp: (reason == ExitReason::Crashed).then_some(self.state_since as i64),
            exit_status: ending.map_or(-1, |e| e.status),
            exit_description: ending.map(|e| e.description.clone()).unwrap_or_default(),
            dea: Some(dea.clone()),
        }
    }
}

/// Seconds since the epoch, the form of times on the wire.
pub(crate) fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use cupola_types::{DiskMb, MemoryMb};

    use super::*;

    /// An order for copy `index` of `app`.
    pub(crate) fn order(app: &str, index: u32) -> StartInstance {
        StartInstance {
            droplet: AppGuid::new(app),
            version: AppVersion::new("v1"),
            name: "shop".to_owned(),
            index: InstanceIndex(index),
            uris: vec!["shop.example.test".to_owned()],
            sha1: "ab".repeat(20),
            executable_uri: "http://127.0.0.1:1/droplet".to_owned(),
            limits: Limits {
                mem: MemoryMb(64),
                disk: DiskMb(128),
                fds: 1024,
            },
            env: Vec::new(),
            services: Vec::new(),
            cc_partition: "default".to_owned(),
            start_command: None,
            health_check_timeout: None,
            health_check_type: None,
            vcap_application: Default::default(),
            stack: String::new(),
            egress_network_rules: Vec::new(),
        }
    }

    pub(crate) fn instance(app: &str, index: u32) -> Instance {
        Instance::born(&order(app, index), Duration::from_secs(60), UNIX_EPOCH).unwrap()
    }

    #[test]
    fn an_app_without_routes_is_healthy_at_once_unless_it_asks_for_a_check() {
        let check = |change: fn(&mut StartInstance)| {
            let mut order = order("a", 0);
            change(&mut order);
            HealthCheck::of(&order, Duration::from_secs(60))
        };
        assert_eq!(check(|_| {}), HealthCheck::Port { limit_s: 60 });
        assert_eq!(check(|o| o.uris.clear()), HealthCheck::None);
        assert_eq!(
            check(|o| o.health_check_type = Some("none".into())),
            HealthCheck::None
        );
        assert_eq!(
            check(|o| {
                o.uris.clear();
                o.health_check_type = Some("port".into());
                o.health_check_timeout = Some(9);
            }),
            HealthCheck::Port { limit_s: 9 }
        );
        assert_eq!(
            check(|o| o.health_check_timeout = Some(u32::MAX)),
            HealthCheck::Port {
                limit_s: MAX_HEALTH_CHECK.as_secs()
            }
        );
    }

    #[test]
    fn a_snapshot_gives_back_the_same_instance_and_holds_no_secret() {
        let mut order = order("a", 0);
        order.env = vec!["PASSWORD=secret".to_owned()];
        order.executable_uri = "http://x/?signature=secret".to_owned();
        let instance = Instance::born(&order, Duration::from_secs(1), UNIX_EPOCH).unwrap();
        let text = serde_json::to_string(&instance).unwrap();
        assert!(!text.contains("secret"));
        assert_eq!(serde_json::from_str::<Instance>(&text).unwrap(), instance);
    }

    #[test]
    fn a_crash_carries_its_time_and_another_end_does_not() {
        let mut it = instance("a", 0);
        it.advance(InstanceState::Crashed, UNIX_EPOCH + Duration::from_secs(7))
            .unwrap();
        it.ending = Some(Ending {
            status: 137,
            description: "out of memory".to_owned(),
        });
        let dea = DeaId::new("d");
        let crash = it.exited(&dea, ExitReason::Crashed);
        assert_eq!((crash.crash_timestamp, crash.exit_status), (Some(7), 137));
        assert_eq!(
            it.exited(&dea, ExitReason::DeaEvacuation).crash_timestamp,
            None
        );
    }
}
