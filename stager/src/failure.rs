//! Why a build did not come to a droplet, in words for the person who pushed.

use std::time::Duration;

use cupola_messages::environment::BadEnvironment;
use cupola_messages::staging::{StagingFailure, StagingFailureKind};
use cupola_warden::{Exit, WardenError};

use crate::archive::ArchiveError;
use crate::start_command::{ProcfileError, ReleaseError};
use crate::transfer::TransferError;

/// The end of a build without a droplet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(
        "no buildpack recognises the app (tried: {tried}). Push from the folder of the app, add \
         what its kind is recognised by (such as index.html, requirements.txt, package.json or a \
         Procfile), or name a buildpack with -b"
    )]
    NoAppDetected { tried: String },
    #[error("the buildpack {key} could not build the app ({why}); its last lines say more")]
    Compile { key: String, why: String },
    #[error("bin/release of the buildpack {key} failed ({why})")]
    ReleaseFailed { key: String, why: String },
    #[error(transparent)]
    ReleaseSaid(#[from] ReleaseError),
    #[error(transparent)]
    Procfile(#[from] ProcfileError),
    #[error(
        "nothing says how the app starts: add a Procfile with a `web:` line, or give a start \
         command with -c"
    )]
    NoStartCommand,
    #[error("there is no buildpack {key:?}; there are: {known}")]
    UnknownBuildpack { key: String, known: String },
    #[error(
        "{url:?} is not the address of a git repository that can be cloned (https, http or git)"
    )]
    BuildpackUrl { url: String },
    #[error("the buildpack {key} could not be cloned ({exit})")]
    Clone { key: String, exit: Exit },
    #[error("the buildpack {key} has no bin/compile")]
    NotABuildpack { key: String },
    #[error("staging took longer than the {limit:?} allowed")]
    Expired { limit: Duration },
    #[error("staging was stopped")]
    Stopped,
    #[error("the stager is shutting down; push again")]
    ShuttingDown,
    #[error("the stager was restarted while it built the app; push again")]
    Restarted,
    #[error("the build ran out of memory (limit {limit_mb} MB)")]
    OutOfMemory { limit_mb: u32 },
    #[error("the build ran out of disk (limit {limit_mb} MB)")]
    OutOfDisk { limit_mb: u32 },
    #[error("the app package is refused: {0}")]
    Package(ArchiveError),
    #[error("the buildpack {key} is refused: {source}")]
    BuildpackArchive { key: String, source: ArchiveError },
    #[error("{what} could not be downloaded: {source}")]
    Download { what: String, source: TransferError },
    #[error("the droplet could not be uploaded: {0}")]
    Upload(TransferError),
    #[error("the build container failed: {0}")]
    Container(#[from] WardenError),
    #[error(transparent)]
    Environment(#[from] BadEnvironment),
    #[error("{program} vanished without an exit status")]
    Vanished { program: String },
    #[error("the stager cannot keep its files: {0}")]
    Files(#[from] std::io::Error),
}

impl Failure {
    /// Its name in the API.
    pub(crate) fn kind(&self) -> StagingFailureKind {
        match self {
            Self::NoAppDetected { .. } => StagingFailureKind::NoAppDetectedError,
            Self::Compile { .. } => StagingFailureKind::BuildpackCompileFailed,
            Self::ReleaseFailed { .. } | Self::ReleaseSaid(_) => {
                StagingFailureKind::BuildpackReleaseFailed
            }
            Self::Expired { .. } => StagingFailureKind::StagingTimeExpired,
            Self::OutOfMemory { .. }
            | Self::OutOfDisk { .. }
            | Self::Container(WardenError::Full { .. }) => {
                StagingFailureKind::InsufficientResources
            }
            _ => StagingFailureKind::StagingError,
        }
    }

    /// What goes to the controller.
    pub(crate) fn report(&self) -> StagingFailure {
        StagingFailure {
            kind: self.kind(),
            message: self.to_string(),
        }
    }
}
