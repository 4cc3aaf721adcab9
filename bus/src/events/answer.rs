//! Requests into answers.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::advisory::AccountConnections;
use super::filter::{Filter, Traits};
use super::request::{AccountTopic, Ask, PING, Topic};
use super::service::Request;
use super::statsz::{RouteStat, ServerStats, Statsz};
use crate::client::Kind;
use crate::hub::Hub;
use crate::monitor::{
    BadRequest, PerKind, Report, Volume, absent, accountz, accstatz, connz, healthz, human,
    process, routez, subsz,
};
use crate::protocol;
use crate::session::End;

/// Longest answer. One who needs more asks for it page by page.
const LONGEST: usize = 8 << 20;

/// Which server speaks.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServerInfo {
    name: String,
    host: String,
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    cluster: String,
    ver: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    jetstream: bool,
    flags: u64,
    /// Counts what this server has said.
    seq: u64,
    time: String,
}

/// An answer with data, or why there is none.
#[derive(Debug, Serialize)]
struct Answer<T> {
    server: ServerInfo,
    data: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ApiError>,
}

/// An answer that says whether it was done.
#[derive(Debug, Serialize)]
struct Done {
    server: ServerInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ApiError>,
}

/// Why a request was not answered.
#[derive(Debug, Serialize)]
struct ApiError {
    code: u16,
    description: String,
}

/// The answer to `IDZ`.
#[derive(Debug, Serialize)]
struct Idz<'a> {
    name: &'a str,
    host: String,
    id: &'a str,
}

/// Which connection is meant.
#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Target {
    cid: u64,
}

/// An answer that was made.
type Made = Result<Option<Vec<u8>>, serde_json::Error>;

// === impl ServerInfo ===

impl ServerInfo {
    /// This server, about to say something.
    pub(crate) fn next(hub: &Hub) -> Self {
        let settings = hub.settings();
        ServerInfo {
            name: hub.name.clone(),
            host: hub.address.ip().to_string(),
            id: hub.id.clone(),
            cluster: cluster(hub),
            ver: protocol::VERSION,
            tags: settings.config.server_tags.clone(),
            jetstream: false,
            flags: 0,
            seq: hub.events.next_number(),
            time: human::time(SystemTime::now()),
        }
    }
}

/// The server's pulse.
pub(crate) fn pulse(hub: &Hub) -> ServerStats {
    let stats = hub.stats();
    let report = Report::new(hub);
    let totals = report.totals();
    let routes: Vec<_> = report.route_stats().collect();
    let sum = |one: Volume, other: Volume| Volume {
        msgs: one.msgs + other.msgs,
        bytes: one.bytes + other.bytes,
    };
    let (clients, servers) = (totals.of_clients, totals.of_routes);
    let cores = process::cores();
    ServerStats {
        server: ServerInfo::next(hub),
        statsz: Statsz {
            start: human::time(hub.started_at),
            mem: process::resident_bytes(),
            cores,
            cpu: hub.monitor.load.percent(),
            connections: totals.clients,
            total_connections: stats.total_connections,
            active_accounts: totals.active_accounts,
            subscriptions: stats.subscriptions.len,
            sent: sum(clients.sent(), servers.sent()),
            sent_to_clients: clients.sent(),
            received: sum(clients.received(), servers.received()),
            received_from_clients: clients.received(),
            slow_consumers: stats.slow_consumers,
            slow_consumer_stats: PerKind::of(hub.slow_consumers()),
            stale_connections: hub.stale_connections().iter().sum(),
            stale_connection_stats: PerKind::of(hub.stale_connections()),
            stalled_clients: hub.monitor.stalls.load(Ordering::Relaxed),
            active_servers: routes.len() + 1,
            routes,
            gomaxprocs: cores,
        },
    }
}

