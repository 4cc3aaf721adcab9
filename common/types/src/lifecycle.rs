//! Lifecycles: an enum each, with one pure function that knows every legal edge.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A state name that does not exist in its lifecycle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a state of {lifecycle}")]
pub struct UnknownState {
    /// Which lifecycle was being read.
    pub lifecycle: &'static str,
    /// The text that was found.
    pub name: String,
}

/// A move that the lifecycle does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an instance cannot go from {from} to {to}")]
pub struct IllegalTransition {
    /// Where the instance is.
    pub from: InstanceState,
    /// Where it was told to go.
    pub to: InstanceState,
}

macro_rules! states {
    ($(#[$doc:meta])* $name:ident, $lifecycle:literal {
        $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every state.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The name on the wire and in the database.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownState;

            fn from_str(text: &str) -> Result<Self, UnknownState> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|state| state.as_str() == text)
                    .ok_or_else(|| UnknownState { lifecycle: $lifecycle, name: text.to_owned() })
            }
        }
    };
}

states! {
    /// Where one instance of an app is in its life on a DEA (bus contract §2.1).
    InstanceState, "an instance" {
        /// Accepted and its memory and disk reserved.
        Born = "BORN",
        /// The droplet is fetched, the container made, the health check running.
        Starting = "STARTING",
        /// Passed its health check; registered with the routers.
        Running = "RUNNING",
        /// Unregistered; the processes are being told to end.
        Stopping = "STOPPING",
        /// Ended because someone asked.
        Stopped = "STOPPED",
        /// Ended although nobody asked.
        Crashed = "CRASHED",
        /// Found in the snapshot of a DEA that restarted; not yet re-attached.
        Resuming = "RESUMING",
        /// Still serving, waiting to be replaced elsewhere.
        Evacuating = "EVACUATING",
    }
}

impl InstanceState {
    /// Whether an instance may move from `self` to `next`.
    #[must_use]
    pub fn allows(self, next: InstanceState) -> bool {
        use InstanceState::{
            Born, Crashed, Evacuating, Resuming, Running, Starting, Stopped, Stopping,
        };
        matches!(
            (self, next),
            (Born, Starting | Crashed | Stopping | Evacuating)
                | (Starting, Running | Crashed | Stopping | Evacuating)
                | (Running, Crashed | Stopping | Evacuating)
                | (
                    Resuming,
                    Starting | Running | Crashed | Stopping | Evacuating
                )
                | (Evacuating, Crashed | Stopping)
                | (Stopping, Stopped | Crashed)
        )
    }

    /// The state after moving to `next`.
    ///
    /// # Errors
    /// [`IllegalTransition`] when the lifecycle has no such edge.
    pub fn to(self, next: InstanceState) -> Result<InstanceState, IllegalTransition> {
        if self.allows(next) {
            Ok(next)
        } else {
            Err(IllegalTransition {
                from: self,
                to: next,
            })
        }
    }

    /// Whether an instance in this state holds its memory reservation.
    #[must_use]
    pub fn holds_memory(self) -> bool {
        !matches!(self, InstanceState::Stopped | InstanceState::Crashed)
    }

    /// Whether an instance in this state holds its disk reservation: a crashed one keeps its
    /// files for inspection until it is reaped.
    #[must_use]
    pub fn holds_disk(self) -> bool {
        self != InstanceState::Stopped
    }

    /// Whether nothing can happen to the instance any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, InstanceState::Stopped | InstanceState::Crashed)
    }

    /// Whether the routers should know the instance.
    #[must_use]
    pub fn is_routable(self) -> bool {
        matches!(self, InstanceState::Running | InstanceState::Evacuating)
    }
}

states! {
    /// What the owner of an app wants.
    AppState, "an app" {
        /// No instance shall run.
        Stopped = "STOPPED",
        /// The wanted number of instances shall run.
        Started = "STARTED",
    }
}

states! {
    /// Whether an app's newest bits have become a droplet.
    PackageState, "a package" {
        /// Not staged yet, or being staged.
        Pending = "PENDING",
        /// There is a droplet of the newest bits.
        Staged = "STAGED",
        /// The last attempt failed.
        Failed = "FAILED",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn final_states_have_no_way_out() {
        for state in InstanceState::ALL.iter().filter(|s| s.is_final()) {
            for next in InstanceState::ALL {
                assert!(!state.allows(*next), "{state} -> {next}");
            }
        }
    }

    #[test]
    fn every_living_state_can_reach_an_end_by_a_stop_and_by_a_crash() {
        for state in InstanceState::ALL.iter().filter(|s| !s.is_final()) {
            if *state != InstanceState::Stopping {
                assert!(state.allows(InstanceState::Stopping), "{state}");
            }
            assert!(state.allows(InstanceState::Crashed), "{state}");
        }
    }

    #[test]
    fn an_instance_that_serves_always_holds_its_memory() {
        for state in InstanceState::ALL.iter().filter(|s| s.is_routable()) {
            assert!(state.holds_memory(), "{state}");
        }
    }

    #[test]
    fn names_survive_the_round_trip() {
        for state in InstanceState::ALL {
            assert_eq!(state.as_str().parse::<InstanceState>().unwrap(), *state);
        }
        assert!("running".parse::<InstanceState>().is_err());
    }
}
