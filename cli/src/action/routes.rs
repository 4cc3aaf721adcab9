//! Routes and domains.

use anyhow::Context as _;
use cupola_types::{RouteGuid, SpaceGuid};

use super::Context;
use crate::cc::{self, DomainKind, RouteKey, RouteResource};
use crate::failure::Advised;
use crate::plan::RouteWish;
use crate::table::Table;

/// Somebody else has the route, in whatever way the API says so.
const TAKEN: [i64; 3] = [210_003, 210_004, 210_005];

pub(super) async fn domains(context: &Context<'_>) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let org = client.org()?;
    let (shown, holder) = (ui.strong(&org.name), ui.strong(client.holder()?));
    ui.say(format_args!(
        "Getting domains in org {shown} as {holder}..."
    ))?;
    let domains = cc::domains(client, &org.guid)
        .await
        .context("listing the domains")?;
    let mut table = Table::new(["name", "status", "type", "details"]);
    for domain in domains {
        let kind = if domain.tcp { "tcp" } else { "" };
        let details = if domain.internal { "internal" } else { "" };
        table.row([
            domain.name.into(),
            domain.kind.status().into(),
            kind.into(),
            details.into(),
        ]);
    }
    Ok(ui.table(&table)?)
}

pub(super) async fn routes(context: &Context<'_>) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let (org, space) = (client.org()?, client.space()?);
    ui.say(format_args!("Getting routes for {} ...", context.place()?))?;
    ui.gap()?;
    let domains = cc::domains(client, &org.guid)
        .await
        .context("listing the domains")?;
    let routes = cc::space_routes(client, &space.guid)
        .await
        .context("listing the routes")?;
    let mut table = Table::new([
        "space", "host", "domain", "port", "path", "type", "apps", "service",
    ]);
    for route in routes {
        let domain = domains
            .iter()
            .find(|domain| domain.guid == route.entity.domain_guid);
        let apps: Vec<&str> = route
            .entity
            .apps
            .iter()
            .map(|app| app.entity.name.as_str())
            .collect();
        table.row([
            space.name.clone().into(),
            route.entity.host.clone().into(),
            domain
                .map(|domain| domain.name.clone())
                .unwrap_or_default()
                .into(),
            "".into(),
            route.entity.path().into(),
            if domain.is_some_and(|domain| domain.tcp) {
                "tcp"
            } else {
                ""
            }
            .into(),
            apps.join(",").into(),
            "".into(),
        ]);
    }
    if table.is_empty() {
        ui.say("No routes found.")?;
        return Ok(());
    }
    Ok(ui.table(&table)?)
}

pub(super) async fn create(
    context: &Context<'_>,
    space: &str,
    wish: &RouteWish,
) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let org = client.org()?;
    let (shown, place) = (ui.strong(wish), ui.strong(space));
    let holder = ui.strong(client.holder()?);
    let org_name = ui.strong(&org.name);
    ui.say(format_args!(
        "Creating route {shown} for org {org_name} / space {place} as {holder}..."
    ))?;
    let space = cc::find_space(client, &org.guid, space).await?;
    let key = key(context, wish).await?;
    let (_, made) = ensure(context, &space.metadata.guid, &key).await?;
    ui.ok()?;
    if made == Made::Before {
        ui.warn(format_args!("Route {key} already exists."));
    }
    Ok(())
}

pub(super) async fn map(context: &Context<'_>, app: &str, wish: &RouteWish) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let (shown, place) = (ui.strong(app), context.place()?);
    ui.say(format_args!(
        "Adding route {} to app {shown} in {place}...",
        ui.strong(wish)
    ))?;
    let app = context.app(app).await?;
    let key = key(context, wish).await?;
    let (route, _) = ensure(context, &context.space_guid()?, &key).await?;
    cc::map_route(client, &route.metadata.guid, &app.metadata.guid)
        .await
        .with_context(|| format!("mapping {key} to {}", app.entity.name))?;
    Ok(ui.ok()?)
}

