//! The health manager, the controller and the DEAs (bus contract §1.6, generation hm9000).

use std::collections::BTreeMap;

use cupola_types::{AppGuid, AppVersion, InstanceGuid, InstanceIndex, InstanceState};
use serde::{Deserialize, Serialize};

use crate::{Call, Nothing, Topic, json_messages};

/// `healthmanager.start` — health manager → every dea: heartbeat now.
pub const HELLO: Topic<Nothing> = Topic::literal("healthmanager.start");
/// `hm9000.start` — health manager → controller \[`cc`\]: an instance is missing. A proposal: the
/// controller checks it against the row.
pub const START: Topic<StartProposal> = Topic::literal("hm9000.start");
/// `hm9000.stop` — health manager → controller \[`cc`\]: an instance is too many. A proposal.
pub const STOP: Topic<StopProposal> = Topic::literal("hm9000.stop");
/// `droplet.updated` — controller → health manager: read this app's row again.
pub const UPDATED: Topic<AppUpdated> = Topic::literal("droplet.updated");
/// `app.state` — controller → health manager \[`hm9000`\]: what is known of one app.
pub const APP_STATE: Call<AppQuery, AppActual> = Call::literal("app.state");
/// `app.state.bulk` — the same for up to [`MAX_BULK_APPS`] apps.
pub const APP_STATE_BULK: Call<BulkQuery, BulkActual> = Call::literal("app.state.bulk");

/// Most apps in one [`APP_STATE_BULK`] question.
pub const MAX_BULK_APPS: usize = 50;
/// Queue group of the controllers that take proposals.
pub const CONTROLLERS: &str = "cc";
/// Queue group of the health managers that answer questions.
pub const HEALTH_MANAGERS: &str = "hm9000";
/// Queue group of the controllers that record crashes.
pub const CRASH_EVENTS: &str = "crash_event_registration";

/// Payload of `hm9000.start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartProposal {
    /// For tracing.
    pub message_id: String,
    /// The app.
    pub droplet: AppGuid,
    /// The version that is wanted.
    pub version: AppVersion,
    /// The copy that is missing.
    pub instance_index: InstanceIndex,
}

/// Payload of `hm9000.stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopProposal {
    /// For tracing.
    pub message_id: String,
    /// The app.
    pub droplet: AppGuid,
    /// The version of the instance.
    pub version: AppVersion,
    /// The instance.
    pub instance_guid: InstanceGuid,
    /// Its index.
    pub instance_index: InstanceIndex,
    /// Whether another instance serves the same index.
    #[serde(default)]
    pub is_duplicate: bool,
}

/// Payload of `droplet.updated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppUpdated {
    /// The app.
    pub droplet: AppGuid,
    /// Name of the controller's deployment.
    #[serde(default)]
    pub cc_partition: String,
}

/// Question on `app.state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppQuery {
    /// The app.
    pub droplet: AppGuid,
    /// The version asked about.
    pub version: AppVersion,
}

/// Answer on `app.state`: `{}` when nothing fresh is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AppActual {
    /// The app; absent when nothing fresh is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub droplet: Option<AppGuid>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<AppVersion>,
    /// What was last heard of its instances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instance_heartbeats: Vec<ActualInstance>,
    /// What crashed how often.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crash_counts: Vec<CrashCount>,
}

/// One instance in an [`AppActual`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActualInstance {
    /// The app.
    pub droplet: AppGuid,
    /// Its version.
    pub version: AppVersion,
    /// The instance.
    pub instance: InstanceGuid,
    /// Which copy.
    pub index: InstanceIndex,
    /// Where it is in its life.
    pub state: InstanceState,
    /// Since when, in seconds since the epoch.
    pub state_timestamp: f64,
    /// Where it is.
    pub dea_guid: String,
}

/// How often an index crashed of late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashCount {
    /// The app.
    pub droplet: AppGuid,
    /// Its version.
    pub version: AppVersion,
    /// Which copy.
    pub instance_index: InstanceIndex,
    /// How often.
    pub crash_count: u32,
    /// When last, in seconds since the epoch.
    pub created_at: i64,
}

/// Question on `app.state.bulk`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BulkQuery(pub Vec<AppQuery>);

/// Answer on `app.state.bulk`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BulkActual(pub BTreeMap<AppGuid, AppActual>);

json_messages!(
    StartProposal,
    StopProposal,
    AppUpdated,
    AppQuery,
    AppActual,
    BulkQuery,
    BulkActual
);
