//! Quota definitions.

use cupola_http::api_error;
use cupola_types::QuotaGuid;
use serde::Deserialize;

use super::is_usable_name;
use crate::actor::Actor;
use crate::controller::Controller;
use crate::error::Fail;
use crate::model::org;
use crate::model::quota::{self, NewQuota, Quota};

/// Body of `POST` and `PUT /v2/quota_definitions`; -1 means no limit.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct QuotaFields {
    name: Option<String>,
    non_basic_services_allowed: Option<bool>,
    total_services: Option<i32>,
    total_routes: Option<i32>,
    memory_limit: Option<i32>,
    instance_memory_limit: Option<i32>,
    app_instance_limit: Option<i32>,
    app_task_limit: Option<i32>,
    total_service_keys: Option<i32>,
    total_private_domains: Option<i32>,
    total_reserved_route_ports: Option<i32>,
}

pub(crate) async fn create(
    controller: &Controller,
    actor: &Actor,
    fields: QuotaFields,
) -> Result<Quota, Fail> {
    actor.require_admin()?;
    let required = [
        ("name", fields.name.is_none()),
        (
            "non_basic_services_allowed",
            fields.non_basic_services_allowed.is_none(),
        ),
        ("total_services", fields.total_services.is_none()),
        ("total_routes", fields.total_routes.is_none()),
        ("memory_limit", fields.memory_limit.is_none()),
    ];
    if let Some((field, _)) = required.iter().find(|(_, missing)| *missing) {
        return Err(api_error::MESSAGE_PARSE_ERROR
            .with(format!("missing field {field}"))
            .into());
    }
    controller
        .write(move |c| {
            let name = fields.name.as_deref().unwrap_or_default();
            check(&fields)?;
            if quota::find_by_name(c, name)?.is_some() {
                return Err(api_error::QUOTA_DEFINITION_NAME_TAKEN.with(name).into());
            }
            let new = NewQuota::unlimited(QuotaGuid::generate().into_string(), name);
            let mut made = quota::insert(c, &new)?;
            apply(&fields, &mut made);
            let saved = quota::save(c, &made)?;
            Ok(Quota {
                updated_at: None,
                ..saved
            })
        })
        .await
}

pub(crate) async fn update(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
    fields: QuotaFields,
) -> Result<Quota, Fail> {
    actor.require_admin()?;
    let guid = guid.to_owned();
    controller
        .write(move |c| {
            check(&fields)?;
            let mut found = quota::find(c, &guid)?
                .ok_or_else(|| api_error::QUOTA_DEFINITION_NOT_FOUND.with(&guid))?;
            if let Some(name) = &fields.name
                && quota::find_by_name(c, name)?.is_some_and(|other| other.guid != guid)
            {
                return Err(api_error::QUOTA_DEFINITION_NAME_TAKEN.with(name).into());
            }
            apply(&fields, &mut found);
            Ok(quota::save(c, &found)?)
        })
        .await
}

pub(crate) async fn delete(controller: &Controller, actor: &Actor, guid: &str) -> Result<(), Fail> {
    actor.require_admin()?;
    let guid = guid.to_owned();
    controller
        .write(move |c| {
            let found = quota::find(c, &guid)?
                .ok_or_else(|| api_error::QUOTA_DEFINITION_NOT_FOUND.with(&guid))?;
            if org::count_with_quota(c, &found.guid)? > 0 {
                let (what, whose) = ("organizations", "quota definition");
                return Err(api_error::ASSOCIATION_NOT_EMPTY
                    .with_all(&[&what, &whose])
                    .into());
            }
            quota::delete(c, &found.guid)?;
            Ok(())
        })
        .await
}

fn check(fields: &QuotaFields) -> Result<(), Fail> {
    if fields
        .name
        .as_deref()
        .is_some_and(|name| !is_usable_name(name))
    {
        return Err(api_error::QUOTA_DEFINITION_INVALID.with("name").into());
    }
    let limits = [
        fields.total_services,
        fields.total_routes,
        fields.memory_limit,
        fields.instance_memory_limit,
        fields.app_instance_limit,
        fields.app_task_limit,
        fields.total_service_keys,
        fields.total_private_domains,
        fields.total_reserved_route_ports,
    ];
    if limits.iter().flatten().any(|limit| *limit < -1) {
        let what = "a limit is at least 0, or -1 for none";
        return Err(api_error::QUOTA_DEFINITION_INVALID.with(what).into());
    }
    Ok(())
}

fn apply(fields: &QuotaFields, quota: &mut Quota) {
    if let Some(name) = &fields.name {
        quota.name.clone_from(name);
        quota.name_key = name.to_lowercase();
    }
    if let Some(allowed) = fields.non_basic_services_allowed {
        quota.non_basic_services_allowed = allowed;
    }
    let set = |field: &mut i32, value: Option<i32>| *field = value.unwrap_or(*field);
    set(&mut quota.total_services, fields.total_services);
    set(&mut quota.total_routes, fields.total_routes);
    set(&mut quota.memory_limit, fields.memory_limit);
    set(
        &mut quota.instance_memory_limit,
        fields.instance_memory_limit,
    );
    set(&mut quota.app_instance_limit, fields.app_instance_limit);
    set(&mut quota.app_task_limit, fields.app_task_limit);
    set(&mut quota.total_service_keys, fields.total_service_keys);
    set(
        &mut quota.total_private_domains,
        fields.total_private_domains,
    );
    set(
        &mut quota.total_reserved_route_ports,
        fields.total_reserved_route_ports,
    );
}
