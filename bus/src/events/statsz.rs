//! The server's pulse: `$SYS.SERVER.<id>.STATSZ`, and the answer to `$SYS.REQ.SERVER.PING`.

use serde::Serialize;

use super::answer::ServerInfo;
use crate::monitor::{PerKind, Volume, human, is_zero};

/// The message.
#[derive(Debug, Serialize)]
pub(crate) struct ServerStats {
    pub(crate) server: ServerInfo,
    pub(crate) statsz: Statsz,
}

/// The server in numbers.
#[derive(Debug, Serialize)]
pub(crate) struct Statsz {
    pub(crate) start: String,
    pub(crate) mem: u64,
    pub(crate) cores: usize,
    #[serde(serialize_with = "human::number")]
    pub(crate) cpu: f64,
    pub(crate) connections: usize,
    pub(crate) total_connections: u64,
    pub(crate) active_accounts: usize,
    pub(crate) subscriptions: usize,
    pub(crate) sent: Volume,
    pub(crate) sent_to_clients: Volume,
    pub(crate) received: Volume,
    pub(crate) received_from_clients: Volume,
    pub(crate) slow_consumers: u64,
    #[serde(skip_serializing_if = "PerKind::is_empty")]
    pub(crate) slow_consumer_stats: PerKind,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) stale_connections: u64,
    #[serde(skip_serializing_if = "PerKind::is_empty")]
    pub(crate) stale_connection_stats: PerKind,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) stalled_clients: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<RouteStat>,
    pub(crate) active_servers: usize,
    pub(crate) gomaxprocs: usize,
}

/// One connection to another server.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RouteStat {
    pub(crate) rid: u64,
    pub(crate) name: String,
    pub(crate) sent: Volume,
    pub(crate) received: Volume,
    pub(crate) pending: usize,
}
