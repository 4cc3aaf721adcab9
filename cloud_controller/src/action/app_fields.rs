//! What a client may set on an app, and what of it is refused.

use cupola_http::{ApiError, api_error};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{is_usable_name, nullable};
use crate::config::AppsConfig;
use crate::model::app::App;

const MAX_COMMAND_CHARS: usize = 4096;
/// Environment variables of an app altogether, as JSON.
const MAX_ENVIRONMENT_BYTES: usize = 256 * 1024;
/// Names the platform itself sets.
const RESERVED_PREFIXES: [&str; 2] = ["VCAP_", "CF_"];

/// Body of `POST /v2/apps` and `PUT /v2/apps/:guid`. Fields of other backends (`ports`, `debug`,
/// `production`, …) are ignored unless they ask for something this platform does not do.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AppFields {
    pub(crate) name: Option<String>,
    pub(crate) space_guid: Option<String>,
    pub(crate) stack_guid: Option<String>,
    pub(crate) memory: Option<i32>,
    pub(crate) instances: Option<i32>,
    pub(crate) disk_quota: Option<i32>,
    pub(crate) state: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) command: Option<Option<String>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) buildpack: Option<Option<String>>,
    pub(crate) health_check_type: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) health_check_timeout: Option<Option<i32>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) health_check_http_endpoint: Option<Option<String>>,
    pub(crate) diego: Option<bool>,
    pub(crate) enable_ssh: Option<bool>,
    pub(crate) environment_json: Option<Map<String, Value>>,
    pub(crate) docker_image: Option<String>,
    pub(crate) ports: Option<Vec<i32>>,
}

// === impl AppFields ===

impl AppFields {
    /// Refuses what no app may have, whatever its other attributes.
    pub(crate) fn check(&self, limits: &AppsConfig) -> Result<(), ApiError> {
        let invalid = |what: &str| Err(api_error::APP_INVALID.with(what));
        if self
            .name
            .as_deref()
            .is_some_and(|name| !is_usable_name(name))
        {
            return invalid("name must be a line of 1 to 255 characters");
        }
        if self.memory.is_some_and(|memory| memory <= 0) {
            return Err(api_error::APP_MEMORY_INVALID.bare());
        }
        if self
            .instances
            .is_some_and(|count| !(0..=limits.maximum_instances).contains(&count))
        {
            let most = limits.maximum_instances;
            return invalid(&format!("instances must be between 0 and {most}"));
        }
        if self
            .disk_quota
            .is_some_and(|disk| !(1..=limits.maximum_disk_mb).contains(&disk))
        {
            let most = limits.maximum_disk_mb;
            return invalid(&format!("disk_quota must be between 1 and {most} MB"));
        }
        if let Some(Some(command)) = &self.command
            && command.chars().count() > MAX_COMMAND_CHARS
        {
            return invalid("command must have at most 4096 characters");
        }
        if let Some(Some(timeout)) = self.health_check_timeout
            && !(1..=limits.maximum_health_check_timeout).contains(&timeout)
        {
            let most = limits.maximum_health_check_timeout;
            return invalid(&format!(
                "health_check_timeout must be between 1 and {most} seconds"
            ));
        }
        match self.health_check_type.as_deref() {
            None | Some("port" | "none" | "process") => {}
            Some(_) => return invalid("health_check_type must be port, process or none"),
        }
        match self.state.as_deref() {
            None | Some("STARTED" | "STOPPED") => {}
            Some(_) => return invalid("state must be STARTED or STOPPED"),
        }
        if self
            .docker_image
            .as_deref()
            .is_some_and(|image| !image.is_empty())
        {
            return Err(api_error::DOCKER_DISABLED.bare());
        }
        if self.ports.as_ref().is_some_and(|ports| !ports.is_empty()) {
            return Err(api_error::APP_PORT_MAPPING_REQUIRES_DIEGO.bare());
        }
        if let Some(environment) = &self.environment_json {
            check_environment(environment).map_err(|what| api_error::APP_INVALID.with(what))?;
        }
        Ok(())
    }

    /// Puts what is given onto an app. State, instances and name have consequences and are left to
    /// the caller, as is the environment, which is sealed.
    pub(crate) fn apply(&self, app: &mut App) {
        if let Some(memory) = self.memory {
            app.memory = memory;
        }
        if let Some(disk) = self.disk_quota {
            app.disk_quota = disk;
        }
        if let Some(command) = &self.command {
            app.command = command.clone().filter(|text| !text.trim().is_empty());
        }
        if let Some(buildpack) = &self.buildpack {
            app.buildpack = buildpack.clone().filter(|text| !text.is_empty());
        }
        if let Some(kind) = &self.health_check_type {
            app.health_check_type.clone_from(kind);
        }
        if let Some(timeout) = self.health_check_timeout {
            app.health_check_timeout = timeout;
        }
        if let Some(endpoint) = &self.health_check_http_endpoint {
            app.health_check_http_endpoint = endpoint.clone().filter(|text| !text.is_empty());
        }
        if let Some(enable) = self.enable_ssh {
            app.enable_ssh = enable;
        }
    }

