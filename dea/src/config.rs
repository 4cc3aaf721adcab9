//! What an operator can set, with defaults that work on a laptop.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use cupola_component::{duration, size};
use cupola_types::{DiskMb, MemoryMb};
use cupola_warden::{DepotSettings, DiskMode, Stacks};
use serde::Deserialize;

use crate::capacity::Wanted;
use crate::droplet::{ArchiveLimits, CacheLimits, DownloadLimits};
use crate::output::OutputLimits;

/// Most instances that one dea is ever given: their heartbeats and adoption are tested up to here.
const MAX_INSTANCES: u32 = 1024;

/// The section `[dea]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Everything that this dea keeps: containers, droplets, the snapshot. Must be set.
    pub data_dir: PathBuf,
    /// The address by which other hosts reach this one.
    pub ip: IpAddr,
    /// Where it stands, for spreading instances.
    pub zone: String,
    /// Stacks by name: `host` for a view of the host's own `/usr`, or the absolute path of a folder
    /// with a root file system. An order that names no stack gets the first by name.
    pub stacks: Stacks,

    /// Memory for instances; default three quarters of the machine's.
    #[serde(deserialize_with = "size::optional")]
    pub memory: Option<MemoryMb>,
    /// How many times over the memory is given away, because few apps use all of theirs.
    pub memory_overcommit: f64,
    /// Disk for instances; default four fifths of what is free in `data_dir`.
    #[serde(deserialize_with = "size::optional")]
    pub disk: Option<DiskMb>,
    /// How many times over the disk is given away.
    pub disk_overcommit: f64,
    /// Most instances at a time, in whatever state.
    pub max_instances: u32,

    /// How often the health manager is told of all instances.
    #[serde(deserialize_with = "duration::deserialize")]
    pub heartbeat_every: Duration,
    /// How often the controller is told of the room left; it forgets a dea after three times this.
    #[serde(deserialize_with = "duration::deserialize")]
    pub advertise_every: Duration,
    /// How often routes are registered again; a router prunes after 120 s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub register_every: Duration,
    /// How long an instance may take to accept connections when its order does not say.
    #[serde(deserialize_with = "duration::deserialize")]
    pub health_check_timeout: Duration,
    /// How long an instance may take to end after TERM before it is killed.
    #[serde(deserialize_with = "duration::deserialize")]
    pub stop_grace: Duration,
    /// How long a crash is remembered.
    #[serde(deserialize_with = "duration::deserialize")]
    pub crash_lifetime: Duration,
    /// How long an evacuation waits for replacements before everything is stopped.
    #[serde(deserialize_with = "duration::deserialize")]
    pub evacuation_timeout: Duration,

    /// Largest droplet as it is downloaded.
    #[serde(deserialize_with = "size::deserialize")]
    pub max_droplet: DiskMb,
    /// Largest droplet when it is inflated.
    #[serde(deserialize_with = "size::deserialize")]
    pub max_inflated_droplet: DiskMb,
    /// Most files and folders in a droplet.
    pub max_droplet_entries: u64,
    /// A droplet download that brings nothing for this long has failed.
    #[serde(deserialize_with = "duration::deserialize")]
    pub download_inactivity: Duration,
    /// A droplet download may not take longer than this.
    #[serde(deserialize_with = "duration::deserialize")]
    pub download_timeout: Duration,
    /// How long a droplet stays in the cache when no instance uses it.
    #[serde(deserialize_with = "duration::deserialize")]
    pub keep_unused_droplets: Duration,

    /// Lines a second that one instance may log for long; four seconds' worth may come at once.
    pub log_lines_per_second: u32,
    /// Bytes a second that one instance may log for long.
    pub log_bytes_per_second: u32,

    /// The section `[dea.depot]`: where containers are kept.
    pub depot: DepotSettings,
    /// The section `[dea.containers]`.
    pub containers: ContainerConfig,
}

