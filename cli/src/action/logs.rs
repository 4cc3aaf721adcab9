//! `logs`.

use anyhow::Context as _;

use super::Context;
use super::session::renew_target;
use crate::logs::{self, LogLine};

pub(super) async fn recent(context: &Context<'_>, name: &str) -> anyhow::Result<()> {
    let app = introduce(context, name).await?;
    let lines = logs::recent(&context.client, &app.metadata.guid)
        .await
        .with_context(|| format!("reading the log of {name}"))?;
    for line in lines {
        say(context, &line)?;
    }
    Ok(())
}

pub(super) async fn follow(context: &Context<'_>, name: &str) -> anyhow::Result<()> {
    let app = introduce(context, name).await?;
    logs::follow(&context.client, &app.metadata.guid, |line| {
        say(context, &line)
    })
    .await
    .with_context(|| format!("following the log of {name}"))
}

async fn introduce(context: &Context<'_>, name: &str) -> anyhow::Result<crate::cc::AppResource> {
    let ui = context.ui;
    ui.say(format_args!(
        "Retrieving logs for app {} in {}...",
        ui.strong(name),
        context.place()?
    ))?;
    ui.gap()?;
    renew_target(&context.client)
        .await
        .context("asking where the log server is")?;
    context.app(name).await
}

pub(super) fn say(context: &Context<'_>, line: &LogLine) -> anyhow::Result<()> {
    Ok(context.ui.say(crate::ui::log_text(&line.to_string()))?)
}
