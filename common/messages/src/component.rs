//! Every component and whoever watches them (bus contract §1.8).

use serde::{Deserialize, Serialize};

use crate::{Call, Nothing, Topic, json_messages};

/// `vcap.component.announce` — every component → watchers; once at start.
pub const ANNOUNCE: Topic<Component> = Topic::literal("vcap.component.announce");
/// `vcap.component.discover` — a watcher → every component.
pub const DISCOVER: Call<Nothing, Component> = Call::literal("vcap.component.discover");

/// Who a component is and where its status server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// `DEA`, `Router`, `CloudController`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Which of its kind.
    pub index: u32,
    /// `<index>-<id>`.
    pub uuid: String,
    /// `ip:port` of the status server.
    pub host: String,
    /// User and password of the status server. The old system sent them in clear to everybody
    /// (weakness 1); ours leaves them empty, and a watcher is given them by its own config.
    #[serde(default)]
    pub credentials: Vec<String>,
    /// When it started.
    pub start: String,
    /// `0d:0h:0m:0s`, in discover replies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<String>,
}

json_messages!(Component);
