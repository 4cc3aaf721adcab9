//! The health manager from outside: a real broker, a real bulk API that can fail, DEAs played by
//! the tests.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cupola_component::{Bus, BusConfig, BusError, Deps, Health, Listeners, Metrics, Subscription};
use cupola_health_manager::{Config, build};
use cupola_messages::Nothing;
use cupola_messages::dea::{self, Advertise, ExitReason, Exited, Heartbeat, InstanceHeartbeat};
use cupola_messages::health::{self, AppActual, AppQuery, StartProposal, StopProposal};
use cupola_types::{
    AppGuid, AppVersion, ComponentId, DeaId, InstanceGuid, InstanceIndex, InstanceState, MemoryMb,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const DEADLINE: Duration = Duration::from_secs(20);
/// Long enough for everything that the timing below could let happen.
const NOTHING_HAPPENS: Duration = Duration::from_millis(1_500);
const TIMING: &str = "settle = \"100ms\"\nmissing = \"200ms\"\nextra = \"200ms\"\n\
     repeat = \"300ms\"\ndea_lost = \"2s\"\nfetch_every = \"100ms\"\ndesired_fresh = \"1s\"\n";
const APP: &str = "app-1";

/// A broker that can go away and come back.
struct Broker {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Broker {
    async fn start_at(address: &str) -> Self {
        let config = cupola_bus::Config {
            workers: Some(1),
            ..cupola_bus::Config::default()
        };
        let socket = TcpListener::bind(address).unwrap();
        let broker = cupola_bus::build(config, socket).await.unwrap();
        let address = broker.client_address().unwrap();
        let stop = CancellationToken::new();
        let running = broker.run(stop.clone());
        let task = tokio::spawn(async move {
            let _ = running.await;
        });
        Self {
            address,
            stop,
            task,
        }
    }

    async fn restart(&mut self) {
        self.stop.cancel();
        timeout(DEADLINE, &mut self.task).await.unwrap().unwrap();
        *self = Self::start_at(&self.address.to_string()).await;
    }

    async fn connect(&self) -> Bus {
        let config = format!("urls = [\"nats://{}\"]", self.address);
        let config: BusConfig = toml::from_str(&config).unwrap();
        let bus = Bus::connect(&config, "test").await.unwrap();
        bus.wait_connected(DEADLINE).await.unwrap();
        bus
    }
}

/// The controller's bulk API: apps, or nothing at all while it is dead.
#[derive(Clone)]
struct BulkApi {
    apps: Arc<Mutex<Option<Value>>>,
    address: SocketAddr,
}

impl BulkApi {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self {
            apps: Arc::default(),
            address: listener.local_addr().unwrap(),
        };
        let apps = Arc::clone(&api.apps);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let apps = Arc::clone(&apps);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    let mut chunk = [0u8; 4_096];
                    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                        match stream.read(&mut chunk).await {
                            Ok(n) if n > 0 => head.extend_from_slice(&chunk[..n]),
                            _ => return,
                        }
                    }
                    let head = String::from_utf8_lossy(&head).into_owned();
                    let Some(all) = apps.lock().unwrap().clone() else {
                        return; // dead: the connection is cut
                    };
                    let last = head.contains("last");
                    let results = if last { json!({}) } else { all };
                    // YnVsazpzZWNyZXQ= is bulk:secret
                    let (status, body) = match head.contains("Basic YnVsazpzZWNyZXQ=") {
                        true => (
                            "200 OK",
                            json!({ "results": results, "bulk_token": { "id": "last" } }),
                        ),
                        false => ("401 Unauthorized", json!({})),
                    };
                    let body = body.to_string();
                    let answer = format!(
                        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        api
    }

    fn want(&self, instances: u32) {
        *self.apps.lock().unwrap() = Some(json!({ APP: {
            "id": APP, "instances": instances, "state": "STARTED", "memory": 64,
            "package_state": "STAGED", "version": "v1",
        }}));
    }

    fn die(&self) {
        *self.apps.lock().unwrap() = None;
    }
}

struct Manager {
    health: Health,
    stop: CancellationToken,
    room: JoinHandle<anyhow::Result<()>>,
}

impl Manager {
    async fn start(broker: &Broker, api: &BulkApi, state: Option<&Path>) -> Self {
        cupola_component::install_crypto();
        let deps = Deps {
            bus: broker.connect().await,
            listeners: Listeners::none(),
            metrics: Metrics::default(),
            health: Health::default(),
            tasks: TaskTracker::new(),
            id: ComponentId::new("hm-0"),
            index: 0,
        };
        let state = state.map(|path| format!("state_file = {path:?}\n"));
        let config = format!(
            "cloud_controller_url = \"http://{}\"\nbulk_user = \"bulk\"\n\
             bulk_password = \"secret\"\n{}[timing]\n{TIMING}",
            api.address,
            state.unwrap_or_default()
        );
        let config: Config = toml::from_str(&config).unwrap();
        let (stop, health) = (CancellationToken::new(), deps.health.clone());
        let room = build(config, deps).await.unwrap();
        let room = tokio::spawn(room.run(stop.clone()));
        Self { health, stop, room }
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.room)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

/// DEAs and the controller, as the health manager hears them and is heard by them.
struct Others {
    bus: Bus,
    hello: Subscription<Nothing>,
    starts: Subscription<StartProposal>,
    stops: Subscription<StopProposal>,
}

impl Others {
    async fn join(broker: &Broker) -> Self {
        let bus = broker.connect().await;
        let others = Self {
            hello: bus.subscribe(&health::HELLO).await.unwrap(),
            starts: bus.subscribe(&health::START).await.unwrap(),
            stops: bus.subscribe(&health::STOP).await.unwrap(),
            bus,
        };
        others.bus.flush(DEADLINE).await.unwrap();
        others
    }

    /// The health manager listens from now on.
    async fn greeted(&mut self) {
        timeout(DEADLINE, self.hello.next()).await.unwrap().unwrap();
    }

    /// A DEA tells what it runs: these indices.
    async fn heartbeat(&self, dea: &str, running: &[u32]) {
        let droplets = running.iter().map(|index| InstanceHeartbeat {
            cc_partition: "default".to_owned(),
            droplet: AppGuid::new(APP),
            version: AppVersion::new("v1"),
            instance: InstanceGuid::new(format!("{dea}-{index}")),
            index: InstanceIndex(*index),
            state: InstanceState::Running,
            state_timestamp: 1.0,
        });
        let heartbeat = Heartbeat {
            dea: DeaId::new(dea),
            droplets: droplets.collect(),
            part: None,
            parts: None,
        };
        self.bus.publish(&dea::HEARTBEAT, &heartbeat).await.unwrap();
    }

    async fn advertise(&self, dea: &str) {
        advertise(&self.bus, dea).await;
    }
    async fn started(&mut self) -> u32 {
        let start = timeout(DEADLINE, self.starts.next())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (start.droplet.as_str(), start.version.as_str()),
            (APP, "v1")
        );
        start.instance_index.0
    }

    /// Forgets what was proposed so far, then expects silence.
    async fn nothing_is_proposed(&mut self) {
        while let Ok(Some(_)) = timeout(Duration::ZERO, self.starts.next()).await {}
        let start = timeout(NOTHING_HAPPENS, self.starts.next()).await;
        assert!(start.is_err(), "{start:?}");
        let stop = timeout(Duration::ZERO, self.stops.next()).await;
        assert!(stop.is_err(), "{stop:?}");
    }

    async fn crash_counts(&self) -> Vec<u32> {
        let told = self.told().await;
        told.crash_counts.iter().map(|c| c.crash_count).collect()
    }

    async fn told(&self) -> AppActual {
        let query = AppQuery {
            droplet: AppGuid::new(APP),
            version: AppVersion::new("v1"),
        };
        let told = self.bus.request(&health::APP_STATE, &query, DEADLINE).await;
        match told {
            Err(BusError::NoResponders { .. }) => AppActual::default(), // not there yet
            told => told.unwrap(),
        }
    }
}

/// A DEA shows that it lives.
async fn advertise(bus: &Bus, dea: &str) {
    let advertise = Advertise {
        id: DeaId::new(dea),
        stacks: Vec::new(),
        available_memory: MemoryMb(64),
        available_disk: None,
        app_id_to_count: [].into(),
        placement_properties: serde_json::from_value(json!({})).unwrap(),
    };
    bus.publish(&dea::ADVERTISE, &advertise).await.unwrap();
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_proposed_and_repeated_until_it_runs() {
    let (broker, api) = (
        Broker::start_at("127.0.0.1:0").await,
        BulkApi::start().await,
    );
    api.want(2);
    let mut others = Others::join(&broker).await;
    let manager = Manager::start(&broker, &api, None).await;
    others.greeted().await;
    others.heartbeat("d1", &[0]).await;
    assert_eq!(others.started().await, 1);
    assert_eq!(
        others.started().await,
        1,
        "again, though nothing else was heard"
    );
    others.heartbeat("d1", &[0, 1]).await;
    until("both are known", async || {
        others.told().await.instance_heartbeats.len() == 2
    })
    .await;
    others.nothing_is_proposed().await;

    api.want(1);
    let stop = timeout(DEADLINE, others.stops.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (stop.instance_guid.as_str(), stop.is_duplicate),
        ("d1-1", false)
    );
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_proposed_on_stale_knowledge_of_what_is_wanted() {
    let (broker, api) = (
        Broker::start_at("127.0.0.1:0").await,
        BulkApi::start().await,
    );
    api.want(1);
    let mut others = Others::join(&broker).await;
    let manager = Manager::start(&broker, &api, None).await;
    others.greeted().await;
    others.heartbeat("d1", &[0]).await;
    until("it is known", async || {
        !others.told().await.instance_heartbeats.is_empty()
    })
    .await;
    until("it is healthy", async || {
        manager.health.failures().is_empty()
    })
    .await;

    api.die();
    until("it says so", async || !manager.health.failures().is_empty()).await;
    // What was read is believed for a second more.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    others.heartbeat("d1", &[]).await;
    others.nothing_is_proposed().await;

    api.want(1);
    others.heartbeat("d1", &[]).await;
    assert_eq!(others.started().await, 0);
    until("it is healthy again", async || {
        manager.health.failures().is_empty()
    })
    .await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_bus_every_known_dea_must_speak_first() {
    let mut broker = Broker::start_at("127.0.0.1:0").await;
    let api = BulkApi::start().await;
    api.want(2);
    let mut others = Others::join(&broker).await;
    let manager = Manager::start(&broker, &api, None).await;
    others.greeted().await;
    others.heartbeat("d1", &[0]).await;
    others.heartbeat("d2", &[1]).await;
    until("both are known", async || {
        others.told().await.instance_heartbeats.len() == 2
    })
    .await;

    broker.restart().await;
    // It says hello on the new connection; this one may have missed it.
    let mut up = others.bus.connected();
    timeout(DEADLINE, up.wait_for(|up| *up))
        .await
        .unwrap()
        .unwrap();
    until("it is back", async || {
        let query = AppQuery {
            droplet: AppGuid::new(APP),
            version: AppVersion::new("v1"),
        };
        let told = others
            .bus
            .request(&health::APP_STATE, &query, DEADLINE)
            .await;
        told.is_ok_and(|told| told.instance_heartbeats.is_empty())
    })
    .await;
    others.heartbeat("d1", &[0]).await;
    others.advertise("d2").await;
    let waits = timeout(Duration::from_millis(800), others.starts.next()).await;
    assert!(waits.is_err(), "the second dea had not spoken: {waits:?}");
    others.heartbeat("d2", &[]).await;
    assert_eq!(others.started().await, 1);
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dea_that_never_tells_what_it_runs_does_not_block_repair_for_ever() {
    let (broker, api) = (
        Broker::start_at("127.0.0.1:0").await,
        BulkApi::start().await,
    );
    api.want(1);
    let mut others = Others::join(&broker).await;
    let manager = Manager::start(&broker, &api, None).await;
    let bus = others.bus.clone();
    let mute = async {
        loop {
            advertise(&bus, "mute").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let start = tokio::select! {
        () = mute => unreachable!("it advertises for ever"),
        start = timeout(DEADLINE, others.starts.next()) => start,
    };
    assert_eq!(start.unwrap().unwrap().instance_index, InstanceIndex(0));
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_counts_survive_a_stop() {
    let (broker, api) = (
        Broker::start_at("127.0.0.1:0").await,
        BulkApi::start().await,
    );
    api.want(1);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("crashes.json");
    let mut others = Others::join(&broker).await;
    let manager = Manager::start(&broker, &api, Some(&state)).await;
    others.greeted().await;
    others.heartbeat("d1", &[0]).await;
    until("it is known", async || {
        !others.told().await.instance_heartbeats.is_empty()
    })
    .await;
    let exited = Exited {
        cc_partition: "default".to_owned(),
        droplet: AppGuid::new(APP),
        version: AppVersion::new("v1"),
        instance: InstanceGuid::new("d1-0"),
        index: InstanceIndex(0),
        reason: ExitReason::Crashed,
        crash_timestamp: None,
        exit_status: 1,
        exit_description: String::new(),
        dea: None,
    };
    for _ in 0..3 {
        others.bus.publish(&dea::EXITED, &exited).await.unwrap();
    }
    until("they are counted", async || {
        others.crash_counts().await == [3]
    })
    .await;
    manager.stop().await; // at once: what was counted last is kept too

    let manager = Manager::start(&broker, &api, Some(&state)).await;
    others.greeted().await;
    others.heartbeat("d1", &[]).await;
    until("they are known again", async || {
        others.crash_counts().await == [3]
    })
    .await;
    manager.stop().await;
}
