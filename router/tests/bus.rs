//! A whole router on a whole bus, with a dea that is played.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may panic, and says loudly what it skips"
)]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cupola_component::{Bus, Deps, Health, Listeners, Metrics};
use cupola_messages::logs::{self, LogSource};
use cupola_messages::router::{self, Registration};
use cupola_messages::{Nothing, Topic};
use cupola_router::{Config, build};
use cupola_testkit::NatsServer;
use cupola_testkit::room::{Broker, connect};
use cupola_types::{AppGuid, ComponentId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Nothing in these tests takes longer.
const DEADLINE: Duration = Duration::from_secs(10);
const APP: &str = "app-1";

/// A way to the broker that can be cut.
struct Wire {
    listener: Arc<tokio::net::TcpListener>,
    broker: SocketAddr,
    carrying: Option<CancellationToken>,
}

struct Router {
    address: SocketAddr,
    routes: SocketAddr,
    metrics: Metrics,
    health: Health,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

// === impl Wire ===

impl Wire {
    async fn lay(broker: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut wire = Self {
            listener: Arc::new(listener),
            broker,
            carrying: None,
        };
        wire.mend();
        wire
    }

    fn mend(&mut self) {
        let (listener, broker) = (Arc::clone(&self.listener), self.broker);
        let whole = CancellationToken::new();
        self.carrying = Some(whole.clone());
        tokio::spawn(whole.clone().run_until_cancelled_owned(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(whole.clone().run_until_cancelled_owned(async move {
                    let mut far = TcpStream::connect(broker).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }));
            }
        }));
    }

    fn cut(&mut self) {
        self.carrying.take().unwrap().cancel();
    }

    fn url(&self) -> String {
        format!("nats://{}", self.listener.local_addr().unwrap())
    }
}

// === impl Router ===

impl Router {
    async fn start(url: &str, config: Config) -> Self {
        let mut listeners = Listeners::none();
        let mut addresses = Vec::new();
        for name in ["http", "routes"] {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            addresses.push(socket.local_addr().unwrap());
            listeners.insert(name, socket);
        }
        let bus = connect(url).await;
        let mut starts = bus.subscribe(&router::START).await.unwrap();
        bus.flush(DEADLINE).await.unwrap();
        let (metrics, health) = (Metrics::default(), Health::default());
        let deps = Deps {
            bus: connect(url).await,
            listeners,
            metrics: metrics.clone(),
            health: health.clone(),
            tasks: TaskTracker::new(),
            id: ComponentId::new("r1"),
            index: 3,
        };
        let room = build(config, deps).await.unwrap();
        assert_eq!(room.address(), addresses[0]);
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(room.run(shutdown.clone()));
        // It listens to the bus when it asks.
        tokio::time::timeout(DEADLINE, starts.next())
            .await
            .unwrap()
            .unwrap();
        Self {
            address: addresses[0],
            routes: addresses[1],
            metrics,
            health,
            shutdown,
            running,
        }
    }

    async fn get(&self, host: &str) -> (u16, String) {
        ask(
            self.address,
            &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        )
        .await
    }

