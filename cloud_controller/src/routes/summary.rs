//! Summaries: an app or a space with everything a client shows of it.

use actix_web::web::Path;
use cupola_db::Conn;
use serde_json::{Map, Value, json};

use super::{Answer, Api, ok, orgs};
use crate::access::SpaceRight;
use crate::action::{app as actions, instances};
use crate::actor::Actor;
use crate::error::Fail;
use crate::model::app::App;
use crate::model::{app, domain, route};
use crate::present::{self, View};
use crate::sealed::Sealer;

/// Most apps of a space in its summary.
const MOST_APPS: usize = 1_000;

/// `GET /v2/apps/:guid/summary`
pub(super) async fn of_app(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let sealer = api.sealer.clone();
    let (app, mut summary) = api
        .read(move |c| {
            let (app, space) = actions::find(c, &actor, &guid, SpaceRight::Read)?;
            let mut summary = app_summary(c, &actor, &sealer, &app)?;
            let ids = domain::LISTING.all(c, &orgs::usable_domains(&space.org_guid), 1_000)?;
            let domains = domain::by_ids(c, &ids)?.into_iter().map(|domain| {
                match domain.owner_org_guid {
                    Some(owner) => json!({
                        "guid": domain.guid, "name": domain.name, "owning_organization_guid": owner,
                    }),
                    None => json!({
                        "guid": domain.guid, "name": domain.name, "internal": domain.internal,
                        "router_group_guid": null, "router_group_type": null,
                    }),
                }
            });
            summary.insert("available_domains".into(), domains.collect());
            summary.insert("services".into(), json!([]));
            Ok((app, summary))
        })
        .await?;
    let counts = instances::running_counts(&api, std::slice::from_ref(&app)).await;
    summary.insert(
        "running_instances".into(),
        json!(counts.get(&app.guid).copied().unwrap_or(-1)),
    );
    ok(&Value::Object(summary))
}

/// `GET /v2/spaces/:guid/summary`
pub(super) async fn of_space(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let sealer = api.sealer.clone();
    let (space, apps, summaries) = api
        .read(move |c| {
            let space = actor.space(c, &guid, SpaceRight::Read)?;
            let mut apps = app::of_space(c, &space.guid)?;
            apps.truncate(MOST_APPS);
            let mut summaries = Vec::new();
            for app in &apps {
                let mut summary = app_summary(c, &actor, &sealer, app)?;
                let uris = route::uris_of_app(c, &app.guid)?;
                summary.insert("urls".into(), json!(uris));
                summary.insert("service_count".into(), json!(0));
                summary.insert("service_names".into(), json!([]));
                summaries.push(summary);
            }
            Ok((space, apps, summaries))
        })
        .await?;
    let counts = instances::running_counts(&api, &apps).await;
    let written: Vec<Value> = apps
        .iter()
        .zip(summaries)
        .map(|(app, mut summary)| {
            let running = counts.get(&app.guid).copied().unwrap_or(-1);
            summary.insert("running_instances".into(), json!(running));
            Value::Object(summary)
        })
        .collect();
    ok(&json!({"guid": space.guid, "name": space.name, "apps": written, "services": []}))
}

fn app_summary(
    c: &mut Conn,
    actor: &Actor,
    sealer: &Sealer,
    app: &App,
) -> Result<Map<String, Value>, Fail> {
    let view = View::one(actor, sealer);
    let mut summary = present::app_entity(c, &view, app)?;
    let routes = route::of_app(c, &app.guid)?
        .into_iter()
        .map(|(route, domain)| {
            json!({
                "guid": route.guid, "host": route.host, "port": null, "path": route.path,
                "domain": {"guid": route.domain_guid, "name": domain},
            })
        });
    summary.insert("routes".into(), routes.collect());
    summary.insert("guid".into(), json!(app.guid));
    Ok(summary)
}
