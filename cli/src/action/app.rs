//! One app on the screen.

use std::collections::BTreeMap;

use anyhow::Context as _;
use cupola_types::AppState;

use super::Context;
use crate::cc::{self, AppResource, Instance, InstanceStats};
use crate::client::ApiError;
use crate::table::{Cell, Table, key_values};
use crate::{clock, size};

pub(super) async fn guid(context: &Context<'_>, name: &str) -> anyhow::Result<()> {
    let app = context.app(name).await?;
    Ok(context.ui.say(app.metadata.guid)?)
}

pub(super) async fn show(context: &Context<'_>, name: &str) -> anyhow::Result<()> {
    let (ui, place) = (context.ui, context.place()?);
    ui.say(format_args!(
        "Showing health and status for app {} in {place}...",
        ui.strong(name)
    ))?;
    ui.gap()?;
    let app = context.app(name).await?;
    display(context, &app)
        .await
        .with_context(|| format!("showing the app {name}"))
}

/// What `app` shows, and `push` and `start` at their end.
pub(super) async fn display(context: &Context<'_>, app: &AppResource) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let summary = cc::app_summary(client, &app.metadata.guid).await?;
    let (instances, stats) = instances(context, app).await?;
    let entity = &summary.app;
    let target = client.target()?;
    let routes: Vec<String> = summary
        .routes
        .iter()
        .map(|route| target.app_address(&route.address()))
        .collect();
    let stack = match &entity.stack_guid {
        Some(guid) => cc::stack_name(client, guid).await.unwrap_or_default(),
        None => String::new(),
    };
    let updated = entity.package_updated_at.as_deref().and_then(clock::parse);
    let command = entity
        .command
        .as_deref()
        .filter(|command| !command.is_empty());
    let running = instances
        .values()
        .filter(|instance| instance.state.word() == "running")
        .count();
    let running = if instances.is_empty() {
        counted(summary.running_instances)
    } else {
        running.to_string()
    };
    let mut pairs = vec![
        ("name", ui.strong(&entity.name)),
        (
            "requested state",
            ui.state(&entity.state.as_str().to_lowercase()),
        ),
        ("instances", format!("{running}/{}", entity.instances)),
        (
            "usage",
            format!(
                "{} x {} instances",
                size::megabytes(entity.memory),
                entity.instances
            ),
        ),
        ("routes", routes.join(", ")),
    ];
    pairs.push((
        "last uploaded",
        updated.map(clock::long).unwrap_or_default(),
    ));
    pairs.push(("stack", stack));
    pairs.push(("buildpack", entity.shown_buildpack().to_owned()));
    let start = command
        .or(entity.detected_start_command.as_deref())
        .unwrap_or_default();
    if !start.is_empty() {
        pairs.push(("start command", start.to_owned()));
    }
    for line in key_values(&pairs) {
        ui.say(line)?;
    }
    ui.gap()?;
    if instances.is_empty() {
        ui.say("There are no running instances of this app.")?;
        return Ok(());
    }
    Ok(ui.table(&table(context, &instances, &stats))?)
}

/// `?` where the platform does not know.
pub(super) fn counted(running: i64) -> String {
    if running < 0 {
        "?".to_owned()
    } else {
        running.to_string()
    }
}

type Instances = (BTreeMap<u32, Instance>, BTreeMap<u32, InstanceStats>);

/// None of an app that is stopped or not staged: the API refuses to list them, which is no failure
/// of showing it.
async fn instances(context: &Context<'_>, app: &AppResource) -> Result<Instances, ApiError> {
    if app.entity.state == AppState::Stopped {
        return Ok(Instances::default());
    }
    let guid = &app.metadata.guid;
    let (instances, stats) = tokio::join!(
        cc::instances(&context.client, guid),
        cc::stats(&context.client, guid)
    );
    let none_if_refused = |error: ApiError| match error.refusal() {
        Some(refusal) if refusal.status.as_u16() == 400 => Ok(BTreeMap::new()),
        _ => Err(error),
    };
    let instances = instances.or_else(none_if_refused)?;
    // Without statistics the states are still worth showing.
    Ok((instances, stats.unwrap_or_default()))
}

fn table(
    context: &Context<'_>,
    instances: &BTreeMap<u32, Instance>,
    stats: &BTreeMap<u32, InstanceStats>,
) -> Table {
    let mut table = Table::new(["", "state", "since", "cpu", "memory", "disk", "details"]);
    for (index, instance) in instances {
        let word = instance.state.word();
        let since = instance.since.and_then(clock::from_seconds).map(clock::utc);
        let stats = stats
            .get(index)
            .and_then(|row| row.stats.clone())
            .unwrap_or_default();
        let usage = stats.usage.unwrap_or_default();
        table.row([
            format!("#{index}").into(),
            Cell::painted(word, context.ui.state(word)),
            since.unwrap_or_default().into(),
            format!("{:.1}%", usage.cpu * 100.0).into(),
            of(usage.mem, stats.mem_quota).into(),
            of(usage.disk, stats.disk_quota).into(),
            instance.details.clone().unwrap_or_default().into(),
        ]);
    }
    table
}

fn of(used: u64, quota: u64) -> String {
    format!("{} of {}", size::bytes(used), size::bytes(quota))
}
