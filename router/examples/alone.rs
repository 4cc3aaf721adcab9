//! A router alone, for measuring: one endpoint behind many hosts.
//!
//! `alone <bus url> <listen address> <endpoint address> <hosts> <cores> [log]` registers `a.test` and
//! `h0.test`, `h1.test`, … at the endpoint; with `log`, requests leave access lines.

#![allow(clippy::print_stderr, reason = "a program for a terminal")]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use cupola_component::{Bus, BusConfig, Deps, Health, Listeners, Metrics};
use cupola_messages::router::{REGISTER, Registration};
use cupola_router::{Config, build};
use cupola_types::ComponentId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Routes that one message registers.
const BATCH: usize = 100;

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bus, listen, endpoint, hosts, cores, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: alone <bus url> <listen> <endpoint> <hosts> <cores> [log]");
    };
    let (listen, endpoint): (SocketAddr, SocketAddr) = (listen.parse()?, endpoint.parse()?);
    let hosts: usize = hosts.parse().context("hosts")?;
    let config = Config {
        address: listen,
        cores: cores.parse().context("cores")?,
        access_log: rest.iter().any(|word| word == "log"),
        ..Config::default()
    };
    let bus_config = BusConfig {
        urls: vec![bus.clone()],
        nkey_seed: None,
        user: None,
        password: None,
        inbox_prefix: "_INBOX".to_owned(),
    };
    let bus = Bus::connect(&bus_config, "router").await?;
    bus.wait_connected(Duration::from_secs(5)).await?;
    let deps = Deps {
        bus: bus.clone(),
        listeners: Listeners::none(),
        metrics: Metrics::default(),
        health: Health::default(),
        tasks: TaskTracker::new(),
        id: ComponentId::new("alone"),
        index: 0,
    };
    let room = build(config, deps).await?;
    let registry = std::sync::Arc::clone(room.registry());
    let running = tokio::spawn(room.run(CancellationToken::new()));
    let names: Vec<String> = std::iter::once("a.test".to_owned())
        .chain((0..hosts).map(|n| format!("h{n}.test")))
        .collect();
    while registry.routes() < names.len() {
        for (number, uris) in names.chunks(BATCH).enumerate() {
            // Each batch is an endpoint of its own to the table, at an address that is the same host.
            let host = match number {
                0 => endpoint.ip().to_string(),
                _ => format!("127.{}.{}.1", 1 + number / 256, number % 256),
            };
            let registration = Registration {
                host,
                port: endpoint.port(),
                uris: uris.to_vec(),
                app: Some("01234567-89ab-cdef-0123-456789abcdef".to_owned()),
                private_instance_id: Some(format!("instance-{number}")),
                private_instance_index: Some("0".to_owned()),
                ..Registration::default()
            };
            bus.publish(&REGISTER, &registration).await?;
        }
        bus.flush(Duration::from_secs(5)).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    eprintln!("{} routes", registry.routes());
    running.await?
}
