//! A router without a bus, scripted endpoints, and clients that speak bytes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cupola_messages::router::Registration;
use tokio::sync::{mpsc, watch};

use crate::access_log::{AccessLine, QUEUE_BATCHES};
use crate::config::Config;
use crate::core::{Cores, Shared, Stage};
use crate::engine::hyper::HyperEngine;
use crate::registry::{Clock, Lifetimes, Registry};
use crate::stats::Stats;

/// Nothing in these tests takes longer.
const DEADLINE: Duration = Duration::from_secs(10);

/// A running data path.
pub(super) struct Router {
    pub(super) address: SocketAddr,
    pub(super) registry: Arc<Registry>,
    pub(super) stats: Stats,
    pub(super) lines: mpsc::Receiver<Vec<AccessLine>>,
    clock: Clock,
    stage: watch::Sender<Stage>,
    cores: Option<Cores>,
}

/// An endpoint that does what its script says.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    /// Connections so far.
    pub(super) connections: Arc<AtomicUsize>,
    /// Requests read so far.
    pub(super) requests: Arc<AtomicUsize>,
}

/// One side of a connection.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    pub(super) buffer: Vec<u8>,
    requests: Arc<AtomicUsize>,
}

/// A message as it came.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// First line and headers, with line ends.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// Trailer lines.
    pub(super) trailers: String,
}

// === impl Router ===

impl Router {
    pub(super) fn start(config: Config) -> Self {
        Self::start_at(Stage::Serving, config)
    }

    pub(super) fn start_at(stage: Stage, config: Config) -> Self {
        let config = Config {
            cores: if config.cores == 0 { 2 } else { config.cores },
            ..config
        };
        config.validate().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let registry = Arc::new(Registry::new(Lifetimes {
            stale_after: config.stale_after,
            keep_empty: config.keep_empty,
        }));
        let (stage, stages) = watch::channel(stage);
        let (batches, lines) = mpsc::channel(QUEUE_BATCHES);
        let (clock, stats) = (Clock::start(), Stats::new(config.threads()));
        let shared = Shared {
            config: Arc::new(config),
            registry: Arc::clone(&registry),
            clock,
            stats: stats.clone(),
            stage: stages,
            lines: Some(batches),
        };
        let cores = Cores::start::<HyperEngine>(&listener, &shared).unwrap();
        let address = listener.local_addr().unwrap();
        Self {
            address,
            registry,
            stats,
            lines,
            clock,
            stage,
            cores: Some(cores),
        }
    }

    /// Registers `origin` as instance `instance` of `app-1` under `uri`.
    pub(super) fn register(&self, uri: &str, origin: SocketAddr, instance: &str) {
        self.registry
            .register(&registration(uri, origin, instance), self.clock.now())
            .unwrap();
    }

    pub(super) fn set_stage(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    pub(super) fn connect(&self) -> Peer {
        Peer::new(TcpStream::connect(self.address).unwrap(), Arc::default())
    }

    /// Sends `request` on a connection of its own and reads the answer.
    pub(super) fn ask(&self, request: &str) -> Message {
        let mut client = self.connect();
        client.send(request);
        client.answer_to(request).unwrap()
    }

    pub(super) fn get(&self, host: &str, target: &str) -> Message {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    /// Closes the front door and waits until everything in flight is over.
    pub(super) fn close(&mut self) {
        self.set_stage(Stage::Closing);
        if let Some(cores) = self.cores.take() {
            cores.join();
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.close();
    }
}

// === impl Origin ===

impl Origin {
    /// Runs `script` on each connection, in a thread of its own, with the connection's number.
    pub(super) fn start(script: impl Fn(&mut Peer, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::default());
        let script = Arc::new(script);
        let (counter, read) = (Arc::clone(&connections), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let (script, mut peer) = (
                    Arc::clone(&script),
                    Peer::new(stream.unwrap(), Arc::clone(&read)),
                );
                std::thread::spawn(move || script(&mut peer, number));
            }
        });
        Self {
            address,
            connections,
            requests,
        }
    }

    /// Answers each request on a kept connection with `answer`.
    pub(super) fn answering(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |peer, _| {
            while let Some(request) = peer.request() {
                peer.send_bytes(&answer(&request));
            }
        })
    }

