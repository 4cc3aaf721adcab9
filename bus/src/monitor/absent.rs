//! The endpoints of what this broker does not have: gateways, leaf nodes, JetStream. Readers that ask for
//! them anyway get the answer of a server that does not use them.

use serde::Serialize;

use super::varz::Nothing;

/// `/gatewayz`.
#[derive(Debug, Serialize)]
pub(crate) struct Gatewayz {
    server_id: String,
    now: String,
    outbound_gateways: Nothing,
    inbound_gateways: Nothing,
}

/// `/leafz`.
#[derive(Debug, Serialize)]
pub(crate) struct Leafz {
    server_id: String,
    now: String,
    leafnodes: usize,
    leafs: [Nothing; 0],
}

/// `/jsz`.
#[derive(Debug, Serialize)]
pub(crate) struct Jsz {
    memory: u64,
    storage: u64,
    reserved_memory: u64,
    reserved_storage: u64,
    accounts: u64,
    ha_assets: u64,
    api: Api,
    server_id: String,
    now: String,
    disabled: bool,
    config: Config,
    streams: u64,
    consumers: u64,
    messages: u64,
    bytes: u64,
    total: u64,
}

#[derive(Debug, Default, Serialize)]
struct Api {
    level: u64,
    total: u64,
    errors: u64,
}

#[derive(Debug, Default, Serialize)]
struct Config {
    max_memory: u64,
    max_storage: u64,
}

impl Gatewayz {
    pub(crate) fn new(server_id: String, now: String) -> Self {
        Gatewayz {
            server_id,
            now,
            outbound_gateways: Nothing {},
            inbound_gateways: Nothing {},
        }
    }
}

impl Leafz {
    pub(crate) fn new(server_id: String, now: String) -> Self {
        Leafz {
            server_id,
            now,
            leafnodes: 0,
            leafs: [],
        }
    }
}

impl Jsz {
    pub(crate) fn new(server_id: String, now: String) -> Self {
        Jsz {
            memory: 0,
            storage: 0,
            reserved_memory: 0,
            reserved_storage: 0,
            accounts: 0,
            ha_assets: 0,
            api: Api::default(),
            server_id,
            now,
            disabled: true,
            config: Config::default(),
            streams: 0,
            consumers: 0,
            messages: 0,
            bytes: 0,
            total: 0,
        }
    }
}
