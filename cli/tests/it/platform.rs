//! The platform that the tests talk to: HTTP by wiremock around a [`Model`], and a websocket server
//! for logs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::model::Model;

/// More lines than any test writes before they are read.
const LOG_CAPACITY: usize = 1024;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// `METHOD /path?query`, the query decoded.
    pub(crate) line: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Platform {
    server: MockServer,
    shared: Arc<Shared>,
    /// Drops last; the servers live on it.
    _runtime: Runtime,
}

#[derive(Debug)]
struct Shared {
    model: Mutex<Model>,
    seen: Mutex<Vec<Seen>>,
    lines: broadcast::Sender<Vec<u8>>,
}

/// The one that wiremock asks.
struct Front(Arc<Shared>);

// === impl Platform ===

impl Platform {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let (lines, _) = broadcast::channel(LOG_CAPACITY);
        let shared = Arc::new(Shared {
            model: Mutex::new(Model::new()),
            seen: Mutex::default(),
            lines,
        });
        let server = runtime.block_on(async {
            let server = MockServer::start().await;
            Mock::given(any())
                .respond_with(Front(Arc::clone(&shared)))
                .mount(&server)
                .await;
            let doppler = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut model = shared.model.lock().unwrap();
            model.url = server.uri();
            model.doppler = format!("ws://{}", doppler.local_addr().unwrap());
            drop(model);
            tokio::spawn(serve_doppler(doppler, Arc::clone(&shared)));
            server
        });
        Self {
            server,
            shared,
            _runtime: runtime,
        }
    }

    pub(crate) fn url(&self) -> String {
        self.server.uri()
    }

    /// What the platform knows and how it will behave.
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.shared.model.lock().unwrap()
    }

    pub(crate) fn forget_requests(&self) {
        self.shared.seen.lock().unwrap().clear();
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The request lines in their order, those that repeat while something is awaited only once.
    pub(crate) fn request_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.requests().into_iter().map(|seen| seen.line).collect();
        lines.dedup();
        lines
    }

    #[track_caller]
    pub(crate) fn only_request(&self, start: &str) -> Seen {
        let mut found: Vec<Seen> = self
            .requests()
            .into_iter()
            .filter(|seen| seen.line.starts_with(start))
            .collect();
        assert_eq!(found.len(), 1, "{start} in {:#?}", self.request_lines());
        found.remove(0)
    }

    /// Writes a line into the log that is being followed.
    pub(crate) fn log(&self, source: &str, text: &str) {
        let _ = self
            .shared
            .lines
            .send(envelope(source, text, 1_795_191_611_000_000_000));
    }

    /// How many are following the log.
    pub(crate) fn followers(&self) -> usize {
        self.shared.lines.receiver_count()
    }
}

// === impl Seen ===

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

// === impl Front ===

impl Respond for Front {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let query: String = request
            .url
            .query_pairs()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        let seen = Seen {
            line: format!("{} {}{mark}{query}", request.method, request.url.path()),
            headers: request
                .headers
                .iter()
                .map(|(name, value)| {
                    (
                        name.to_string(),
                        String::from_utf8_lossy(value.as_bytes()).into_owned(),
                    )
                })
                .collect(),
            body: request.body.clone(),
        };
        self.0.seen.lock().unwrap().push(seen.clone());
        let mut model = self.0.model.lock().unwrap();
        let answer = model.answer(&seen);
        for (source, text) in model.spoken.drain(..) {
            let _ = self
                .0
                .lines
                .send(envelope(&source, &text, 1_795_191_611_000_000_000));
        }
        answer
    }
}

// === logs ===

async fn serve_doppler(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_one(stream, Arc::clone(&shared)));
    }
}

/// Plain requests and upgrades come to the same port; the first bytes tell them apart.
async fn serve_one(stream: TcpStream, shared: Arc<Shared>) {
    let mut head = vec![0; 4096];
    loop {
        let read = stream.peek(&mut head).await.unwrap_or(0);
        if read == 0 || head[..read].windows(4).any(|window| window == b"\r\n\r\n") {
            head.truncate(read);
            break;
        }
        tokio::task::yield_now().await;
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let token = shared.model.lock().unwrap().token.clone();
    let allowed = head.contains(&format!("bearer {token}"));
    if head.contains("/recentlogs") || !allowed {
        answer_plainly(stream, &shared, allowed).await;
        return;
    }
    let mut lines = shared.lines.subscribe();
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else {
        return;
    };
    let (mut sink, mut source) = socket.split();
    loop {
        tokio::select! {
            line = lines.recv() => {
                let Ok(line) = line else { return };
                if sink.send(Message::Binary(Bytes::from(line))).await.is_err() {
                    return;
                }
            }
            message = source.next() => {
                if !matches!(message, Some(Ok(_))) {
                    return;
                }
            }
        }
    }
}

async fn answer_plainly(mut stream: TcpStream, shared: &Shared, allowed: bool) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut request = vec![0; 8192];
    let _ = stream.read(&mut request).await;
    let (status, kind, body) = if allowed {
        let mut body = Vec::new();
        for (index, (source, text)) in shared.model.lock().unwrap().kept.iter().enumerate() {
            let timestamp = 1_795_191_611_000_000_000 + i64::try_from(index).unwrap();
            body.extend_from_slice(b"--frame\r\n\r\n");
            body.extend_from_slice(&envelope(source, text, timestamp));
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--frame--\r\n");
        ("200 OK", "multipart/x-protobuf; boundary=frame", body)
    } else {
        let body = json!({"error": "invalid_token"}).to_string().into_bytes();
        ("401 Unauthorized", "application/json", body)
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
}

/// An envelope of the events package, written field by field.
fn envelope(source: &str, text: &str, timestamp: i64) -> Vec<u8> {
    let mut log = Vec::new();
    field(&mut log, 1, text.as_bytes());
    number(&mut log, 2, 1);
    number(&mut log, 3, timestamp);
    field(&mut log, 5, source.as_bytes());
    field(&mut log, 6, b"0");
    let mut envelope = Vec::new();
    field(&mut envelope, 1, b"test");
    number(&mut envelope, 2, 5);
    number(&mut envelope, 6, timestamp);
    field(&mut envelope, 8, &log);
    envelope
}

fn field(message: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    message.push(tag << 3 | 2);
    varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

fn number(message: &mut Vec<u8>, tag: u8, value: i64) {
    message.push(tag << 3);
    varint(message, value.cast_unsigned());
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    message.push(u8::try_from(value).unwrap());
}
