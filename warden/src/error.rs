//! What can go wrong, by operation and object.

use std::{io, path::PathBuf, time::Duration};

use crate::ContainerId;

/// A failure of the container layer.
#[derive(Debug, thiserror::Error)]
pub enum WardenError {
    /// A specification that cannot be meant seriously; never retried.
    #[error("bad {field}: {reason}")]
    BadSpec {
        /// The field at fault.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The machine lacks something that was asked for.
    #[error("{0}")]
    Missing(#[from] Missing),
    /// A file or folder of the depot could not be used.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The container failed while it was being built; nothing of it is left.
    #[error("container {id} failed to start at step \"{step}\": {message}")]
    Start {
        /// Which container.
        id: ContainerId,
        /// The step that failed.
        step: String,
        /// What the kernel said.
        message: String,
    },
    /// The supervisor understood the request and could not do it.
    #[error("container {id} refused to {operation} at step \"{step}\": {message}")]
    Refused {
        /// Which container.
        id: ContainerId,
        /// What was asked.
        operation: &'static str,
        /// The step that failed.
        step: String,
        /// Why.
        message: String,
    },
    /// The supervisor is gone, and the container with it.
    #[error("container {id} is lost: its supervisor does not answer ({while_doing})")]
    Lost {
        /// Which container.
        id: ContainerId,
        /// What was tried when this was noticed.
        while_doing: &'static str,
        /// What the socket said.
        source: io::Error,
    },
    /// The answer did not come in time.
    #[error("container {id} did not {operation} within {after:?}")]
    Deadline {
        /// Which container.
        id: ContainerId,
        /// What was waited for.
        operation: &'static str,
        /// For how long.
        after: Duration,
    },
    /// A container of that name exists already.
    #[error("container {0} exists already")]
    Exists(ContainerId),
    /// No container of that name.
    #[error("no container {0}")]
    Unknown(ContainerId),
    /// All addresses and uids of this depot are in use.
    #[error("the depot is full: {max} containers")]
    Full {
        /// How many fit.
        max: u32,
    },
    /// Another live process has this depot open.
    #[error("depot {} is in use by another process ({owner})", path.display())]
    Busy {
        /// The depot.
        path: PathBuf,
        /// Who has it, as far as the claim tells.
        owner: String,
    },
    /// Every address and uid block of this machine is claimed by another depot.
    #[error("no free block in {subnet}: {tried} blocks are claimed or overlap a route of the host")]
    NoBlock {
        /// The pool that was searched.
        subnet: String,
        /// How many blocks it has.
        tried: u32,
    },
    /// The supervisor said something that is not the protocol.
    #[error("container {id} broke the protocol: {what}")]
    Protocol {
        /// Which container.
        id: ContainerId,
        /// What was wrong.
        what: String,
    },
}

/// A facility that the machine does not give, named, with the step that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("this machine lacks {facility}: {step} failed: {reason}")]
pub struct Missing {
    /// The facility, as named in [`crate::Facilities`].
    pub facility: String,
    /// What was tried.
    pub step: String,
    /// The error number, when the kernel gave one.
    pub errno: Option<i32>,
    /// What to read or do about it.
    pub reason: String,
}

impl WardenError {
    pub(crate) fn bad_spec(field: &'static str, reason: impl Into<String>) -> Self {
        Self::BadSpec {
            field,
            reason: reason.into(),
        }
    }

    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Deadline { .. } | Self::Full { .. } | Self::Busy { .. }
        )
    }
}
