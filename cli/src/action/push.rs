//! `push`: create or change the app, route it, send its files, start it.

mod route;

use anyhow::Context as _;
use cupola_types::AppState;
use serde_json::{Map, Value, json};

use super::{Context, start};
use crate::cc::{self, AppResource};
use crate::failure::Advised;
use crate::plan::{AppPlan, PushPlan};
use crate::push;

pub(super) async fn push(context: &Context<'_>, plan: &PushPlan) -> anyhow::Result<()> {
    let (ui, place) = (context.ui, context.place()?);
    if let Some(manifest) = &plan.manifest {
        ui.say(format_args!("Using manifest file {}", manifest.display()))?;
    }
    for (index, app) in plan.apps.iter().enumerate() {
        if index > 0 {
            ui.gap()?;
        }
        ui.say(format_args!(
            "Pushing app {} to {place}...",
            ui.strong(&app.name)
        ))?;
        push_app(context, app, plan.start)
            .await
            .with_context(|| format!("pushing {}", app.name))?;
    }
    Ok(())
}

async fn push_app(context: &Context<'_>, plan: &AppPlan, start: bool) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    check_path(plan)?;
    ui.say("Getting app info...")?;
    let existing = cc::find_app(client, &context.space_guid()?, &plan.name)
        .await
        .context("looking up the app")?;
    // What cannot work is found out before anything is made.
    let wanted = route::wanted(context, plan, existing.as_ref()).await?;
    let settings = settings(context, plan, existing.as_ref()).await?;
    let package = push::prepare(client, ui, &plan.path, &context.around.home).await?;
    let app = match existing {
        Some(app) => update(context, plan, app, settings).await?,
        None => create(context, plan, settings, start).await?,
    };
    wanted.apply(context, &app).await?;
    for service in &plan.services {
        ui.say(format_args!("Binding service {}...", ui.strong(service)))?;
        cc::bind_service(client, &context.space_guid()?, &app.metadata.guid, service).await?;
    }
    package.upload(client, ui, &app.metadata.guid).await?;
    if !start {
        return Ok(());
    }
    start::relaunch(context, &app).await?;
    say_where(context, &app).await
}

/// A mistyped path should not leave an app behind.
fn check_path(plan: &AppPlan) -> anyhow::Result<()> {
    if plan.path.exists() {
        return Ok(());
    }
    let message = format!("there is nothing at {}", plan.path.display());
    Err(Advised::new(message, "check the path given by -p or the manifest").into())
}

/// The fields of the API that the plan sets.
async fn settings(
    context: &Context<'_>,
    plan: &AppPlan,
    existing: Option<&AppResource>,
) -> anyhow::Result<Map<String, Value>> {
    let mut fields = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(key.to_owned(), value);
        }
    };
    set("memory", plan.memory.map(|memory| json!(memory)));
    set("disk_quota", plan.disk.map(|disk| json!(disk)));
    set("instances", plan.instances.map(Value::from));
    set("buildpack", plan.buildpack.clone().map(Value::from));
    set("command", plan.command.clone().map(Value::from));
    set(
        "health_check_type",
        plan.health.map(|health| json!(health.as_str())),
    );
    set(
        "health_check_http_endpoint",
        plan.health_endpoint.clone().map(Value::from),
    );
    set("health_check_timeout", plan.health_timeout.map(Value::from));
    if !plan.env.is_empty() {
        let known = existing.and_then(|app| app.entity.environment_json.clone());
        let mut variables = known.unwrap_or_default();
        variables.extend(
            plan.env
                .iter()
                .map(|(name, value)| (name.clone(), json!(value))),
        );
        set("environment_json", Some(variables.into()));
    }
    if let Some(stack) = &plan.stack {
        set(
            "stack_guid",
            Some(json!(cc::find_stack(&context.client, stack).await?)),
        );
    }
    Ok(fields)
}

async fn create(
    context: &Context<'_>,
    plan: &AppPlan,
    mut fields: Map<String, Value>,
    start: bool,
) -> anyhow::Result<AppResource> {
    let ui = context.ui;
    ui.say(format_args!("Creating app {}...", ui.strong(&plan.name)))?;
    fields.insert("name".to_owned(), json!(plan.name));
    fields.insert("space_guid".to_owned(), json!(context.space_guid()?));
    if !start {
        fields.insert("state".to_owned(), json!(AppState::Stopped));
    }
    context
        .client
        .post("/v2/apps", &fields)
        .await
        .context("creating the app")
}

async fn update(
    context: &Context<'_>,
    plan: &AppPlan,
    app: AppResource,
    fields: Map<String, Value>,
) -> anyhow::Result<AppResource> {
    let ui = context.ui;
    ui.say(format_args!("Updating app {}...", ui.strong(&plan.name)))?;
    if fields.is_empty() {
        return Ok(app);
    }
    cc::update_app(&context.client, &app.metadata.guid, &fields.into())
        .await
        .context("updating the app")
}

/// The address to click on, where the platform told how its apps are reached.
async fn say_where(context: &Context<'_>, app: &AppResource) -> anyhow::Result<()> {
    let target = context.client.target()?;
    if target.apps_url.is_none() {
        return Ok(());
    }
    let summary = cc::app_summary(&context.client, &app.metadata.guid).await?;
    let first = summary
        .routes
        .first()
        .and_then(|route| target.app_url(&route.address()));
    if let Some(url) = first {
        let (ui, name) = (context.ui, context.ui.strong(&app.entity.name));
        ui.gap()?;
        ui.say(format_args!("{name} answers at {}", ui.strong(url)))?;
    }
    Ok(())
}
