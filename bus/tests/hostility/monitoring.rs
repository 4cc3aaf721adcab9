//! Those who come to monitoring and mean harm: an operator gets an answer all the same, soon, and what waits
//! to be read by others has a bound.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::certificates::Authority;
use super::spoken::begin_tls;
use super::support::{PATIENCE, QUIET, Raw, TestBroker, broker};
use super::{PROMPT, memory_of_this_process, page, round_trip, witness};

/// More than there are seats.
const CROWD: usize = 300;

async fn monitored(more: Value) -> TestBroker {
    let mut config = json!({ "monitor": "127.0.0.1:0" });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    broker(config).await
}

/// What an operator sees, and soon.
async fn operator_is_served(broker: &TestBroker) {
    for path in ["/varz", "/healthz", "/metrics"] {
        let begun = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, page(broker.monitor.unwrap(), path)).await;
        assert!(!answer.expect("no answer").is_empty());
        let took = begun.elapsed();
        assert!(took < PROMPT, "{path} took {took:?}");
    }
}

/// Connections that have said this and nothing else.
async fn crowd(address: SocketAddr, said: &str) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut socket = TcpStream::connect(address).await.unwrap();
        // Some are sent away while they talk.
        let _ = socket.write_all(said.as_bytes()).await;
        crowd.push(socket);
    }
    crowd
}

/// Reads to the end, however it comes; how much there was.
async fn read_all(socket: &mut (impl AsyncRead + Unpin)) -> usize {
    let mut all = Vec::new();
    let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut all)).await;
    let _ = read.expect("it does not end");
    all.len()
}

#[tokio::test]
async fn the_idle_take_no_seats_from_those_who_ask() {
    let broker = monitored(json!({})).await;
    let address = broker.monitor.unwrap();
    for said in ["", "GET /varz HTTP/1.1\r\nhost: x\r\n", "GET /varz"] {
        let _crowd = crowd(address, said).await;
        operator_is_served(&broker).await;
    }
    // Those who have asked and stay.
    let request = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let _crowd = crowd(address, request).await;
    operator_is_served(&broker).await;
}

#[tokio::test]
async fn the_idle_take_no_seats_over_https_either() {
    let authority = Authority::new();
    let config = json!({ "monitor_https": "127.0.0.1:0", "tls": authority.section() });
    let broker = monitored(config).await;
    let address = broker.monitor_https.unwrap();
    // Half a ClientHello.
    let _crowd = crowd(address, "\x16\x03\x01\x02\x00\x01").await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        let socket = TcpStream::connect(address).await.unwrap();
        idle.push(begin_tls(socket, authority.client(None)).await.unwrap());
    }
    let begun = Instant::now();
    let socket = TcpStream::connect(address).await.unwrap();
    let mut operator = begin_tls(socket, authority.client(None)).await.unwrap();
    let request = "GET /varz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    operator.say(request).await;
    assert_eq!(operator.hear().await, "HTTP/1.1 200 OK");
    assert!(begun.elapsed() < PROMPT);
}

