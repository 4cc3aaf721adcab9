//! The log service from outside: a real broker, real HTTP and websockets, a controller that says
//! who may read what.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cupola_component::{Bus, BusConfig, Deps, Health, Listeners, Metrics};
use cupola_http::bearer::SigningKey;
use cupola_loggregator::{Config, build};
use cupola_messages::logs::{self, LogBatch, LogLine, LogSource, LogStream};
use cupola_types::{AppGuid, ComponentId};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const DEADLINE: Duration = Duration::from_secs(20);
const ISSUER: &str = "http://uaa.test/oauth/token";
/// The app that exists and that its owner may read.
const APP: &str = "app-1";

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct LogService {
    key: Arc<SigningKey>,
    address: SocketAddr,
    speaker: Bus,
    http: reqwest::Client,
    metrics: Metrics,
    stop: CancellationToken,
    room: JoinHandle<anyhow::Result<()>>,
}

impl LogService {
    async fn start(more: &str) -> Self {
        cupola_component::install_crypto();
        let broker = {
            let config = cupola_bus::Config {
                workers: Some(1),
                ..cupola_bus::Config::default()
            };
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let broker = cupola_bus::build(config, socket).await.unwrap();
            let address = broker.client_address().unwrap();
            tokio::spawn(broker.run(CancellationToken::new()));
            address
        };
        let key = Arc::new(SigningKey::generate().unwrap());
        let controller = controller(Arc::clone(&key)).await;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut listeners = Listeners::none();
        listeners.insert("http", listener);
        let metrics = Metrics::default();
        let deps = Deps {
            bus: connect(broker).await,
            listeners,
            metrics: metrics.clone(),
            health: Health::default(),
            tasks: TaskTracker::new(),
            id: ComponentId::new("l-0"),
            index: 0,
        };
        let config = format!(
            "uaa_url = \"http://{controller}\"\ntoken_issuer = \"{ISSUER}\"\n\
             cloud_controller_url = \"http://{controller}\"\n{more}"
        );
        let config: Config = toml::from_str(&config).unwrap();
        let stop = CancellationToken::new();
        let health = deps.health.clone();
        let room = build(config, deps).await.unwrap();
        let room = tokio::spawn(room.run(stop.clone()));
        let service = Self {
            key,
            address,
            speaker: connect(broker).await,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            metrics,
            stop,
            room,
        };
        until("it is subscribed", async || health.failures().is_empty()).await;
        service
    }

    fn token(&self, user: &str) -> String {
        let claims = json!({
            "jti": "t", "sub": user, "user_id": user, "user_name": user, "client_id": "cf",
            "scope": ["cloud_controller.read"], "aud": ["cloud_controller"], "iss": ISSUER,
            "exp": 4_000_000_000_u64,
        });
        format!("bearer {}", self.key.sign(&claims, None).unwrap())
    }

    /// Says lines and waits until the service has them.
    async fn say(&self, app: &str, lines: Vec<LogLine>) {
        let app_id = AppGuid::new(app);
        for lines in lines.chunks(logs::MAX_BATCH_LINES) {
            let (app_id, lines) = (app_id.clone(), lines.to_vec());
            let topic = logs::app(&app_id);
            let batch = LogBatch { app_id, lines };
            self.speaker.publish(&topic, &batch).await.unwrap();
        }
        self.speaker.flush(DEADLINE).await.unwrap();
    }

