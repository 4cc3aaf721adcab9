//! Connections that use up the file descriptors the system gives a process.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::program::Running;
use super::support::{PATIENCE, QUIET, Raw};
use super::{PROMPT, page, round_trip};

/// So many may be open.
const DESCRIPTORS: usize = 200;
const CONFIG: &str = "listen: 127.0.0.1:-1, http: 127.0.0.1:-1, cluster { listen: 127.0.0.1:-1 }";

async fn crowd(address: SocketAddr) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..2 * DESCRIPTORS {
        crowd.push(TcpStream::connect(address).await.unwrap());
    }
    crowd
}

/// The first bytes of what the server says to one who has come; none if it hangs up.
async fn greeting(socket: &mut TcpStream) -> Vec<u8> {
    let mut first = [0; 5];
    let read = tokio::time::timeout(PATIENCE, socket.read(&mut first)).await;
    let count = read.expect("it is neither greeted nor refused");
    first[..count.unwrap_or(0)].to_vec()
}

#[tokio::test]
async fn when_they_are_used_up_the_others_are_served_and_it_goes_on_afterwards() {
    let running = Running::start(DESCRIPTORS, CONFIG).await;
    let [clients, monitor, routes] =
        ["nats", "monitoring", "cluster"].map(|what| running.address(what));
    let mut innocent = Raw::dial(clients).await;
    innocent.send(QUIET).await;
    innocent.send("SUB calm 1\r\n").await;
    innocent.sync().await;
    let mut flood = crowd(clients).await;
    // Each hears at once whether it is in.
    let mut greeted = 0;
    for socket in &mut flood {
        greeted += usize::from(greeting(socket).await == b"INFO ");
    }
    assert!(
        (DESCRIPTORS / 2..DESCRIPTORS).contains(&greeted),
        "{greeted} are in"
    );
    let also_idle = crowd(monitor).await;
    let (begun, worked) = (Instant::now(), running.worked());
    for _ in 0..20 {
        let asked = Instant::now();
        let varz = tokio::time::timeout(PATIENCE, page(monitor, "/varz")).await;
        let varz: Value = serde_json::from_str(&varz.expect("no answer")).unwrap();
        assert!(varz["connections"].as_u64().unwrap() > DESCRIPTORS as u64 / 2);
        assert!(asked.elapsed() < PROMPT, "an operator waits");
        assert!(round_trip(&mut innocent).await < PROMPT);
    }
    let mut route = TcpStream::connect(routes).await.unwrap();
    assert_eq!(greeting(&mut route).await, b"INFO ");
    // Nor do those who only say to be servers keep anybody out.
    let no_servers = crowd(routes).await;
    let asked = Instant::now();
    assert!(!page(monitor, "/varz").await.is_empty());
    assert!(asked.elapsed() < PROMPT, "an operator waits");
    assert!(round_trip(&mut innocent).await < PROMPT);
    // All that waits to be accepted costs neither the processor nor the log.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let share = (running.worked() - worked).as_secs_f64() / begun.elapsed().as_secs_f64();
    assert!(share < 0.5, "it is busy: {share}");
    assert!(running.log_lines() < 200, "{}", running.log_lines());
    drop((flood, also_idle, no_servers));
    let begun = Instant::now();
    loop {
        let mut socket = TcpStream::connect(clients).await.unwrap();
        if greeting(&mut socket).await == b"INFO " {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "nobody comes in any more");
    }
}
