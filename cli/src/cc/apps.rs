//! Apps and their instances.

use std::collections::BTreeMap;

use cupola_types::{AppGuid, AppState, PackageState, SpaceGuid, StackGuid};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Resource, filter, first};
use crate::client::{ApiError, Client};

pub(crate) type AppResource = Resource<AppGuid, App>;

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) state: AppState,
    #[serde(default)]
    pub(crate) memory: u32,
    #[serde(default)]
    pub(crate) disk_quota: u32,
    #[serde(default)]
    pub(crate) instances: u32,
    #[serde(default)]
    pub(crate) stack_guid: Option<StackGuid>,
    #[serde(default)]
    pub(crate) buildpack: Option<String>,
    #[serde(default)]
    pub(crate) detected_buildpack: Option<String>,
    #[serde(default)]
    pub(crate) command: Option<String>,
    #[serde(default)]
    pub(crate) detected_start_command: Option<String>,
    #[serde(default)]
    pub(crate) environment_json: Option<Map<String, Value>>,
    #[serde(default)]
    pub(crate) package_state: Option<PackageState>,
    #[serde(default)]
    pub(crate) package_updated_at: Option<String>,
    #[serde(default)]
    pub(crate) staging_failed_reason: Option<String>,
    #[serde(default)]
    pub(crate) staging_failed_description: Option<String>,
}

/// What the platform says about one wanted instance.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Instance {
    #[serde(default)]
    pub(crate) state: InstanceView,
    #[serde(default)]
    pub(crate) since: Option<f64>,
    #[serde(default)]
    pub(crate) details: Option<String>,
}

/// The states that the API shows, which are fewer and other than those inside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum InstanceView {
    Starting,
    Running,
    Crashed,
    Flapping,
    Down,
    #[default]
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct InstanceStats {
    #[serde(default)]
    pub(crate) stats: Option<Stats>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Stats {
    #[serde(default)]
    pub(crate) mem_quota: u64,
    #[serde(default)]
    pub(crate) disk_quota: u64,
    #[serde(default)]
    pub(crate) usage: Option<Usage>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Usage {
    /// Share of a core: 0.01 is one percent.
    #[serde(default)]
    pub(crate) cpu: f64,
    #[serde(default)]
    pub(crate) mem: u64,
    #[serde(default)]
    pub(crate) disk: u64,
}

/// An app with its routes, in one answer.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AppSummary {
    #[serde(flatten)]
    pub(crate) app: App,
    #[serde(default)]
    pub(crate) routes: Vec<SummaryRoute>,
    #[serde(default)]
    pub(crate) running_instances: i64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SummaryRoute {
    #[serde(default)]
    host: String,
    #[serde(default)]
    path: Option<String>,
    domain: SummaryDomain,
}

#[derive(Debug, Clone, Deserialize)]
struct SummaryDomain {
    name: String,
}

/// A row of the list of apps.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AppRow {
    #[serde(flatten)]
    pub(crate) app: App,
    /// Negative when the platform does not know.
    #[serde(default)]
    pub(crate) running_instances: i64,
    #[serde(default)]
    pub(crate) urls: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct SpaceSummary {
    #[serde(default)]
    apps: Vec<AppRow>,
}

// === impl SummaryRoute ===

impl SummaryRoute {
    /// `host.domain/path`.
    pub(crate) fn address(&self) -> String {
        let path = self.path.as_deref().unwrap_or_default();
        super::route_address(&self.host, &self.domain.name, path)
    }
}

// === impl App ===

impl App {
    /// The buildpack that was named, or else found.
    pub(crate) fn shown_buildpack(&self) -> &str {
        let text =
            |field: &'_ Option<String>| field.as_deref().is_some_and(|text| !text.is_empty());
        if text(&self.buildpack) {
            return self.buildpack.as_deref().unwrap_or_default();
        }
        self.detected_buildpack.as_deref().unwrap_or_default()
    }
}

// === impl InstanceView ===

impl InstanceView {
    /// The word in tables.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Crashed => "crashed",
            Self::Flapping => "flapping",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }

    /// The instance ended although nobody asked.
    pub(crate) fn has_failed(self) -> bool {
        matches!(self, Self::Crashed | Self::Flapping)
    }
}

/// The app of this name in a space.
pub(crate) async fn find_app(
    client: &Client,
    space: &SpaceGuid,
    name: &str,
) -> Result<Option<AppResource>, ApiError> {
    let path = format!(
        "/v2/apps?{}&{}",
        filter("name", name),
        filter("space_guid", space.as_str())
    );
    first(client, &path).await
}

pub(crate) async fn get_app(client: &Client, app: &AppGuid) -> Result<AppResource, ApiError> {
    client.get(&format!("/v2/apps/{app}")).await
}

/// Changes what the body names and nothing else.
pub(crate) async fn update_app(
    client: &Client,
    app: &AppGuid,
    change: &Value,
) -> Result<AppResource, ApiError> {
    client.put(&format!("/v2/apps/{app}"), change).await
}

pub(crate) async fn app_summary(client: &Client, app: &AppGuid) -> Result<AppSummary, ApiError> {
    client.get(&format!("/v2/apps/{app}/summary")).await
}

/// The apps of a space in the order of their names.
pub(crate) async fn app_rows(client: &Client, space: &SpaceGuid) -> Result<Vec<AppRow>, ApiError> {
    let summary: SpaceSummary = client.get(&format!("/v2/spaces/{space}/summary")).await?;
    let mut apps = summary.apps;
    apps.sort_by(|a, b| a.app.name.cmp(&b.app.name));
    Ok(apps)
}

/// By index, in order. An app that is stopped or not staged has none, and the API says so.
pub(crate) async fn instances(
    client: &Client,
    app: &AppGuid,
) -> Result<BTreeMap<u32, Instance>, ApiError> {
    client
        .get(&format!("/v2/apps/{app}/instances"))
        .await
        .map(by_index)
}

/// Resource use by index.
pub(crate) async fn stats(
    client: &Client,
    app: &AppGuid,
) -> Result<BTreeMap<u32, InstanceStats>, ApiError> {
    client
        .get(&format!("/v2/apps/{app}/stats"))
        .await
        .map(by_index)
}

/// Everything that an instance finds in its environment.
pub(crate) async fn environment(
    client: &Client,
    app: &AppGuid,
) -> Result<Map<String, Value>, ApiError> {
    client.get(&format!("/v2/apps/{app}/env")).await
}

/// "10" comes after "9".
fn by_index<T>(keyed: BTreeMap<String, T>) -> BTreeMap<u32, T> {
    keyed
        .into_iter()
        .filter_map(|(index, value)| Some((index.parse().ok()?, value)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn instances_are_ordered_by_number_and_unknown_states_are_no_error() {
        let json = r#"{"10":{"state":"RUNNING","since":1.5},"9":{"state":"DOWN","uptime":0},
                       "2":{"state":"SOMETHING","details":"x"}}"#;
        let instances: BTreeMap<String, Instance> = serde_json::from_str(json).unwrap();
        let words: Vec<_> = by_index(instances)
            .into_iter()
            .map(|(i, instance)| (i, instance.state.word()))
            .collect();
        assert_eq!(words, [(2, "unknown"), (9, "down"), (10, "running")]);
    }

    #[test]
    fn the_stats_of_a_missing_instance_are_nearly_empty() {
        let down: InstanceStats =
            serde_json::from_str(r#"{"state":"DOWN","stats":{"uptime":0}}"#).unwrap();
        assert!(down.stats.unwrap().usage.is_none());
    }
}
