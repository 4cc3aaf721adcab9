//! A genuine nats-server in place of the platform's own bus.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::programs::program;
use crate::wait::until;

/// Says which bus the tests shall run on: `own` (default) or `nats-server`.
const WHICH_BUS: &str = "CUPOLA_TEST_BUS";

/// A running nats-server, configured by `cupola bus-config`. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct NatsServer {
    process: Child,
    config: PathBuf,
    log: PathBuf,
    address: SocketAddr,
}

/// Whether the tests run on a genuine nats-server.
#[must_use]
pub fn on_nats_server() -> bool {
    match std::env::var(WHICH_BUS).as_deref() {
        Err(_) | Ok("own") => false,
        Ok("nats-server") => true,
        Ok(other) => panic!("{WHICH_BUS}={other}: write `own` or `nats-server`"),
    }
}

impl NatsServer {
    /// Starts one for the platform in `data_dir`.
    pub(crate) fn start(data_dir: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let config = data_dir.with_file_name("nats.conf");
        let log = data_dir.with_file_name("nats.log");
        let written = Command::new(program("cupola"))
            .args(["bus-config", "--listen", &address.to_string(), "--data-dir"])
            .arg(data_dir)
            .stdout(File::create(&config).unwrap())
            .status()
            .unwrap();
        assert!(written.success(), "cupola bus-config failed");
        let process = spawn(&config, &log);
        let server = Self {
            process,
            config,
            log,
            address,
        };
        server.wait();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Kills it without a warning and starts it again.
    pub(crate) fn kill_and_restart(&mut self) {
        self.end();
        self.process = spawn(&self.config, &self.log);
        self.wait();
    }

    fn wait(&self) {
        let up = until(Duration::from_secs(20), || {
            TcpStream::connect(self.address).ok()
        });
        assert!(
            up.is_some(),
            "{}",
            std::fs::read_to_string(&self.log).unwrap_or_default()
        );
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(config: &Path, log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    Command::new("nats-server")
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|e| panic!("nats-server cannot be run ({e}): run .ci/install-test-tools"))
}
