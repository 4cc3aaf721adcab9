//! Parameters of SCIM lists, and the list's envelope.

use serde::Serialize;
use url::form_urlencoded;

use super::filter::{Expression, FilterError};
use crate::model::user::{Listing, SortBy};
use crate::refusal::Refusal;

/// Entries of a list when nothing is said.
const DEFAULT_COUNT: i64 = 100;
/// Most entries that a list shows at once.
const MAX_COUNT: i64 = 500;
/// Longest query that is read.
const MAX_QUERY_BYTES: usize = 64 * 1024;
/// The schema that every SCIM answer names.
pub(crate) const SCHEMA: &str = "urn:scim:schemas:core:1.0";

/// The query of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ListParameters {
    pub(crate) filter: Option<String>,
    pub(crate) attributes: Option<Vec<String>>,
    pub(crate) sort_by: String,
    pub(crate) descending: bool,
    start_index: i64,
    count: i64,
}

/// A list on the wire.
#[derive(Debug, Serialize)]
pub(crate) struct ListResponse<T> {
    pub(crate) resources: Vec<T>,
    #[serde(rename = "startIndex")]
    pub(crate) start_index: i64,
    #[serde(rename = "itemsPerPage")]
    pub(crate) items_per_page: i64,
    #[serde(rename = "totalResults")]
    pub(crate) total_results: i64,
    pub(crate) schemas: Vec<&'static str>,
}

// === impl ListParameters ===

impl ListParameters {
    pub(crate) fn parse(query: &str) -> Result<Self, Refusal> {
        if query.len() > MAX_QUERY_BYTES {
            return Err(Refusal::scim("the query is too long"));
        }
        let mut list = Self {
            start_index: 1,
            count: DEFAULT_COUNT,
            ..Self::default()
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "filter" => list.filter = Some(value.into_owned()),
                "attributes" => {
                    let names = value.split(',').map(|name| name.trim().to_owned());
                    list.attributes = Some(names.take(50).collect());
                }
                "sortBy" => list.sort_by = value.to_ascii_lowercase(),
                "sortOrder" => list.descending = value.eq_ignore_ascii_case("descending"),
                // Like the original: what is out of range is brought into it, not refused.
                "startIndex" => list.start_index = value.parse::<i64>().unwrap_or(1).max(1),
                "count" => {
                    list.count = value.parse().unwrap_or(DEFAULT_COUNT).clamp(1, MAX_COUNT);
                }
                _ => {}
            }
        }
        Ok(list)
    }

    pub(crate) fn offset(&self) -> i64 {
        self.start_index - 1
    }

    pub(crate) fn limit(&self) -> i64 {
        self.count
    }

    /// The filter, with attributes out of `known` only.
    pub(crate) fn expression(&self, known: &[&str]) -> Result<Expression, FilterError> {
        Expression::parse(self.filter.as_deref().unwrap_or_default(), known)
    }

    /// The listing of users that is asked for.
    pub(crate) fn users(&self, filter: Expression) -> Listing {
        Listing {
            filter,
            sort_by: match self.sort_by.as_str() {
                "username" => SortBy::UserName,
                "id" => SortBy::Id,
                _ => SortBy::Created,
            },
            descending: self.descending,
            offset: self.offset(),
            limit: self.limit(),
        }
    }

    pub(crate) fn answer<T>(&self, resources: Vec<T>, total_results: i64) -> ListResponse<T> {
        ListResponse {
            resources,
            start_index: self.start_index,
            items_per_page: self.count,
            total_results,
            schemas: vec![SCHEMA],
        }
    }
}