    async fn get(&self, path: &str, token: Option<&str>) -> (u16, Vec<u8>) {
        let mut request = self.http.get(format!("http://{}{path}", self.address));
        if let Some(token) = token {
            request = request.header("Authorization", token);
        }
        let answer = request.timeout(DEADLINE).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.bytes().await.unwrap().to_vec())
    }

    /// What log-cache reads of the app, as text.
    async fn read(&self, query: &str) -> Vec<String> {
        let path = format!("/api/v1/read/{APP}?{query}");
        let (status, body) = self.get(&path, Some(&self.token("owner"))).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let body: Value = serde_json::from_slice(&body).unwrap();
        let batch = body["envelopes"]["batch"].as_array().unwrap().clone();
        let text = |envelope: &Value| {
            let payload = BASE64.decode(envelope["log"]["payload"].as_str().unwrap());
            String::from_utf8(payload.unwrap()).unwrap()
        };
        batch.iter().map(text).collect()
    }

    async fn follow(&self, path: &str, token: &str) -> Result<Stream, WsError> {
        let mut request = format!("ws://{}{path}", self.address)
            .into_client_request()
            .unwrap();
        let headers = request.headers_mut();
        headers.insert("Authorization", token.parse().unwrap());
        Ok(timeout(DEADLINE, connect_async(request)).await.unwrap()?.0)
    }

    async fn stream(&self) -> Stream {
        let path = format!("/apps/{APP}/stream");
        self.follow(&path, &self.token("owner")).await.unwrap()
    }

    fn metric(&self, line: &str) -> bool {
        self.metrics.text().lines().any(|l| l == line)
    }
}

async fn connect(broker: SocketAddr) -> Bus {
    let config: BusConfig = toml::from_str(&format!("urls = [\"nats://{broker}\"]")).unwrap();
    let bus = Bus::connect(&config, "test").await.unwrap();
    bus.wait_connected(DEADLINE).await.unwrap();
    bus
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

/// Knows the token keys, and that `owner` may read the one app there is.
async fn controller(key: Arc<SigningKey>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let owner = token_payload_of("owner");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (key, owner) = (Arc::clone(&key), owner.clone());
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
                let path = head.split(' ').nth(1).unwrap_or_default();
                let (status, body) = match path {
                    "/token_keys" => ("200 OK", key.jwks()),
                    _ if path != format!("/v2/apps/{APP}") => ("404 Not Found", Vec::new()),
                    _ if head.contains(&owner) => ("200 OK", b"{}".to_vec()),
                    _ => ("403 Forbidden", b"{}".to_vec()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\
                     Content-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&body).await;
            });
        }
    });
    address
}

/// The part of a token that only this user's tokens hold.
fn token_payload_of(user: &str) -> String {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let claims = json!({
        "jti": "t", "sub": user, "user_id": user, "user_name": user, "client_id": "cf",
        "scope": ["cloud_controller.read"], "aud": ["cloud_controller"], "iss": ISSUER,
        "exp": 4_000_000_000_u64,
    });
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).unwrap())
}

fn line(text: &str, timestamp_ns: i64) -> LogLine {
    LogLine {
        message: text.to_owned(),
        stream: LogStream::Out,
        timestamp_ns,
        source_type: LogSource::App,
        source_instance: "0".to_owned(),
    }
}

