//! Lists of apps, and what changes an app without starting it.

use anyhow::Context as _;
use cupola_types::AppState;
use serde_json::{Map, json};

use super::{Context, start};
use crate::cc::{self, AppResource};
use crate::plan::ScalePlan;
use crate::table::{Cell, Table, key_values};
use crate::{clock, size};

pub(super) async fn apps(context: &Context<'_>) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    ui.say(format_args!("Getting apps in {}...", context.place()?))?;
    let apps = cc::app_rows(client, &context.space_guid()?)
        .await
        .context("listing the apps")?;
    ui.ok()?;
    ui.gap()?;
    if apps.is_empty() {
        ui.say("No apps found")?;
        return Ok(());
    }
    let target = client.target()?;
    let mut table = Table::new([
        "name",
        "requested state",
        "instances",
        "memory",
        "disk",
        "urls",
    ]);
    for row in apps {
        let state = row.app.state.as_str().to_lowercase();
        let urls: Vec<String> = row.urls.iter().map(|url| target.app_address(url)).collect();
        let running = super::app::counted(row.running_instances);
        table.row([
            Cell::painted(&row.app.name, ui.strong(&row.app.name)),
            Cell::painted(&state, ui.state(&state)),
            format!("{running}/{}", row.app.instances).into(),
            size::megabytes(row.app.memory).into(),
            size::megabytes(row.app.disk_quota).into(),
            urls.join(", ").into(),
        ]);
    }
    Ok(ui.table(&table)?)
}

pub(super) async fn events(context: &Context<'_>, name: &str) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    ui.say(format_args!(
        "Getting events for app {} in {}...",
        ui.strong(name),
        context.place()?
    ))?;
    ui.gap()?;
    let app = context.app(name).await?;
    let events = cc::recent_events(client, &app.metadata.guid)
        .await
        .context("listing the events")?;
    if events.is_empty() {
        ui.say(format_args!("No events for app {}", ui.strong(name)))?;
        return Ok(());
    }
    let mut table = Table::new(["time", "event", "actor", "description"]);
    for event in events {
        let time = clock::parse(&event.timestamp).map_or(event.timestamp.clone(), clock::stamp);
        let (actor, description) = (event.actor().to_owned(), event.description());
        table.row([
            time.into(),
            event.kind.into(),
            actor.into(),
            description.into(),
        ]);
    }
    Ok(ui.table(&table)?)
}

pub(super) async fn show_scale(context: &Context<'_>, name: &str) -> anyhow::Result<()> {
    let ui = context.ui;
    let (shown, place) = (ui.strong(name), context.place()?);
    ui.say(format_args!(
        "Showing current scale of app {shown} in {place}..."
    ))?;
    let app = context.app(name).await?.entity;
    ui.ok()?;
    ui.gap()?;
    let lines = key_values(&[
        ("memory", size::megabytes(app.memory)),
        ("disk", size::megabytes(app.disk_quota)),
        ("instances", app.instances.to_string()),
    ]);
    for line in lines {
        ui.say(line)?;
    }
    Ok(())
}

pub(super) async fn scale(context: &Context<'_>, plan: &ScalePlan) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let app = context.app(&plan.app).await?;
    let mut change = Map::new();
    if let Some(instances) = plan.instances {
        change.insert("instances".to_owned(), json!(instances));
    }
    if let Some(memory) = plan.memory {
        change.insert("memory".to_owned(), json!(memory));
    }
    if let Some(disk) = plan.disk {
        change.insert("disk_quota".to_owned(), json!(disk));
    }
    let restart =
        (plan.memory.is_some() || plan.disk.is_some()) && app.entity.state == AppState::Started;
    if restart && plan.ask {
        let question = format!(
            "This will cause the app to restart. Really scale {}?",
            ui.strong(&plan.app)
        );
        if !ui.confirm(&question, "use -f to restart without asking")? {
            ui.say("Scale cancelled")?;
            return Ok(());
        }
    }
    ui.say(format_args!(
        "Scaling app {} in {}...",
        ui.strong(&plan.app),
        context.place()?
    ))?;
    cc::update_app(client, &app.metadata.guid, &change.into())
        .await
        .with_context(|| format!("scaling the app {}", plan.app))?;
    ui.ok()?;
    if restart {
        ui.gap()?;
        start::restart(context, &plan.app).await?;
    }
    Ok(())
}

pub(super) async fn delete(
    context: &Context<'_>,
    name: &str,
    with_routes: bool,
    ask: bool,
) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let place = context.place()?;
    if ask {
        let and = if with_routes { " and its routes" } else { "" };
        let question = format!("Really delete the app {}{and}?", ui.strong(name));
        if !ui.confirm(&question, "use -f to delete without asking")? {
            ui.say("Delete cancelled")?;
            return Ok(());
        }
    }
    ui.say(format_args!(
        "Deleting app {} in {place}...",
        ui.strong(name)
    ))?;
    let found = cc::find_app(client, &context.space_guid()?, name)
        .await
        .with_context(|| format!("looking up the app {name}"))?;
    let Some(app) = found else {
        ui.ok()?;
        ui.warn(format_args!("App {name} does not exist."));
        return Ok(());
    };
    remove(context, &app, with_routes)
        .await
        .with_context(|| format!("deleting the app {name}"))?;
    Ok(ui.ok()?)
}

async fn remove(context: &Context<'_>, app: &AppResource, with_routes: bool) -> anyhow::Result<()> {
    let (client, guid) = (&context.client, &app.metadata.guid);
    // Its routes are known only while the app is there, but fall only after it.
    let routes = if with_routes {
        cc::app_routes(client, guid).await?
    } else {
        Vec::new()
    };
    let answer = client
        .delete(&format!("/v2/apps/{guid}?async=true&recursive=true"))
        .await?;
    cc::finish_deletion(client, &answer).await?;
    for route in routes {
        super::routes::remove(context, &route.metadata.guid).await?;
    }
    Ok(())
}
