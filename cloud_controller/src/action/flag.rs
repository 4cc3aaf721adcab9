//! Feature flags: what an operator may switch off for everybody but admins.

use cupola_db::Conn;
use cupola_http::api_error;
use serde::Deserialize;
use serde_json::{Value, json};

use super::nullable;
use crate::actor::Actor;
use crate::controller::Controller;
use crate::error::Fail;
use crate::model::setting::{self, FlagRow};

/// Name, default, and whether an admin is above it.
const FLAGS: &[(&str, bool, bool)] = &[
    ("user_org_creation", false, true),
    ("private_domain_creation", true, true),
    ("app_bits_upload", true, true),
    ("app_scaling", true, true),
    ("route_creation", true, true),
    ("service_instance_creation", true, true),
    ("diego_docker", false, false),
    ("set_roles_by_username", true, true),
    ("unset_roles_by_username", true, true),
    ("task_creation", true, true),
    ("env_var_visibility", true, false),
    ("space_scoped_private_broker_creation", true, true),
    ("space_developer_env_var_visibility", true, true),
    ("service_instance_sharing", false, false),
    ("hide_marketplace_from_unauthenticated_users", false, false),
];

/// Body of `PUT /v2/config/feature_flags/:name`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct FlagFields {
    enabled: bool,
    #[serde(default, deserialize_with = "nullable")]
    error_message: Option<Option<String>>,
}

/// Refuses what a flag forbids the actor.
///
/// # Errors
/// `FeatureDisabled`.
pub(crate) fn require(c: &mut Conn, actor: &Actor, name: &str) -> Result<(), Fail> {
    let Some((_, default, admin_is_above)) = FLAGS.iter().find(|(known, ..)| *known == name) else {
        return Err(api_error::FEATURE_FLAG_NOT_FOUND.with(name).into());
    };
    if actor.is_admin && *admin_is_above {
        return Ok(());
    }
    let row = setting::flag(c, name)?;
    if row.as_ref().map_or(*default, |row| row.enabled) {
        return Ok(());
    }
    let message = row
        .and_then(|row| row.error_message)
        .unwrap_or_else(|| name.to_owned());
    Err(api_error::FEATURE_DISABLED.with(message).into())
}

/// Whether a flag is on.
pub(crate) fn is_on(c: &mut Conn, name: &str) -> Result<bool, Fail> {
    let default = FLAGS
        .iter()
        .any(|(known, default, _)| *known == name && *default);
    Ok(setting::flag(c, name)?.map_or(default, |row| row.enabled))
}

pub(crate) async fn list(controller: &Controller) -> Result<Value, Fail> {
    let changed = controller.read(|c| Ok(setting::flags(c)?)).await?;
    let all = FLAGS.iter().map(|(name, default, _)| {
        written(name, *default, changed.iter().find(|row| row.name == *name))
    });
    Ok(Value::Array(all.collect()))
}

pub(crate) async fn show(controller: &Controller, name: &str) -> Result<Value, Fail> {
    let (known, default) = known(name)?;
    let row = controller
        .read(move |c| Ok(setting::flag(c, known)?))
        .await?;
    Ok(written(known, default, row.as_ref()))
}

pub(crate) async fn set(
    controller: &Controller,
    actor: &Actor,
    name: &str,
    fields: FlagFields,
) -> Result<Value, Fail> {
    actor.require_admin()?;
    let (known, default) = known(name)?;
    let row = controller
        .write(move |c| {
            let before = setting::flag(c, known)?.and_then(|row| row.error_message);
            let row = FlagRow {
                name: known.to_owned(),
                enabled: fields.enabled,
                error_message: fields.error_message.clone().unwrap_or(before),
            };
            setting::set_flag(c, &row)?;
            Ok(row)
        })
        .await?;
    Ok(written(known, default, Some(&row)))
}

fn known(name: &str) -> Result<(&'static str, bool), Fail> {
    let found = FLAGS.iter().find(|(known, ..)| *known == name);
    let (known, default, _) = found.ok_or_else(|| api_error::FEATURE_FLAG_NOT_FOUND.with(name))?;
    Ok((known, *default))
}

fn written(name: &str, default: bool, row: Option<&FlagRow>) -> Value {
    json!({
        "name": name,
        "enabled": row.map_or(default, |row| row.enabled),
        "error_message": row.and_then(|row| row.error_message.clone()),
        "url": format!("/v2/config/feature_flags/{name}"),
    })
}
