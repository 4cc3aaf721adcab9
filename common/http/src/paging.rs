//! Query parameters of v2 collections: which page, in which order, filtered how.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use url::form_urlencoded;

use crate::api_error::{self, ApiError};
use crate::filter::{self, Filter};

/// Results on a page when nothing is said.
pub const DEFAULT_RESULTS_PER_PAGE: u32 = 50;
/// Most results a page may have.
pub const MAX_RESULTS_PER_PAGE: u32 = 100;
/// Deepest nesting of related resources that a client may ask for.
pub const MAX_INLINE_RELATIONS_DEPTH: u8 = 3;
/// Longest query string that is read; a longer one is refused rather than cut.
const MAX_QUERY_BYTES: usize = 32 * 1024;

/// Which way a collection is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Smallest first.
    #[default]
    Ascending,
    /// Largest first.
    Descending,
}

/// The query of a `GET` on a collection, checked. An actix extractor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Which page, from 1.
    pub page: u32,
    /// Results on a page, 1 to 100.
    pub results_per_page: u32,
    /// Sort direction.
    pub order: Order,
    /// Attribute to sort by; the handler decides which it allows ([`ListQuery::order_by_one_of`]).
    pub order_by: Option<String>,
    /// How deep related resources are expanded in place, 0 to 3.
    pub inline_relations_depth: u8,
    /// All conditions of all `q` parameters; every one must hold.
    pub filters: Vec<Filter>,
    /// Every parameter but the paging ones, as given, to be repeated in page links.
    rest: Vec<(String, String)>,
}

// === impl Order ===

impl Order {
    /// As in `order-direction`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }
}

// === impl ListQuery ===

impl Default for ListQuery {
    fn default() -> Self {
        Self {
            page: 1,
            results_per_page: DEFAULT_RESULTS_PER_PAGE,
            order: Order::Ascending,
            order_by: None,
            inline_relations_depth: 0,
            filters: Vec::new(),
            rest: Vec::new(),
        }
    }
}

impl ListQuery {
    /// Reads a query string (without `?`).
    ///
    /// # Errors
    /// `BadQueryParameter` that names the parameter and what it may be.
    pub fn parse(query: &str) -> Result<Self, ApiError> {
        if query.len() > MAX_QUERY_BYTES {
            return Err(bad(format_args!(
                "the query has more than {MAX_QUERY_BYTES} bytes"
            )));
        }
        let mut list = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "page" => list.page = number("page", &value, 1, u32::MAX)?,
                "results-per-page" => {
                    list.results_per_page =
                        number("results-per-page", &value, 1, MAX_RESULTS_PER_PAGE)?;
                }
                "order-direction" => list.order = direction(&value)?,
                name => {
                    list.read_other(name, &value)?;
                    list.rest.push((key.into_owned(), value.into_owned()));
                }
            }
        }
        if list.filters.len() > filter::MAX_CONDITIONS {
            let most = filter::MAX_CONDITIONS;
            return Err(bad(format_args!("q holds more than {most} conditions")));
        }
        Ok(list)
    }

    fn read_other(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        match name {
            "order-by" => self.order_by = Some(value.to_owned()),
            "inline-relations-depth" => {
                let most = u32::from(MAX_INLINE_RELATIONS_DEPTH);
                let depth = number("inline-relations-depth", value, 0, most)?;
                self.inline_relations_depth = u8::try_from(depth).unwrap_or_default();
            }
            "q" => self.filters.extend(filter::parse(value).map_err(bad)?),
            _ => {}
        }
        Ok(())
    }

    /// Rows to skip.
    #[must_use]
    pub fn offset(&self) -> i64 {
        i64::from(self.page - 1) * i64::from(self.results_per_page)
    }

    /// Rows to fetch.
    #[must_use]
    pub fn limit(&self) -> i64 {
        i64::from(self.results_per_page)
    }

    /// Refuses filters on keys that the collection does not know.
    ///
    /// # Errors
    /// `BadQueryParameter` with the first unknown key.
    pub fn filters_only_on(&self, known: &[&str]) -> Result<&[Filter], ApiError> {
        match self
            .filters
            .iter()
            .find(|filter| !known.contains(&filter.key.as_str()))
        {
            Some(unknown) => Err(bad(&unknown.key)),
            None => Ok(&self.filters),
        }
    }

    /// The attribute to sort by, if it is one of `sortable`; the first of them when none is asked for.
    ///
    /// # Errors
    /// `OrderByParameterInvalid` with what was asked for.
    pub fn order_by_one_of(
        &self,
        sortable: &[&'static str],
    ) -> Result<Option<&'static str>, ApiError> {
        match &self.order_by {
            None => Ok(sortable.first().copied()),
            Some(wanted) => match sortable.iter().find(|name| *name == wanted) {
                Some(name) => Ok(Some(name)),
                None => Err(api_error::ORDER_BY_PARAMETER_INVALID.with(wanted)),
            },
        }
    }

    /// The value of any other parameter (`async`, `recursive`, `return_user_provided_…`).
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.rest
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Host-relative address of page `page` of the collection at `path`.
    pub(crate) fn page_url(&self, path: &str, page: u64) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("order-direction", self.order.as_str());
        query.append_pair("page", &page.to_string());
        query.append_pair("results-per-page", &self.results_per_page.to_string());
        query.extend_pairs(&self.rest);
        format!("{path}?{}", query.finish())
    }
}

