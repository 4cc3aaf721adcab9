//! Making, changing and removing apps.

use cupola_db::{Conn, now};
use cupola_http::{ApiError, api_error};
use cupola_types::{AppGuid, AppState, AppVersion, PackageState};
use serde_json::{Value, json};

use super::app_fields::AppFields;
use super::{app_life, flag};
use crate::access::SpaceRight;
use crate::actor::Actor;
use crate::controller::{Controller, Orders};
use crate::error::Fail;
use crate::model::app::{self, App, NewApp};
use crate::model::event::{self, Actee};
use crate::model::space::{self, Space};
use crate::model::stack;
use crate::sealed;

/// The app of that guid with its space, if the actor has `right` there.
pub(crate) fn find(
    c: &mut Conn,
    actor: &Actor,
    guid: &str,
    right: SpaceRight,
) -> Result<(App, Space), Fail> {
    let app = app::find(c, guid)?.ok_or_else(|| api_error::APP_NOT_FOUND.with(guid))?;
    let space = space::find(c, &app.space_guid)?
        .ok_or_else(|| ApiError::internal(format!("app {guid} is in no space")))?;
    actor.require_in_space(c, right, &space)?;
    Ok((app, space))
}

/// An app as the audit trail names it.
pub(crate) fn actee<'a>(app: &'a App, space: &'a Space) -> Actee<'a> {
    Actee {
        guid: &app.guid,
        kind: "app",
        name: &app.name,
        space_guid: &space.guid,
        org_guid: &space.org_guid,
    }
}

/// Writes down what the actor did to an app.
pub(crate) fn audit(
    c: &mut Conn,
    kind: &str,
    actor: &Actor,
    app: &App,
    space: &Space,
    metadata: &Value,
) -> Result<(), Fail> {
    Ok(event::record(
        c,
        kind,
        &actor.who(),
        actee(app, space),
        metadata,
    )?)
}

pub(crate) async fn create(
    controller: &Controller,
    actor: &Actor,
    fields: AppFields,
) -> Result<App, Fail> {
    fields.check(&controller.config.apps)?;
    let missing = |what: &str| api_error::MESSAGE_PARSE_ERROR.with(format!("missing field {what}"));
    let name = fields.name.clone().ok_or_else(|| missing("name"))?;
    let space_guid = fields
        .space_guid
        .clone()
        .ok_or_else(|| missing("space_guid"))?;
    let (actor, this) = (actor.clone(), controller.clone());
    let created = controller
        .decide(move |c, orders| {
            let space = space::find(c, &space_guid)?.ok_or_else(|| {
                api_error::INVALID_RELATION.with(format!("Could not find space {space_guid}"))
            })?;
            actor.require_in_space(c, SpaceRight::Develop, &space)?;
            refuse_taken_name(c, &space, &name, None)?;
            let stack = stack_of(c, fields.stack_guid.as_deref(), &this.config.seed.stack)?;
            let new = new_app(&fields, &name, &space, stack, &this)?;
            let mut app = app::insert(c, &new)?;
            app_life::check_quota(c, &app)?;
            audit(
                c,
                "audit.app.create",
                &actor,
                &app,
                &space,
                &fields.for_audit(),
            )?;
            if fields.state.as_deref() == Some(AppState::Started.as_str()) {
                app_life::start(c, orders, &mut app, &this.config.staging)?;
                app_life::check_quota(c, &app)?;
                app = app::save(c, &app)?;
            }
            Ok(app)
        })
        .await?;
    controller.say(
        &created.guid,
        &format!("Created app with guid {}", created.guid),
    );
    Ok(created)
}

fn new_app(
    fields: &AppFields,
    name: &str,
    space: &Space,
    stack_guid: String,
    controller: &Controller,
) -> Result<NewApp, Fail> {
    let guid = AppGuid::generate().into_string();
    let defaults = &controller.config.apps;
    let environment = match &fields.environment_json {
        None => None,
        Some(object) => Some(
            controller
                .sealer
                .seal(&sealed::environment_of(&guid), object)?,
        ),
    };
    let text = |value: &Option<Option<String>>| {
        value
            .clone()
            .flatten()
            .filter(|text| !text.trim().is_empty())
    };
    Ok(NewApp {
        name: name.to_owned(),
        name_key: name.to_lowercase(),
        space_guid: space.guid.clone(),
        stack_guid,
        memory: fields.memory.unwrap_or(defaults.default_memory_mb),
        instances: fields.instances.unwrap_or(1),
        disk_quota: fields.disk_quota.unwrap_or(defaults.default_disk_mb),
        state: AppState::Stopped.as_str().to_owned(),
        package_state: PackageState::Pending.as_str().to_owned(),
        command: text(&fields.command),
        buildpack: text(&fields.buildpack),
        health_check_type: fields
            .health_check_type
            .clone()
            .unwrap_or_else(|| "port".into()),
        health_check_timeout: fields.health_check_timeout.flatten(),
        health_check_http_endpoint: text(&fields.health_check_http_endpoint),
        diego: false,
        enable_ssh: fields.enable_ssh.unwrap_or(false),
        environment,
        version: AppVersion::generate().into_string(),
        created_at: now(),
        guid,
    })
}

