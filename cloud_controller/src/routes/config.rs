//! `/v2/config`: feature flags and groups of environment variables

use actix_web::HttpRequest;
use actix_web::web::{self, Path, ServiceConfig};
use cupola_http::body::Json;
use cupola_http::{ListQuery, api_error};
use serde_json::{Map, Value};

use super::{Answer, Api, ok};
use crate::action::app_fields::check_environment;
use crate::action::flag::{self, FlagFields};
use crate::actor::Actor;
use crate::error::Fail;
use crate::model::setting;

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::scope("/config")
            .route("/feature_flags", web::get().to(flags))
            .route("/feature_flags/{name}", web::get().to(show_flag))
            .route("/feature_flags/{name}", web::put().to(set_flag))
            .route(
                "/environment_variable_groups/{name}",
                web::get().to(env_group),
            )
            .route(
                "/environment_variable_groups/{name}",
                web::put().to(set_env_group),
            )
            .route("/running_security_groups", web::get().to(no_groups))
            .route("/staging_security_groups", web::get().to(no_groups)),
    );
}

async fn flags(api: Api, _: Actor) -> Answer {
    ok(&flag::list(&api).await?)
}

async fn show_flag(api: Api, _: Actor, name: Path<String>) -> Answer {
    ok(&flag::show(&api, &name).await?)
}

async fn set_flag(
    api: Api,
    actor: Actor,
    name: Path<String>,
    Json(fields): Json<FlagFields>,
) -> Answer {
    ok(&flag::set(&api, &actor, &name, fields).await?)
}

fn known_group(name: &str) -> Result<String, Fail> {
    match name {
        "running" | "staging" => Ok(format!("env_groups/{name}")),
        _ => Err(api_error::NOT_FOUND.bare().into()),
    }
}

async fn env_group(api: Api, actor: Actor, name: Path<String>) -> Answer {
    let place = known_group(&name)?;
    if !actor.reads_secrets && !actor.is_user {
        return Err(api_error::NOT_AUTHORIZED.bare().into());
    }
    let sealed = api.read(move |c| Ok(setting::env_group(c, &name)?)).await?;
    ok(&Value::Object(
        api.sealer
            .open(&place, sealed.as_deref())
            .map_err(Fail::from)?,
    ))
}

async fn set_env_group(
    api: Api,
    actor: Actor,
    name: Path<String>,
    Json(group): Json<Map<String, Value>>,
) -> Answer {
    actor.require_admin()?;
    let place = known_group(&name)?;
    check_environment(&group)
        .map_err(|what| api_error::ENVIRONMENT_VARIABLE_GROUP_INVALID.with(what))?;
    let sealed = api.sealer.seal(&place, &group).map_err(Fail::from)?;
    api.write(move |c| {
        setting::set_env_group(c, &name, &sealed)?;
        Ok(())
    })
    .await?;
    ok(&Value::Object(group))
}

async fn no_groups(_: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    super::none::empty(&request, &query)
}
