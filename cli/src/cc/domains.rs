//! Domains: shared ones, and those of the org.

use cupola_types::{DomainGuid, OrgGuid};
use serde::Deserialize;

use super::{PER_PAGE, Resource, all};
use crate::client::{ApiError, Client};
use crate::failure::Advised;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DomainKind {
    Shared,
    Private,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Domain {
    pub(crate) guid: DomainGuid,
    pub(crate) name: String,
    pub(crate) kind: DomainKind,
    pub(crate) internal: bool,
    /// Routes of it have ports rather than hosts.
    pub(crate) tcp: bool,
}

#[derive(Debug, Deserialize)]
struct DomainEntity {
    name: String,
    #[serde(default)]
    internal: Option<bool>,
    #[serde(default)]
    router_group_type: Option<String>,
}

// === impl DomainKind ===

impl DomainKind {
    /// The word in the table of domains.
    pub(crate) fn status(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Private => "owned",
        }
    }
}

/// The domains that an org may use, shared ones first.
pub(crate) async fn domains(client: &Client, org: &OrgGuid) -> Result<Vec<Domain>, ApiError> {
    let shared = format!("/v2/shared_domains?results-per-page={PER_PAGE}");
    let private = format!("/v2/organizations/{org}/private_domains?results-per-page={PER_PAGE}");
    let mut domains = Vec::new();
    for (path, kind) in [(shared, DomainKind::Shared), (private, DomainKind::Private)] {
        let page: Vec<Resource<DomainGuid, DomainEntity>> = all(client, &path).await?;
        domains.extend(page.into_iter().map(|domain| Domain {
            guid: domain.metadata.guid,
            name: domain.entity.name,
            kind,
            internal: domain.entity.internal.unwrap_or(false),
            tcp: domain.entity.router_group_type.as_deref() == Some("tcp"),
        }));
    }
    Ok(domains)
}

/// The domain of this name among those of an org.
pub(crate) async fn find_domain(
    client: &Client,
    org: &OrgGuid,
    name: &str,
) -> anyhow::Result<Domain> {
    let found = domains(client, org).await?;
    found
        .into_iter()
        .find(|domain| domain.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| {
            Advised::new(
                format!("domain {name} not found"),
                "'cup domains' lists them",
            )
            .into()
        })
}