    /// The request as the audit trail keeps it: no values of the environment.
    pub(crate) fn for_audit(&self) -> Value {
        let mut request = Map::new();
        let mut note = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                request.insert(key.to_owned(), value);
            }
        };
        note("name", self.name.as_ref().map(|v| json!(v)));
        note("space_guid", self.space_guid.as_ref().map(|v| json!(v)));
        note("stack_guid", self.stack_guid.as_ref().map(|v| json!(v)));
        note("memory", self.memory.map(|v| json!(v)));
        note("instances", self.instances.map(|v| json!(v)));
        note("disk_quota", self.disk_quota.map(|v| json!(v)));
        note("state", self.state.as_ref().map(|v| json!(v)));
        note(
            "command",
            self.command.as_ref().map(|_| json!("PRIVATE DATA HIDDEN")),
        );
        note("buildpack", self.buildpack.as_ref().map(|v| json!(v)));
        note(
            "health_check_type",
            self.health_check_type.as_ref().map(|v| json!(v)),
        );
        note(
            "environment_json",
            self.environment_json
                .as_ref()
                .map(|_| json!("PRIVATE DATA HIDDEN")),
        );
        json!({"request": request})
    }
}

/// Refuses names that the platform owns and values that are no environment.
pub(crate) fn check_environment(environment: &Map<String, Value>) -> Result<(), String> {
    let mut bytes = 0;
    for (name, value) in environment {
        let upper = name.to_uppercase();
        if upper == "PORT"
            || RESERVED_PREFIXES
                .iter()
                .any(|prefix| upper.starts_with(prefix))
        {
            return Err(format!("environment variable {name} is reserved"));
        }
        if name.is_empty() || name.contains('=') || name.chars().any(char::is_control) {
            return Err(format!(
                "{name:?} cannot be the name of an environment variable"
            ));
        }
        let text = environment_text(value).ok_or_else(|| {
            format!("environment variable {name} must be a string, number or boolean")
        })?;
        if text.contains('\0') {
            return Err(format!("environment variable {name} holds a zero byte"));
        }
        bytes += name.len() + text.len();
    }
    if bytes > MAX_ENVIRONMENT_BYTES {
        return Err(format!(
            "the environment has more than {MAX_ENVIRONMENT_BYTES} bytes"
        ));
    }
    Ok(())
}

/// A value as the process will see it.
pub(crate) fn environment_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn fields(body: Value) -> AppFields {
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn null_differs_from_absent() {
        assert_eq!(fields(json!({})).command, None);
        assert_eq!(fields(json!({"command": null})).command, Some(None));
        assert_eq!(
            fields(json!({"command": "x"})).command,
            Some(Some("x".into()))
        );
    }

    #[test]
    fn refuses_what_cannot_run() {
        let limits = AppsConfig::default();
        for bad in [
            json!({"name": "  "}),
            json!({"name": "a\nb"}),
            json!({"memory": 0}),
            json!({"instances": -1}),
            json!({"instances": 101}),
            json!({"disk_quota": 4096}),
            json!({"command": "x".repeat(5000)}),
            json!({"health_check_timeout": 0}),
            json!({"health_check_timeout": 181}),
            json!({"health_check_type": "http"}),
            json!({"state": "RUNNING"}),
            json!({"docker_image": "busybox"}),
            json!({"ports": [8080]}),
            json!({"environment_json": {"VCAP_X": "1"}}),
            json!({"environment_json": {"cf_x": "1"}}),
            json!({"environment_json": {"PORT": "1"}}),
            json!({"environment_json": {"A=B": "1"}}),
            json!({"environment_json": {"A": {}}}),
        ] {
            assert!(
                fields(bad.clone()).check(&limits).is_err(),
                "{bad} was accepted"
            );
        }
        let fine = json!({
            "name": "shop", "memory": 64, "instances": 0, "disk_quota": 1024, "ports": null,
            "buildpack": "", "command": null, "health_check_type": "none", "docker_image": null,
            "environment_json": {"A": "1", "B": 2, "C": true}, "state": "STOPPED", "unknown": 1,
        });
        fields(fine).check(&limits).unwrap();
    }

    #[test]
    fn the_audit_trail_keeps_no_secrets() {
        let request = fields(json!({"environment_json": {"PASSWORD": "hunter2"}, "memory": 64}));
        let text = request.for_audit().to_string();
        assert!(!text.contains("hunter2") && text.contains("\"memory\":64"));
    }
}
