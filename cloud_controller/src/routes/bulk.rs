//! `/bulk/apps`: what shall run, for the health manager.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use cupola_http::credentials::Basic;
use cupola_http::{ListQuery, api_error};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Api, ok};
use crate::error::Fail;
use crate::model::app;
use crate::present::time;

/// Most apps in one answer.
const MAX_BATCH: i64 = 1_000;

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.route("/bulk/apps", web::get().to(apps));
}

/// Where a client is in the list: after this id.
#[derive(Debug, Deserialize)]
struct Token {
    #[serde(default)]
    id: Option<i64>,
}

async fn apps(api: Api, request: HttpRequest, query: ListQuery) -> Answer {
    let secrets = &api.config.secrets;
    let credentials = Basic::from_headers(request.headers());
    if !credentials.is_some_and(|given| given.matches(&secrets.bulk_user, &secrets.bulk_password)) {
        return Err(api_error::NOT_AUTHENTICATED.bare().into());
    }
    let bad = |what: &str| Fail::from(api_error::BAD_QUERY_PARAMETER.with(what));
    let size = query
        .parameter("batch_size")
        .ok_or_else(|| bad("batch_size is missing"))?;
    let size: i64 = size
        .parse()
        .map_err(|_| bad("batch_size is not a number"))?;
    if size < 1 {
        return Err(bad("batch_size must be at least 1"));
    }
    let token = query
        .parameter("bulk_token")
        .ok_or_else(|| bad("bulk_token is missing"))?;
    let token: Token = serde_json::from_str(token)
        .map_err(|_| bad("bulk_token is not one that was handed out").into_api())
        .map_err(|error| error.with_status(StatusCode::BAD_REQUEST))?;
    let after = token.id.unwrap_or_default();
    let rows = api
        .read(move |c| Ok(app::desired_after(c, after, size.min(MAX_BATCH))?))
        .await?;
    let last = rows.last().map(|row| row.id);
    let mut results = Map::new();
    for row in rows {
        let record = json!({
            "id": row.guid,
            "instances": row.instances,
            "state": row.state,
            "memory": row.memory,
            "package_state": row.package_state,
            "updated_at": time(row.updated_at.unwrap_or(row.created_at)),
            "version": row.version,
        });
        results.insert(row.guid, record);
    }
    ok(&json!({"results": Value::Object(results), "bulk_token": {"id": last}}))
}