    async fn status_becomes(&self, host: &str, status: u16) {
        let begin = Instant::now();
        loop {
            let (last, _) = self.get(host).await;
            if last == status {
                return;
            }
            assert!(
                begin.elapsed() < DEADLINE,
                "{host} still answers {last}, not {status}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(DEADLINE, self.running)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

async fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    };
    tokio::time::timeout(DEADLINE, exchange).await.unwrap()
}

/// An app that says `name`.
async fn app(name: &'static str) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{name}",
                    name.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

fn registration(address: SocketAddr, instance: &str, uris: &[&str]) -> Registration {
    Registration {
        host: address.ip().to_string(),
        port: address.port(),
        uris: uris.iter().map(ToString::to_string).collect(),
        app: Some(APP.to_owned()),
        private_instance_id: Some(instance.to_owned()),
        private_instance_index: Some("0".to_owned()),
        tags: [("component".to_owned(), "dea-0".to_owned())].into(),
        ..Registration::default()
    }
}

/// Registers whatever a router asks for, `delay` after it asks.
fn play_dea(bus: Bus, registration: Registration, delay: Duration) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut starts = bus.subscribe(&router::START).await.unwrap();
        while starts.next().await.is_some() {
            tokio::time::sleep(delay).await;
            let _ = bus.publish(&router::REGISTER, &registration).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_is_routed_until_it_is_unregistered() {
    routes_what_is_registered(&Broker::start().await.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_a_genuine_broker() {
    if !NatsServer::is_installed() {
        eprintln!("SKIPPED: nats-server is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = NatsServer::start(folder.path());
    routes_what_is_registered(&server.url()).await;
}

async fn routes_what_is_registered(url: &str) {
    let bus = connect(url).await;
    let mut starts = bus.subscribe(&router::START).await.unwrap();
    bus.flush(DEADLINE).await.unwrap();
    let router = Router::start(url, Config::default()).await;
    let start = starts.next().await.unwrap();
    assert_eq!(start.id, "3-r1");
    assert_eq!(start.minimum_register_interval_in_seconds, 20);
    assert_eq!(start.prune_threshold_in_seconds, Some(120));
    let greeted = bus
        .request(&router::GREET, &Nothing, DEADLINE)
        .await
        .unwrap();
    assert_eq!(greeted, start);

    let message = registration(app("hello").await, "i-1", &["a.test", "b.test"]);
    bus.publish(&router::REGISTER, &message).await.unwrap();
    router.status_becomes("a.test", 200).await;
    assert_eq!(router.get("b.test").await, (200, "hello".to_owned()));
    assert_eq!(router.get("c.test").await.0, 404);

    // What does not parse stops nothing. Register and unregister keep their order.
    let mut broken = message.clone();
    broken.port = 0;
    bus.publish(&router::REGISTER, &broken).await.unwrap();
    for _ in 0..200 {
        bus.publish(&router::REGISTER, &message).await.unwrap();
        bus.publish(&router::UNREGISTER, &message).await.unwrap();
    }
    let marker = registration(app("marker").await, "i-2", &["marker.test"]);
    bus.publish(&router::REGISTER, &marker).await.unwrap();
    router.status_becomes("marker.test", 200).await;
    assert_eq!(router.get("a.test").await.0, 404);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_starts_denies_no_route_that_somebody_still_has() {
    let url = Broker::start().await.url();
    let address = app("hello").await;
    let api = registration(app("api").await, "cc", &["api.test"]);
    let _api = play_dea(connect(&url).await, api, Duration::ZERO);
    let message = registration(address, "i-1", &["a.test"]);
    let _dea = play_dea(connect(&url).await, message, Duration::from_millis(600));
    for _ in 0..2 {
        let router = Router::start(&url, Config::default()).await;
        let begin = Instant::now();
        // The first comes from a dea that is quick, the second from one that is not.
        assert_eq!(router.get("api.test").await, (200, "api".to_owned()));
        assert!(
            begin.elapsed() < Duration::from_millis(500),
            "{:?}",
            begin.elapsed()
        );
        assert_eq!(router.get("a.test").await, (200, "hello".to_owned()));
        assert_eq!(router.health.failures(), []);
        router.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bus_is_away_routes_stay_and_on_its_return_everybody_is_asked() {
    let broker = Broker::start().await;
    let mut wire = Wire::lay(broker.address()).await;
    let config = Config {
        stale_after: Duration::from_secs(2),
        register_every: Duration::from_secs(1),
        prune_every: Duration::from_secs(1),
        ..Config::default()
    };
    let router = Router::start(&wire.url(), config).await;
    let bus = broker.connect().await;
    let mut starts = bus.subscribe(&router::START).await.unwrap();
    let message = registration(app("hello").await, "i-1", &["a.test"]);
    bus.publish(&router::REGISTER, &message).await.unwrap();
    router.status_becomes("a.test", 200).await;
    wire.cut();
    let away = Instant::now();
    while away.elapsed() < Duration::from_secs(5) {
        assert_eq!(router.get("a.test").await.0, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wire.mend();
    tokio::time::timeout(DEADLINE, starts.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(router.get("a.test").await.0, 200);
    // Nobody registers it again, so at last it goes.
    router.status_becomes("a.test", 404).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_in_the_apps_log_and_in_the_numbers() {
    let url = Broker::start().await.url();
    let bus = connect(&url).await;
    let topic: Topic<logs::LogBatch> = logs::app(&AppGuid::new(APP));
    let mut log = bus.subscribe(&topic).await.unwrap();
    bus.flush(DEADLINE).await.unwrap();
    let config = Config {
        routes_password: Some("secret".into()),
        ..Config::default()
    };
    let router = Router::start(&url, config).await;
    let address = app("hello").await;
    let message = registration(address, "i-1", &["a.test"]);
    bus.publish(&router::REGISTER, &message).await.unwrap();
    router.status_becomes("a.test", 200).await;

    let batch = tokio::time::timeout(DEADLINE, log.next())
        .await
        .unwrap()
        .unwrap();
    let line = &batch.lines[0];
    assert_eq!(
        (line.source_type, line.source_instance.as_str()),
        (LogSource::Router, "3")
    );
    assert!(line.message.starts_with("a.test - ["), "{}", line.message);
    assert!(
        line.message.contains("\"GET / HTTP/1.1\" 200 0 5 "),
        "{}",
        line.message
    );
    let text = router.metrics.text();
    for expected in [
        "router_responses_total{status_group=\"2xx\"} 1",
        "router_routes_total 1",
        "router_register_messages_total 1",
        "router_latency_seconds_bucket{le=\"+Inf\"} 1",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }

    let list = |credentials: &str| {
        let request = format!("GET /routes HTTP/1.1\r\nHost: x\r\n{credentials}\r\n");
        async move { ask(router.routes, &request).await }
    };
    assert_eq!(list("").await.0, 401);
    assert_eq!(
        list("Authorization: Basic cm91dGVyOndyb25n\r\n").await.0,
        401
    );
    let (status, body) = list("Authorization: Basic cm91dGVyOnNlY3JldA==\r\n").await;
    assert_eq!(status, 200);
    assert!(body.contains("\"a.test\""), "{body}");
    assert!(
        body.contains(&address.to_string()) && body.contains("i-1"),
        "{body}"
    );
    router.shutdown.cancel();
    router.running.await.unwrap().unwrap();
}
