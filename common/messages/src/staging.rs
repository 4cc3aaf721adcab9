//! The controller and the stagers (bus contract §3.4).

use cupola_types::{AppGuid, DiskMb, MemoryMb, StagerId, StagingTaskId};
use serde::{Deserialize, Serialize};

use crate::dea::{BoundService, EgressRule, Refusal};
use crate::{Call, Nothing, Topic, json_messages};

/// `staging.advertise` — stager → controller; every 5 s, on change and on `staging.locate`.
pub const ADVERTISE: Topic<Advertise> = Topic::literal("staging.advertise");
/// `staging.locate` — controller → every stager: advertise now.
pub const LOCATE: Topic<Nothing> = Topic::literal("staging.locate");
/// `staging.stop` — controller → every stager: give up all staging of this app.
pub const STOP: Topic<StopStaging> = Topic::literal("staging.stop");

/// `staging.<id>.start` — controller → that stager. The answer says whether it took the task; the
/// result is POSTed as a [`Completed`] to [`StartStaging::completed_uri`], so that a controller
/// that restarts meanwhile loses nothing (weakness 18).
#[must_use]
pub fn start(stager: &StagerId) -> Call<StartStaging, StartAnswer> {
    Call::of(format!("staging.{stager}.start"))
}

/// Payload of `staging.advertise`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advertise {
    /// Who.
    pub id: StagerId,
    /// The stacks it can stage for.
    pub stacks: Vec<String>,
    /// Memory not reserved, in MiB.
    pub available_memory: MemoryMb,
    /// Disk not reserved, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_disk: Option<DiskMb>,
    /// Ours: the tasks it has in hand. A task that it accepted and does not list is lost.
    #[serde(default)]
    pub tasks: Vec<StagingTaskId>,
}

/// Question on `staging.<id>.start`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartStaging {
    /// The app.
    pub app_id: AppGuid,
    /// This attempt; an answer with another id is dropped.
    pub task_id: StagingTaskId,
    /// What the build needs to know of the app.
    pub properties: Properties,
    /// The app's package: a signed URL that expires, as are all below.
    pub download_uri: String,
    /// Where the droplet goes, by POST of its bytes.
    pub upload_uri: String,
    /// What earlier builds of this app left, when there is anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpack_cache_download_uri: Option<String>,
    /// Where to leave something for later builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpack_cache_upload_uri: Option<String>,
    /// Ours: where the result goes.
    pub completed_uri: String,
    /// The buildpacks to try, in order; a key without a URL names a built-in one.
    #[serde(default)]
    pub admin_buildpacks: Vec<AdminBuildpack>,
    /// The stack to stage for.
    #[serde(default)]
    pub stack: String,
    /// What the build may reach.
    #[serde(default)]
    pub egress_network_rules: Vec<EgressRule>,
    /// Memory for the build, in MiB.
    pub memory_limit: MemoryMb,
    /// Disk for the build, in MiB.
    pub disk_limit: DiskMb,
    /// Ours: how long the build may take, in seconds.
    pub timeout: u32,
}

/// What the build needs to know of the app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Properties {
    /// Bound services.
    #[serde(default)]
    pub services: Vec<BoundService>,
    /// User variables, each `NAME=value`.
    #[serde(default)]
    pub environment: Vec<String>,
    /// The user's own wishes.
    #[serde(default)]
    pub meta: Meta,
    /// A buildpack by the URL of its git repository, perhaps with `#branch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpack_git_url: Option<String>,
    /// A buildpack by its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpack_key: Option<String>,
    /// Ours: the controller's part of `VCAP_APPLICATION`.
    #[serde(default)]
    pub vcap_application: crate::dea::VcapApplication,
}

/// The user's own wishes for the build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Start command that wins over every other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// A buildpack that the operator installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminBuildpack {
    /// Its key.
    pub key: String,
    /// Where to fetch it; absent for those that the stager carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Answer on `staging.<id>.start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum StartAnswer {
    /// The stager has the task.
    Accepted {
        /// Which.
        task_id: StagingTaskId,
    },
    /// The stager does not take it.
    Refused {
        /// Why, for a decision.
        reason: Refusal,
        /// Why, for a person.
        detail: String,
    },
}

/// Payload of `staging.stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopStaging {
    /// The app.
    pub app_id: AppGuid,
}

/// How a build ended; POSTed to [`StartStaging::completed_uri`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// The attempt.
    pub task_id: StagingTaskId,
    /// The app.
    pub app_id: AppGuid,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stager_id: Option<StagerId>,
    /// What `bin/detect` printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected_buildpack: Option<String>,
    /// The buildpack that built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpack_key: Option<String>,
    /// Digest of the droplet, 40 hex digits; present exactly when it worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub droplet_sha1: Option<String>,
    /// The start command that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected_start_command: Option<String>,
    /// What went wrong; absent exactly when it worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_info: Option<StagingFailure>,
}

/// What went wrong at a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagingFailure {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: StagingFailureKind,
    /// One sentence for a person.
    pub message: String,
}

/// Kinds of failure; the names are the API's (`staging_failed_reason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StagingFailureKind {
    /// Anything else.
    StagingError,
    /// No buildpack wants the app.
    NoAppDetectedError,
    /// `bin/compile` failed.
    BuildpackCompileFailed,
    /// `bin/release` failed or printed nonsense.
    BuildpackReleaseFailed,
    /// It took too long.
    StagingTimeExpired,
    /// The room for the build was not there.
    InsufficientResources,
}

impl StagingFailureKind {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StagingError => "StagingError",
            Self::NoAppDetectedError => "NoAppDetectedError",
            Self::BuildpackCompileFailed => "BuildpackCompileFailed",
            Self::BuildpackReleaseFailed => "BuildpackReleaseFailed",
            Self::StagingTimeExpired => "StagingTimeExpired",
            Self::InsufficientResources => "InsufficientResources",
        }
    }
}

json_messages!(Advertise, StartStaging, StartAnswer, StopStaging, Completed);
