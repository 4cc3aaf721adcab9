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
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = peer.log_file();
        let out = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let child = peer
            .command(port)
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

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
