//! The environment of an app.

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::Context;
use crate::cc;
use crate::ui::printable;

pub(super) async fn show(context: &Context<'_>, name: &str) -> anyhow::Result<()> {
    let (ui, shown) = (context.ui, context.ui.strong(name));
    ui.say(format_args!(
        "Getting env variables for app {shown} in {}...",
        context.place()?
    ))?;
    let app = context.app(name).await?;
    let environment = cc::environment(&context.client, &app.metadata.guid)
        .await
        .with_context(|| format!("reading the environment of {name}"))?;
    ui.ok()?;
    ui.gap()?;
    system_provided(context, &environment)?;
    for (key, title, none) in [
        (
            "environment_json",
            "User-Provided:",
            "No user-defined env variables have been set",
        ),
        (
            "running_env_json",
            "Running Environment Variable Groups:",
            "No running env variables have been set",
        ),
        (
            "staging_env_json",
            "Staging Environment Variable Groups:",
            "No staging env variables have been set",
        ),
    ] {
        match environment.get(key) {
            Some(Value::Object(variables)) if !variables.is_empty() => {
                ui.say(ui.heading(title))?;
                for (name, value) in variables {
                    ui.say(format_args!(
                        "{}: {}",
                        printable(name),
                        printable(&plain(value))
                    ))?;
                }
            }
            _ => ui.say(none)?,
        }
        ui.gap()?;
    }
    Ok(())
}

fn system_provided(context: &Context<'_>, environment: &Map<String, Value>) -> anyhow::Result<()> {
    let ui = context.ui;
    let groups: Vec<&Map<String, Value>> = ["system_env_json", "application_env_json"]
        .into_iter()
        .filter_map(|key| environment.get(key)?.as_object())
        .filter(|group| !group.is_empty())
        .collect();
    if groups.is_empty() {
        ui.say("No system-provided env variables have been set")?;
        return Ok(ui.gap()?);
    }
    ui.say(ui.heading("System-Provided:"))?;
    for (name, value) in groups.into_iter().flatten() {
        let single = json!({ name.as_str(): value });
        ui.say(printable(&serde_json::to_string_pretty(&single)?))?;
        ui.gap()?;
    }
    Ok(())
}

/// Text without its quotes, anything else as JSON.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) async fn set(
    context: &Context<'_>,
    app_name: &str,
    name: &str,
    value: &str,
) -> anyhow::Result<()> {
    let (ui, shown) = (context.ui, context.ui.strong(app_name));
    let place = context.place()?;
    // The value may be a secret and somebody may be looking.
    let variable = ui.strong(name);
    ui.say(format_args!(
        "Setting env variable {variable} for app {shown} in {place}..."
    ))?;
    change(context, app_name, |variables| {
        variables.insert(name.to_owned(), json!(value));
    })
    .await?;
    ui.ok()?;
    tip(context, app_name)
}

pub(super) async fn unset(context: &Context<'_>, app_name: &str, name: &str) -> anyhow::Result<()> {
    let (ui, shown) = (context.ui, context.ui.strong(app_name));
    let place = context.place()?;
    let variable = ui.strong(name);
    ui.say(format_args!(
        "Removing env variable {variable} from app {shown} in {place}..."
    ))?;
    let mut was_set = true;
    change(context, app_name, |variables| {
        was_set = variables.remove(name).is_some()
    })
    .await?;
    ui.ok()?;
    if !was_set {
        ui.warn(format_args!("Env variable {name} was not set."));
        return Ok(());
    }
    tip(context, app_name)
}

/// The API replaces all variables at once, so the change is made to what is there.
async fn change(
    context: &Context<'_>,
    app_name: &str,
    change: impl FnOnce(&mut Map<String, Value>),
) -> anyhow::Result<()> {
    let app = context.app(app_name).await?;
    let mut variables = app.entity.environment_json.clone().unwrap_or_default();
    let before = variables.clone();
    change(&mut variables);
    if variables == before {
        return Ok(());
    }
    let body = json!({ "environment_json": variables });
    cc::update_app(&context.client, &app.metadata.guid, &body)
        .await
        .with_context(|| format!("changing the environment of {app_name}"))?;
    Ok(())
}

fn tip(context: &Context<'_>, app: &str) -> anyhow::Result<()> {
    let words = format!(
        "TIP: Use 'cup restage {app}' (or 'cup restart {app}') to ensure your env variable \
         changes take effect"
    );
    Ok(context.ui.say(words)?)
}