impl FromRequest for ListQuery {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::parse(request.query_string()))
    }
}

fn bad(what: impl std::fmt::Display) -> ApiError {
    api_error::BAD_QUERY_PARAMETER.with(what)
}

fn number(name: &str, text: &str, least: u32, most: u32) -> Result<u32, ApiError> {
    match text.trim().parse::<u32>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ if most == u32::MAX => Err(bad(format_args!("{name} must be at least {least}"))),
        _ => Err(bad(format_args!(
            "{name} must be between {least} and {most}"
        ))),
    }
}

fn direction(text: &str) -> Result<Order, ApiError> {
    match text {
        "asc" => Ok(Order::Ascending),
        "desc" => Ok(Order::Descending),
        _ => Err(bad("order-direction must be 'asc' or 'desc'")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn nothing_said_means_the_first_fifty() {
        let query = ListQuery::parse("").unwrap();
        assert_eq!((query.offset(), query.limit()), (0, 50));
        assert_eq!(query.order, Order::Ascending);
    }

    #[test]
    fn reads_every_parameter() {
        let query = ListQuery::parse(
            "page=3&results-per-page=20&order-direction=desc&order-by=name\
             &inline-relations-depth=1&q=host%3Ah%3Bdomain_guid%3AD&q=path:&async=true",
        )
        .unwrap();
        assert_eq!((query.offset(), query.limit()), (40, 20));
        assert_eq!(query.order, Order::Descending);
        assert_eq!(
            query.order_by_one_of(&["id", "name"]).unwrap(),
            Some("name")
        );
        assert_eq!(query.inline_relations_depth, 1);
        assert_eq!(query.filters.len(), 3);
        assert_eq!(query.parameter("async"), Some("true"));
    }

    #[test]
    fn refuses_what_is_out_of_range() {
        for query in [
            "page=0",
            "page=-1",
            "page=x",
            "results-per-page=101",
            "results-per-page=0",
            "order-direction=up",
            "inline-relations-depth=4",
            "q=nonsense",
        ] {
            let error = ListQuery::parse(query).unwrap_err();
            assert_eq!(error.code(), &api_error::BAD_QUERY_PARAMETER, "{query}");
        }
    }

    #[test]
    fn refuses_unknown_filters_and_sort_keys() {
        let query = ListQuery::parse("q=colour:red&order-by=colour").unwrap();
        let error = query.filters_only_on(&["name"]).unwrap_err();
        assert_eq!(
            error.description(),
            "The query parameter is invalid: colour"
        );
        let error = query.order_by_one_of(&["id"]).unwrap_err();
        assert_eq!(error.code(), &api_error::ORDER_BY_PARAMETER_INVALID);
    }

    #[test]
    fn the_last_page_number_does_not_overflow() {
        let query = ListQuery::parse("page=4294967295&results-per-page=100").unwrap();
        assert_eq!(query.offset(), 429_496_729_400);
    }
}
