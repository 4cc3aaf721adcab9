//! `/v2/stacks`

use actix_web::HttpRequest;
use actix_web::web::{self, Path, ServiceConfig};
use cupola_http::body::Json;
use cupola_http::{ListQuery, api_error};
use cupola_types::StackGuid;
use serde::Deserialize;

use super::{Answer, Api, created, nothing, ok, page};
use crate::actor::Actor;
use crate::model::listing::Where;
use crate::model::{app, stack};
use crate::present::{self, View};

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::scope("/stacks")
            .route("", web::get().to(list))
            .route("", web::post().to(create))
            .route("/{guid}", web::get().to(show))
            .route("/{guid}", web::delete().to(delete)),
    );
}

#[derive(Debug, Deserialize)]
struct StackFields {
    name: String,
    #[serde(default)]
    description: Option<String>,
}

async fn list(api: Api, actor: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    let seen = |_: &mut _, _: &Actor| Ok(Where::all());
    let present = |_: &mut _, _: &View<'_>, row: &_, _| Ok(present::stack(row));
    page(
        &api,
        &actor,
        &request,
        query,
        (&stack::LISTING, stack::by_ids),
        seen,
        present,
    )
    .await
}

async fn show(api: Api, _: Actor, guid: Path<String>) -> Answer {
    let found = api
        .read(move |c| {
            let found = stack::find(c, &guid)?;
            Ok(found.ok_or_else(|| api_error::STACK_NOT_FOUND.with(&*guid))?)
        })
        .await?;
    ok(&present::stack(&found))
}

async fn create(api: Api, actor: Actor, Json(fields): Json<StackFields>) -> Answer {
    actor.require_admin()?;
    let made = api
        .write(move |c| {
            if fields.name.trim().is_empty() {
                return Err(api_error::STACK_INVALID.with("name presence").into());
            }
            if stack::find_by_name(c, &fields.name)?.is_some() {
                return Err(api_error::STACK_NAME_TAKEN.with(&fields.name).into());
            }
            let description = fields.description.as_deref().unwrap_or_default();
            Ok(stack::insert(
                c,
                StackGuid::generate().as_str(),
                &fields.name,
                description,
            )?)
        })
        .await?;
    created(&present::stack(&made))
}

async fn delete(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    actor.require_admin()?;
    api.write(move |c| {
        let found =
            stack::find(c, &guid)?.ok_or_else(|| api_error::STACK_NOT_FOUND.with(&*guid))?;
        let used = app::LISTING.all(c, &Where::all().and("stack_guid = ?", [&found.guid]), 1)?;
        if !used.is_empty() {
            return Err(api_error::ASSOCIATION_NOT_EMPTY
                .with_all(&[&"app", &"stack"])
                .into());
        }
        stack::delete(c, &found.guid)?;
        Ok(())
    })
    .await?;
    nothing()
}
