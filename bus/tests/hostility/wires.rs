//! The same through TLS, a websocket, and one inside the other: what lies between makes nobody stronger.

mod tls;
mod websockets;

use std::pin::Pin;
use std::time::{Duration, Instant};

use base64::Engine as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::certificates::Authority;
use super::spoken::{Spoken, begin_tls};
use super::support::{PATIENCE, QUIET, TestBroker, broker, eventually};
use super::{PROMPT, memory_of_this_process, round_trip, witness};

/// What lies between an attacker's socket and the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Tls,
    Websocket,
    Both,
}

const WAYS: [Way; 3] = [Way::Tls, Way::Websocket, Way::Both];

/// All are served by one worker, and the innocent come in clear.
pub(super) async fn serving(way: Way, authority: &Authority, more: Value) -> TestBroker {
    serving_with(way, authority, true, more).await
}

async fn serving_with(
    way: Way,
    authority: &Authority,
    compression: bool,
    more: Value,
) -> TestBroker {
    let timeout = json!({ "timeout": "2s" });
    let mut config = json!({ "workers": 1 });
    match way {
        Way::Tls => {
            config["tls"] = authority.section_with(timeout);
            config["allow_non_tls"] = json!(true);
        }
        Way::Websocket => {
            config["websocket"] =
                json!({ "no_tls": true, "compression": compression, "handshake_timeout": "2s" });
        }
        Way::Both => {
            let tls = authority.section_with(timeout);
            config["websocket"] =
                json!({ "tls": tls, "compression": compression, "handshake_timeout": "2s" });
        }
    }
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    broker(config).await
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One who has come in by some way.
pub(super) struct Attacker {
    pub(super) stream: Box<dyn Stream>,
    way: Way,
}

/// A whole message in a frame with a mask of zeros.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            frame.push(0xfe);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0xff);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

const COMPRESSED: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n";

async fn socket(way: Way, broker: &TestBroker) -> TcpStream {
    let address = match way {
        Way::Tls => broker.address,
        Way::Websocket | Way::Both => broker.websocket.unwrap(),
    };
    TcpStream::connect(address).await.unwrap()
}

fn upgrade() -> String {
    let key = base64::engine::general_purpose::STANDARD.encode([7; 16]);
    format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{COMPRESSED}\r\n"
    )
}

async fn upgraded<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Spoken<S> {
    let mut spoken = Spoken::new(stream);
    spoken.say(upgrade()).await;
    assert_eq!(spoken.hear().await, "HTTP/1.1 101 Switching Protocols");
    while !spoken.hear().await.is_empty() {}
    spoken
}

impl Attacker {
    /// One whose handshakes are over.
    pub(super) async fn come(way: Way, broker: &TestBroker, authority: &Authority) -> Self {
        let socket = socket(way, broker).await;
        let tls = authority.client(None);
        let stream: Box<dyn Stream> = match way {
            Way::Tls => {
                let mut clear = Spoken::new(socket);
                clear.info().await;
                let tls = begin_tls(clear.into_inner(), tls).await.unwrap();
                Box::new(tls.into_inner())
            }
            Way::Websocket => Box::new(upgraded(socket).await.into_stream()),
            Way::Both => {
                let tls = begin_tls(socket, tls).await.unwrap();
                Box::new(upgraded(tls.into_inner()).await.into_stream())
            }
        };
        Attacker { stream, way }
    }

    /// How it says these bytes.
    fn packed(&self, bytes: &[u8]) -> Vec<u8> {
        match self.way {
            Way::Tls => bytes.to_vec(),
            Way::Websocket | Way::Both => frame(0x82, bytes),
        }
    }

    pub(super) async fn say(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let packed = self.packed(bytes.as_ref());
        self.stream.write_all(&packed).await?;
        self.stream.flush().await
    }

    /// Waits until this comes, in whatever frames.
    pub(super) async fn hears(&mut self, wanted: &str) {
        let mut heard = Vec::new();
        let hearing = async {
            while !heard
                .windows(wanted.len())
                .any(|part| part == wanted.as_bytes())
            {
                let mut part = [0; 4096];
                let count = self.stream.read(&mut part).await.unwrap_or(0);
                assert!(count > 0, "it ended without {wanted:?}");
                heard.extend_from_slice(&part[..count]);
            }
        };
        let heard = tokio::time::timeout(PATIENCE, hearing).await;
        heard.unwrap_or_else(|_| panic!("never heard {wanted:?}"));
    }

