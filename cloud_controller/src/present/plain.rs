//! Kinds without relations to expand.

use serde_json::{Value, json};

use super::{object, resource, time};
use crate::model::buildpack::Buildpack;
use crate::model::event::Event;
use crate::model::job::{FAILED, Job};
use crate::model::quota::Quota;
use crate::model::stack::Stack;
use crate::model::user::User;

/// What the v2 API says in `error`, next to the `error_details` that matter.
const DEPRECATED_ERROR: &str =
    "Use of entity>error is deprecated in favor of entity>error_details.";

pub(crate) fn stack(stack: &Stack) -> Value {
    let entity = object(json!({"name": stack.name, "description": stack.description}));
    let url = format!("/v2/stacks/{}", stack.guid);
    resource(url, &stack.guid, stack.created_at, stack.updated_at, entity)
}

pub(crate) fn quota(quota: &Quota) -> Value {
    let entity = object(json!({
        "name": quota.name,
        "non_basic_services_allowed": quota.non_basic_services_allowed,
        "total_services": quota.total_services,
        "total_routes": quota.total_routes,
        "total_private_domains": quota.total_private_domains,
        "memory_limit": quota.memory_limit,
        "trial_db_allowed": false,
        "instance_memory_limit": quota.instance_memory_limit,
        "app_instance_limit": quota.app_instance_limit,
        "app_task_limit": quota.app_task_limit,
        "total_service_keys": quota.total_service_keys,
        "total_reserved_route_ports": quota.total_reserved_route_ports,
    }));
    let url = format!("/v2/quota_definitions/{}", quota.guid);
    resource(url, &quota.guid, quota.created_at, quota.updated_at, entity)
}

pub(crate) fn user(user: &User) -> Value {
    let url = format!("/v2/users/{}", user.guid);
    let mut entity = object(json!({
        "admin": user.admin,
        "active": user.active,
        "default_space_guid": user.default_space_guid,
        "username": user.username,
        "origin": "uaa",
    }));
    if let Some(space) = &user.default_space_guid {
        entity.insert(
            "default_space_url".into(),
            json!(format!("/v2/spaces/{space}")),
        );
    }
    for relation in [
        "spaces",
        "organizations",
        "managed_organizations",
        "billing_managed_organizations",
        "audited_organizations",
        "managed_spaces",
        "audited_spaces",
    ] {
        entity.insert(
            format!("{relation}_url"),
            json!(format!("{url}/{relation}")),
        );
    }
    resource(url, &user.guid, user.created_at, user.updated_at, entity)
}

/// A user in a list of members with roles (`organization_roles` or `space_roles`).
pub(crate) fn member(row: &User, key: &str, roles: Vec<&'static str>) -> Value {
    let mut written = user(row);
    written["entity"][key] = json!(roles);
    written
}

pub(crate) fn event(event: &Event) -> Value {
    let entity = object(json!({
        "type": event.kind,
        "actor": event.actor,
        "actor_type": event.actor_type,
        "actor_name": event.actor_name,
        "actor_username": if event.actor_type == "user" { event.actor_name.as_str() } else { "" },
        "actee": event.actee,
        "actee_type": event.actee_type,
        "actee_name": event.actee_name,
        "timestamp": time(event.created_at),
        "metadata": event.metadata.0,
        "space_guid": event.space_guid,
        "organization_guid": event.org_guid,
    }));
    let url = format!("/v2/events/{}", event.guid);
    resource(url, &event.guid, event.created_at, None, entity)
}

pub(crate) fn job(job: &Job) -> Value {
    let mut entity = object(json!({"guid": job.guid, "status": job.status}));
    if job.status == FAILED {
        entity.insert("error".into(), json!(DEPRECATED_ERROR));
        let details = job.error.as_ref().map(|error| error.0.clone());
        entity.insert("error_details".into(), details.unwrap_or_default());
    }
    json!({
        "metadata": {
            "guid": job.guid,
            "created_at": time(job.created_at),
            "url": format!("/v2/jobs/{}", job.guid),
        },
        "entity": entity,
    })
}

pub(crate) fn buildpack(buildpack: &Buildpack) -> Value {
    let entity = object(json!({
        "name": buildpack.name,
        "stack": null,
        "position": buildpack.position,
        "enabled": buildpack.enabled,
        "locked": buildpack.locked,
        "filename": buildpack.filename,
    }));
    let url = format!("/v2/buildpacks/{}", buildpack.guid);
    resource(
        url,
        &buildpack.guid,
        buildpack.created_at,
        buildpack.updated_at,
        entity,
    )
}
