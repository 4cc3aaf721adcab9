//! What the platform says of itself.

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};
use cupola_http::Authenticated;
use serde_json::json;

use super::{Answer, Api, ok};
use crate::config::base;

/// The level of the v2 API that is spoken: what 6.53 calls current.
const V2_VERSION: &str = "2.142.0";
/// The level of the little of v3 there is.
const V3_VERSION: &str = "3.77.0";

pub(super) fn routes(app: &mut ServiceConfig) {
    app.route("/", web::get().to(root))
        .route("/v2/info", web::get().to(info))
        .route("/v3", web::get().to(v3))
        .route("/healthz", web::get().to(healthz));
}

/// The endpoints of the platform and, for whoever has a token, who they are.
async fn info(api: Api, user: Option<Authenticated>) -> Answer {
    let config = &api.config;
    let uaa = base(&config.uaa.external_url);
    let doppler = base(&config.logs.doppler_url);
    let mut info = json!({
        "name": config.info.name,
        "build": config.info.build,
        "support": config.info.support,
        "version": 0,
        "description": config.info.description,
        "authorization_endpoint": uaa,
        "token_endpoint": uaa,
        "min_cli_version": null,
        "min_recommended_cli_version": null,
        "api_version": V2_VERSION,
        "osbapi_version": "2.15",
        "doppler_logging_endpoint": doppler,
        "logging_endpoint": doppler,
        "cupola": {
            "apps_url_port": config.info.apps_url_port,
            "apps_url_scheme": config.info.apps_url_scheme,
        },
    });
    if let Some(user) = user {
        info["user"] = json!(user.actor_id());
    }
    ok(&info)
}

/// The roots of every API.
async fn root(api: Api) -> Answer {
    let config = &api.config;
    let me = config.external_base();
    let uaa = base(&config.uaa.external_url);
    ok(&json!({"links": {
        "self": {"href": me},
        "bits_service": null,
        "cloud_controller_v2": {"href": format!("{me}/v2"), "meta": {"version": V2_VERSION}},
        "cloud_controller_v3": {"href": format!("{me}/v3"), "meta": {"version": V3_VERSION}},
        "network_policy_v0": null,
        "network_policy_v1": null,
        "uaa": {"href": uaa},
        "login": {"href": uaa},
        "credhub": null,
        "routing": null,
        "logging": {"href": base(&config.logs.doppler_url)},
        "log_cache": {"href": base(&config.logs.log_cache_url)},
        "log_stream": null,
        "app_ssh": null,
    }}))
}

/// Where the collections of v3 are.
async fn v3(api: Api) -> Answer {
    let v3 = format!("{}/v3", api.config.external_base());
    let link = |name: &str| json!({"href": format!("{v3}/{name}")});
    ok(&json!({"links": {
        "self": {"href": v3},
        "apps": link("apps"),
        "organizations": link("organizations"),
        "spaces": link("spaces"),
        "isolation_segments": link("isolation_segments"),
        "processes": link("processes"),
        "droplets": link("droplets"),
        "packages": link("packages"),
        "builds": link("builds"),
        "tasks": link("tasks"),
    }}))
}

/// Whether the API is up and its database answers.
async fn healthz(api: Api) -> Answer {
    api.read(|c| Ok(crate::model::order::any(c)?)).await?;
    Ok(HttpResponse::Ok().content_type("text/plain").body("ok\n"))
}