    /// Sends this again and again until nobody takes it any more.
    pub(super) async fn pester(&mut self, wire: &[u8]) {
        let pestering = async { while self.stream.write_all(wire).await.is_ok() {} };
        let ended = tokio::time::timeout(PATIENCE, pestering).await;
        assert!(ended.is_ok(), "{:?}: it goes on for ever", self.way);
    }

    /// Reads until the connection ends.
    pub(super) async fn is_ended(&mut self) {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{:?}: it does not end", self.way);
    }
}

/// Whoever else comes by this way is served, too.
async fn newcomer_is_served(way: Way, broker: &TestBroker, authority: &Authority) {
    let begun = Instant::now();
    let mut newcomer = Attacker::come(way, broker, authority).await;
    newcomer.say(format!("{QUIET}PING\r\n")).await.unwrap();
    newcomer.hears("PONG").await;
    assert!(begun.elapsed() < PROMPT, "{way:?}: a newcomer waits");
}

async fn only_one_is_left(broker: &TestBroker) {
    eventually("the others are gone", || {
        broker.handle.stats().connections == 1
    })
    .await;
}

#[tokio::test]
async fn lines_without_end() {
    let authority = Authority::new();
    for way in WAYS {
        let broker = serving(way, &authority, json!({})).await;
        let mut innocent = witness(&broker).await;
        for start in ["", "SUB ", "PUB ", "CONNECT {", "PING"] {
            let mut line = start.as_bytes().to_vec();
            line.resize(1 << 20, b'a');
            let mut attacker = Attacker::come(way, &broker, &authority).await;
            // It is hung up on long before all of it is sent.
            let _ = attacker.say(&line).await;
            attacker.is_ended().await;
        }
        assert!(round_trip(&mut innocent).await < PROMPT);
        only_one_is_left(&broker).await;
    }
}

#[tokio::test]
async fn floods_whose_answers_are_not_read() {
    let authority = Authority::new();
    for way in WAYS {
        let limits = json!({ "limits": { "max_pending": "4MB" } });
        // Compressed, very many of the answers would fit into what the sockets hold.
        let broker = serving_with(way, &authority, false, limits).await;
        let mut innocent = witness(&broker).await;
        let before = memory_of_this_process();
        for flood in [
            "PING\r\n",
            "SUB a 1\r\nPUB a 10\r\n0123456789\r\n",
            "UNSUB 7\r\nPUB > 0\r\n\r\n",
        ] {
            let mut attacker = Attacker::come(way, &broker, &authority).await;
            let hello = "CONNECT {\"verbose\":true,\"pedantic\":true}\r\n";
            attacker.say(hello).await.unwrap();
            let wire = attacker.packed(flood.repeat(2000).as_bytes());
            let pestering = tokio::spawn(async move {
                attacker.pester(&wire).await;
                attacker
            });
            while !pestering.is_finished() {
                let took = round_trip(&mut innocent).await;
                assert!(took < PROMPT, "{way:?}, {flood:?}: {took:?}");
            }
            drop(pestering.await.unwrap());
        }
        let held = memory_of_this_process().saturating_sub(before);
        assert!(held < 64 << 20, "{way:?}: {} MiB are held", held >> 20);
        only_one_is_left(&broker).await;
    }
}

#[tokio::test]
async fn subscribers_that_never_read() {
    let authority = Authority::new();
    for way in WAYS {
        let limits = json!({ "limits": { "max_pending": "2MB" } });
        let broker = serving(way, &authority, limits).await;
        let mut innocent = witness(&broker).await;
        let before = memory_of_this_process();
        let mut stuck = Vec::new();
        for _ in 0..10 {
            let mut attacker = Attacker::come(way, &broker, &authority).await;
            let lines = format!("{QUIET}SUB flood 1\r\nPING\r\n");
            attacker.say(lines).await.unwrap();
            attacker.hears("PONG").await;
            stuck.push(attacker);
        }
        // What cannot be made smaller by compression.
        let mut dice = StdRng::seed_from_u64(7);
        let mut payload = vec![0; 32 << 10];
        dice.fill(&mut payload[..]);
        let mut publisher = broker.greeted(QUIET).await;
        let mut most = 0;
        let begun = Instant::now();
        while broker.handle.stats().slow_consumers < 10 {
            publisher.send("PUB flood 32768\r\n").await;
            publisher.send(&payload).await;
            publisher.send("\r\n").await;
            publisher.sync().await;
            assert!(round_trip(&mut innocent).await < PROMPT);
            most = most.max(memory_of_this_process().saturating_sub(before));
            assert!(
                begun.elapsed() < 2 * PATIENCE,
                "{way:?}: they are not cut off"
            );
        }
        assert!(most < 80 << 20, "{way:?}: {} MiB are held", most >> 20);
    }
}