#[tokio::test]
async fn one_byte_at_a_time_is_no_request() {
    let broker = monitored(json!({})).await;
    let mut slow = TcpStream::connect(broker.monitor.unwrap()).await.unwrap();
    let begun = Instant::now();
    let head = "GET /varz HTTP/1.1\r\nhost: ".bytes();
    for byte in head.chain(std::iter::repeat(b'a')) {
        if slow.write_all(&[byte]).await.is_err() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it may go on for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn heads_have_bounds() {
    let broker = monitored(json!({})).await;
    let ask = async |request: String| {
        let mut socket = TcpStream::connect(broker.monitor.unwrap()).await.unwrap();
        // It may be answered before all of it is sent.
        let _ = socket.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
        let _ = read.expect("it is neither answered nor refused");
        String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned()
    };
    let close = "connection: close\r\n\r\n";
    let get = "GET /healthz HTTP/1.1\r\n";
    let usual = format!("{get}{}{close}", "cookie: x\r\n".repeat(50));
    assert_eq!(ask(usual).await, "HTTP/1.1 200");
    for request in [
        // Many lines, a long one, a line and a path without end.
        format!("{get}{}{close}", "a: b\r\n".repeat(1000)),
        format!("{get}a: {}\r\n{close}", "b".repeat(100_000)),
        format!("{get}{}", "b".repeat(1 << 20)),
        format!("GET /{}", "b".repeat(1 << 20)),
        "\r\n".repeat(1 << 19),
        "\0".repeat(1 << 20),
    ] {
        let answer = ask(request.clone()).await;
        assert!(!answer.contains("200"), "{}: {answer}", &request[..40]);
    }
    let query = format!("GET /varz?{} HTTP/1.1\r\n{close}", "x".repeat(9000));
    assert_eq!(ask(query).await, "HTTP/1.1 414");
    // A body is not waited for.
    let body = format!("POST /healthz HTTP/1.1\r\ncontent-length: 1000000000\r\n{close}");
    assert_eq!(ask(body).await, "HTTP/1.1 200");
    operator_is_served(&broker).await;
}

/// A broker with so many subscriptions that all of them make an answer of `megabytes`. All answers together
/// may hold 32 MiB.
async fn full_of_subscriptions(megabytes: usize) -> (TestBroker, Raw) {
    let config = json!({ "limits": { "max_memory": "128MiB" } });
    let broker = monitored(config).await;
    let mut client = broker.greeted(QUIET).await;
    // Control characters are six bytes each in JSON, so that a few make much.
    let filler = "\x01".repeat(500);
    for part in 0..megabytes {
        let lines = (0..330).map(|n| format!("SUB {part}.{n}.{filler} {part}.{n}\r\n"));
        client.send(lines.collect::<String>()).await;
        client.sync().await;
    }
    (broker, client)
}

#[tokio::test]
async fn answers_that_nobody_reads_are_bounded_in_bytes_and_time() {
    let (broker, _client) = full_of_subscriptions(6).await;
    let mut innocent = witness(&broker).await;
    let address = broker.monitor.unwrap();
    let before = memory_of_this_process();
    let request = "GET /connz?subs=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    // Some 6 MB each.
    let mut crowd = Vec::new();
    let mut most = 0;
    for _ in 0..13 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        // It is being answered.
        let mut first = [0; 12];
        tokio::time::timeout(PATIENCE, socket.read_exact(&mut first))
            .await
            .expect("no answer")
            .unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        crowd.push(socket);
        most = most.max(memory_of_this_process().saturating_sub(before));
        assert!(round_trip(&mut innocent).await < PROMPT);
    }
    assert!(most < 56 << 20, "{} MiB are held", most >> 20);
    operator_is_served(&broker).await;
    // One who reads gets all of it.
    let mut reader = TcpStream::connect(address).await.unwrap();
    reader.write_all(request.as_bytes()).await.unwrap();
    assert!(read_all(&mut reader).await > 5 << 20);
    // Nobody may keep an answer for long.
    let begun = Instant::now();
    for mut socket in crowd {
        tokio::time::sleep_until(tokio::time::Instant::from_std(
            begun + Duration::from_secs(13),
        ))
        .await;
        assert!(read_all(&mut socket).await < 5 << 20);
    }
}

#[tokio::test]
async fn requests_without_a_pause_are_answered_one_by_one() {
    let (broker, _client) = full_of_subscriptions(2).await;
    let mut innocent = witness(&broker).await;
    let request = "GET /connz?subs=1 HTTP/1.1\r\nhost: x\r\n\r\n";
    let before = memory_of_this_process();
    let mut crowd = Vec::new();
    for _ in 0..20 {
        let mut socket = TcpStream::connect(broker.monitor.unwrap()).await.unwrap();
        let pipeline = request.repeat(500);
        let _ = socket.write_all(pipeline.as_bytes()).await;
        crowd.push(socket);
    }
    for _ in 0..20 {
        assert!(round_trip(&mut innocent).await < PROMPT);
        operator_is_served(&broker).await;
    }
    let held = memory_of_this_process().saturating_sub(before);
    assert!(held < 250 << 20, "{} MiB are held", held >> 20);
}

#[tokio::test]
async fn who_asks_and_hangs_up_makes_no_more_work_than_others() {
    let (broker, _client) = full_of_subscriptions(4).await;
    let mut innocent = witness(&broker).await;
    let before = memory_of_this_process();
    let request = "GET /connz?subs=1&limit=65536 HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut most = 0;
    for _ in 0..4 {
        let _gone = crowd(broker.monitor.unwrap(), request).await;
        most = most.max(memory_of_this_process().saturating_sub(before));
        assert!(round_trip(&mut innocent).await < PROMPT);
    }
    operator_is_served(&broker).await;
    assert!(most < 150 << 20, "{} MiB are held", most >> 20);
}
