//! Routes: a host, a domain, perhaps a path, and the apps behind them.

use cupola_types::{AppGuid, DomainGuid, RouteGuid, SpaceGuid};
use serde::Deserialize;
use serde_json::json;

use super::apps::AppResource;
use super::{PER_PAGE, Resource, all, filter, first};
use crate::client::{ApiError, Client};

pub(crate) type RouteResource = Resource<RouteGuid, Route>;

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Route {
    #[serde(default)]
    pub(crate) host: String,
    #[serde(default)]
    pub(crate) path: Option<String>,
    pub(crate) domain_guid: DomainGuid,
    pub(crate) space_guid: SpaceGuid,
    /// Only where the list was asked for with its relations.
    #[serde(default)]
    pub(crate) apps: Vec<AppResource>,
}

/// What makes a route unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteKey {
    pub(crate) host: String,
    pub(crate) domain: DomainGuid,
    pub(crate) domain_name: String,
    /// Empty, or with its leading `/`.
    pub(crate) path: String,
}

// === impl Route ===

impl Route {
    pub(crate) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }

    pub(crate) fn is(&self, key: &RouteKey) -> bool {
        self.domain_guid == key.domain
            && self.host.eq_ignore_ascii_case(&key.host)
            && self.path() == key.path
    }
}

// === impl RouteKey ===

impl std::fmt::Display for RouteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&address(&self.host, &self.domain_name, &self.path))
    }
}

/// `host.domain/path`.
pub(crate) fn address(host: &str, domain: &str, path: &str) -> String {
    if host.is_empty() {
        format!("{domain}{path}")
    } else {
        format!("{host}.{domain}{path}")
    }
}

pub(crate) async fn app_routes(
    client: &Client,
    app: &AppGuid,
) -> Result<Vec<RouteResource>, ApiError> {
    all(
        client,
        &format!("/v2/apps/{app}/routes?results-per-page={PER_PAGE}"),
    )
    .await
}

/// The routes of a space with their apps.
pub(crate) async fn space_routes(
    client: &Client,
    space: &SpaceGuid,
) -> Result<Vec<RouteResource>, ApiError> {
    let query = format!("inline-relations-depth=1&results-per-page={PER_PAGE}");
    all(client, &format!("/v2/spaces/{space}/routes?{query}")).await
}

/// The route itself, if it is one that we may see.
pub(crate) async fn find_route(
    client: &Client,
    key: &RouteKey,
) -> Result<Option<RouteResource>, ApiError> {
    let path = format!(
        "/v2/routes?{}&{}&{}",
        filter("domain_guid", key.domain.as_str()),
        filter("host", &key.host),
        filter("path", &key.path),
    );
    first(client, &path).await
}

pub(crate) async fn create_route(
    client: &Client,
    space: &SpaceGuid,
    key: &RouteKey,
) -> Result<RouteResource, ApiError> {
    let mut body =
        json!({ "host": key.host, "domain_guid": key.domain, "space_guid": space, "port": null });
    if !key.path.is_empty() {
        body["path"] = json!(key.path);
    }
    client.post("/v2/routes", &body).await
}

/// Sends what comes for the route to the app; once more does no harm.
pub(crate) async fn map(client: &Client, route: &RouteGuid, app: &AppGuid) -> Result<(), ApiError> {
    client
        .associate(&format!("/v2/routes/{route}/apps/{app}"))
        .await
}

pub(crate) async fn unmap(
    client: &Client,
    route: &RouteGuid,
    app: &AppGuid,
) -> Result<(), ApiError> {
    client
        .delete(&format!("/v2/apps/{app}/routes/{route}"))
        .await
        .map(drop)
}