#[tokio::test]
async fn handshakes_that_are_begun_and_left() {
    let authority = Authority::new();
    for way in WAYS {
        let broker = serving(way, &authority, json!({})).await;
        let mut innocent = witness(&broker).await;
        let before = memory_of_this_process();
        let halves: &[&[u8]] = match way {
            // In clear is a way, too, where both are allowed.
            Way::Tls | Way::Both => &[
                b"\x16",
                b"\x16\x03",
                b"\x16\x03\x01\x40\x00\x01\x00\x3f\xf0",
            ],
            Way::Websocket => &[b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n"],
        };
        let mut flood = Vec::new();
        for number in 0..600 {
            let mut socket = socket(way, &broker).await;
            let _ = socket.write_all(halves[number % halves.len()]).await;
            flood.push(socket);
        }
        assert!(round_trip(&mut innocent).await < PROMPT);
        newcomer_is_served(way, &broker, &authority).await;
        let held = memory_of_this_process().saturating_sub(before);
        assert!(held < 64 << 20, "{way:?}: {} MiB are held", held >> 20);
        // They have two seconds.
        only_one_is_left(&broker).await;
    }
}

#[tokio::test]
async fn bytes_at_random() {
    let authority = Authority::new();
    let mut dice = StdRng::seed_from_u64(11);
    for way in WAYS {
        let broker = serving(way, &authority, json!({})).await;
        let mut innocent = witness(&broker).await;
        for length in [1, 10, 1000, 100_000] {
            for number in 0..12 {
                let mut noise = vec![0; length];
                dice.fill(&mut noise[..]);
                match number % 3 {
                    // Instead of a handshake, in the place of frames and records, or inside of them.
                    0 => {
                        let mut socket = socket(way, &broker).await;
                        let _ = socket.write_all(&noise).await;
                    }
                    1 => {
                        let mut attacker = Attacker::come(way, &broker, &authority).await;
                        let _ = attacker.stream.write_all(&noise).await;
                    }
                    _ => {
                        let mut attacker = Attacker::come(way, &broker, &authority).await;
                        let _ = attacker.say(QUIET).await;
                        let _ = attacker.say(&noise).await;
                    }
                }
            }
            assert!(round_trip(&mut innocent).await < PROMPT);
        }
        only_one_is_left(&broker).await;
    }
}

#[tokio::test]
async fn one_byte_at_a_time_does_not_put_off_the_deadline_of_a_handshake() {
    let authority = Authority::new();
    for way in WAYS {
        let broker = serving(way, &authority, json!({})).await;
        let mut slow = socket(way, &broker).await;
        eventually("it is there", || broker.handle.stats().connections == 1).await;
        let begun = Instant::now();
        let mut start = match way {
            Way::Tls | Way::Both => vec![0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xf0, 3, 3],
            Way::Websocket => b"GET / HTTP/1.1\r\nHost: ".to_vec(),
        };
        start.resize(4000, b'a');
        for byte in start {
            if slow.write_all(&[byte]).await.is_err() || broker.handle.stats().connections == 0 {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{way:?}: it may go on for ever");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(begun.elapsed() > Duration::from_secs(1));
    }
}

#[tokio::test]
async fn connections_that_come_and_go_at_once() {
    let authority = Authority::new();
    for way in WAYS {
        let broker = serving(way, &authority, json!({})).await;
        let mut innocent = witness(&broker).await;
        for _ in 0..10 {
            let mut flood = tokio::task::JoinSet::new();
            for number in 0..20 {
                let socket = socket(way, &broker).await;
                let tls = authority.client(None);
                flood.spawn(async move {
                    match (way, number % 2) {
                        (Way::Websocket, 0) => drop(upgraded(socket).await),
                        (Way::Both, 0) => drop(begin_tls(socket, tls).await),
                        // In the middle of it.
                        _ => {
                            let mut socket = socket;
                            let _ = socket.write_all(b"\x16\x03\x01").await;
                        }
                    }
                });
            }
            assert!(round_trip(&mut innocent).await < PROMPT);
            while flood.join_next().await.is_some() {}
        }
        newcomer_is_served(way, &broker, &authority).await;
        only_one_is_left(&broker).await;
    }
}
