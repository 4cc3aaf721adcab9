//! The cloud controller's resources, as far as the commands need them: v2 envelopes, paging, jobs.

mod apps;
mod domains;
mod events;
mod info;
mod orgs;
mod routes;
mod services;

pub(crate) use apps::{
    AppResource, Instance, InstanceStats, app_rows, app_summary, environment, find_app, get_app,
    instances, stats, update_app,
};
pub(crate) use domains::{Domain, DomainKind, domains, find_domain};
pub(crate) use events::recent_events;
pub(crate) use info::discover;
pub(crate) use orgs::{
    OrgResource, SpaceResource, create_org, create_space, find_org, find_space, orgs, spaces,
};
pub(crate) use routes::{
    RouteKey, RouteResource, address as route_address, app_routes, create_route, find_route,
    map as map_route, space_routes, unmap as unmap_route,
};
pub(crate) use services::bind_service;

use std::time::Duration;

use anyhow::Context as _;
use cupola_types::{JobGuid, StackGuid};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::client::{Answer, ApiError, Client};
use crate::failure::Advised;
use crate::patience::{Patience, Tolerance};

/// A job that runs longer has been forgotten.
const JOB_WITHIN: Duration = Duration::from_secs(30 * 60);
/// A list of more pages than this does not end.
const MOST_PAGES: usize = 10_000;
/// The largest page that the API gives.
pub(crate) const PER_PAGE: u32 = 100;

/// What may stand unescaped in a query value.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Resource<G, E> {
    pub(crate) metadata: Metadata<G>,
    pub(crate) entity: E,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Metadata<G> {
    pub(crate) guid: G,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "R: DeserializeOwned")]
struct Page<R> {
    #[serde(default)]
    next_url: Option<String>,
    resources: Vec<R>,
}

/// Something that the platform does later.
#[derive(Debug, Deserialize)]
pub(crate) struct Job {
    entity: JobEntity,
}

#[derive(Debug, Deserialize)]
struct JobEntity {
    guid: JobGuid,
    status: JobStatus,
    #[serde(default)]
    error_details: Option<JobError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum JobStatus {
    Queued,
    Running,
    Finished,
    Failed,
}

#[derive(Debug, Default, Deserialize)]
struct JobError {
    #[serde(default)]
    description: String,
    #[serde(default)]
    error_code: String,
}

#[derive(Debug, Deserialize)]
struct Stack {
    name: String,
}

/// Escapes a value for a query.
pub(crate) fn escape(value: &str) -> String {
    utf8_percent_encode(value, QUERY_VALUE).to_string()
}

/// One `q` filter; a `;` within the value is doubled, for a single one separates conditions.
pub(crate) fn filter(key: &str, value: &str) -> String {
    format!(
        "q={}",
        escape(&format!("{key}:{}", value.replace(';', ";;")))
    )
}

/// Every resource of a list, page by page.
pub(crate) async fn all<R: DeserializeOwned>(
    client: &Client,
    first: &str,
) -> Result<Vec<R>, ApiError> {
    let mut resources = Vec::new();
    let mut next = Some(first.to_owned());
    for _ in 0..MOST_PAGES {
        let Some(path) = next else { break };
        let page: Page<R> = client.get(&path).await?;
        resources.extend(page.resources);
        next = page.next_url;
    }
    Ok(resources)
}

/// The first resource of a list, where a name is unique.
async fn first<R: DeserializeOwned>(client: &Client, path: &str) -> Result<Option<R>, ApiError> {
    let page: Page<R> = client.get(path).await?;
    Ok(page.resources.into_iter().next())
}

/// Waits until a job is done.
pub(crate) async fn finish_job(client: &Client, job: &Job) -> anyhow::Result<()> {
    let path = format!("/v2/jobs/{}", job.entity.guid);
    let mut status = job.entity.status;
    let mut details: Option<JobError> = None;
    let mut patience = Patience::lasting(JOB_WITHIN);
    let mut tolerance = Tolerance::default();
    while matches!(status, JobStatus::Queued | JobStatus::Running) {
        if patience.is_over() {
            let message = format!("the job {} is not done after 30 minutes", job.entity.guid);
            return Err(Advised::new(message, "try again, or ask the operator").into());
        }
        let look = match client.get::<Job>(&path).await {
            // A job that is gone is over.
            Err(error) if error.refusal().is_some_and(|r| r.status.as_u16() == 404) => {
                return Ok(());
            }
            look => tolerance
                .bear(look)
                .context("asking how the job is going")?,
        };
        if let Some(seen) = look {
            status = seen.entity.status;
            details = seen.entity.error_details;
        }
        if matches!(status, JobStatus::Queued | JobStatus::Running) {
            patience.rest().await;
        }
    }
    if status == JobStatus::Failed {
        let details = details.unwrap_or_default();
        let reason = if details.description.is_empty() {
            "the platform gave no reason".to_owned()
        } else {
            details.description
        };
        let code = if details.error_code.is_empty() {
            String::new()
        } else {
            format!(" ({})", details.error_code)
        };
        anyhow::bail!("{reason}{code}");
    }
    Ok(())
}

/// Waits for the job that a deletion became, if it became one.
pub(crate) async fn finish_deletion(client: &Client, answer: &Answer) -> anyhow::Result<()> {
    if answer.status != reqwest::StatusCode::ACCEPTED {
        return Ok(());
    }
    finish_job(client, &answer.json()?).await
}

/// A name for a stack's guid.
pub(crate) async fn stack_name(client: &Client, guid: &StackGuid) -> Result<String, ApiError> {
    let stack: Resource<StackGuid, Stack> = client.get(&format!("/v2/stacks/{guid}")).await?;
    Ok(stack.entity.name)
}

/// A guid for a stack's name.
pub(crate) async fn find_stack(client: &Client, name: &str) -> anyhow::Result<StackGuid> {
    let path = format!("/v2/stacks?{}", filter("name", name));
    let stack: Option<Resource<StackGuid, Stack>> = first(client, &path).await?;
    let Some(stack) = stack else {
        let advice = "'cup curl /v2/stacks' lists them";
        return Err(Advised::new(format!("there is no stack {name}"), advice).into());
    };
    Ok(stack.metadata.guid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_values_cannot_break_out_of_their_condition() {
        assert_eq!(filter("name", "a;b"), "q=name%3Aa%3B%3Bb");
        assert_eq!(filter("path", ""), "q=path%3A");
        assert_eq!(filter("name", "x&y=z ü"), "q=name%3Ax%26y%3Dz%20%C3%BC");
    }
}
