//! A genuine nats-server in place of our own bus.

use std::ffi::OsString;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::programs::program;
use crate::wait::until;

const PROGRAM: &str = "nats-server";
/// Says which bus the tests shall run on: `own` (default) or `nats-server`.
const WHICH_BUS: &str = "CUPOLA_TEST_BUS";

/// A nats-server. Dropping it ends it.
#[derive(Debug)]
pub struct NatsServer {
    process: Child,
    arguments: Vec<OsString>,
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
    /// Whether there is one on this machine.
    #[must_use]
    pub fn is_installed() -> bool {
        let mut asked = Command::new(PROGRAM);
        let asked = asked.arg("--version").stdout(Stdio::null());
        asked.status().is_ok()
    }

    /// Starts one that lets everybody in, with its log in `folder`.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        let address = free_address();
        let port = address.port().to_string();
        let arguments = ["-a", "127.0.0.1", "-p", &port].map(OsString::from);
        Self::run(address, arguments.into(), folder.join("nats.log"))
    }

    /// Starts one for the platform in `data_dir`, configured by `cupola bus-config`.
    pub(crate) fn for_platform(data_dir: &Path) -> Self {
        let address = free_address();
        let config = data_dir.with_file_name("nats.conf");
        let log = data_dir.with_file_name("nats.log");
        let written = Command::new(program("cupola"))
            .args(["bus-config", "--listen", &address.to_string(), "--data-dir"])
            .arg(data_dir)
            .stdout(File::create(&config).unwrap())
            .status()
            .unwrap();
        assert!(written.success(), "cupola bus-config failed");
        Self::run(address, vec!["-c".into(), config.into()], log)
    }

    fn run(address: SocketAddr, arguments: Vec<OsString>, log: PathBuf) -> Self {
        let server = Self {
            process: spawn(&arguments, &log),
            arguments,
            log,
            address,
        };
        server.wait();
        server
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Kills it without a warning.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again, where it was.
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.arguments, &self.log);
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
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_address() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap()
}

fn spawn(arguments: &[OsString], log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    Command::new(PROGRAM)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|e| panic!("nats-server cannot be run ({e}): run .ci/install-test-tools"))
}
