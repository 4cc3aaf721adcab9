//! A server that runs for one measurement.

use std::fs::{self, File};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::peers::Peer;
use super::wire::Connection;

/// How long a start may take.
const START: Duration = Duration::from_secs(10);

/// A server process on a port of its own. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it listens, on loopback.
    pub(crate) port: u16,
}

// === impl Server ===

impl Server {
    /// Starts one and waits until it answers.
    pub(crate) fn start(peer: &Peer) -> anyhow::Result<Self> {
        Server::start_with(peer, &[])
    }

    /// Starts two that are a cluster; the second dials the first.
    pub(crate) fn pair(peer: &Peer) -> anyhow::Result<[Self; 2]> {
        let [near, far] = [free_port()?, free_port()?];
        let url = |port| format!("nats://127.0.0.1:{port}");
        let words = |port| ["--cluster_name", "bench", "--cluster", &url(port)].map(str::to_owned);
        let dials = ["--routes".to_owned(), url(near)];
        Ok([
            Server::start_with(peer, &words(near))?,
            Server::start_with(peer, &[&words(far)[..], &dials].concat())?,
        ])
    }

    fn start_with(peer: &Peer, words: &[String]) -> anyhow::Result<Self> {
        let port = free_port()?;
        let log = peer.log_file();
        let out = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let child = peer
            .command(port)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(out)
            .spawn()
            .with_context(|| format!("start {}", peer.name))?;
        let mut server = Server { child, port };
        let until = Instant::now() + START;
        loop {
            let error = match Connection::open(port) {
                Ok(_) => return Ok(server),
                Err(error) => error,
            };
            let ended = server.child.try_wait()?;
            if ended.is_some() || Instant::now() > until {
                bail!(
                    "{} does not answer ({error:#}); it says: {}",
                    peer.name,
                    fs::read_to_string(&log).unwrap_or_default()
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Seconds of CPU time that its threads have used, to the nanosecond where the kernel tells.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let mut nanos = 0u64;
        for task in fs::read_dir(&tasks).with_context(|| format!("read {tasks}"))? {
            // One that ends in between has used next to nothing.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            let spent = text.split_whitespace().next().and_then(|n| n.parse().ok());
            nanos += spent.unwrap_or(0u64);
        }
        Ok(nanos as f64 / 1e9)
    }

    /// Its memory in bytes (proportional set size).
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        let pid = i32::try_from(self.child.id())?;
        Ok(crate::memory::pss_mib(pid) * 1024.0 * 1024.0)
    }

    /// Its memory once it has stopped changing, or after a few seconds.
    pub(crate) fn settled_memory(&self) -> anyhow::Result<f64> {
        let until = Instant::now() + Duration::from_secs(4);
        let mut last = self.memory()?;
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let now = self.memory()?;
            if (now - last).abs() < 64.0 * 1024.0 || Instant::now() > until {
                return Ok(now);
            }
            last = now;
        }
    }
}

/// A port of loopback that nobody listens on.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