/// The answer to a request; `None` when it is not for this server, or has none.
pub(crate) fn answer(hub: &Hub, request: &Request) -> Option<Vec<u8>> {
    if request.ask == Ask::Server(Topic::Idz) {
        return idz(hub).ok();
    }
    let filter: Filter = match parse(&request.payload) {
        Ok(filter) => filter,
        Err(error) => return refuse(hub, error).ok().flatten(),
    };
    let traits = Traits {
        name: &hub.name,
        cluster: &cluster(hub),
        host: &hub.address.ip().to_string(),
        tags: &hub.settings().config.server_tags,
    };
    if !filter.matches(traits) {
        return None;
    }
    let made = match &request.ask {
        Ask::Server(topic) => of_server(hub, request, *topic),
        Ask::Account(name, topic) => of_account(hub, request, name, *topic),
        Ask::UserInfo => who_am_i(hub, request),
        Ask::Kick => kick(hub, request),
        Ask::LameDuck => lame_duck(hub, request),
        Ask::Reload => reload(hub),
        // It is news, and nobody waits for an answer.
        Ask::Census => Ok(None),
    };
    let answer = made.ok().flatten()?;
    if answer.len() > LONGEST {
        let description = format!(
            "the answer would have {} bytes; ask for less at a time (limit, offset)",
            answer.len()
        );
        return done(
            hub,
            Some(ApiError {
                code: 500,
                description,
            }),
        )
        .ok()
        .flatten();
    }
    Some(answer)
}

fn of_server(hub: &Hub, request: &Request, topic: Topic) -> Made {
    let report = Report::new(hub);
    match topic {
        Topic::Statsz => serde_json::to_vec(&pulse(hub)).map(Some),
        Topic::Idz => idz(hub).map(Some),
        Topic::Varz => data(hub, Ok(report.varz())),
        Topic::Healthz => with(hub, request, |options: healthz::Options| {
            let health = hub.monitor.health();
            Ok(Some(healthz::Healthz::with_code(health, &options)))
        }),
        Topic::Gatewayz => data(hub, Ok(report.gatewayz())),
        Topic::Leafz => data(hub, Ok(report.leafz())),
        Topic::Jsz => with(hub, request, |options: absent::Options| {
            // There is no leader here.
            Ok((!options.leader_only).then(|| report.jsz()))
        }),
        // Nothing waits in queues of the kinds that are asked for, and there are no groups of replicas.
        Topic::Ipqueuesz | Topic::Raftz => data(hub, Ok(serde_json::Map::new())),
        Topic::Subsz => with(hub, request, |options: subsz::Options| {
            report.subsz(&options).map(Some)
        }),
        Topic::Routez => with(hub, request, |options: routez::Options| {
            Ok(Some(report.routez(options)))
        }),
        Topic::Accountz => with(hub, request, |options: accountz::Options| {
            report.accountz(&options).map(Some)
        }),
        Topic::Connz => with(hub, request, |options: connz::Options| {
            report.connz(&options).map(Some)
        }),
    }
}

fn idz(hub: &Hub) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Idz {
        name: &hub.name,
        host: hub.address.ip().to_string(),
        id: &hub.id,
    })
}

fn of_account(hub: &Hub, request: &Request, name: &str, topic: AccountTopic) -> Made {
    let report = Report::new(hub);
    match topic {
        AccountTopic::Statz => with(hub, request, |mut options: accstatz::Options| {
            if name != PING {
                options.accounts = vec![name.to_owned()];
            }
            let stats = report.accstatz(&options);
            // A server without its connections has nothing to say of an account.
            Ok((options.include_unused || !stats.account_statz.is_empty()).then_some(stats))
        }),
        AccountTopic::Connz => with(hub, request, |mut options: connz::Options| {
            name.clone_into(&mut options.acc);
            report.connz(&options).map(Some)
        }),
        AccountTopic::Subsz => with(hub, request, |mut options: subsz::Options| {
            name.clone_into(&mut options.acc);
            options.subscriptions = true;
            report.subsz(&options).map(Some)
        }),
        AccountTopic::Info => data(hub, report.account(name)),
        AccountTopic::Leafz => data(hub, Ok(report.leafz())),
        AccountTopic::Jsz => failure(hub, "jetstream not enabled".to_owned()),
        AccountTopic::Conns => {
            let stat = report
                .account_stats()
                .into_iter()
                .find(|stat| *stat.acc == *name);
            let Some(stat) = stat.filter(|stat| stat.conns > 0) else {
                return Ok(None);
            };
            serde_json::to_vec(&AccountConnections::new(ServerInfo::next(hub), stat)).map(Some)
        }
    }
}