    /// Answers with `name` and nothing else.
    pub(super) fn named(name: &'static str) -> Self {
        Self::answering(move |_| ok(name))
    }

    /// Answers with the head of the request as body.
    pub(super) fn mirror() -> Self {
        Self::answering(|request| ok(&request.head))
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

// === impl Peer ===

impl Peer {
    fn new(stream: TcpStream, requests: Arc<AtomicUsize>) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
            requests,
        }
    }

    pub(super) fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    /// Sends; whether the other side still listens is seen at the next read.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(super) fn close_write(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads until the other side has closed.
    pub(super) fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads until there are at least `length` bytes, or no more come.
    pub(super) fn read_at_least(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length && self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// Waits for the other side to close or reset; how long it took.
    pub(super) fn wait_closed(&mut self) -> Duration {
        let begin = Instant::now();
        while self.fill() {}
        begin.elapsed()
    }

    /// The next request, body and all.
    pub(super) fn request(&mut self) -> Option<Message> {
        let head = self.head()?;
        self.requests.fetch_add(1, Ordering::SeqCst);
        let (body, trailers) = self.body(&head, false)?;
        Some(Message {
            head,
            body,
            trailers,
        })
    }

    /// The answer to `request`.
    pub(super) fn answer_to(&mut self, request: &str) -> Option<Message> {
        let head = self.head()?;
        let none = request.starts_with("HEAD ")
            || [" 204 ", " 304 ", " 101 ", " 100 "]
                .iter()
                .any(|s| head[..13].contains(s));
        let (body, trailers) = if none {
            Default::default()
        } else {
            self.body(&head, true)?
        };
        Some(Message {
            head,
            body,
            trailers,
        })
    }

    /// First line and headers.
    pub(super) fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = self.buffer.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn body(&mut self, head: &str, until_close: bool) -> Option<(Vec<u8>, String)> {
        let value = |name: &str| header(head, name);
        if value("transfer-encoding").is_some() {
            return self.chunked();
        }
        match value("content-length") {
            Some(length) => {
                let length = length.parse::<usize>().unwrap();
                while self.buffer.len() < length {
                    if !self.fill() {
                        return None;
                    }
                }
                Some((self.buffer.drain(..length).collect(), String::new()))
            }
            None if until_close => Some((self.read_to_end(), String::new())),
            None => Some(Default::default()),
        }
    }

    fn chunked(&mut self) -> Option<(Vec<u8>, String)> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(self.line()?.split(';').next()?, 16).unwrap();
            if size == 0 {
                let mut trailers = String::new();
                loop {
                    let line = self.line()?;
                    if line.is_empty() {
                        return Some((body, trailers));
                    }
                    trailers.push_str(&line);
                    trailers.push('\n');
                }
            }
            while self.buffer.len() < size + 2 {
                if !self.fill() {
                    return None;
                }
            }
            body.extend(self.buffer.drain(..size));
            assert_eq!(self.buffer.drain(..2).collect::<Vec<_>>(), b"\r\n");
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.drain(..end + 2).collect::<Vec<_>>();
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn fill(&mut self) -> bool {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(n) => {
                self.buffer.extend_from_slice(&chunk[..n]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!(
                    "nothing came for {DEADLINE:?}; so far {} bytes",
                    self.buffer.len()
                )
            }
            Err(_) => false,
        }
    }
}

// === impl Message ===

impl Message {
    pub(super) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The header's value; lines of the same name joined by `|`.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// A header of the request that a mirror has sent back.
    pub(super) fn mirrored(&self, name: &str) -> Option<String> {
        header(self.text(), name)
    }
}

pub(super) fn registration(uri: &str, origin: SocketAddr, instance: &str) -> Registration {
    Registration {
        host: origin.ip().to_string(),
        port: origin.port(),
        uris: vec![uri.to_owned()],
        app: Some("app-1".to_owned()),
        private_instance_id: Some(instance.to_owned()),
        private_instance_index: Some("0".to_owned()),
        tags: [("component".to_owned(), "dea-0".to_owned())].into(),
        ..Registration::default()
    }
}

/// A 200 with `body`.
pub(super) fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// An address where nobody listens.
pub(super) fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Waits until `holds`.
pub(super) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < DEADLINE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    let values: Vec<_> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect();
    (!values.is_empty()).then(|| values.join("|"))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
