//! The controller and the DEAs: who has room, start, stop, find (bus contract §1.2–1.5, §3.1).

use std::collections::BTreeMap;

use cupola_types::{
    AppGuid, AppVersion, DeaId, DiskMb, InstanceGuid, InstanceIndex, InstanceState, MemoryMb,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Call, Nothing, Topic, json_messages};

/// `dea.start` — a DEA says that it is ready. Once; nobody depends on it.
pub const HELLO: Topic<Hello> = Topic::literal("dea.start");
/// `dea.advertise` — dea → controller, health manager; every 5 s, on change and on `dea.locate`.
pub const ADVERTISE: Topic<Advertise> = Topic::literal("dea.advertise");
/// `dea.locate` — controller → every dea: advertise now.
pub const LOCATE: Topic<Nothing> = Topic::literal("dea.locate");
/// `dea.shutdown` — dea → controller, health manager: place nothing here any more.
pub const SHUTDOWN: Topic<Shutdown> = Topic::literal("dea.shutdown");
/// `dea.status` — an operator's question to every dea.
pub const STATUS: Call<Nothing, Status> = Call::literal("dea.status");
/// `dea.find.droplet` — controller → every dea; one answer per matching instance.
pub const FIND: Call<FindInstances, FoundInstance> = Call::literal("dea.find.droplet");
/// `dea.stop` — controller → every dea: stop what the filter selects.
pub const STOP: Topic<InstanceFilter> = Topic::literal("dea.stop");
/// `dea.update` — controller → every dea: the app's routes are now these.
pub const UPDATE: Topic<UpdateRoutes> = Topic::literal("dea.update");
/// `dea.heartbeat` — dea → health manager; every 10 s, at once when an instance becomes RUNNING
/// or ends, and on `healthmanager.start`. Sent when empty too, so that silence means absence.
pub const HEARTBEAT: Topic<Heartbeat> = Topic::literal("dea.heartbeat");
/// `droplet.exited` — dea → health manager, controller: an instance ended.
pub const EXITED: Topic<Exited> = Topic::literal("droplet.exited");

/// `dea.<id>.start` — controller → that dea: run this instance. The answer says whether the dea
/// took it and has reserved the room; whether it *works* shows in heartbeats.
#[must_use]
pub fn start(dea: &DeaId) -> Call<StartInstance, StartAnswer> {
    Call::of(format!("dea.{dea}.start"))
}

/// Payload of `dea.start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Who.
    pub id: DeaId,
    /// The address by which other hosts reach it.
    pub ip: String,
    /// The software's version.
    pub version: String,
}

/// Payload of `dea.advertise`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advertise {
    /// Who.
    pub id: DeaId,
    /// The stacks it can run.
    pub stacks: Vec<String>,
    /// Memory not reserved, in MiB.
    pub available_memory: MemoryMb,
    /// Disk not reserved, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_disk: Option<DiskMb>,
    /// How many instances of each app are registered here.
    #[serde(default)]
    pub app_id_to_count: BTreeMap<AppGuid, u32>,
    /// Where it stands.
    #[serde(default)]
    pub placement_properties: PlacementProperties,
}

/// Where a DEA stands, for spreading instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementProperties {
    /// The availability zone.
    #[serde(default = "PlacementProperties::default_zone")]
    pub zone: String,
}

impl PlacementProperties {
    fn default_zone() -> String {
        "default".to_owned()
    }
}

impl Default for PlacementProperties {
    fn default() -> Self {
        Self {
            zone: Self::default_zone(),
        }
    }
}

/// Payload of `dea.shutdown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    /// Who.
    pub id: DeaId,
    /// The address by which other hosts reach it.
    #[serde(default)]
    pub ip: String,
    /// The software's version.
    #[serde(default)]
    pub version: String,
    /// What still runs here.
    #[serde(default)]
    pub app_id_to_count: BTreeMap<AppGuid, u32>,
}

