//! What an operator can set, with defaults that work on a laptop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cupola_component::{duration, size};
use cupola_types::{DiskMb, MemoryMb};
use cupola_warden::{DepotSettings, DiskMode, NetworkMode, Stacks};
use serde::Deserialize;

/// The section `[stager]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Everything that this stager keeps: containers, the journal. Must be set.
    pub data_dir: PathBuf,
    /// Where `cupola-staticfile` lies, which goes into the droplets of static sites; default beside
    /// the running executable.
    pub tools_dir: Option<PathBuf>,
    /// A folder of buildpacks that is used instead of the built-in ones. Each folder in it is one;
    /// they are tried in the order of their names.
    pub buildpacks_dir: Option<PathBuf>,
    /// Stacks by name: `host` for a view of the host's own `/usr`, or the absolute path of a folder
    /// with a root file system. An order that names no stack gets the first by name.
    pub stacks: Stacks,

    /// Memory for all builds together.
    #[serde(deserialize_with = "size::deserialize")]
    pub memory: MemoryMb,
    /// Disk for all builds together.
    #[serde(deserialize_with = "size::deserialize")]
    pub disk: DiskMb,
    /// Most builds at a time.
    pub max_tasks: usize,
    /// Least memory of one build: compilers want more than the app that they build.
    #[serde(deserialize_with = "size::deserialize")]
    pub build_memory: MemoryMb,
    /// Least disk of one build.
    #[serde(deserialize_with = "size::deserialize")]
    pub build_disk: DiskMb,
    /// Longest time of one build, whatever its order says.
    #[serde(deserialize_with = "duration::deserialize")]
    pub max_staging_time: Duration,
    /// How often the controller is told of the room left; it forgets a stager after twice this.
    #[serde(deserialize_with = "duration::deserialize")]
    pub advertise_every: Duration,

    /// Largest app package and largest buildpack as they are downloaded.
    #[serde(deserialize_with = "size::deserialize")]
    pub max_package: DiskMb,
    /// Largest droplet and largest build cache as they are uploaded.
    #[serde(deserialize_with = "size::deserialize")]
    pub max_droplet: DiskMb,
    /// Most files and folders in a package, a droplet or a cache.
    pub max_entries: u64,
    /// How long it is tried to tell the controller how a build ended. What cannot be told by then is
    /// told after the next start.
    #[serde(deserialize_with = "duration::deserialize")]
    pub report_within: Duration,

    /// Variables of every build, such as `HTTPS_PROXY`.
    pub environment: BTreeMap<String, String>,
    /// The section `[stager.depot]`: where containers are kept.
    pub depot: DepotSettings,
    /// The section `[stager.containers]`.
    pub containers: Containers,
}

/// How builds are contained.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Containers {
    /// What builds can reach. With `host` that is what the host reaches, its loopback services
    /// included: package indexes work out of the box. Choose another mode when people who push are
    /// not trusted as much as people who can log in: `isolated` is one cable to the host, and what
    /// the host forwards and filters; with `offline` every dependency must be vendored.
    pub network: NetworkMode,
    /// Processes and threads of one build.
    pub max_processes: u32,
    /// Share of the processor against other containers; 1024 is one whole share.
    pub cpu_shares: u32,
    /// How the disk limit is held.
    pub disk_limit: DiskMode,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            tools_dir: None,
            buildpacks_dir: None,
            stacks: Stacks::default(),
            memory: MemoryMb(4096),
            disk: DiskMb(16 * 1024),
            max_tasks: 4,
            build_memory: MemoryMb(1024),
            build_disk: DiskMb(2048),
            max_staging_time: Duration::from_secs(900),
            advertise_every: Duration::from_secs(5),
            max_package: DiskMb(1024),
            max_droplet: DiskMb(1024),
            max_entries: 200_000,
            report_within: Duration::from_secs(900),
            environment: BTreeMap::new(),
            depot: DepotSettings::default(),
            containers: Containers::default(),
        }
    }
}

impl Default for Containers {
    fn default() -> Self {
        Self {
            network: NetworkMode::Host,
            max_processes: 1024,
            cpu_shares: 512,
            disk_limit: DiskMode::SoftScan,
        }
    }
}

impl Config {
    /// Whether the values make sense together.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.data_dir.is_absolute(),
            "stager.data_dir must be set, as an absolute path"
        );
        ensure!(self.max_tasks > 0, "stager.max_tasks must be at least 1");
        for (name, period) in [
            ("max_staging_time", self.max_staging_time),
            ("advertise_every", self.advertise_every),
        ] {
            ensure!(!period.is_zero(), "stager.{name} must not be zero");
        }
        ensure!(
            self.build_memory <= self.memory && self.build_disk <= self.disk,
            "stager.build_memory and build_disk must fit into memory and disk"
        );
        Ok(())
    }

    /// The folder of the programs that buildpacks put into droplets.
    pub(crate) fn static_file_server(&self) -> anyhow::Result<PathBuf> {
        match &self.tools_dir {
            Some(folder) => Ok(folder.join("cupola-staticfile")),
            None => {
                let ours = std::env::current_exe().context("cannot find the running executable")?;
                Ok(ours.with_file_name("cupola-staticfile"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn usable() -> Config {
        Config {
            data_dir: "/data".into(),
            ..Config::default()
        }
    }

    #[test]
    fn defaults_work_once_there_is_a_folder() {
        assert!(usable().check().is_ok());
        let complaint = Config::default().check().unwrap_err().to_string();
        assert!(complaint.contains("data_dir"), "{complaint}");
    }

    #[test]
    fn nonsense_is_named() {
        let with = |change: fn(&mut Config)| {
            let mut config = usable();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(with(|c| c.max_tasks = 0).contains("max_tasks"));
        assert!(with(|c| c.memory = MemoryMb(1)).contains("build_memory"));
    }
}
