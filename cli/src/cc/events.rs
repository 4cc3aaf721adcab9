//! What happened to an app.

use cupola_types::{AppGuid, EventGuid};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Resource, filter};
use crate::client::{ApiError, Client};

/// Keys of the metadata that say what was done, in the order in which they are told.
const TOLD: [&str; 13] = [
    "index",
    "reason",
    "cell_id",
    "instance",
    "exit_description",
    "exit_status",
    "recursive",
    "disk_quota",
    "instances",
    "memory",
    "state",
    "command",
    "environment_json",
];

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Event {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) timestamp: String,
    #[serde(default)]
    actor_name: Option<String>,
    #[serde(default)]
    actor_username: Option<String>,
    #[serde(default)]
    metadata: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Page {
    resources: Vec<Resource<EventGuid, Event>>,
}

// === impl Event ===

impl Event {
    pub(crate) fn actor(&self) -> &str {
        let named = |name: &'_ Option<String>| name.as_deref().is_some_and(|name| !name.is_empty());
        let name = if named(&self.actor_username) {
            &self.actor_username
        } else {
            &self.actor_name
        };
        name.as_deref().unwrap_or_default()
    }

    /// `index: 0, exit_description: out of memory`.
    pub(crate) fn description(&self) -> String {
        let told: Vec<String> = TOLD
            .iter()
            .filter_map(|key| self.detail(key).map(|value| format!("{key}: {value}")))
            .collect();
        told.join(", ")
    }

    /// One value of the metadata, or of the request that it records.
    pub(crate) fn detail(&self, key: &str) -> Option<String> {
        let details = match self.metadata.get("request") {
            Some(Value::Object(request)) => request,
            _ => &self.metadata,
        };
        match details.get(key)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

/// The newest events of an app, newest first.
pub(crate) async fn recent_events(client: &Client, app: &AppGuid) -> Result<Vec<Event>, ApiError> {
    let path = format!(
        "/v2/events?results-per-page=50&order-direction=desc&{}",
        filter("actee", app.as_str())
    );
    let page: Page = client.get(&path).await?;
    Ok(page
        .resources
        .into_iter()
        .map(|resource| resource.entity)
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn events_are_told_in_words() {
        let crash: Event = serde_json::from_str(
            r#"{"type":"app.crash","timestamp":"2026-11-20T16:20:11Z","actor_name":"hello",
                "metadata":{"index":0,"exit_description":"out of memory","cell_id":null}}"#,
        )
        .unwrap();
        assert_eq!(
            crash.description(),
            "index: 0, exit_description: out of memory"
        );
        assert_eq!(crash.actor(), "hello");
        let update: Event = serde_json::from_str(
            r#"{"type":"audit.app.update","actor_name":"x","actor_username":"admin",
                "metadata":{"request":{"state":"STARTED","memory":64}}}"#,
        )
        .unwrap();
        assert_eq!(update.description(), "memory: 64, state: STARTED");
        assert_eq!(update.actor(), "admin");
    }
}