/// How instances are contained.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContainerConfig {
    /// The port that each instance listens on, inside its own network.
    pub port: u16,
    /// Processes and threads of one instance.
    pub max_processes: u32,
    /// Files and folders that one instance may make.
    pub max_inodes: u64,
    /// How the disk limit is held.
    pub disk_limit: DiskMode,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            zone: "default".to_owned(),
            stacks: Stacks::default(),
            memory: None,
            memory_overcommit: 1.0,
            disk: None,
            disk_overcommit: 1.0,
            max_instances: 250,
            heartbeat_every: Duration::from_secs(10),
            advertise_every: Duration::from_secs(5),
            register_every: Duration::from_secs(20),
            health_check_timeout: Duration::from_secs(60),
            stop_grace: Duration::from_secs(10),
            crash_lifetime: Duration::from_secs(3600),
            evacuation_timeout: Duration::from_secs(600),
            max_droplet: DiskMb(1024),
            max_inflated_droplet: DiskMb(4096),
            max_droplet_entries: 200_000,
            download_inactivity: Duration::from_secs(30),
            download_timeout: Duration::from_secs(600),
            keep_unused_droplets: Duration::from_secs(600),
            log_lines_per_second: 500,
            log_bytes_per_second: 1024 * 1024,
            depot: DepotSettings::default(),
            containers: ContainerConfig::default(),
        }
    }
}

impl Default for ContainerConfig {
    fn default() -> Self {
        Self {
            port: 8080,
            max_processes: 512,
            max_inodes: 200_000,
            disk_limit: DiskMode::SoftScan,
        }
    }
}

impl Config {
    /// Whether the values make sense together.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.data_dir.is_absolute(),
            "dea.data_dir must be set, as an absolute path"
        );
        for (name, factor) in [
            ("memory_overcommit", self.memory_overcommit),
            ("disk_overcommit", self.disk_overcommit),
        ] {
            ensure!(
                factor.is_finite() && factor > 0.0 && factor <= 100.0,
                "dea.{name} must be above 0 and at most 100, not {factor}"
            );
        }
        ensure!(
            (1..=MAX_INSTANCES).contains(&self.max_instances),
            "dea.max_instances must be 1 to {MAX_INSTANCES}, not {}",
            self.max_instances
        );
        for (name, period) in [
            ("heartbeat_every", self.heartbeat_every),
            ("advertise_every", self.advertise_every),
            ("register_every", self.register_every),
            ("health_check_timeout", self.health_check_timeout),
            ("download_inactivity", self.download_inactivity),
            ("download_timeout", self.download_timeout),
        ] {
            ensure!(!period.is_zero(), "dea.{name} must not be zero");
        }
        ensure!(
            self.containers.port > 0,
            "dea.containers.port must not be 0"
        );
        ensure!(
            self.log_lines_per_second > 0 && self.log_bytes_per_second > 0,
            "dea.log_lines_per_second and dea.log_bytes_per_second must not be 0"
        );
        Ok(())
    }

    pub(crate) fn wanted_capacity(&self) -> Wanted {
        Wanted {
            memory: self.memory,
            memory_overcommit: self.memory_overcommit,
            disk: self.disk,
            disk_overcommit: self.disk_overcommit,
            max_instances: self.max_instances,
        }
    }

    pub(crate) fn cache_limits(&self) -> CacheLimits {
        CacheLimits {
            download: DownloadLimits {
                max_bytes: self.max_droplet.bytes(),
                inactivity: self.download_inactivity,
                total: self.download_timeout,
                attempts: 3,
            },
            archive: ArchiveLimits {
                max_bytes: self.max_inflated_droplet.bytes(),
                max_entries: self.max_droplet_entries,
            },
            keep_unused: self.keep_unused_droplets,
        }
    }

    pub(crate) fn output_limits(&self) -> OutputLimits {
        OutputLimits {
            lines_per_second: self.log_lines_per_second,
            bytes_per_second: self.log_bytes_per_second,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn usable() -> Config {
        Config {
            data_dir: "/data/dea".into(),
            ..Config::default()
        }
    }

    #[test]
    fn the_defaults_need_only_a_folder() {
        usable().check().unwrap();
        assert!(
            Config::default()
                .check()
                .unwrap_err()
                .to_string()
                .contains("data_dir")
        );
    }

    #[test]
    fn a_wrong_value_is_named() {
        let complaint = |change: fn(&mut Config)| {
            let mut config = usable();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(complaint(|c| c.max_instances = 0).contains("max_instances"));
        assert!(complaint(|c| c.memory_overcommit = f64::NAN).contains("memory_overcommit"));
        assert!(complaint(|c| c.heartbeat_every = Duration::ZERO).contains("heartbeat_every"));
    }
}
