//! Brokers of the test's own that form a cluster, and what is asked of them.

#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../front_door/support.rs"]
mod front_door;

use std::net::SocketAddr;
use std::time::Duration;

use cupola_bus::{Config, Handle, Listeners, build};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use front_door::{PATIENCE, Raw, eventually};

/// The CONNECT of most tests: knows headers, and wants to hear that nobody listens.
pub(crate) const HELLO: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\
    \"no_responders\":true}\r\n";

/// One server of a cluster.
pub(crate) struct Server {
    pub(crate) clients: SocketAddr,
    pub(crate) routes: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: tokio::task::JoinHandle<Result<(), cupola_bus::RunError>>,
    config: serde_json::Value,
    _stop: DropGuard,
}

/// Starts a server that dials `routes`; `cluster` is laid over what all have in common, but for a section
/// `websocket`, which is for the server as a whole.
pub(crate) async fn server(
    name: &str,
    routes: &[SocketAddr],
    cluster: serde_json::Value,
) -> Server {
    let routes: Vec<String> = routes
        .iter()
        .map(|route| format!("nats://{route}"))
        .collect();
    let mut all = serde_json::json!({
        "name": "test", "listen": "127.0.0.1:0", "routes": routes, "ping_interval": "1s",
    });
    for (key, value) in cluster.as_object().unwrap() {
        if value.is_null() {
            all.as_object_mut().unwrap().remove(key);
        } else {
            all[key] = value.clone();
        }
    }
    let websocket = all.as_object_mut().unwrap().remove("websocket");
    let headers = all.as_object_mut().unwrap().remove("headers");
    let json = serde_json::json!({
        "listen": "127.0.0.1:0", "workers": 2, "server_name": name, "cluster": all,
        "websocket": websocket, "headers": headers.unwrap_or(true.into()),
        // Its time would be anywhere in a test.
        "limits": { "first_ping": "1h" },
    });
    start(json).await
}

/// Starts a server with this configuration.
pub(crate) async fn start(json: serde_json::Value) -> Server {
    let config: Config = serde_json::from_value(json.clone()).unwrap();
    let mut broker = build(config, Listeners::default()).await.unwrap();
    broker.open().await.unwrap();
    let shutdown = CancellationToken::new();
    Server {
        clients: broker.client_address().unwrap(),
        routes: broker.cluster_address().unwrap(),
        handle: broker.handle(),
        running: tokio::spawn(broker.run(shutdown.clone())),
        shutdown: shutdown.clone(),
        config: json,
        _stop: shutdown.drop_guard(),
    }
}

/// Three that have found each other; the last two only know the first.
pub(crate) async fn three() -> [Server; 3] {
    let none = || serde_json::json!({});
    let a = server("a", &[], none()).await;
    let b = server("b", &[a.routes], none()).await;
    let c = server("c", &[a.routes], none()).await;
    let all = [a, b, c];
    for server in &all {
        server.has_peers(2).await;
    }
    all
}

impl Server {
    /// A client that has said who it is.
    pub(crate) async fn client(&self) -> Raw {
        let mut raw = Raw::dial(self.clients).await;
        raw.send(HELLO).await;
        raw.sync().await;
        raw
    }

    /// Changes its cluster section while it runs; what is null goes.
    pub(crate) fn reload(&mut self, cluster: serde_json::Value) {
        let section = self.config["cluster"].as_object_mut().unwrap();
        for (key, value) in cluster.as_object().unwrap() {
            section.insert(key.clone(), value.clone());
        }
        section.retain(|_, value| !value.is_null());
        let config: Config = serde_json::from_value(self.config.clone()).unwrap();
        self.handle.reload(&config).unwrap();
    }

    /// Waits until it has so many peers.
    pub(crate) async fn has_peers(&self, count: usize) {
        eventually("the right number of peers", || self.handle.peers() == count).await;
    }

    /// Stops it and waits until it is gone.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running).await;
        ended.unwrap().unwrap().unwrap();
    }
}

/// The next line that is not about the connection itself. Pings are answered.
pub(crate) async fn line(raw: &mut Raw) -> String {
    loop {
        let line = raw.line().await;
        match line.as_str() {
            "PING" => raw.send("PONG\r\n").await,
            news if news.starts_with("INFO ") => {}
            _ => return line,
        }
    }
}

/// All that was sent so far has been handled, and nothing has come of it.
pub(crate) async fn sync(raw: &mut Raw) {
    raw.send("PING\r\n").await;
    assert_eq!(line(raw).await, "PONG");
}

/// Sends requests at `from` until `to` gets one: then the interest has arrived, and all that `to` has
/// subscribed to before. What comes of it is read.
pub(crate) async fn connected(from: &mut Raw, to: &mut Raw) {
    let inbox = format!("probe.{:x}", rand_number());
    to.send(format!("SUB {inbox} probe\r\n")).await;
    sync(to).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        assert!(
            tokio::time::Instant::now() < deadline,
            "interest never arrived"
        );
        // A request that nobody hears is answered with a 503 at once.
        from.send(format!(
            "SUB {inbox}.r r\r\nPUB {inbox} {inbox}.r 0\r\n\r\nPING\r\n"
        ))
        .await;
        let mut heard = true;
        loop {
            match line(from).await.as_str() {
                "PONG" => break,
                answer => heard &= !answer.contains(" r "),
            }
        }
        if heard {
            break;
        }
        sync(to).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let message = line(to).await;
    assert!(
        message.starts_with(&format!("MSG {inbox} probe ")),
        "{message:?}"
    );
    assert_eq!(line(to).await, "");
    to.send("UNSUB probe\r\n").await;
    sync(to).await;
    from.send("UNSUB r\r\n").await;
    sync(from).await;
}

fn rand_number() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}
