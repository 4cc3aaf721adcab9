//! One role's process: started, watched, started again, stopped.

use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
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

use crate::role_log::RoleLog;
use crate::sockets::HeldSocket;
use crate::status::{RoleHealth, now_seconds};

/// A process that lived this long had started well: the next restart is immediate again.
const STABLE_AFTER: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often health is asked for until the role is healthy, and then.
const PROBE_WHILE_STARTING: Duration = Duration::from_millis(10);
/// While it starts, the pause between questions is this part of the time that it already takes.
const PROBE_PART: u32 = 50;
const PROBE_WHEN_HEALTHY: Duration = Duration::from_secs(1);
const PROBE_WITHIN: Duration = Duration::from_secs(1);

/// How to run one role.
#[derive(Debug)]
pub(crate) struct RoleProcess {
    pub(crate) role: Role,
    pub(crate) executable: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) log: RoleLog,
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
                        () = self.log.keep_bounded() => None,
                        () = stop.cancelled() => None,
                    };
                    let Some(ended) = ended else {
                        self.stop(child).await;
                        break;
                    };
                    match ended {
                        Ok(status) if status.code() == Some(i32::from(EX_CONFIG)) => {
                            let detail = format!("refuses its config: {}", self.log.last_words());
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
        let log = self.log.open()?;
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
            .envs(inherited_environment(self.role))
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
        let begun = Instant::now();
        let mut last = (RoleHealth::Starting, None);
        loop {
            let asked = timeout(PROBE_WITHIN, probe(status)).await;
            // A role that was never healthy is starting, whatever it says.
            let unhealthy = match last.0 {
                RoleHealth::Starting => RoleHealth::Starting,
                _ => RoleHealth::Failing,
            };
            let now = match asked {
                Ok(Ok(())) => (RoleHealth::Healthy, None),
                Ok(Err(error)) => (unhealthy, Some(format!("{error:#}"))),
                Err(_) => (unhealthy, Some("/healthz does not answer".to_owned())),
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
            let pause = match last.0 {
                RoleHealth::Starting => {
                    (begun.elapsed() / PROBE_PART).clamp(PROBE_WHILE_STARTING, PROBE_WHEN_HEALTHY)
                }
                _ => PROBE_WHEN_HEALTHY,
            };
            sleep(pause).await;
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

/// What a role gets of the supervisor's environment: enough to find programs, the settings that are
/// for it, nothing secret.
pub(crate) fn inherited_environment(role: Role) -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(move |(name, _)| is_inherited(name, role))
}

fn is_inherited(name: &str, role: Role) -> bool {
    const KEPT: [&str; 6] = ["PATH", "LANG", "LC_ALL", "TZ", "RUST_BACKTRACE", "TMPDIR"];
    let setting = name
        .strip_prefix("CUPOLA_")
        .and_then(|setting| setting.split_once("__"));
    match setting {
        // A section that no role has must be complained of, so it is passed on.
        Some((section, _)) => match section.to_ascii_lowercase().parse::<Role>() {
            Ok(whose) => whose == role,
            Err(_) => true,
        },
        None => KEPT.contains(&name),
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_gets_its_own_settings_and_no_others_secrets() {
        let of = |name: &str| is_inherited(name, Role::Dea);
        assert!(of("PATH") && of("CUPOLA_DEA__MEMORY_MB") && of("CUPOLA_LOG__FILTER"));
        assert!(of("CUPOLA_DAE__MEMORY_MB"), "so that the mistake is told");
        assert!(!of("CUPOLA_UAA__ADMIN__PASSWORD") && !of("AWS__SECRET") && !of("HOME"));
        // In the file of a role other than the bus, [bus] says how to reach it.
        assert!(!of("CUPOLA_BUS__LISTEN") && is_inherited("CUPOLA_BUS__LISTEN", Role::Bus));
    }
}
