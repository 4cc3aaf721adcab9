//! The roles a process of the platform can have.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A role name that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a role; the roles are {}", Role::names())]
pub struct UnknownRole {
    name: String,
}

/// What one process of the platform does. Listed in the order in which a supervisor starts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The message broker.
    Bus,
    /// Users, clients and tokens.
    Uaa,
    /// App logs: kept and streamed.
    Loggregator,
    /// The API and the truth.
    CloudController,
    /// Makes droplets out of sources.
    Stager,
    /// Runs instances.
    Dea,
    /// Sends requests to instances.
    Router,
    /// Compares what is wanted with what runs.
    HealthManager,
}

impl Role {
    /// Every role, in starting order.
    pub const ALL: [Role; 8] = [
        Role::Bus,
        Role::Uaa,
        Role::Loggregator,
        Role::CloudController,
        Role::Stager,
        Role::Dea,
        Role::Router,
        Role::HealthManager,
    ];

    /// The name on the command line, in config files and on the bus.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Bus => "bus",
            Role::Uaa => "uaa",
            Role::Loggregator => "loggregator",
            Role::CloudController => "cloud_controller",
            Role::Stager => "stager",
            Role::Dea => "dea",
            Role::Router => "router",
            Role::HealthManager => "health_manager",
        }
    }

    /// The `type` under which the role announces itself on `vcap.component.*`
    /// (bus contract §1.8).
    #[must_use]
    pub fn component_type(self) -> &'static str {
        match self {
            Role::Bus => "NATS",
            Role::Uaa => "uaa",
            Role::Loggregator => "LoggregatorServer",
            Role::CloudController => "CloudController",
            Role::Stager => "Stager",
            Role::Dea => "DEA",
            Role::Router => "Router",
            Role::HealthManager => "HealthManager",
        }
    }

    fn names() -> String {
        Role::ALL.map(Role::as_str).join(", ")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| UnknownRole {
                name: text.to_owned(),
            })
    }
}
