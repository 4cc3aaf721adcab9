//! How v3 writes its errors and its pages.

use actix_web::body::BoxBody;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError};
use cupola_db::Conn;
use cupola_http::{ApiError, ListQuery, api_error};
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::actor::Actor;
use crate::error::Fail;
use crate::model::listing::{Listing, Where};
use crate::routes::Api;

/// Most resources on a page; a client that asks for more follows the links.
const MOST_PER_PAGE: u32 = 100;
/// Most values in one filter.
const MOST_VALUES: usize = 500;

/// An error in the shape of v3.
#[derive(Debug)]
pub(super) struct V3Fail(ApiError);

/// What a handler of v3 ends with.
pub(super) type V3Answer = Result<HttpResponse, V3Fail>;

/// The sender of a request, refused in the shape of v3.
#[derive(Debug)]
pub(super) struct Reader(pub(super) Actor);

/// The query of a list: which page, and filters by name.
#[derive(Debug)]
pub(super) struct V3Query {
    pairs: Vec<(String, String)>,
    list: ListQuery,
}

// === impl V3Fail ===

impl<E: Into<Fail>> From<E> for V3Fail {
    fn from(error: E) -> Self {
        Self(error.into().into_api())
    }
}

impl std::fmt::Display for V3Fail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for V3Fail {
    fn status_code(&self) -> StatusCode {
        self.0.status_code()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let error = json!({
            "code": self.0.code().code,
            "title": self.0.error_code(),
            "detail": self.0.description(),
        });
        HttpResponse::build(self.status_code()).json(json!({"errors": [error]}))
    }
}

/// v3 does not tell what one may not see from what is not there.
pub(super) fn not_found(what: &str) -> V3Fail {
    V3Fail(api_error::RESOURCE_NOT_FOUND.with(format!("{what} not found")))
}

/// What an action says of something unseen, in the words of v3.
pub(super) fn hidden(error: Fail, what: &str) -> V3Fail {
    let error = error.into_api();
    if matches!(
        error.status_code(),
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND
    ) {
        return not_found(what);
    }
    V3Fail(error)
}

// === impl Reader ===

impl FromRequest for Reader {
    type Error = V3Fail;
    type Future = LocalBoxFuture<'static, Result<Self, V3Fail>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let actor = Actor::from_request(request, payload);
        Box::pin(async move { Ok(Self(actor.await?)) })
    }
}

// === impl V3Query ===

impl V3Query {
    /// Reads a query string in which, beside paging, only these parameters may stand.
    pub(super) fn parse(request: &HttpRequest, known: &[&str]) -> Result<Self, V3Fail> {
        let mut list = ListQuery::default();
        let mut pairs = Vec::new();
        for (key, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
            let number = || value.parse::<u32>().ok().filter(|number| *number > 0);
            let bad =
                || V3Fail(api_error::BAD_QUERY_PARAMETER.with(format!("{key} is not usable")));
            match &*key {
                "page" => list.page = number().ok_or_else(bad)?,
                "per_page" => {
                    list.results_per_page = number().ok_or_else(bad)?.min(MOST_PER_PAGE);
                }
                "order_by" => list.order_by = sortable(&value),
                "include" => {}
                other if known.contains(&other) => {
                    pairs.push((key.into_owned(), value.into_owned()));
                }
                _ => return Err(bad()),
            }
        }
        Ok(Self { pairs, list })
    }

    /// `column IN (…)` for the values of a parameter, if it is given.
    pub(super) fn restrict(&self, seen: Where, parameter: &str, column: &str) -> Where {
        let given = self.pairs.iter().find(|(key, _)| key == parameter);
        let Some((_, values)) = given else {
            return seen;
        };
        let fold = column == "name_key";
        let values: Vec<String> = values
            .split(',')
            .take(MOST_VALUES)
            .map(|value| {
                if fold {
                    value.to_lowercase()
                } else {
                    value.to_owned()
                }
            })
            .collect();
        seen.and_in(column, &values)
    }
}

/// The one attribute beside the default by which ours can be sorted.
fn sortable(given: &str) -> Option<String> {
    (given.trim_start_matches(['-', '+']) == "name").then(|| "name".to_owned())
}

/// A page: the rows of a listing that `seen` allows, written by `present`.
pub(super) async fn page<R, L, P>(
    api: &Api,
    request: &HttpRequest,
    query: V3Query,
    (listing, load): (&'static Listing, L),
    seen: Where,
    present: P,
) -> V3Answer
where
    R: 'static,
    L: Fn(&mut Conn, &[i64]) -> diesel::QueryResult<Vec<R>> + Send + 'static,
    P: Fn(&mut Conn, &R) -> Result<Value, Fail> + Send + 'static,
{
    let list = query.list.clone();
    let (total, resources) = api
        .read(move |c| {
            let ids = listing.page(c, &list, seen.clone())?;
            let rows = load(c, &ids.ids)?;
            let written = rows
                .iter()
                .map(|row| present(c, row))
                .collect::<Result<Vec<_>, _>>()?;
            Ok((ids.total, written))
        })
        .await?;
    let per_page = u64::from(query.list.results_per_page.max(1));
    let pages = total.div_ceil(per_page).max(1);
    let at = u64::from(query.list.page);
    let link = |page: u64| {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(&query.pairs);
        text.append_pair("page", &page.to_string());
        text.append_pair("per_page", &per_page.to_string());
        json!({"href": format!("{}{}?{}", api.config.external_base(), request.path(), text.finish())})
    };
    let list = json!({
        "pagination": {
            "total_results": total,
            "total_pages": pages,
            "first": link(1),
            "last": link(pages),
            "next": (at < pages).then(|| link(at + 1)),
            "previous": (at > 1).then(|| link(at - 1)),
        },
        "resources": resources,
    });
    Ok(HttpResponse::Ok().json(list))
}

/// A page with nothing on it.
pub(super) fn empty(api: &Api, request: &HttpRequest) -> V3Answer {
    let first = json!({"href": format!("{}{}", api.config.external_base(), request.path())});
    let list = json!({
        "pagination": {
            "total_results": 0, "total_pages": 1, "first": first, "last": first,
            "next": null, "previous": null,
        },
        "resources": [],
    });
    Ok(HttpResponse::Ok().json(list))
}