pub(super) async fn unmap(
    context: &Context<'_>,
    app: &str,
    wish: &RouteWish,
) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let (shown, place) = (ui.strong(app), context.place()?);
    ui.say(format_args!(
        "Removing route {} from app {shown} in {place}...",
        ui.strong(wish)
    ))?;
    let app = context.app(app).await?;
    let key = key(context, wish).await?;
    let mapped = cc::app_routes(client, &app.metadata.guid)
        .await
        .context("listing the routes")?;
    match mapped.into_iter().find(|route| route.entity.is(&key)) {
        Some(route) => {
            cc::unmap_route(client, &route.metadata.guid, &app.metadata.guid)
                .await
                .with_context(|| format!("unmapping {key} from {}", app.entity.name))?;
            ui.ok()?;
        }
        None => {
            ui.ok()?;
            ui.warn(format_args!(
                "Route {key} was not bound to app {}.",
                app.entity.name
            ));
        }
    }
    Ok(())
}

pub(super) async fn delete(
    context: &Context<'_>,
    wish: &RouteWish,
    ask: bool,
) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    client.org()?;
    if ask {
        let question = format!("Really delete the route {}?", ui.strong(wish));
        if !ui.confirm(&question, "use -f to delete without asking")? {
            ui.say("Delete cancelled")?;
            return Ok(());
        }
    }
    ui.say(format_args!("Deleting route {}...", ui.strong(wish)))?;
    let key = key(context, wish).await?;
    let found = cc::find_route(client, &key)
        .await
        .with_context(|| format!("looking up {key}"))?;
    match found {
        Some(route) => remove(context, &route.metadata.guid)
            .await
            .with_context(|| format!("deleting {key}"))?,
        None => {
            ui.ok()?;
            ui.warn(format_args!(
                "Unable to delete, route '{key}' does not exist."
            ));
            return Ok(());
        }
    }
    Ok(ui.ok()?)
}

pub(super) async fn remove(context: &Context<'_>, route: &RouteGuid) -> anyhow::Result<()> {
    let answer = context
        .client
        .delete(&format!("/v2/routes/{route}?async=true"))
        .await?;
    cc::finish_deletion(&context.client, &answer).await
}

/// The wish with its domain looked up.
async fn key(context: &Context<'_>, wish: &RouteWish) -> anyhow::Result<RouteKey> {
    let org = context.client.org()?;
    let domain = cc::find_domain(&context.client, &org.guid, &wish.domain).await?;
    if wish.host.is_empty() && domain.kind == DomainKind::Shared && !domain.internal {
        let message = format!(
            "{} is a shared domain, so a route of it needs a host",
            domain.name
        );
        return Err(Advised::new(message, "name one with -n HOST").into());
    }
    Ok(RouteKey {
        host: wish.host.clone(),
        domain: domain.guid,
        domain_name: domain.name,
        path: wish.path.clone(),
    })
}

/// Whether a route was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Before,
    Now,
}

/// The route in this space, created if nobody has it.
pub(super) async fn ensure(
    context: &Context<'_>,
    space: &SpaceGuid,
    key: &RouteKey,
) -> anyhow::Result<(RouteResource, Made)> {
    let client = &context.client;
    let taken = || {
        let advice = "choose another host with -n or --random-route";
        Advised::new(format!("The route {key} is already in use"), advice)
    };
    let found = cc::find_route(client, key)
        .await
        .with_context(|| format!("looking up {key}"))?;
    match found {
        Some(route) if route.entity.space_guid == *space => return Ok((route, Made::Before)),
        Some(_) => return Err(taken().into()),
        None => {}
    }
    match cc::create_route(client, space, key).await {
        Ok(route) => Ok((route, Made::Now)),
        Err(error) if TAKEN.iter().any(|code| error.has_code(*code)) => {
            // Another command may have created it in this very moment, in this very space.
            match cc::find_route(client, key).await {
                Ok(Some(route)) if route.entity.space_guid == *space => Ok((route, Made::Before)),
                _ => Err(taken().into()),
            }
        }
        Err(error) => Err(error).with_context(|| format!("creating the route {key}")),
    }
}
