//! `/varz`: the broker as a whole.

use std::collections::BTreeMap;

use serde::Serialize;

use super::human;
use super::sample::is_zero;
use crate::hub::Traffic;

/// The broker in numbers, in nats-server's words. What it has no counterpart for is empty.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Varz {
    pub(crate) server_id: String,
    pub(crate) server_name: String,
    pub(crate) version: &'static str,
    pub(crate) proto: u8,
    /// Readers expect a version of Go here; it names the implementation.
    pub(crate) go: &'static str,
    pub(crate) host: String,
    pub(crate) port: u16,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) auth_required: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tls_required: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tls_verify: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) connect_urls: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ws_connect_urls: Vec<String>,
    pub(crate) max_connections: usize,
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) max_subscriptions: usize,
    /// Nanoseconds.
    pub(crate) ping_interval: u64,
    pub(crate) ping_max: u32,
    pub(crate) http_host: String,
    pub(crate) http_port: u16,
    pub(crate) http_base_path: String,
    pub(crate) https_port: u16,
    /// Seconds.
    #[serde(serialize_with = "human::number")]
    pub(crate) auth_timeout: f64,
    pub(crate) max_control_line: usize,
    pub(crate) max_payload: usize,
    pub(crate) max_pending: usize,
    pub(crate) cluster: ClusterOptions,
    pub(crate) gateway: Nothing,
    pub(crate) leaf: Nothing,
    pub(crate) mqtt: Nothing,
    pub(crate) websocket: WebsocketOptions,
    pub(crate) jetstream: Nothing,
    /// Seconds.
    #[serde(serialize_with = "human::number")]
    pub(crate) tls_timeout: f64,
    /// Nanoseconds.
    pub(crate) write_deadline: u64,
    pub(crate) start: String,
    pub(crate) now: String,
    pub(crate) uptime: String,
    /// Bytes in memory.
    pub(crate) mem: u64,
    pub(crate) cores: usize,
    pub(crate) gomaxprocs: usize,
    /// Percent of one core.
    #[serde(serialize_with = "human::number")]
    pub(crate) cpu: f64,
    pub(crate) connections: usize,
    pub(crate) total_connections: u64,
    pub(crate) routes: usize,
    pub(crate) remotes: usize,
    pub(crate) leafnodes: usize,
    #[serde(flatten)]
    pub(crate) traffic: AllTraffic,
    pub(crate) slow_consumers: u64,
    pub(crate) stale_connections: u64,
    pub(crate) stalled_clients: u64,
    pub(crate) subscriptions: usize,
    pub(crate) http_req_stats: BTreeMap<&'static str, u64>,
    pub(crate) config_load_time: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) system_account: Option<String>,
    pub(crate) slow_consumer_stats: PerKind,
    pub(crate) stale_connection_stats: PerKind,
    /// When the certificate that clients see is no longer valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_cert_not_after: Option<String>,
}

/// Messages and bytes: all, and those of clients alone.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct AllTraffic {
    in_msgs: u64,
    in_bytes: u64,
    in_client_msgs: u64,
    in_client_bytes: u64,
    out_msgs: u64,
    out_bytes: u64,
    out_client_msgs: u64,
    out_client_bytes: u64,
}

/// The cluster as configured; empty without one.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ClusterOptions {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(rename = "addr", skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    #[serde(rename = "cluster_port", skip_serializing_if = "is_port_none")]
    pub(crate) port: u16,
    #[serde(skip_serializing_if = "is_unset", serialize_with = "human::number")]
    pub(crate) auth_timeout: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) urls: Vec<String>,
    #[serde(skip_serializing_if = "is_unset", serialize_with = "human::number")]
    pub(crate) tls_timeout: f64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tls_required: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tls_verify: bool,
    /// Connections per peer; -1 when there is a single one that is not pooled.
    #[serde(skip_serializing_if = "is_pool_unset")]
    pub(crate) pool_size: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_cert_not_after: Option<String>,
}

/// The websocket listener as configured; empty without one.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct WebsocketOptions {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    #[serde(skip_serializing_if = "is_port_none")]
    pub(crate) port: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) advertise: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) no_auth_user: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_tls: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) same_origin: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) allowed_origins: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) compression: bool,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) handshake_timeout: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_cert_not_after: Option<String>,
}

/// What this broker has no counterpart for.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Nothing {}

/// A count for each kind of connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PerKind {
    pub(crate) clients: u64,
    pub(crate) routes: u64,
    pub(crate) gateways: u64,
    pub(crate) leafs: u64,
}

// === impl PerKind ===

impl PerKind {
    /// Of clients and routes; there are no others here.
    pub(crate) fn of([clients, routes]: [u64; 2]) -> Self {
        PerKind {
            clients,
            routes,
            ..PerKind::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == PerKind::default()
    }
}

// === impl AllTraffic ===

impl AllTraffic {
    pub(crate) fn new(clients: Traffic, routes: Traffic) -> Self {
        AllTraffic {
            in_msgs: clients.in_msgs + routes.in_msgs,
            in_bytes: clients.in_bytes + routes.in_bytes,
            in_client_msgs: clients.in_msgs,
            in_client_bytes: clients.in_bytes,
            out_msgs: clients.out_msgs + routes.out_msgs,
            out_bytes: clients.out_bytes + routes.out_bytes,
            out_client_msgs: clients.out_msgs,
            out_client_bytes: clients.out_bytes,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands references out"
)]
fn is_none(value: &usize) -> bool {
    *value == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands references out"
)]
fn is_port_none(value: &u16) -> bool {
    *value == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands references out"
)]
fn is_pool_unset(value: &i32) -> bool {
    *value == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands references out"
)]
fn is_unset(value: &f64) -> bool {
    *value <= 0.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn what_is_not_there_is_empty_or_absent() {
        let value = serde_json::to_value(Varz::default()).unwrap();
        for empty in [
            "cluster",
            "gateway",
            "leaf",
            "mqtt",
            "websocket",
            "jetstream",
        ] {
            assert_eq!(value[empty], serde_json::json!({}), "{empty}");
        }
        for absent in ["auth_required", "connect_urls", "max_subscriptions", "tags"] {
            assert!(value.get(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn routes_count_in_all_but_not_for_clients() {
        let one = Traffic {
            in_msgs: 1,
            out_msgs: 2,
            in_bytes: 3,
            out_bytes: 4,
        };
        let value = serde_json::to_value(AllTraffic::new(one, one)).unwrap();
        assert_eq!(
            (&value["in_msgs"], &value["in_client_msgs"]),
            (&2.into(), &1.into())
        );
        assert_eq!(
            (&value["out_bytes"], &value["out_client_bytes"]),
            (&8.into(), &4.into())
        );
    }
}
