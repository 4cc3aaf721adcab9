//! The environment of a build (bus contract §3.5): that of every process of an app, and what
//! buildpacks are told.

use std::collections::BTreeMap;

use cupola_messages::environment::{BadEnvironment, Variables};
use cupola_messages::staging::StartStaging;
use cupola_types::MemoryMb;
use serde_json::Value;

/// All variables of a build; user variables win over those of the platform.
pub(crate) fn variables(
    order: &StartStaging,
    memory: MemoryMb,
    timeout_seconds: u64,
    configured: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, BadEnvironment> {
    let mut all = Variables::of_app(memory);
    all.set("HOME", crate::inside::HOME);
    all.set("TMPDIR", "/tmp");
    for (name, value) in configured {
        all.set(name, value);
    }
    let about = order.properties.vcap_application.fields.clone();
    all.set("VCAP_APPLICATION", Value::Object(about).to_string());
    all.set_services(&order.properties.services);
    all.set("STAGING_TIMEOUT", timeout_seconds.to_string());
    if !order.stack.is_empty() {
        all.set("CF_STACK", order.stack.as_str());
    }
    all.set_user(&order.properties.environment)?;
    all.set("CUPOLA_BUILDPACK_TOOLS", crate::inside::TOOLS);
    let command = order.properties.meta.command.as_deref();
    all.set("CUPOLA_START_COMMAND", command.unwrap_or_default());
    all.checked()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::json;

    use super::*;

    fn order(changes: Value) -> StartStaging {
        let mut order = json!({
            "app_id": "a", "task_id": "t", "properties": {},
            "download_uri": "", "upload_uri": "", "completed_uri": "",
            "memory_limit": 64, "disk_limit": 64, "timeout": 60,
        });
        order["properties"] = changes;
        serde_json::from_value(order).unwrap()
    }

    fn all(order: &StartStaging) -> BTreeMap<String, String> {
        let configured = BTreeMap::from([("HTTPS_PROXY".to_owned(), "http://proxy".to_owned())]);
        let all = variables(order, MemoryMb(1024), 60, &configured).unwrap();
        all.into_iter().collect()
    }

    #[test]
    fn user_variables_win_but_not_over_what_the_buildpacks_are_told() {
        let order = order(json!({
            "environment": ["PATH=/mine", "EQUALS=a=b", "MULTI=1\n2", "CUPOLA_BUILDPACK_TOOLS=x", "HTTPS_PROXY="],
            "meta": {"command": "./run"},
        }));
        let all = all(&order);
        assert_eq!(all["PATH"], "/mine");
        assert_eq!(all["EQUALS"], "a=b");
        assert_eq!(all["MULTI"], "1\n2");
        assert_eq!(all["HTTPS_PROXY"], "");
        assert_eq!(all["MEMORY_LIMIT"], "1024m");
        assert_eq!(all["STAGING_TIMEOUT"], "60");
        assert_eq!(all["CUPOLA_START_COMMAND"], "./run");
        assert_eq!(all["CUPOLA_BUILDPACK_TOOLS"], "/cupola/tools");
        assert!(!all.contains_key("DATABASE_URL") && !all.contains_key("CF_STACK"));
    }

    #[test]
    fn the_build_knows_the_app_and_its_services() {
        let order = order(json!({"services": [
            {"name": "db", "label": "sql", "plan": "small", "credentials": {"uri": "mysql://u:p@h/d"}},
        ], "vcap_application": {"application_name": "shop"}}));
        let all = all(&order);
        assert_eq!(all["DATABASE_URL"], "mysql2://u:p@h/d");
        assert_eq!(all["VCAP_APPLICATION"], "{\"application_name\":\"shop\"}");
        let services: Value = serde_json::from_str(&all["VCAP_SERVICES"]).unwrap();
        assert_eq!(services["sql"][0]["plan"], "small");
    }

    #[test]
    fn variables_that_cannot_be_set_are_refused() {
        let order = order(json!({"environment": ["OK=", "secret"]}));
        let refused = variables(&order, MemoryMb(1), 60, &BTreeMap::new());
        assert_eq!(refused, Err(BadEnvironment::NotAPair { number: 2 }));
    }
}
