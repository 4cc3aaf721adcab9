//! What an operator may say of a depot.

use std::path::PathBuf;

use serde::Deserialize;

use super::{DepotConfig, Subnet, defaults};
use crate::{Result, WardenError};

/// The part of a depot's config that belongs into a config file; the owner adds the rest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DepotSettings {
    /// The `cupola-warden` executable; default beside the running one.
    pub supervisor: Option<PathBuf>,
    /// First letters of everything that containers leave on the host (interfaces, cgroups): one to
    /// six of `a-z`; default chosen by the owner.
    pub prefix: Option<String>,
    /// Addresses for containers, shared by all depots of the machine; each takes a block of it.
    pub subnet: Subnet,
    /// First host uid for containers, shared by all depots; each takes a block above it.
    pub uid_base: u32,
    /// The cgroup under which containers get theirs.
    pub cgroup_parent: String,
}

impl Default for DepotSettings {
    fn default() -> Self {
        Self {
            supervisor: None,
            prefix: None,
            subnet: defaults::subnet(),
            uid_base: defaults::uid_base(),
            cgroup_parent: defaults::cgroup_parent(),
        }
    }
}

impl DepotSettings {
    /// The config of a depot in `path`, which is called `prefix` unless the operator says otherwise.
    ///
    /// # Errors
    /// When the running executable, beside which the supervisor lies, cannot be found.
    pub fn config(&self, path: impl Into<PathBuf>, prefix: &str) -> Result<DepotConfig> {
        let supervisor = match &self.supervisor {
            Some(supervisor) => supervisor.clone(),
            None => std::env::current_exe()
                .map_err(WardenError::io("find", "the running executable"))?
                .with_file_name("cupola-warden"),
        };
        let prefix = self.prefix.as_deref().unwrap_or(prefix);
        Ok(DepotConfig {
            subnet: self.subnet,
            uid_base: self.uid_base,
            cgroup_parent: self.cgroup_parent.clone(),
            ..DepotConfig::new(path, prefix, supervisor)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn what_is_not_said_is_as_the_owner_wants_it() {
        let config = DepotSettings::default()
            .config("/data/depot", "dea")
            .unwrap();
        assert_eq!(config.prefix, "dea");
        assert!(config.warden.ends_with("cupola-warden"));
        assert_eq!(config.subnet, defaults::subnet());
    }

    #[test]
    fn what_is_said_wins() {
        let settings: DepotSettings = serde_json::from_str(
            r#"{"prefix": "x", "subnet": "10.9.0.0/16", "supervisor": "/bin/w", "uid_base": 5000}"#,
        )
        .unwrap();
        let config = settings.config("/data/depot", "dea").unwrap();
        assert_eq!((config.prefix.as_str(), config.uid_base), ("x", 5000));
        assert_eq!(config.subnet, "10.9.0.0/16".parse().unwrap());
        assert_eq!(config.warden, PathBuf::from("/bin/w"));
        assert!(serde_json::from_str::<DepotSettings>(r#"{"subnet": "10.9.0.1/16"}"#).is_err());
    }
}