pub(crate) async fn update(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
    fields: AppFields,
) -> Result<App, Fail> {
    fields.check(&controller.config.apps)?;
    let (actor, guid, this) = (actor.clone(), guid.to_owned(), controller.clone());
    let (before, after) = controller
        .decide(move |c, orders| {
            let (before, space) = find(c, &actor, &guid, SpaceRight::Develop)?;
            let mut app = before.clone();
            rename_or_move(c, &actor, &mut app, &space, &fields)?;
            if fields.memory.is_some_and(|v| v != app.memory)
                || fields.instances.is_some_and(|v| v != app.instances)
            {
                flag::require(c, &actor, "app_scaling")?;
            }
            fields.apply(&mut app);
            if let Some(object) = &fields.environment_json {
                let place = sealed::environment_of(&app.guid);
                app.environment = Some(this.sealer.seal(&place, object)?);
            }
            if let Some(stack) = &fields.stack_guid {
                app.stack_guid = stack_of(c, Some(stack), "")?;
            }
            if app.buildpack != before.buildpack || app.stack_guid != before.stack_guid {
                app_life::needs_staging(&mut app);
            }
            change_state(c, orders, &this, &mut app, &fields)?;
            let grows = app.memory > before.memory
                || app.instances > before.instances
                || (app.is_started() && !before.is_started());
            if grows {
                app_life::check_quota(c, &app)?;
            }
            let app = app::save(c, &app)?;
            audit(
                c,
                "audit.app.update",
                &actor,
                &app,
                &space,
                &fields.for_audit(),
            )?;
            if app.is_started() != before.is_started() {
                let kind = if app.is_started() {
                    "audit.app.start"
                } else {
                    "audit.app.stop"
                };
                audit(c, kind, &actor, &app, &space, &json!({}))?;
            }
            Ok((before, app))
        })
        .await?;
    controller.say(
        &after.guid,
        &format!(
            "Updated app with guid {}{}",
            after.guid,
            change_of(&before, &after)
        ),
    );
    Ok(after)
}

/// The scaling comes first: whoever starts with more instances wants all of them started.
fn change_state(
    c: &mut Conn,
    orders: &mut Orders,
    controller: &Controller,
    app: &mut App,
    fields: &AppFields,
) -> Result<(), Fail> {
    if fields.state.as_deref() == Some(AppState::Stopped.as_str()) {
        app_life::stop(c, orders, app)?;
    }
    if let Some(instances) = fields.instances {
        app_life::scale(orders, app, instances);
    }
    if fields.state.as_deref() == Some(AppState::Started.as_str()) {
        app_life::start(c, orders, app, &controller.config.staging)?;
    }
    Ok(())
}

fn rename_or_move(
    c: &mut Conn,
    actor: &Actor,
    app: &mut App,
    space: &Space,
    fields: &AppFields,
) -> Result<(), Fail> {
    if let Some(name) = &fields.name
        && *name != app.name
    {
        refuse_taken_name(c, space, name, Some(&app.guid))?;
        app.name.clone_from(name);
        app.name_key = name.to_lowercase();
    }
    if let Some(wanted) = &fields.space_guid
        && *wanted != app.space_guid
    {
        actor.space(c, wanted, SpaceRight::Develop)?;
        let what = "An app cannot be moved to another space";
        return Err(api_error::APP_INVALID.with(what).into());
    }
    Ok(())
}

fn refuse_taken_name(
    c: &mut Conn,
    space: &Space,
    name: &str,
    except: Option<&str>,
) -> Result<(), Fail> {
    match app::find_by_name(c, &space.guid, name)? {
        Some(other) if Some(other.guid.as_str()) != except => {
            Err(api_error::APP_NAME_TAKEN.with(name).into())
        }
        _ => Ok(()),
    }
}

/// The guid of the stack that is asked for, or of the default one.
fn stack_of(c: &mut Conn, wanted: Option<&str>, default_name: &str) -> Result<String, Fail> {
    if let Some(guid) = wanted {
        let stack = stack::find(c, guid)?;
        return Ok(stack
            .ok_or_else(|| api_error::STACK_NOT_FOUND.with(guid))?
            .guid);
    }
    let stack = stack::find_by_name(c, default_name)?;
    Ok(stack
        .ok_or_else(|| api_error::STACK_NOT_FOUND.with(default_name))?
        .guid)
}

fn change_of(before: &App, after: &App) -> String {
    let mut changes = Vec::new();
    if before.state != after.state {
        changes.push(format!("state: {}", after.state));
    }
    if before.instances != after.instances {
        changes.push(format!("instances: {}", after.instances));
    }
    if before.memory != after.memory {
        changes.push(format!("memory: {} MB", after.memory));
    }
    if changes.is_empty() {
        String::new()
    } else {
        format!(" ({})", changes.join(", "))
    }
}

pub(crate) async fn restage(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
) -> Result<App, Fail> {
    let (actor, guid, this) = (actor.clone(), guid.to_owned(), controller.clone());
    let app = controller
        .decide(move |c, orders| {
            let (mut app, space) = find(c, &actor, &guid, SpaceRight::Develop)?;
            app_life::restage(c, orders, &mut app, &this.config.staging)?;
            app_life::check_quota(c, &app)?;
            let app = app::save(c, &app)?;
            audit(c, "audit.app.restage", &actor, &app, &space, &json!({}))?;
            Ok(app)
        })
        .await?;
    controller.say(&app.guid, &format!("Restaging app with guid {}", app.guid));
    Ok(app)
}

pub(crate) async fn delete(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
    recursive: bool,
) -> Result<(), Fail> {
    let (who, wanted) = (actor.clone(), guid.to_owned());
    controller
        .decide(move |c, orders| {
            let (app, space) = find(c, &who, &wanted, SpaceRight::Develop)?;
            let metadata = json!({"request": {"recursive": recursive}});
            audit(c, "audit.app.delete-request", &who, &app, &space, &metadata)?;
            app_life::delete(c, orders, &app)
        })
        .await?;
    controller.say(guid, &format!("Deleted app with guid {guid}"));
    Ok(())
}
