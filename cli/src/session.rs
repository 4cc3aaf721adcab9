//! What one command leaves for the next: the target, the tokens, the chosen org and space.
//!
//! One JSON file under the home folder, mode 0600, replaced as a whole. Every change is a
//! read-modify-write under a lock file, so that two commands at once cannot lose each other's
//! change or leave half a file.

mod store;
mod target;
mod token;

pub(crate) use store::{SessionError, Store};
pub(crate) use target::{AppsUrl, Target};
pub(crate) use token::{ClientCredentials, Secret, Tokens};

use cupola_types::{OrgGuid, SpaceGuid};
use serde::{Deserialize, Serialize};

/// A thing with its name, as far as the next command needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named<G> {
    pub(crate) guid: G,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<Target>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tokens: Option<Tokens>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) org: Option<Named<OrgGuid>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) space: Option<Named<SpaceGuid>>,
}

// === impl Session ===

impl Session {
    /// Forgets who was logged in and where they worked; the endpoint stays.
    pub(crate) fn log_out(&mut self) {
        self.tokens = None;
        self.org = None;
        self.space = None;
    }
}
