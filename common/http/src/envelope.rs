//! The v2 envelope: `{"metadata": …, "entity": …}` around one thing, a page around many.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use crate::api_error::{ApiError, JSON};
use crate::paging::ListQuery;

/// What every resource has in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// The resource's id.
    pub guid: String,
    /// Host-relative address, for example `/v2/apps/<guid>`.
    pub url: String,
    /// When the resource was made; whole seconds on the wire.
    #[serde(serialize_with = "seconds")]
    pub created_at: DateTime<Utc>,
    /// When it was last changed; null until the first change.
    #[serde(serialize_with = "optional_seconds")]
    pub updated_at: Option<DateTime<Utc>>,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resource<T> {
    /// Id, address and times.
    pub metadata: Metadata,
    /// The resource's own attributes.
    pub entity: T,
}

/// One page of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// How many resources match, on all pages together.
    pub total_results: u64,
    /// How many pages they fill; an empty collection has one.
    pub total_pages: u64,
    /// Host-relative address of the page before, if there is one.
    pub prev_url: Option<String>,
    /// Host-relative address of the next page, if there is one.
    pub next_url: Option<String>,
    /// The resources of this page.
    pub resources: Vec<T>,
}

// === impl Metadata ===

impl Metadata {
    /// Metadata of the resource `guid` below `collection` (for example `/v2/apps`).
    pub fn new(
        collection: &str,
        guid: impl Into<String>,
        created_at: DateTime<Utc>,
        updated_at: Option<DateTime<Utc>>,
    ) -> Self {
        let guid = guid.into();
        let url = format!("{collection}/{guid}");
        Self {
            guid,
            url,
            created_at,
            updated_at,
        }
    }
}

// === impl Resource ===

impl<T: Serialize> Resource<T> {
    /// 200 with this resource.
    ///
    /// # Errors
    /// When the entity cannot be written as JSON, which is a defect of ours.
    pub fn ok(&self) -> Result<HttpResponse, ApiError> {
        json(StatusCode::OK, self)
    }

    /// 201 with this resource and its address in `Location`.
    ///
    /// # Errors
    /// When the entity cannot be written as JSON, which is a defect of ours.
    pub fn created(&self) -> Result<HttpResponse, ApiError> {
        let mut response = json(StatusCode::CREATED, self)?;
        if let Ok(location) = self.metadata.url.parse() {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    }
}

// === impl Page ===

impl<T> Page<T> {
    /// The page of `path` that `query` asked for, out of `total_results` matches.
    #[must_use]
    pub fn new(path: &str, query: &ListQuery, total_results: u64, resources: Vec<T>) -> Self {
        let per_page = u64::from(query.results_per_page.max(1));
        let total_pages = total_results.div_ceil(per_page).max(1);
        let page = u64::from(query.page);
        let prev_url = (page > 1).then(|| query.page_url(path, (page - 1).min(total_pages)));
        let next_url = (page < total_pages).then(|| query.page_url(path, page + 1));
        Self {
            total_results,
            total_pages,
            prev_url,
            next_url,
            resources,
        }
    }
}

impl<T: Serialize> Page<T> {
    /// 200 with this page.
    ///
    /// # Errors
    /// When a resource cannot be written as JSON, which is a defect of ours.
    pub fn ok(&self) -> Result<HttpResponse, ApiError> {
        json(StatusCode::OK, self)
    }
}

/// An answer with a JSON body, in the content type of the v2 API.
///
/// # Errors
/// When `value` cannot be written as JSON, which is a defect of ours.
pub fn json(status: StatusCode, value: &impl Serialize) -> Result<HttpResponse, ApiError> {
    let body = serde_json::to_string(value).map_err(ApiError::internal)?;
    Ok(HttpResponse::build(status).content_type(JSON).body(body))
}

/// A time as the v2 API writes it: UTC, whole seconds, `Z`.
#[must_use]
pub fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// For `#[serde(serialize_with)]`: a time as the v2 API writes it.
///
/// # Errors
/// Those of the serializer.
pub fn seconds<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&timestamp(*time))
}

/// For `#[serde(serialize_with)]`: a time that may be null.
///
/// # Errors
/// Those of the serializer.
pub fn optional_seconds<S: Serializer>(
    time: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => seconds(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use chrono::TimeZone as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_resource_has_seconds_and_a_null_update() {
        let created = Utc.timestamp_opt(1_700_000_000, 123_456_789).unwrap();
        let metadata = Metadata::new("/v2/apps", "g1", created, None);
        let resource = Resource {
            metadata,
            entity: json!({"name": "dora"}),
        };
        assert_eq!(
            serde_json::to_value(&resource).unwrap(),
            json!({
                "metadata": {
                    "guid": "g1",
                    "url": "/v2/apps/g1",
                    "created_at": "2023-11-14T22:13:20Z",
                    "updated_at": null
                },
                "entity": {"name": "dora"}
            })
        );
    }

    #[test]
    fn an_empty_collection_is_one_page() {
        let page = Page::<()>::new("/v2/apps", &ListQuery::default(), 0, vec![]);
        assert_eq!((page.total_results, page.total_pages), (0, 1));
        assert_eq!((page.prev_url, page.next_url), (None, None));
    }

    #[test]
    fn pages_link_to_their_neighbours_and_keep_the_query() {
        let query = ListQuery::parse(
            "q=name%3Aa%3B%3Bb&page=2&results-per-page=1&inline-relations-depth=1",
        )
        .unwrap();
        let page = Page::new("/v2/apps", &query, 3, vec![1]);
        assert_eq!(page.total_pages, 3);
        assert_eq!(
            page.next_url.as_deref(),
            Some(
                "/v2/apps?order-direction=asc&page=3&results-per-page=1\
                 &q=name%3Aa%3B%3Bb&inline-relations-depth=1"
            )
        );
        assert!(page.prev_url.unwrap().contains("page=1&"));
    }

    #[test]
    fn a_page_beyond_the_end_leads_back() {
        let query = ListQuery::parse("page=9").unwrap();
        let page = Page::<()>::new("/v2/apps", &query, 60, vec![]);
        assert!(page.prev_url.unwrap().contains("page=2&"));
        assert_eq!(page.next_url, None);
    }
}
