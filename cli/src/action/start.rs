//! Starting and stopping.

use anyhow::Context as _;
use cupola_types::{AppGuid, AppState};
use serde_json::json;

use super::session::renew_target;
use super::watch::Watch;
use super::{Context, app};
use crate::cc::{self, AppResource};

pub(super) async fn start(context: &Context<'_>, name: &str) -> anyhow::Result<()> {
    let ui = context.ui;
    let (shown, place) = (ui.strong(name), context.place()?);
    ui.say(format_args!("Starting app {shown} in {place}..."))?;
    let app = context.app(name).await?;
    if app.entity.state == AppState::Started {
        ui.say(format_args!("App {shown} is already started"))?;
        return Ok(ui.ok()?);
    }
    launch(context, &app).await
}

pub(super) async fn stop(context: &Context<'_>, name: &str) -> anyhow::Result<()> {
    let ui = context.ui;
    let (shown, place) = (ui.strong(name), context.place()?);
    ui.say(format_args!("Stopping app {shown} in {place}..."))?;
    let app = context.app(name).await?;
    if app.entity.state == AppState::Stopped {
        ui.say(format_args!("App {shown} is already stopped"))?;
        return Ok(ui.ok()?);
    }
    set_state(context, &app, AppState::Stopped).await?;
    Ok(ui.ok()?)
}

pub(super) async fn restart(context: &Context<'_>, name: &str) -> anyhow::Result<()> {
    let ui = context.ui;
    let (shown, place) = (ui.strong(name), context.place()?);
    ui.say(format_args!("Restarting app {shown} in {place}..."))?;
    let app = context.app(name).await?;
    relaunch(context, &app).await
}

/// Stops what runs and starts it anew.
pub(super) async fn relaunch(context: &Context<'_>, app: &AppResource) -> anyhow::Result<()> {
    let ui = context.ui;
    if app.entity.state == AppState::Started {
        ui.gap()?;
        ui.say("Stopping app...")?;
        set_state(context, app, AppState::Stopped).await?;
    }
    launch(context, app).await
}

pub(super) async fn restage(context: &Context<'_>, name: &str) -> anyhow::Result<()> {
    let ui = context.ui;
    let (shown, place) = (ui.strong(name), context.place()?);
    ui.say(format_args!("Restaging app {shown} in {place}..."))?;
    let app = context.app(name).await?;
    let mut watch = watch(context, &app).await;
    let path = format!("/v2/apps/{}/restage", app.metadata.guid);
    let app: AppResource = context
        .client
        .post(&path, &json!({}))
        .await
        .with_context(|| format!("restaging the app {name}"))?;
    see_through(context, &mut watch, &app).await
}

/// Starts and watches until an instance runs.
async fn launch(context: &Context<'_>, app: &AppResource) -> anyhow::Result<()> {
    let mut watch = watch(context, app).await;
    let app = set_state(context, app, AppState::Started).await?;
    see_through(context, &mut watch, &app).await
}

/// Opened before the order is given, so that the first line of staging is not missed.
async fn watch<'a>(context: &'a Context<'_>, app: &AppResource) -> Watch<'a> {
    // A failure shows itself when the address from before is used.
    let _ = renew_target(&context.client).await;
    Watch::open(context, &app.metadata.guid, &app.entity.name).await
}

async fn see_through(
    context: &Context<'_>,
    watch: &mut Watch<'_>,
    app: &AppResource,
) -> anyhow::Result<()> {
    watch.until_staged(app).await?;
    if app.entity.instances > 0 {
        watch.until_running().await?;
    }
    context.ui.gap()?;
    let guid: &AppGuid = &app.metadata.guid;
    let app = cc::get_app(&context.client, guid)
        .await
        .context("reading the app")?;
    app::display(context, &app).await.context("showing the app")
}

async fn set_state(
    context: &Context<'_>,
    app: &AppResource,
    state: AppState,
) -> anyhow::Result<AppResource> {
    let doing = if state == AppState::Started {
        "starting"
    } else {
        "stopping"
    };
    cc::update_app(
        &context.client,
        &app.metadata.guid,
        &json!({ "state": state }),
    )
    .await
    .with_context(|| format!("{doing} the app {}", app.entity.name))
}
