//! Orgs and spaces.

use cupola_types::{OrgGuid, SpaceGuid};
use serde::Deserialize;
use serde_json::json;

use super::{PER_PAGE, Resource, all, filter, first};
use crate::client::{ApiError, Client};
use crate::failure::Advised;

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Org {
    pub(crate) name: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Space {
    pub(crate) name: String,
}

pub(crate) type OrgResource = Resource<OrgGuid, Org>;
pub(crate) type SpaceResource = Resource<SpaceGuid, Space>;

pub(crate) async fn orgs(client: &Client) -> Result<Vec<OrgResource>, ApiError> {
    all(
        client,
        &format!("/v2/organizations?order-by=name&results-per-page={PER_PAGE}"),
    )
    .await
}

pub(crate) async fn spaces(client: &Client, org: &OrgGuid) -> Result<Vec<SpaceResource>, ApiError> {
    let of_org = filter("organization_guid", org.as_str());
    all(
        client,
        &format!("/v2/spaces?order-by=name&{of_org}&results-per-page={PER_PAGE}"),
    )
    .await
}

pub(crate) async fn find_org(client: &Client, name: &str) -> anyhow::Result<OrgResource> {
    let path = format!("/v2/organizations?{}", filter("name", name));
    first(client, &path).await?.ok_or_else(|| {
        Advised::new(
            format!("organization '{name}' not found"),
            "'cup orgs' lists yours",
        )
        .into()
    })
}

pub(crate) async fn find_space(
    client: &Client,
    org: &OrgGuid,
    name: &str,
) -> anyhow::Result<SpaceResource> {
    let of_org = filter("organization_guid", org.as_str());
    let path = format!("/v2/spaces?{}&{of_org}", filter("name", name));
    first(client, &path).await?.ok_or_else(|| {
        Advised::new(
            format!("space '{name}' not found"),
            "'cup spaces' lists yours",
        )
        .into()
    })
}

pub(crate) async fn create_org(client: &Client, name: &str) -> Result<OrgResource, ApiError> {
    client
        .post("/v2/organizations", &json!({ "name": name }))
        .await
}

/// Makes a space and lets `maker` work in it.
pub(crate) async fn create_space(
    client: &Client,
    org: &OrgGuid,
    name: &str,
    maker: Option<&str>,
) -> Result<SpaceResource, ApiError> {
    let body = json!({ "name": name, "organization_guid": org });
    let space: SpaceResource = client.post("/v2/spaces", &body).await?;
    if let Some(maker) = maker {
        let guid = &space.metadata.guid;
        client
            .associate(&format!("/v2/organizations/{org}/users/{maker}"))
            .await?;
        client
            .associate(&format!("/v2/spaces/{guid}/managers/{maker}"))
            .await?;
        client
            .associate(&format!("/v2/spaces/{guid}/developers/{maker}"))
            .await?;
    }
    Ok(space)
}
