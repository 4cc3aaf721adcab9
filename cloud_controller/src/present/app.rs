//! Apps.

use cupola_db::Conn;
use serde_json::{Map, Value, json};

use super::{View, expand, object, resource, time};
use crate::error::Fail;
use crate::model::app::App;
use crate::model::listing::Where;
use crate::model::{route, space, stack};
use crate::sealed;

/// An app with its envelope.
pub(crate) fn app(c: &mut Conn, view: &View<'_>, app: &App, depth: u8) -> Result<Value, Fail> {
    let mut entity = app_entity(c, view, app)?;
    let url = format!("/v2/apps/{}", app.guid);
    entity.extend(object(json!({
        "space_url": format!("/v2/spaces/{}", app.space_guid),
        "stack_url": format!("/v2/stacks/{}", app.stack_guid),
        "routes_url": format!("{url}/routes"),
        "events_url": format!("{url}/events"),
        "service_bindings_url": format!("{url}/service_bindings"),
        "route_mappings_url": format!("{url}/route_mappings"),
    })));
    if depth > 0 && view.spend(2) {
        if let Some(space) = space::find(c, &app.space_guid)? {
            entity.insert("space".into(), super::space(c, view, &space, depth - 1)?);
        }
        if let Some(stack) = stack::find(c, &app.stack_guid)? {
            entity.insert("stack".into(), super::stack(&stack));
        }
        let mine = Where::all().and(
            "guid IN (SELECT route_guid FROM route_mappings WHERE app_guid = ?)",
            [&app.guid],
        );
        let routes = expand(
            c,
            view,
            &route::LISTING,
            &mine,
            route::by_ids,
            |c, route| super::route(c, view, route, depth - 1),
        )?;
        if let Some(routes) = routes {
            entity.insert("routes".into(), routes);
        }
        entity.insert("service_bindings".into(), json!([]));
    }
    Ok(resource(
        url,
        &app.guid,
        app.created_at,
        app.updated_at,
        entity,
    ))
}

/// The attributes of an app, without relations.
pub(crate) fn app_entity(
    c: &mut Conn,
    view: &View<'_>,
    app: &App,
) -> Result<Map<String, Value>, Fail> {
    let environment = if view.sees_secrets(c, &app.space_guid)? {
        let place = sealed::environment_of(&app.guid);
        Value::Object(view.sealer.open(&place, app.environment.as_deref())?)
    } else {
        json!({"redacted_message": view.redacted})
    };
    Ok(object(json!({
        "name": app.name,
        "production": false,
        "space_guid": app.space_guid,
        "stack_guid": app.stack_guid,
        "buildpack": app.buildpack.as_deref().map(mask_credentials),
        "detected_buildpack": app.detected_buildpack,
        "detected_buildpack_guid": app.detected_buildpack_guid,
        "environment_json": environment,
        "memory": app.memory,
        "instances": app.instances,
        "disk_quota": app.disk_quota,
        "state": app.state,
        "version": app.version,
        "command": app.command,
        "console": false,
        "debug": null,
        "staging_task_id": app.staging_task_id,
        "package_state": app.package_state,
        "health_check_type": app.health_check_type,
        "health_check_timeout": app.health_check_timeout,
        "health_check_http_endpoint": app.health_check_http_endpoint,
        "staging_failed_reason": app.staging_failed_reason,
        "staging_failed_description": app.staging_failed_description,
        "diego": app.diego,
        "docker_image": null,
        "docker_credentials": {"username": null, "password": null},
        "package_updated_at": app.package_updated_at.map(time),
        "detected_start_command": app.detected_start_command.as_deref().unwrap_or_default(),
        "enable_ssh": app.enable_ssh,
        "ports": null,
    })))
}

/// A buildpack's url without user and password.
fn mask_credentials(buildpack: &str) -> String {
    match url::Url::parse(buildpack) {
        Ok(mut url) if !url.username().is_empty() || url.password().is_some() => {
            // A url that has credentials can have others.
            let _ = url.set_username("***");
            let _ = url.set_password(Some("***"));
            url.into()
        }
        _ => buildpack.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_buildpack_are_not_shown() {
        assert_eq!(
            mask_credentials("https://me:secret@git.example/bp.git#v1"),
            "https://***:***@git.example/bp.git#v1"
        );
        assert_eq!(mask_credentials("staticfile"), "staticfile");
    }
}
