//! What this machine can do, found out by doing it.
//!
//! Each facility is tried in a throw-away process of the `cupola-warden` binary; nothing is
//! inferred from kernel versions, file names or being root.

pub(crate) mod trials;

use std::{
    io::Read as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{DepotConfig, Missing, Result, WardenError};

/// What a machine gives, facility by facility.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facilities {
    /// Each facility that was tried.
    pub tried: Vec<Facility>,
}

/// One facility.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facility {
    /// Its name.
    pub name: String,
    /// Whether containers are impossible without it.
    pub needed: bool,
    /// Why it is not there; `None`: it works.
    pub missing: Option<Missing>,
    /// How it is provided, when there is more than one way ("cgroup v1").
    pub how: Option<String>,
}

/// How long all trials together may take.
const WITHIN: Duration = Duration::from_secs(30);
/// The most a probe may say.
const REPORT_MAX: u64 = 256 * 1024;

/// Tries everything that containers of such a depot would need.
///
/// # Errors
/// [`WardenError::Missing`] ("root") when not root, [`WardenError::Io`] when the binary cannot run.
pub fn probe(config: &DepotConfig) -> Result<Facilities> {
    if !nix::unistd::geteuid().is_root() {
        return Err(not_root().into());
    }
    let failed = |operation| WardenError::io(operation, &config.warden);
    crate::depot::make_private(&config.path)?;
    let mut child = Command::new(&config.warden)
        .arg("probe")
        .arg(&config.path)
        .arg(&config.cgroup_parent)
        .env_clear()
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed("run"))?;
    let deadline = Instant::now() + WITHIN;
    // The report is written at the very end and is smaller than a pipe, so waiting first is fine.
    while child.try_wait().map_err(failed("wait for"))?.is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed("wait for")(std::io::ErrorKind::TimedOut.into()));
        }
        crate::sys::pause(Duration::from_millis(1));
    }
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout
            .take(REPORT_MAX)
            .read_to_end(&mut said)
            .map_err(failed("read from"))?;
    }
    serde_json::from_slice(&said).map_err(|error| failed("understand")(error.into()))
}

/// What to say to somebody who is not root.
pub(crate) fn not_root() -> Missing {
    Missing {
        facility: "root".to_owned(),
        step: "asking for the user id".to_owned(),
        errno: Some(nix::libc::EPERM),
        reason: "containers need root, because namespaces, mounts, limits and network cables \
            cannot be made without it; start it with sudo"
            .to_owned(),
    }
}

// === impl Facilities ===

impl Facilities {
    /// Whether a facility works.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.tried
            .iter()
            .any(|facility| facility.name == name && facility.missing.is_none())
    }

    /// Everything that does not work.
    pub fn missing(&self) -> impl Iterator<Item = &Missing> {
        self.tried
            .iter()
            .filter_map(|facility| facility.missing.as_ref())
    }

    /// Fails with the first needed facility that is missing.
    ///
    /// # Errors
    /// [`WardenError::Missing`].
    pub fn require(&self) -> Result<()> {
        let first = self
            .tried
            .iter()
            .filter(|f| f.needed)
            .find_map(|f| f.missing.clone());
        first.map_or(Ok(()), |missing| Err(missing.into()))
    }
}