/// Answer to `dea.status`. Sizes in MiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Who.
    pub id: DeaId,
    /// The address by which other hosts reach it.
    pub ip: String,
    /// The software's version.
    pub version: String,
    /// Capacity.
    pub max_memory: MemoryMb,
    /// Reserved by instances.
    pub reserved_memory: MemoryMb,
    /// Really used by instances.
    pub used_memory: MemoryMb,
    /// Instances in any state that holds memory.
    #[serde(default)]
    pub num_clients: Option<u32>,
}

/// What an instance may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory in MiB.
    pub mem: MemoryMb,
    /// Disk in MiB.
    pub disk: DiskMb,
    /// Open files.
    pub fds: u32,
}

/// A bound service, as it goes into `VCAP_SERVICES`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoundService {
    /// The instance's name.
    pub name: String,
    /// The offering, or `user-provided`.
    pub label: String,
    /// Who offers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The offering again, without a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The offering's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Tags for look-up.
    #[serde(default)]
    pub tags: Vec<String>,
    /// How to reach it.
    #[serde(default)]
    pub credentials: Value,
    /// Options of the binding.
    #[serde(default)]
    pub options: Value,
    /// Where the app's logs go as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog_drain_url: Option<String>,
}

/// Question on `dea.<id>.start`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartInstance {
    /// The app.
    pub droplet: AppGuid,
    /// The app's version.
    pub version: AppVersion,
    /// The app's name.
    pub name: String,
    /// Which copy.
    pub index: InstanceIndex,
    /// Host names, each with an optional path, under which the routers shall know it.
    #[serde(default)]
    pub uris: Vec<String>,
    /// Digest of the droplet, 40 hex digits.
    pub sha1: String,
    /// Where to fetch the droplet: a signed URL that expires.
    #[serde(rename = "executableUri")]
    pub executable_uri: String,
    /// What the instance may use.
    pub limits: Limits,
    /// User variables, each `NAME=value`.
    #[serde(default)]
    pub env: Vec<String>,
    /// Bound services.
    #[serde(default)]
    pub services: Vec<BoundService>,
    /// Name of the controller's deployment.
    #[serde(default)]
    pub cc_partition: String,
    /// Overrides the command found at staging.
    #[serde(default)]
    pub start_command: Option<String>,
    /// How long the health check may take, in seconds.
    #[serde(default)]
    pub health_check_timeout: Option<u32>,
    /// Ours: `port` (default) or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_type: Option<String>,
    /// What the app learns of itself.
    #[serde(default)]
    pub vcap_application: VcapApplication,
    /// The root file system to run on.
    #[serde(default)]
    pub stack: String,
    /// What the instance may reach.
    #[serde(default)]
    pub egress_network_rules: Vec<EgressRule>,
}

/// The controller's part of `VCAP_APPLICATION` (bus contract §3.2).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VcapApplication {
    /// Everything, in the names of the contract. Kept open: the dea adds its own part to it.
    #[serde(flatten)]
    pub fields: serde_json::Map<String, Value>,
}

/// What an instance may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressRule {
    /// `tcp`, `udp`, `icmp` or `all`.
    pub protocol: String,
    /// A CIDR block, or `first-last`.
    pub destination: String,
    /// `80,443` or `8000-9000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// ICMP type.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub icmp_type: Option<i32>,
    /// ICMP code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Whether to log new connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<bool>,
}

/// Answer on `dea.<id>.start` (ours; the old system sent none).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum StartAnswer {
    /// The room is reserved; the instance starts.
    Accepted {
        /// The instance that was born.
        instance: InstanceGuid,
    },
    /// The dea does not run it.
    Refused {
        /// Why, for a decision.
        reason: Refusal,
        /// Why, for a person.
        detail: String,
    },
}

/// Why a start or a staging was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Not enough memory left.
    NoMemory,
    /// Not enough disk left.
    NoDisk,
    /// As many instances or tasks as it ever takes.
    Full,
    /// It is going away.
    ShuttingDown,
    /// The stack is not there.
    NoStack,
    /// The order itself is wrong; no other receiver would take it.
    Invalid,
}

