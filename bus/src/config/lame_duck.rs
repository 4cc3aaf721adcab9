//! How a server leaves: `lame_duck_duration` and `lame_duck_grace_period`.

use std::time::Duration;

use serde::Deserialize;

use super::units;

/// The pace at which a server that was told to leave sends its clients away.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct LameDuck {
    /// From the announcement to the last client. Default 2 min.
    #[serde(deserialize_with = "units::duration")]
    pub duration: Duration,
    /// How much of it clients have to leave by themselves, before the first is sent away. Default 10 s.
    #[serde(deserialize_with = "units::duration")]
    pub grace_period: Duration,
}

impl Default for LameDuck {
    fn default() -> Self {
        LameDuck {
            duration: Duration::from_secs(120),
            grace_period: Duration::from_secs(10),
        }
    }
}
