//! What clients may not do to the server.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cupola_staticfile::options::Options;
use cupola_staticfile::responder::Responder;
use cupola_staticfile::server::{Limits, serve};
use cupola_staticfile::site::Site;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(10);

async fn start(root: &Path, limits: Limits) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let site = Site::new(root, false).unwrap();
    let responder = Arc::new(Responder::new(site, Options::default(), None));
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, responder, limits, stop.clone()));
    (address, stop)
}

/// Whether the server ends the connection by itself, and after how long.
async fn ended(stream: &mut TcpStream) -> Option<Duration> {
    let since = Instant::now();
    let mut rest = Vec::new();
    // An error is an end too: the server may reset what it does not want to read.
    timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .ok()
        .map(|_| since.elapsed())
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_request_is_left() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("index.html"), "home").unwrap();
    let limits = Limits {
        head_within: SOON,
        ..Limits::default()
    };
    let (address, _stop) = start(root.path(), limits).await;

    let mut silent = TcpStream::connect(address).await.unwrap();
    assert!(ended(&mut silent).await.unwrap() >= SOON / 2);

    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        .await
        .unwrap();
    assert!(ended(&mut slow).await.is_some());

    // A connection that was of use may idle no longer than that either.
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    assert!(ended(&mut idle).await.is_some());
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_left() {
    let root = tempfile::tempdir().unwrap();
    let large = std::fs::File::create(root.path().join("large")).unwrap();
    large.set_len(256 << 20).unwrap();
    let limits = Limits {
        write_within: SOON,
        ..Limits::default()
    };
    let (address, _stop) = start(root.path(), limits).await;
    let mut stuck = TcpStream::connect(address).await.unwrap();
    stuck
        .write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(SOON * 4).await;
    let mut all = Vec::new();
    let _ = timeout(PATIENCE, stuck.read_to_end(&mut all))
        .await
        .unwrap();
    assert!(
        all.len() < 64 << 20,
        "{} bytes came although nobody took them",
        all.len()
    );
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("index.html"), "home").unwrap();
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let (address, _stop) = start(root.path(), limits).await;
    let first = TcpStream::connect(address).await.unwrap();
    let _second = TcpStream::connect(address).await.unwrap();
    let mut third = TcpStream::connect(address).await.unwrap();
    third
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut head = [0; 12];
    assert!(
        timeout(SOON, third.read_exact(&mut head)).await.is_err(),
        "it was served"
    );
    drop(first);
    timeout(PATIENCE, third.read_exact(&mut head))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
}

#[tokio::test]
async fn requests_that_are_none_or_too_large_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let (address, _stop) = start(root.path(), Limits::default()).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(40_000));
    let many = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "A: b\r\n".repeat(5_000)
    );
    for request in ["nonsense\r\n\r\n", "GET / HTTP/9\r\n\r\n", &long, &many] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
}
