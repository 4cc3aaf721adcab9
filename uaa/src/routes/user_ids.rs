//! `/ids/Users`: names for ids and ids for names, for who may not see more.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use crate::caller::Caller;
use crate::model::user;
use crate::refusal::Refusal;
use crate::scim::filter::Operator;
use crate::scim::listing::ListParameters;
use crate::state::Uaa;

/// What may be asked for.
const ATTRIBUTES: &[&str] = &["id", "username", "origin"];

pub(super) fn configure(config: &mut ServiceConfig) {
    config.service(web::resource("/ids/Users").route(web::get().to(list)));
}

async fn list(
    uaa: web::Data<Uaa>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["scim.userids", "scim.read"])?;
    let parameters = ListParameters::parse(request.query_string())?;
    if parameters
        .filter
        .as_deref()
        .is_none_or(|filter| filter.trim().is_empty())
    {
        return Err(Refusal::scim("A filter is needed"));
    }
    let filter = parameters.expression(ATTRIBUTES)?;
    // With anything but `eq`, who may look up a name could list them all.
    if filter
        .comparisons()
        .iter()
        .any(|(_, operator, _)| *operator != Operator::Equal)
    {
        return Err(Refusal::scim("Only the operator eq is allowed here"));
    }
    let listing = parameters.users(filter);
    let (users, total) = uaa
        .db
        .read::<_, Refusal, _>(move |c| Ok(user::list(c, &listing)?))
        .await?;
    let resources = users
        .iter()
        .map(|user| json!({"id": user.id, "userName": user.user_name, "origin": user.origin}))
        .collect();
    Ok(HttpResponse::Ok().json(parameters.answer(resources, total)))
}
