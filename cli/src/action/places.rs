//! Orgs and spaces.

use anyhow::Context as _;

use super::Context;
use crate::cc;
use crate::client::ApiError;

/// What the API answers when the thing is there already: no failure, for it is there.
const ORG_NAME_TAKEN: i64 = 30002;
const SPACE_NAME_TAKEN: i64 = 40002;

pub(super) async fn orgs(context: &Context<'_>) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    ui.say(format_args!(
        "Getting orgs as {}...",
        ui.strong(client.holder()?)
    ))?;
    ui.gap()?;
    let orgs = cc::orgs(client).await.context("listing the orgs")?;
    if orgs.is_empty() {
        ui.say("No orgs found.")?;
        return Ok(());
    }
    ui.say(ui.heading("name"))?;
    for org in orgs {
        ui.say(crate::ui::printable(&org.entity.name))?;
    }
    Ok(())
}

pub(super) async fn create_org(context: &Context<'_>, name: &str) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let (shown, holder) = (ui.strong(name), ui.strong(client.holder()?));
    ui.say(format_args!("Creating org {shown} as {holder}..."))?;
    match cc::create_org(client, name).await {
        Ok(_) => ui.ok()?,
        Err(error) if error.has_code(ORG_NAME_TAKEN) => {
            ui.ok()?;
            ui.warn(format_args!("Org {name} already exists."));
        }
        Err(error) => return Err(error).with_context(|| format!("creating the org {name}")),
    }
    ui.gap()?;
    ui.say(format_args!(
        "TIP: Use 'cup target -o \"{name}\"' to target new org"
    ))?;
    Ok(())
}

pub(super) async fn spaces(context: &Context<'_>) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let org = client.org()?;
    let (shown, holder) = (ui.strong(&org.name), ui.strong(client.holder()?));
    ui.say(format_args!("Getting spaces in org {shown} as {holder}..."))?;
    ui.gap()?;
    let spaces = cc::spaces(client, &org.guid)
        .await
        .context("listing the spaces")?;
    if spaces.is_empty() {
        ui.say("No spaces found.")?;
        return Ok(());
    }
    ui.say(ui.heading("name"))?;
    for space in spaces {
        ui.say(crate::ui::printable(&space.entity.name))?;
    }
    Ok(())
}

pub(super) async fn create_space(
    context: &Context<'_>,
    name: &str,
    org: Option<&str>,
) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let tokens = client.tokens()?;
    let (org_guid, org_name) = match org {
        Some(org) => {
            let org = cc::find_org(client, org).await?;
            (org.metadata.guid, org.entity.name)
        }
        None => {
            let org = client.org()?;
            (org.guid, org.name)
        }
    };
    let (shown, place) = (ui.strong(name), ui.strong(&org_name));
    let holder = ui.strong(tokens.holder());
    ui.say(format_args!(
        "Creating space {shown} in org {place} as {holder}..."
    ))?;
    let maker = tokens.user_id();
    let made: Result<_, ApiError> =
        cc::create_space(client, &org_guid, name, maker.as_deref()).await;
    match made {
        Ok(_) => ui.ok()?,
        Err(error) if error.has_code(SPACE_NAME_TAKEN) => {
            ui.ok()?;
            ui.warn(format_args!("Space {name} already exists"));
        }
        Err(error) => return Err(error).with_context(|| format!("creating the space {name}")),
    }
    ui.gap()?;
    let tip = format!("TIP: Use 'cup target -o \"{org_name}\" -s \"{name}\"' to target new space");
    ui.say(tip)?;
    Ok(())
}