fn who_am_i(hub: &Hub, request: &Request) -> Made {
    if request.from.kind != Kind::Client {
        // Only the server it is connected to knows.
        return Ok(None);
    }
    let info = super::user_info::describe(&request.from);
    data(hub, Ok(info))
}

fn kick(hub: &Hub, request: &Request) -> Made {
    let target: Target = match parse(&request.payload) {
        Ok(target) => target,
        Err(error) => return refuse(hub, error),
    };
    let client = hub
        .client(target.cid)
        .filter(|client| client.kind == Kind::Client);
    let Some(client) = client else {
        return done(hub, Some(unknown("no such client or leafnode id")));
    };
    client.end(End::Kicked);
    done(hub, None)
}

fn lame_duck(hub: &Hub, request: &Request) -> Made {
    let target: Target = match parse(&request.payload) {
        Ok(target) => target,
        Err(error) => return refuse(hub, error),
    };
    let client = hub
        .client(target.cid)
        .filter(|client| client.kind == Kind::Client);
    let Some(client) = client else {
        return done(hub, Some(unknown("no such client id")));
    };
    hub.send_away(&client);
    done(hub, None)
}

fn reload(hub: &Hub) -> Made {
    if hub.ask_for_reload() {
        return done(hub, None);
    }
    done(
        hub,
        Some(unknown("this server cannot read its configuration again")),
    )
}

// --- forms of answers ---

fn with<O: DeserializeOwned + Default, T: Serialize>(
    hub: &Hub,
    request: &Request,
    make: impl FnOnce(O) -> Result<Option<T>, BadRequest>,
) -> Made {
    match parse(&request.payload).map(make) {
        Ok(Ok(None)) => Ok(None),
        Ok(Ok(Some(made))) => data(hub, Ok(made)),
        Ok(Err(error)) => data::<T>(hub, Err(error)),
        Err(error) => refuse(hub, error),
    }
}

fn data<T: Serialize>(hub: &Hub, made: Result<T, BadRequest>) -> Made {
    let (data, error) = match made {
        Ok(data) => (Some(data), None),
        Err(error) => (None, Some(unknown(&error.to_string()))),
    };
    let server = ServerInfo::next(hub);
    serde_json::to_vec(&Answer {
        server,
        data,
        error,
    })
    .map(Some)
}

fn failure(hub: &Hub, description: String) -> Made {
    let answer = Answer::<()> {
        server: ServerInfo::next(hub),
        data: None,
        error: Some(ApiError {
            code: 500,
            description,
        }),
    };
    serde_json::to_vec(&answer).map(Some)
}

fn done(hub: &Hub, error: Option<ApiError>) -> Made {
    let server = ServerInfo::next(hub);
    serde_json::to_vec(&Done { server, error }).map(Some)
}

/// The options cannot be read.
fn refuse(hub: &Hub, error: serde_json::Error) -> Made {
    let description = error.to_string();
    done(
        hub,
        Some(ApiError {
            code: 400,
            description,
        }),
    )
}

fn unknown(description: &str) -> ApiError {
    ApiError {
        code: 500,
        description: description.to_owned(),
    }
}

/// The options of a request; none is the usual ones. Names in any case will do, and what is `null` is as if
/// it were not said: programs in Go send lists they have not filled like that.
fn parse<O: DeserializeOwned + Default>(payload: &[u8]) -> Result<O, serde_json::Error> {
    if payload.is_empty() {
        return Ok(O::default());
    }
    let options: Option<Map<String, Value>> = serde_json::from_slice(payload)?;
    let said = options
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.to_ascii_lowercase(), value));
    serde_json::from_value(Value::Object(said.collect()))
}

/// The name of the cluster; empty without one.
fn cluster(hub: &Hub) -> String {
    hub.cluster()
        .map_or_else(String::new, |node| node.name().to_string())
}

impl Report<'_> {
    /// Routes, as the pulse tells of them.
    fn route_stats(&self) -> impl Iterator<Item = RouteStat> {
        self.routez(routez::Options::default())
            .routes
            .into_iter()
            .map(|route| RouteStat {
                rid: route.rid,
                name: route.remote_name,
                sent: Volume {
                    msgs: route.out_msgs,
                    bytes: route.out_bytes,
                },
                received: Volume {
                    msgs: route.in_msgs,
                    bytes: route.in_bytes,
                },
                pending: route.pending_size,
            })
    }
}
