//! The routers and everybody who has an address (bus contract §1.7).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Call, Nothing, Topic, json_messages};

/// `router.start` — router → everyone who registers; at start and after each reconnect: register
/// everything now.
pub const START: Topic<RouterStart> = Topic::literal("router.start");
/// `router.greet` — anyone who registers → router, at their start.
pub const GREET: Call<Nothing, RouterStart> = Call::literal("router.greet");
/// `router.register` — on change and again every 20 s; a route that is not refreshed is pruned
/// after 120 s.
pub const REGISTER: Topic<Registration> = Topic::literal("router.register");
/// `router.unregister` — when an address goes away. When it is lost, the pruning cures it.
pub const UNREGISTER: Topic<Registration> = Topic::literal("router.unregister");
/// What a router subscribes: one subscription keeps register and unregister in order.
pub const CONTROL_SUBJECT: &str = "router.*";

/// Payload of `router.start` and answer on `router.greet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterStart {
    /// Who.
    pub id: String,
    /// Its addresses.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// How often to register again, in seconds.
    #[serde(rename = "minimumRegisterIntervalInSeconds")]
    pub minimum_register_interval_in_seconds: u32,
    /// After how many seconds without a registration a route is dropped.
    #[serde(
        rename = "pruneThresholdInSeconds",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub prune_threshold_in_seconds: Option<u32>,
}

/// Payload of `router.register` and `router.unregister`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Address of the endpoint.
    pub host: String,
    /// Port of the endpoint.
    pub port: u16,
    /// Host names, each with an optional path.
    #[serde(default)]
    pub uris: Vec<String>,
    /// Labels; `component` feeds metrics.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The dea.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dea: Option<String>,
    /// The instance: sticky sessions, and the identity of the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_instance_id: Option<String>,
    /// Which copy of the app, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_instance_index: Option<String>,
    /// After how long without a refresh to drop it, when shorter than the router's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_threshold_in_seconds: Option<u32>,
    /// A service that sees each request first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_service_url: Option<String>,
}

json_messages!(RouterStart, Registration);