/// Which instances an order or a question is about (bus contract §1.4). All given parts must
/// match. A list that is present and empty matches nothing: this is where the old system stopped
/// whole apps by mistake (weakness 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceFilter {
    /// The app.
    pub droplet: AppGuid,
    /// Exactly this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<AppVersion>,
    /// Any of these instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<Vec<InstanceGuid>>,
    /// The same under its other historic name; the two are united.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_ids: Option<Vec<InstanceGuid>>,
    /// Any of these indices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indices: Option<Vec<InstanceIndex>>,
    /// Any of these states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<Vec<InstanceState>>,
}

impl InstanceFilter {
    /// Every instance of `app`.
    #[must_use]
    pub fn app(app: AppGuid) -> Self {
        Self {
            droplet: app,
            version: None,
            instances: None,
            instance_ids: None,
            indices: None,
            states: None,
        }
    }

    /// Whether the filter selects an instance with these properties.
    #[must_use]
    pub fn selects(
        &self,
        app: &AppGuid,
        version: &AppVersion,
        instance: &InstanceGuid,
        index: InstanceIndex,
        state: InstanceState,
    ) -> bool {
        let named = match (&self.instances, &self.instance_ids) {
            (None, None) => true,
            (a, b) => [a, b]
                .into_iter()
                .flatten()
                .flatten()
                .any(|id| id == instance),
        };
        *app == self.droplet
            && self.version.as_ref().is_none_or(|wanted| wanted == version)
            && named
            && self
                .indices
                .as_ref()
                .is_none_or(|wanted| wanted.contains(&index))
            && self
                .states
                .as_ref()
                .is_none_or(|wanted| wanted.contains(&state))
    }
}

/// Payload of `dea.update`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRoutes {
    /// The app.
    pub droplet: AppGuid,
    /// All its routes from now on.
    pub uris: Vec<String>,
    /// The app's version; instances of another one are left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<AppVersion>,
}

/// Question on `dea.find.droplet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindInstances {
    /// Which instances.
    #[serde(flatten)]
    pub filter: InstanceFilter,
    /// Whether to send [`FoundInstance::stats`].
    #[serde(default)]
    pub include_stats: bool,
    /// Ask for a URL of this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// One answer on `dea.find.droplet`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundInstance {
    /// Where it is.
    pub dea: DeaId,
    /// The app.
    pub droplet: AppGuid,
    /// The app's version.
    pub version: AppVersion,
    /// The instance.
    pub instance: InstanceGuid,
    /// Which copy.
    pub index: InstanceIndex,
    /// Where it is in its life.
    pub state: InstanceState,
    /// Since when, in seconds since the epoch.
    pub state_timestamp: f64,
    /// Only when asked for and running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<InstanceStats>,
    /// Signed URL of the file that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_uri_v2: Option<String>,
}

/// What an instance uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceStats {
    /// The app's name.
    pub name: String,
    /// Its routes.
    pub uris: Vec<String>,
    /// Address of the instance.
    pub host: String,
    /// Port of the instance.
    pub port: u16,
    /// Seconds since it was started.
    pub uptime: u64,
    /// Memory limit in bytes.
    pub mem_quota: u64,
    /// Disk limit in bytes.
    pub disk_quota: u64,
    /// Limit of open files.
    pub fds_quota: u32,
    /// What it uses now.
    pub usage: Usage,
}

/// What an instance uses now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// When this was measured.
    pub time: String,
    /// Share of one core: 1.0 is one core in full.
    pub cpu: f64,
    /// Bytes of memory.
    pub mem: u64,
    /// Bytes of disk.
    pub disk: u64,
}

/// Payload of `dea.heartbeat`: all instances of one dea.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who.
    pub dea: DeaId,
    /// Everything it has in STARTING, RUNNING, CRASHED or EVACUATING.
    pub droplets: Vec<InstanceHeartbeat>,
    /// Ours: which part of the list this is when it does not fit one message, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
    /// Ours: how many parts there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<u32>,
}

