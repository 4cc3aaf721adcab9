//! Service instances, as far as a manifest names them.

use anyhow::Context as _;
use cupola_types::{AppGuid, SpaceGuid};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Resource, filter, first};
use crate::client::Client;
use crate::failure::Advised;

/// The app is bound to the instance already.
const ALREADY_BOUND: i64 = 90003;

#[derive(Debug, Deserialize)]
struct ServiceInstance {}

/// Binds an app to a service instance of its space, by name.
pub(crate) async fn bind_service(
    client: &Client,
    space: &SpaceGuid,
    app: &AppGuid,
    name: &str,
) -> anyhow::Result<()> {
    let path = format!(
        "/v2/spaces/{space}/service_instances?return_user_provided_service_instances=true&{}",
        filter("name", name)
    );
    let found: Option<Resource<String, ServiceInstance>> = first(client, &path)
        .await
        .with_context(|| format!("looking up the service {name}"))?;
    let Some(instance) = found else {
        let advice = "create it first, or take it out of the manifest";
        return Err(Advised::new(format!("service instance {name} not found"), advice).into());
    };
    let body = json!({ "app_guid": app, "service_instance_guid": instance.metadata.guid });
    match client.post::<Value>("/v2/service_bindings", &body).await {
        Ok(_) => Ok(()),
        Err(error) if error.has_code(ALREADY_BOUND) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("binding the service {name}")),
    }
}
