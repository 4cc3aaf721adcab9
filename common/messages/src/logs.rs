//! App logs on their way to the loggregator (ours; the old system used UDP and syslog).

use cupola_types::AppGuid;
use serde::{Deserialize, Serialize};

use crate::{Topic, json_messages};

/// `loggregator.log.<app>` — dea, stager, router, controller → loggregator. Lines that cannot be
/// sent in time are dropped by the sender, which says how many in a later line.
#[must_use]
pub fn app(app: &AppGuid) -> Topic<LogBatch> {
    Topic::of(format!("loggregator.log.{app}"))
}

/// Every app's log.
pub const ALL: Topic<LogBatch> = Topic::literal("loggregator.log.*");

/// Longest line that is sent, in bytes; longer ones are cut by the sender.
pub const MAX_LINE_BYTES: usize = 16 * 1024;
/// Most lines in one batch.
pub const MAX_BATCH_LINES: usize = 256;

/// Some lines of one app's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBatch {
    /// The app.
    pub app_id: AppGuid,
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
}

/// One line, without its line end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The text; bytes that are not UTF-8 have been replaced.
    pub message: String,
    /// Which stream it came from.
    pub stream: LogStream,
    /// When it was read, in nanoseconds since the epoch.
    pub timestamp_ns: i64,
    /// What kind of component said it.
    pub source_type: LogSource,
    /// Which of them: an instance index, or a component's index.
    #[serde(default)]
    pub source_instance: String,
}

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogStream {
    /// Standard output.
    #[serde(rename = "OUT")]
    Out,
    /// Standard error.
    #[serde(rename = "ERR")]
    Err,
}

/// What kind of component said a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogSource {
    /// The app itself.
    #[serde(rename = "APP")]
    App,
    /// The build.
    #[serde(rename = "STG")]
    Staging,
    /// A router: one line a request.
    #[serde(rename = "RTR")]
    Router,
    /// The controller: what was done to the app.
    #[serde(rename = "API")]
    Api,
    /// A dea: what happened to an instance.
    #[serde(rename = "DEA")]
    Dea,
    /// The log system: what it lost.
    #[serde(rename = "LGR")]
    Loggregator,
}

impl LogSource {
    /// The name that clients print.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "APP",
            Self::Staging => "STG",
            Self::Router => "RTR",
            Self::Api => "API",
            Self::Dea => "DEA",
            Self::Loggregator => "LGR",
        }
    }
}

json_messages!(LogBatch);
