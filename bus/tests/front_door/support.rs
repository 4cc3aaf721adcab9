//! A broker of the test's own, and a client that says exactly what it is told.

use std::net::SocketAddr;
use std::time::Duration;

use cupola_bus::{Config, Handle, Listeners, build};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The CONNECT of most tests.
pub(crate) const QUIET: &str = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
/// The same, for one who understands headers and wants to hear that nobody listens.
pub(crate) const MODERN: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n";

pub(crate) struct TestBroker {
    pub(crate) address: SocketAddr,
    pub(crate) monitor: Option<SocketAddr>,
    pub(crate) monitor_https: Option<SocketAddr>,
    pub(crate) websocket: Option<SocketAddr>,
    pub(crate) handle: Handle,
    pub(crate) running: tokio::task::JoinHandle<Result<(), cupola_bus::RunError>>,
    pub(crate) shutdown: CancellationToken,
    _stop: DropGuard,
}

/// The configuration of a test's broker.
pub(crate) fn config(json: serde_json::Value, listen: SocketAddr) -> Config {
    let mut config: Config = serde_json::from_value(json).unwrap();
    config.listen = listen;
    if let Some(websocket) = &mut config.websocket {
        websocket.listen = listen;
    }
    config.workers = config.workers.or(Some(2));
    // Its time would be anywhere in a test; those about pings set the interval, which wins.
    config.limits.first_ping = Duration::from_secs(3600);
    config
}

/// Starts a broker from the JSON of its configuration, on a port of its own.
pub(crate) async fn broker(json: serde_json::Value) -> TestBroker {
    let config = config(json, "127.0.0.1:0".parse().unwrap());
    let broker = build(config, Listeners::default()).await.unwrap();
    let shutdown = CancellationToken::new();
    TestBroker {
        address: broker.client_address().unwrap(),
        monitor: broker.monitor_address(),
        monitor_https: broker.monitor_https_address(),
        websocket: broker.websocket_address().map(|(address, _)| address),
        handle: broker.handle(),
        running: tokio::spawn(broker.run(shutdown.clone())),
        shutdown: shutdown.clone(),
        _stop: shutdown.drop_guard(),
    }
}

/// A broker with defaults.
pub(crate) async fn plain() -> TestBroker {
    broker(serde_json::json!({})).await
}

impl TestBroker {
    /// Puts another configuration into force.
    pub(crate) fn reload(&self, json: serde_json::Value) {
        // As the first one: where it listens was left to the system.
        let config = config(json, "127.0.0.1:0".parse().unwrap());
        self.handle.reload(&config).unwrap();
    }

    /// A raw connection that has read INFO.
    pub(crate) async fn raw(&self) -> Raw {
        Raw::dial(self.address).await
    }

    /// A raw connection that has said `hello` and been heard.
    pub(crate) async fn greeted(&self, hello: &str) -> Raw {
        let mut raw = self.raw().await;
        raw.send(hello).await;
        raw.sync().await;
        raw
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "never happened: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A connection without a client library.
pub(crate) struct Raw {
    pub(crate) socket: TcpStream,
    unread: Vec<u8>,
    pub(crate) info: serde_json::Value,
}

impl Raw {
    pub(crate) async fn dial(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        let mut raw = Raw::over(socket);
        let line = raw.line().await;
        raw.info = serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
        raw
    }

    /// One over this socket, where somebody else speaks first.
    pub(crate) fn over(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        Raw {
            socket,
            unread: Vec::new(),
            info: serde_json::Value::Null,
        }
    }

    pub(crate) async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.socket.write_all(text.as_ref()).await.unwrap();
    }

    /// Reads exactly this.
    #[track_caller]
    pub(crate) fn expect<'a>(
        &'a mut self,
        wanted: &'a str,
    ) -> impl std::future::Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let mut got = Vec::new();
            while got.len() < wanted.len() && self.fill().await {
                got.push(self.unread.remove(0));
                if !wanted.as_bytes().starts_with(&got) {
                    // What follows helps to understand.
                    let rest = tokio::time::timeout(Duration::from_millis(50), self.line()).await;
                    got.extend(rest.unwrap_or_default().into_bytes());
                    break;
                }
            }
            assert_eq!(String::from_utf8_lossy(&got), wanted, "at {caller}");
        }
    }

    /// All that was sent so far has been handled, and nothing has come of it.
    pub(crate) async fn sync(&mut self) {
        self.send("PING\r\n").await;
        self.expect("PONG\r\n").await;
    }

    /// Publishes nothing on this subject; whoever is here and hears of it has it in his queue then. A flush of
    /// async-nats says only that bytes have left.
    pub(crate) async fn publish(&mut self, subject: &str) {
        self.send(format!("PUB {subject} 0\r\n\r\n")).await;
        self.sync().await;
    }

    /// The connection ends, after exactly `last`.
    pub(crate) async fn ends_with(&mut self, last: &str) {
        self.expect(last).await;
        let more = self.fill().await;
        assert!(
            !more,
            "more came: {}",
            String::from_utf8_lossy(&self.unread)
        );
    }

    /// The next line, without its end.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while self.fill().await {
            let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') else {
                line.append(&mut self.unread);
                continue;
            };
            line.extend(self.unread.drain(..=end));
            break;
        }
        String::from_utf8_lossy(&line)
            .trim_end_matches(['\r', '\n'])
            .to_owned()
    }

    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            assert!(self.fill().await, "the connection has ended");
            let lacking = count - bytes.len();
            bytes.extend(self.unread.drain(..lacking.min(self.unread.len())));
        }
        bytes
    }

    /// The next message with headers: subject, reply, header block and payload.
    pub(crate) async fn headed(&mut self) -> (String, Option<String>, String, String) {
        let line = self.line().await;
        let words: Vec<&str> = line.split(' ').collect();
        let (reply, head, size) = match words[..] {
            ["HMSG", _, _, head, size] => (None, head, size),
            ["HMSG", _, _, reply, head, size] => (Some(reply.to_owned()), head, size),
            _ => panic!("no message with headers: {line:?}"),
        };
        let head: usize = head.parse().unwrap();
        let mut body = self.bytes(size.parse::<usize>().unwrap() + 2).await;
        assert_eq!(body.split_off(body.len() - 2), b"\r\n");
        let payload = String::from_utf8(body.split_off(head)).unwrap();
        let block = String::from_utf8(body).unwrap();
        (words[1].to_owned(), reply, block, payload)
    }

    /// The next message: subject, sid, reply and payload.
    pub(crate) async fn message(&mut self) -> (String, String, Option<String>, Vec<u8>) {
        let line = self.line().await;
        let words: Vec<&str> = line.split(' ').collect();
        let (reply, size) = match words[..] {
            ["MSG", _, _, size] => (None, size),
            ["MSG", _, _, reply, size] => (Some(reply.to_owned()), size),
            _ => panic!("no message: {line:?}"),
        };
        let mut body = self.bytes(size.parse::<usize>().unwrap() + 2).await;
        assert_eq!(body.split_off(body.len() - 2), b"\r\n");
        (words[1].to_owned(), words[2].to_owned(), reply, body)
    }

    /// Reads when nothing is left; `false` at the end of the connection.
    async fn fill(&mut self) -> bool {
        if self.unread.is_empty() {
            self.unread.resize(64 << 10, 0);
            let count = tokio::time::timeout(PATIENCE, self.socket.read(&mut self.unread))
                .await
                .expect("nothing came in time")
                .unwrap_or(0);
            self.unread.truncate(count);
        }
        !self.unread.is_empty()
    }
}
