//! What an operator can set, with defaults that work on a laptop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cupola_component::{duration, size};
use cupola_types::{DiskMb, MemoryMb};
use cupola_warden::{DepotConfig, DiskMode, NetworkMode, Stack};
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
    pub stacks: BTreeMap<String, String>,

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
    /// The section `[stager.containers]`.
    pub containers: Containers,
}

/// How builds are contained.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Containers {
    /// The `cupola-warden` executable; default beside the running one.
    pub supervisor: Option<PathBuf>,
    /// First letters of everything that containers leave on the host (interfaces, cgroups).
    pub prefix: String,
    /// Addresses for containers; each depot takes its own block of it.
    pub subnet: Option<String>,
    /// First host uid for containers; each depot takes its own block above it.
    pub uid_base: Option<u32>,
    /// The cgroup under which containers get theirs.
    pub cgroup_parent: Option<String>,
    /// What builds can reach.
    pub network: Network,
    /// Processes and threads of one build.
    pub max_processes: u32,
    /// Share of the processor against other containers; 1024 is one whole share.
    pub cpu_shares: u32,
    /// How the disk limit is held.
    pub disk_limit: DiskLimit,
}

/// What builds can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// What the host reaches, its loopback services included. Package indexes work out of the box;
    /// choose another mode when people who push are not trusted as much as people who can log in.
    #[default]
    Host,
    /// A network with one cable to the host: what the host forwards and filters.
    Isolated,
    /// Nothing: every dependency must be vendored.
    Offline,
}

/// How the disk limit of a build is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskLimit {
    /// Its files are counted every few seconds; a build that is over is ended.
    #[default]
    SoftScan,
    /// Its files lie in a file system of that size: writing fails when it is full.
    Image,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            tools_dir: None,
            buildpacks_dir: None,
            stacks: [("host".to_owned(), "host".to_owned())].into(),
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
            containers: Containers::default(),
        }
    }
}

impl Default for Containers {
    fn default() -> Self {
        Self {
            supervisor: None,
            prefix: "stg".to_owned(),
            subnet: None,
            uid_base: None,
            cgroup_parent: None,
            network: Network::default(),
            max_processes: 1024,
            cpu_shares: 512,
            disk_limit: DiskLimit::default(),
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
        ensure!(
            !self.stacks.is_empty(),
            "stager.stacks must name at least one stack"
        );
        for (name, root) in &self.stacks {
            let usable = root == "host" || Path::new(root).is_absolute();
            ensure!(
                usable,
                "stager.stacks.{name} must be `host` or an absolute path, not {root:?}"
            );
        }
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

    /// The root file system behind a stack's name; without a name, the first there is.
    pub(crate) fn stack(&self, name: &str) -> Option<Stack> {
        let root = match name {
            "" => self.stacks.values().next(),
            name => self.stacks.get(name),
        };
        Some(match root?.as_str() {
            "host" => Stack::Host,
            path => Stack::Dir(path.into()),
        })
    }

    pub(crate) fn depot(&self) -> anyhow::Result<DepotConfig> {
        let given = &self.containers;
        let warden = match &given.supervisor {
            Some(path) => path.clone(),
            None => beside_us("cupola-warden")?,
        };
        let mut depot = DepotConfig::new(self.data_dir.join("depot"), &given.prefix, warden);
        if let Some(subnet) = &given.subnet {
            depot.subnet = subnet
                .parse()
                .map_err(|error| anyhow::anyhow!("stager.containers.subnet: {error}"))?;
        }
        if let Some(uid_base) = given.uid_base {
            depot.uid_base = uid_base;
        }
        if let Some(parent) = &given.cgroup_parent {
            depot.cgroup_parent.clone_from(parent);
        }
        Ok(depot)
    }

    /// The folder of the programs that buildpacks put into droplets.
    pub(crate) fn static_file_server(&self) -> anyhow::Result<PathBuf> {
        match &self.tools_dir {
            Some(folder) => Ok(folder.join("cupola-staticfile")),
            None => beside_us("cupola-staticfile"),
        }
    }
}

impl From<Network> for NetworkMode {
    fn from(network: Network) -> Self {
        match network {
            Network::Host => Self::Host,
            Network::Isolated => Self::Isolated,
            Network::Offline => Self::Offline,
        }
    }
}

impl From<DiskLimit> for DiskMode {
    fn from(limit: DiskLimit) -> Self {
        match limit {
            DiskLimit::SoftScan => Self::SoftScan,
            DiskLimit::Image => Self::Image,
        }
    }
}

fn beside_us(name: &str) -> anyhow::Result<PathBuf> {
    let ours = std::env::current_exe().context("cannot find the running executable")?;
    Ok(ours.with_file_name(name))
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
        assert!(with(|c| c.stacks.clear()).contains("stacks"));
        assert!(with(|c| drop(c.stacks.insert("x".into(), "here".into()))).contains("stacks.x"));
        assert!(with(|c| c.max_tasks = 0).contains("max_tasks"));
        assert!(with(|c| c.memory = MemoryMb(1)).contains("build_memory"));
    }

    #[test]
    fn an_order_without_a_stack_gets_the_first() {
        let mut config = usable();
        config.stacks.insert("other".into(), "/stacks/other".into());
        assert_eq!(config.stack(""), Some(Stack::Host));
        assert_eq!(
            config.stack("other"),
            Some(Stack::Dir("/stacks/other".into()))
        );
        assert_eq!(config.stack("lucid64"), None);
    }
}
