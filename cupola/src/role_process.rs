//! One role's process: started, watched, started again, stopped.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use command_fds::{CommandFdExt as _, FdMapping};

use cupola_component::{Backoff, EX_CONFIG};
use cupola_types::Role;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::sockets::HeldSocket;
use crate::status::{RoleHealth, now_seconds};

/// A process that lived this long had started well: the next restart is immediate again.
const STABLE_AFTER: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often health is asked for until the role is healthy, and then.
const PROBE_WHILE_STARTING: Duration = Duration::from_millis(10);
const PROBE_WHEN_HEALTHY: Duration = Duration::from_secs(1);
const PROBE_WITHIN: Duration = Duration::from_secs(1);
/// A log file that is larger than this at a start is moved aside first.
const LOG_KEPT_BYTES: u64 = 16 * 1024 * 1024;

/// How to run one role.
#[derive(Debug)]
pub(crate) struct RoleProcess {
    pub(crate) role: Role,
    pub(crate) executable: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) working_folder: PathBuf,
    pub(crate) user: Option<(Uid, Gid)>,
    pub(crate) sockets: Vec<Arc<HeldSocket>>,
    /// How long it may take to stop before it is killed.
    pub(crate) stop_within: Duration,
}

/// What happened to a role.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) role: Role,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Started {
        pid: u32,
        at: u64,
    },
    Health {
        health: RoleHealth,
        detail: Option<String>,
    },
    Ended {
        detail: String,
    },
    /// It cannot run as it is configured: starting it again would not help.
    GaveUp {
        detail: String,
    },
}

impl RoleProcess {
    /// Runs the role until `stop`, then stops it. Tells everything on `changes`.
    pub(crate) async fn supervise(self, changes: mpsc::Sender<Change>, stop: CancellationToken) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let tell = async |what| {
            let _ = changes
                .send(Change {
                    role: self.role,
                    what,
                })
                .await;
        };
        while !stop.is_cancelled() {
            let born = Instant::now();
            let detail = match self.start() {
                Err(error) => format!("{error:#}"),
                Ok(mut child) => {
                    let pid = child.id().unwrap_or_default();
                    tell(What::Started {
                        pid,
                        at: now_seconds(),
                    })
                    .await;
                    let ended = tokio::select! {
                        ended = child.wait() => Some(ended),
                        () = self.watch_health(&changes) => None,
                        () = stop.cancelled() => None,
                    };
                    let Some(ended) = ended else {
                        self.stop(child).await;
                        break;
                    };
                    match ended {
                        Ok(status) if status.code() == Some(i32::from(EX_CONFIG)) => {
                            let detail =
                                format!("it refuses its config: see {}", self.log.display());
                            tell(What::GaveUp { detail }).await;
                            stop.cancelled().await;
                            break;
                        }
                        Ok(status) => describe(status),
                        Err(error) => format!("cannot be waited for: {error}"),
                    }
                }
            };
            tell(What::Ended { detail }).await;
            if born.elapsed() > STABLE_AFTER {
                backoff.reset();
            }
            tokio::select! {
                () = sleep(backoff.next_pause()) => {}
                () = stop.cancelled() => {}
            }
        }
        tell(What::Ended {
            detail: "stopped".to_owned(),
        })
        .await;
    }

    fn start(&self) -> anyhow::Result<Child> {
        let log = open_log(&self.log)?;
        let mut command = Command::new(&self.executable);
        command
            .arg(self.role.as_str())
            .arg("--config")
            .arg(&self.config)
            .current_dir(&self.working_folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .env_clear()
            .envs(inherited_environment())
            .env("CUPOLA_SUPERVISOR_PID", std::process::id().to_string())
            .process_group(0);
        if let Some((uid, gid)) = self.user {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        let mut mappings = Vec::new();
        for (child_fd, socket) in (3..).zip(&self.sockets) {
            let parent_fd = socket.listener.as_fd().try_clone_to_owned()?;
            mappings.push(FdMapping {
                parent_fd,
                child_fd,
            });
        }
        let names: Vec<&str> = self.sockets.iter().map(|socket| socket.name).collect();
        command
            .env("LISTEN_FDS", self.sockets.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .fd_mappings(mappings)
            .context("two sockets under one number")?;
        command
            .spawn()
            .with_context(|| format!("cannot start {}", self.executable.display()))
    }

    /// Asks for the role's health for ever and tells each change.
    async fn watch_health(&self, changes: &mpsc::Sender<Change>) {
        let Some(status) = self.sockets.iter().find(|socket| socket.name == "status") else {
            return std::future::pending().await;
        };
        let mut last = (RoleHealth::Starting, None);
        loop {
            let now = match timeout(PROBE_WITHIN, probe(status)).await {
                Ok(Ok(())) => (RoleHealth::Healthy, None),
                _ if last.0 == RoleHealth::Starting => last.clone(),
                Ok(Err(error)) => (RoleHealth::Failing, Some(format!("{error:#}"))),
                Err(_) => (
                    RoleHealth::Failing,
                    Some("/healthz does not answer".to_owned()),
                ),
            };
            if now != last {
                last.clone_from(&now);
                let what = What::Health {
                    health: now.0,
                    detail: now.1,
                };
                let _ = changes
                    .send(Change {
                        role: self.role,
                        what,
                    })
                    .await;
            }
            let starting = last.0 == RoleHealth::Starting;
            sleep(if starting {
                PROBE_WHILE_STARTING
            } else {
                PROBE_WHEN_HEALTHY
            })
            .await;
        }
    }

    /// TERM, then KILL.
    async fn stop(&self, mut child: Child) {
        let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else {
            return;
        };
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        if timeout(self.stop_within, child.wait()).await.is_err() {
            tracing::warn!(
                "{} did not stop within {:?}: killed",
                self.role,
                self.stop_within
            );
            let _ = child.kill().await;
        }
    }
}

/// `GET /healthz` on the role's status socket.
async fn probe(status: &HeldSocket) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(status.address).await?;
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: status\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    stream.take(4_096).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    if answer.starts_with("HTTP/1.1 200") {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    anyhow::bail!("{}", body.trim().replace('\n', "; "))
}

/// What a role gets of the supervisor's environment: enough to find programs, nothing secret.
fn inherited_environment() -> impl Iterator<Item = (String, String)> {
    const KEPT: [&str; 6] = ["PATH", "LANG", "LC_ALL", "TZ", "RUST_BACKTRACE", "TMPDIR"];
    std::env::vars().filter(|(name, _)| KEPT.contains(&name.as_str()) || name.contains("__"))
}

fn open_log(path: &Path) -> anyhow::Result<File> {
    if std::fs::metadata(path).is_ok_and(|m| m.len() > LOG_KEPT_BYTES) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
