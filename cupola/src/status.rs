//! What the supervisor knows of its roles, and `cupola status`, which shows it.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use cupola_types::Role;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::{StatusArgs, Unusable};
use crate::data_folder::DataFolder;

/// Contents of `run/status.json`, written whenever something changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The supervisor.
    pub(crate) pid: u32,
    /// Where the API answers.
    pub(crate) api: String,
    /// Where apps get their host names.
    pub(crate) domain: String,
    /// Every role that the supervisor runs.
    pub(crate) roles: Vec<RoleReport>,
}

/// One role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoleReport {
    pub(crate) role: Role,
    /// Absent while it is down.
    pub(crate) pid: Option<u32>,
    /// When this process was started, in seconds since the epoch.
    pub(crate) started_at: u64,
    /// How often it was started again.
    pub(crate) restarts: u32,
    pub(crate) health: RoleHealth,
    /// What is wrong, when something is.
    pub(crate) detail: Option<String>,
    /// Where it listens, by socket name.
    pub(crate) addresses: Vec<(String, SocketAddr)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RoleHealth {
    /// Started and not yet healthy.
    Starting,
    /// `/healthz` says ok.
    Healthy,
    /// It was healthy once and is not now.
    Failing,
    /// No process.
    Down,
}

// === impl Report ===

impl Report {
    /// The last report on the folder, if there ever was one.
    pub(crate) fn read(folder: &DataFolder) -> anyhow::Result<Option<Self>> {
        let path = folder.status_file();
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).map(Some).with_context(|| {
            format!(
                "{} is damaged; it is written anew at the next start",
                path.display()
            )
        })
    }

    /// Writes the report whole or not at all. It holds no secret. The platform runs on without it,
    /// for example when the disk is full.
    pub(crate) fn keep(&self, folder: &DataFolder) {
        let path = folder.status_file();
        let temporary = path.with_extension("new");
        let written = serde_json::to_vec_pretty(self)
            .map_err(std::io::Error::from)
            .and_then(|text| fs::write(&temporary, text))
            .and_then(|()| fs::rename(&temporary, &path));
        if let Err(error) = written {
            tracing::warn!("cannot write {}: {error}", path.display());
        }
    }

    /// Nothing runs any more.
    pub(crate) fn all_down(&mut self) {
        for role in &mut self.roles {
            role.pid = None;
            role.health = RoleHealth::Down;
        }
    }
}

// === impl RoleReport ===

impl RoleReport {
    pub(crate) fn uptime(&self) -> Duration {
        if self.pid.is_none() {
            return Duration::ZERO;
        }
        Duration::from_secs(now_seconds().saturating_sub(self.started_at))
    }

    /// `cloud_controller  pid 4711    up 2m 3s    0 restarts  healthy   api 127.0.0.1:40001`
    pub(crate) fn line(&self) -> String {
        let pid = self
            .pid
            .map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let addresses: Vec<String> = self
            .addresses
            .iter()
            .map(|(name, address)| format!("{name} {address}"))
            .collect();
        let health = match (&self.detail, self.health) {
            (Some(detail), RoleHealth::Starting | RoleHealth::Failing | RoleHealth::Down) => {
                format!("{}: {detail}", self.health.as_str())
            }
            _ => self.health.as_str().to_owned(),
        };
        format!(
            "{:<17} pid {pid:<8} up {:<9} {:>2} restarts  {health:<9} {}",
            self.role.as_str(),
            span(self.uptime()),
            self.restarts,
            addresses.join(", ")
        )
        .trim_end()
        .to_owned()
    }
}

impl RoleHealth {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Failing => "failing",
            Self::Down => "down",
        }
    }
}

/// `cupola status`.
pub(crate) fn show(args: &StatusArgs) -> anyhow::Result<()> {
    let folder = DataFolder::open(&args.data.data_dir)?;
    let Some(report) = Report::read(&folder)?.filter(|_| folder.is_locked()) else {
        bail!(Unusable(format!(
            "nothing runs on {}: start it with `cupola up --data-dir {}`",
            folder.root().display(),
            folder.root().display()
        )));
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&as_json(&report))?)?;
    } else {
        for role in &report.roles {
            writeln!(out, "{}", role.line())?;
        }
    }
    Ok(())
}

fn as_json(report: &Report) -> serde_json::Value {
    let roles = report.roles.iter().map(|role| {
        let addresses: serde_json::Map<_, _> = role
            .addresses
            .iter()
            .map(|(k, v)| (k.clone(), json!(v)))
            .collect();
        json!({
            "role": role.role,
            "pid": role.pid,
            "uptime": role.uptime().as_secs(),
            "restarts": role.restarts,
            "health": role.health,
            "detail": role.detail,
            "addresses": addresses,
        })
    });
    json!({
        "pid": report.pid,
        "api": report.api,
        "domain": report.domain,
        "roles": roles.collect::<Vec<_>>(),
    })
}

pub(crate) fn now_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn span(duration: Duration) -> String {
    let s = duration.as_secs();
    match (s / 86_400, s / 3_600 % 24, s / 60 % 60, s % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m {s}s"),
        (0, h, m, _) => format!("{h}h {m}m"),
        (d, h, _, _) => format!("{d}d {h}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        let of = |s| span(Duration::from_secs(s));
        assert_eq!(
            [of(5), of(125), of(7_260), of(90_000)],
            ["5s", "2m 5s", "2h 1m", "1d 1h"]
        );
    }

    #[test]
    fn a_role_that_is_down_says_why() {
        let role = RoleReport {
            role: Role::Dea,
            pid: None,
            started_at: 0,
            restarts: 3,
            health: RoleHealth::Down,
            detail: Some("killed by signal 9".to_owned()),
            addresses: vec![],
        };
        let line = role.line();
        assert!(
            line.contains("down: killed by signal 9") && line.contains("3 restarts"),
            "{line}"
        );
    }
}