/// The next binary message that holds `text`; how many came before it.
async fn hear(stream: &mut Stream, text: &str) -> usize {
    let mut before = 0;
    loop {
        let message = timeout(DEADLINE, stream.next()).await.unwrap();
        match message.expect("the stream ended").unwrap() {
            Message::Binary(bytes) if String::from_utf8_lossy(&bytes).contains(text) => {
                return before;
            }
            Message::Binary(_) => before += 1,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_kept_and_read_by_every_generation_of_clients() {
    let service = LogService::start("").await;
    // Two senders; the second one's lines are older.
    service.say(APP, vec![line("c", 3), line("d", 4)]).await;
    service.say(APP, vec![line("a", 1), line("b", 2)]).await;
    until("all lines are there", async || {
        service.read("").await.len() == 4
    })
    .await;
    assert_eq!(service.read("").await, ["a", "b", "c", "d"]);
    assert_eq!(service.read("limit=2").await, ["a", "b"]);
    assert_eq!(service.read("start_time=2&limit=2").await, ["b", "c"]);
    assert_eq!(service.read("descending=true&limit=2").await, ["d", "c"]);
    assert_eq!(service.read("end_time=3").await, ["a", "b"]);
    assert_eq!(
        service
            .read("envelope_types=LOG&envelope_types=GAUGE")
            .await
            .len(),
        4
    );
    assert!(service.read("envelope_types=GAUGE").await.is_empty());

    let token = service.token("owner");
    for path in [
        format!("/apps/{APP}/recentlogs"),
        format!("/recent?app={APP}"),
    ] {
        let (status, body) = service.get(&path, Some(&token)).await;
        assert_eq!(status, 200);
        let body = String::from_utf8_lossy(&body);
        assert_eq!(body.matches("\r\n\r\n").count(), 4, "{path}: {body:?}");
    }
    let (status, body) = service
        .get(&format!("/api/v1/read/{APP}?limit=x"), Some(&token))
        .await;
    assert_eq!(status, 400, "{}", String::from_utf8_lossy(&body));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_is_refused() {
    let service = LogService::start("").await;
    let (owner, other) = (service.token("owner"), service.token("other"));
    let paths = |app: &str| {
        [
            format!("/apps/{app}/recentlogs"),
            format!("/apps/{app}/stream"),
            format!("/recent?app={app}"),
            format!("/tail?app={app}"),
            format!("/api/v1/read/{app}"),
        ]
    };
    for path in paths(APP) {
        assert_eq!(service.get(&path, None).await.0, 401, "{path}");
        assert_eq!(
            service.get(&path, Some("bearer x.y.z")).await.0,
            401,
            "{path}"
        );
        assert_eq!(service.get(&path, Some(&other)).await.0, 403, "{path}");
    }
    for path in paths("unknown") {
        assert_eq!(service.get(&path, Some(&owner)).await.0, 404, "{path}");
    }
    for path in paths("..%2F..%2Finternal") {
        assert_eq!(service.get(&path, Some(&owner)).await.0, 404, "{path}");
    }
    let refused = service.follow(&format!("/apps/{APP}/stream"), &other).await;
    assert!(refused.is_err());
    // A yes for one token is none for another.
    assert_eq!(service.get(&paths(APP)[0], Some(&owner)).await.0, 200);
    assert_eq!(service.get(&paths(APP)[0], Some(&other)).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_when_other_apps_push_its_app_out_of_memory() {
    let service = LogService::start("bytes_total = 20000\nbytes_per_app = 10000").await;
    let mut stream = service.stream().await;
    service.say(APP, vec![line("first", 1)]).await;
    assert_eq!(hear(&mut stream, "first").await, 0);
    for app in ["b", "c", "d", "e"] {
        service.say(app, vec![line(&"x".repeat(9_000), 2)]).await;
    }
    service.say(APP, vec![line("second", 3)]).await;
    assert_eq!(hear(&mut stream, "second").await, 0);
    assert_eq!(
        service.read("").await,
        ["second"],
        "the first was forgotten"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_slower_than_the_app_is_told_what_it_missed() {
    let service = LogService::start("lines_per_app = 50").await;
    let mut stream = service.stream().await;
    let text = "x".repeat(4_000);
    // More than sockets and queues hold while nobody reads.
    for _ in 0..20 {
        service.say(APP, vec![line(&text, 1); 256]).await;
    }
    service.say(APP, vec![line("the end", 2)]).await;
    hear(&mut stream, "lines came faster than they were read").await;
    hear(&mut stream, "the end").await;
    assert!(!service.metric("loggregator_lines_missed_total 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_and_a_place_is_free_again_when_a_reader_goes() {
    let service = LogService::start("streams = 2").await;
    let first = service.stream().await;
    let _second = service.stream().await;
    assert!(service.metric("loggregator_streams 2"));
    let path = format!("/apps/{APP}/stream");
    let token = service.token("owner");
    let refused = service.follow(&path, &token).await.unwrap_err();
    let WsError::Http(answer) = refused else {
        panic!("{refused}");
    };
    assert_eq!(answer.status().as_u16(), 503);
    drop(first); // without a word
    until("its place is free", async || {
        service.follow(&path, &token).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_streams_properly() {
    let service = LogService::start("").await;
    let mut stream = service.stream().await;
    service.stop.cancel();
    let farewell = timeout(DEADLINE, async {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Close(frame) = message {
                return frame.map(|f| u16::from(f.code));
            }
        }
        None
    });
    assert_eq!(farewell.await.unwrap(), Some(1001));
    drop(stream);
    timeout(DEADLINE, service.room)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
