//! A role in a process of its own, to be signalled and killed like the real one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::becomes;
use crate::wait::until;

/// Set for the process that is the role: its config file.
const CONFIG: &str = "CUPOLA_TEST_ROLE_CONFIG";
/// How long a role may take to end that is asked to.
const END_WITHIN: Duration = Duration::from_secs(30);

/// The test's own executable, started once more for the one test in it that is the role. That test
/// runs the room if there is a [`RoleProcess::config`] and does nothing otherwise. Dropping this asks
/// the role to end and waits for it.
#[derive(Debug)]
pub struct RoleProcess {
    test: &'static str,
    config: PathBuf,
    log: PathBuf,
    process: Option<Child>,
}

impl RoleProcess {
    /// Not started yet. The files of the process lie in `folder`, and are called like `id`, which is
    /// who it is; `section` is the part of its config that belongs to the room.
    #[must_use]
    pub fn new(test: &'static str, folder: &Path, id: &str, bus_url: &str, section: &str) -> Self {
        let config = folder.join(format!("{id}.toml"));
        let text = format!(
            "[component]\nid = \"{id}\"\n[bus]\nurls = [\"{bus_url}\"]\n\
             [log]\nfilter = \"debug,hyper=info,async_nats=info,reqwest=info\"\n{section}\n"
        );
        fs::write(&config, text).unwrap();
        Self {
            test,
            config,
            log: folder.join(format!("{id}.log")),
            process: None,
        }
    }

    /// The config file of the role that this very process was started to be.
    #[must_use]
    pub fn config() -> Option<PathBuf> {
        std::env::var_os(CONFIG).map(PathBuf::from)
    }

    /// Starts it. When it is ready, the bus tells.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let log = File::options().append(true).create(true).open(&self.log);
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", self.test, "--nocapture", "--test-threads=1"])
            .env(CONFIG, &self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn();
        self.process = Some(process.unwrap());
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// SIGKILL, and the wait for it to be gone; nothing when it does not run.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Waits for it to end by itself.
    pub async fn ends(&mut self, within: Duration) {
        let process = self.process.as_mut().expect("it runs");
        let ended = becomes(within, || std::future::ready(process.try_wait().unwrap()));
        if ended.await.is_none() {
            self.kill();
            panic!("it did not end within {within:?}\n{}", self.log());
        }
        self.process = None;
    }

    /// All that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for RoleProcess {
    fn drop(&mut self) {
        // Asked, not killed: what is killed leaves its containers to the next one.
        if let Some(mut process) = self.process.take() {
            let pid = i32::try_from(process.id()).unwrap();
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            let _ = until(END_WITHIN, || process.try_wait().ok().flatten());
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