/// One instance in a [`Heartbeat`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceHeartbeat {
    /// Name of the controller's deployment.
    #[serde(default)]
    pub cc_partition: String,
    /// The app.
    pub droplet: AppGuid,
    /// The app's version.
    pub version: AppVersion,
    /// The instance.
    pub instance: InstanceGuid,
    /// Which copy.
    pub index: InstanceIndex,
    /// Where it is in its life.
    pub state: InstanceState,
    /// Since when, in seconds since the epoch.
    pub state_timestamp: f64,
}

/// Why an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// Nobody asked for it.
    #[serde(rename = "CRASHED")]
    Crashed,
    /// Someone asked for it.
    #[serde(rename = "STOPPED")]
    Stopped,
    /// The dea goes away.
    #[serde(rename = "DEA_SHUTDOWN")]
    DeaShutdown,
    /// The dea is being emptied; the instance still serves.
    #[serde(rename = "DEA_EVACUATION")]
    DeaEvacuation,
}

/// Payload of `droplet.exited`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    /// Name of the controller's deployment.
    #[serde(default)]
    pub cc_partition: String,
    /// The app.
    pub droplet: AppGuid,
    /// The app's version.
    pub version: AppVersion,
    /// The instance.
    pub instance: InstanceGuid,
    /// Which copy.
    pub index: InstanceIndex,
    /// Why it ended.
    pub reason: ExitReason,
    /// When it crashed, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_timestamp: Option<i64>,
    /// The process's exit status, 128 + n when signal n ended it, -1 when there is none.
    #[serde(default = "Exited::no_status")]
    pub exit_status: i32,
    /// A short reason for a person, such as `out of memory`.
    #[serde(default)]
    pub exit_description: String,
    /// Ours: where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dea: Option<DeaId>,
}

impl Exited {
    fn no_status() -> i32 {
        -1
    }
}

json_messages!(
    Hello,
    Advertise,
    Shutdown,
    Status,
    StartInstance,
    StartAnswer,
    InstanceFilter,
    UpdateRoutes,
    FindInstances,
    FoundInstance,
    Heartbeat,
    Exited,
);

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(filter: &InstanceFilter) -> bool {
        filter.selects(
            &AppGuid::new("app"),
            &AppVersion::new("v1"),
            &InstanceGuid::new("i1"),
            InstanceIndex(0),
            InstanceState::Running,
        )
    }

    #[test]
    fn a_filter_that_is_present_and_empty_selects_nothing() {
        let all = InstanceFilter::app(AppGuid::new("app"));
        assert!(selected(&all));
        assert!(!selected(&InstanceFilter {
            instances: Some(vec![]),
            ..all.clone()
        }));
        assert!(!selected(&InstanceFilter {
            instance_ids: Some(vec![]),
            ..all.clone()
        }));
        assert!(!selected(&InstanceFilter {
            indices: Some(vec![]),
            ..all.clone()
        }));
        assert!(!selected(&InstanceFilter {
            states: Some(vec![]),
            ..all
        }));
    }

    #[test]
    fn the_two_names_of_the_instance_list_are_united() {
        let filter = InstanceFilter {
            instances: Some(vec![InstanceGuid::new("other")]),
            instance_ids: Some(vec![InstanceGuid::new("i1")]),
            ..InstanceFilter::app(AppGuid::new("app"))
        };
        assert!(selected(&filter));
    }

    #[test]
    fn every_part_of_a_filter_must_match() {
        let filter = InstanceFilter {
            version: Some(AppVersion::new("v2")),
            instances: Some(vec![InstanceGuid::new("i1")]),
            ..InstanceFilter::app(AppGuid::new("app"))
        };
        assert!(!selected(&filter));
        assert!(!selected(&InstanceFilter::app(AppGuid::new("another"))));
    }
}
