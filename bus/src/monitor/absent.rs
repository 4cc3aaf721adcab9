//! The endpoints of what this broker does not have: gateways, leaf nodes, JetStream. Readers that ask for
//! them anyway get the answer of a server that does not use them.

use serde::{Deserialize, Serialize};

use super::query::{BadRequest, Query};
use super::routez;
use super::varz::Nothing;

/// What is asked of JetStream. As JSON it is the payload of a `$SYS.REQ.….JSZ` request.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    /// Only the leader of its servers is to answer.
    pub(crate) leader_only: bool,
}

impl Options {
    /// From the parameters of a URL.
    ///
    /// # Errors
    /// One of them cannot be what it should, or only a leader could answer.
    pub(crate) fn parse(query: &Query) -> Result<Self, BadRequest> {
        query.check_flags(&[
            "accounts",
            "streams",
            "consumers",
            "direct-consumers",
            "config",
        ])?;
        query.number::<i64>("offset")?;
        query.number::<i64>("limit")?;
        query.check_flags(&["raft", "stream-leader-only"])?;
        if query.flag("leader-only")? {
            return Err(BadRequest::NotLeader);
        }
        Ok(Options::default())
    }
}

/// Whether a question about gateways can be understood.
///
/// # Errors
/// One of its parameters cannot be what it should.
pub(crate) fn check_gatewayz(query: &Query) -> Result<(), BadRequest> {
    query.check_flags(&["accs"])?;
    routez::Options::parse(query).map(drop)
}

/// Whether a question about leaf nodes can be understood.
///
/// # Errors
/// One of its parameters cannot be what it should.
pub(crate) fn check_leafz(query: &Query) -> Result<(), BadRequest> {
    query.check_flags(&["subs"])
}

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
