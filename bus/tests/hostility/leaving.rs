//! Ends of very many connections at once.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use super::program::Running;
use super::support::{PATIENCE, QUIET, Raw, eventually};

const CROWD: usize = 4000;

#[tokio::test]
async fn a_server_that_is_told_to_end_does_so_whoever_is_there() {
    let mut running = Running::start(2 * CROWD, "listen: 127.0.0.1:-1").await;
    let address = running.address("nats");
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        let mut socket = TcpStream::connect(address).await.unwrap();
        // Some have not said who they are.
        let hello = format!("{QUIET}SUB a 1\r\nSUB b.{number}.* 2\r\n");
        let said = if number % 10 == 0 { "CONN" } else { &hello };
        socket.write_all(said.as_bytes()).await.unwrap();
        crowd.push(socket);
    }
    // Others do not read what waits for them.
    for _ in 0..30 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stuck = socket.connect(address).await.unwrap();
        let said = format!("{QUIET}SUB flood 1\r\n");
        stuck.write_all(said.as_bytes()).await.unwrap();
        crowd.push(stuck);
    }
    let mut publisher = Raw::dial(address).await;
    publisher.send(QUIET).await;
    publisher.sync().await;
    for _ in 0..200 {
        let message = format!("PUB flood 65536\r\n{}\r\n", "x".repeat(65536));
        publisher.send(message).await;
    }
    publisher.sync().await;
    let begun = Instant::now();
    let pid = Pid::from_raw(running.process.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let mut status = None;
    eventually("it has ended", || {
        status = running.process.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap().code(), Some(0));
    // Two seconds for those who do not go.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4), "it took {took:?}");
    // Everybody has learned of it.
    for socket in crowd {
        let mut scrap = vec![0; 1 << 16];
        let ended = async {
            loop {
                socket.readable().await.unwrap();
                match socket.try_read(&mut scrap) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.unwrap();
    }
}
