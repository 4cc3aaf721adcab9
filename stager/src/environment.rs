//! The environment of a build (bus contract §3.5).

use std::collections::BTreeMap;

use cupola_messages::dea::{BoundService, Refusal};
use cupola_messages::staging::StartStaging;
use cupola_types::MemoryMb;
use serde_json::{Map, Value, json};

/// Where programs are found inside.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// URL schemes of databases, and what `DATABASE_URL` calls them.
const DATABASES: &[(&str, &str)] = &[
    ("mysql", "mysql2"),
    ("mysql2", "mysql2"),
    ("postgres", "postgres"),
    ("postgresql", "postgres"),
    ("db2", "ibmdb"),
    ("informix", "ibmdb"),
];

/// Whether every user variable can be one.
pub(crate) fn check(order: &StartStaging) -> Result<(), (Refusal, String)> {
    for entry in &order.properties.environment {
        let name = entry.split('=').next().unwrap_or_default();
        let usable = !name.is_empty() && entry.contains('=') && !entry.contains('\0');
        if !usable {
            // Only the name: values are secrets.
            let name: String = name.chars().filter(|c| *c != '\0').take(64).collect();
            return Err((
                Refusal::Invalid,
                format!("the variable {name:?} is not `NAME=value`"),
            ));
        }
    }
    Ok(())
}

/// All variables of a build; user variables win over those of the platform.
pub(crate) fn variables(
    order: &StartStaging,
    memory: MemoryMb,
    timeout_seconds: u64,
    configured: &BTreeMap<String, String>,
) -> Vec<(String, String)> {
    let mut all = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(all.insert(name.to_owned(), value));
    set("PATH", PATH.to_owned());
    set("HOME", crate::inside::HOME.to_owned());
    set("TMPDIR", "/tmp".to_owned());
    set("USER", "vcap".to_owned());
    set("LANG", "C.UTF-8".to_owned());
    for (name, value) in configured {
        set(name, value.clone());
    }
    set(
        "VCAP_APPLICATION",
        Value::Object(order.properties.vcap_application.fields.clone()).to_string(),
    );
    set(
        "VCAP_SERVICES",
        vcap_services(&order.properties.services).to_string(),
    );
    set("MEMORY_LIMIT", format!("{}m", memory.0));
    set("STAGING_TIMEOUT", timeout_seconds.to_string());
    if !order.stack.is_empty() {
        set("CF_STACK", order.stack.clone());
    }
    if let Some(url) = database_url(&order.properties.services) {
        set("DATABASE_URL", url);
    }
    for entry in &order.properties.environment {
        if let Some((name, value)) = entry.split_once('=') {
            set(name, value.to_owned());
        }
    }
    set("CUPOLA_BUILDPACK_TOOLS", crate::inside::TOOLS.to_owned());
    set(
        "CUPOLA_START_COMMAND",
        order.properties.meta.command.clone().unwrap_or_default(),
    );
    all.into_iter().collect()
}

fn vcap_services(services: &[BoundService]) -> Value {
    let mut by_label: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for service in services {
        let mut entry = Map::new();
        entry.insert("name".to_owned(), json!(service.name));
        entry.insert("label".to_owned(), json!(service.label));
        entry.insert("tags".to_owned(), json!(service.tags));
        if let Some(plan) = &service.plan {
            entry.insert("plan".to_owned(), json!(plan));
        }
        entry.insert("credentials".to_owned(), service.credentials.clone());
        if let Some(url) = &service.syslog_drain_url {
            entry.insert("syslog_drain_url".to_owned(), json!(url));
        }
        by_label
            .entry(&service.label)
            .or_default()
            .push(Value::Object(entry));
    }
    json!(by_label)
}

fn database_url(services: &[BoundService]) -> Option<String> {
    services.iter().find_map(|service| {
        let (scheme, rest) = service
            .credentials
            .get("uri")?
            .as_str()?
            .split_once("://")?;
        let (_, name) = DATABASES.iter().find(|(known, _)| *known == scheme)?;
        Some(format!("{name}://{rest}"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

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
        variables(order, MemoryMb(1024), 60, &configured)
            .into_iter()
            .collect()
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
    fn services_are_grouped_by_label_and_the_first_database_is_named() {
        let order = order(json!({"services": [
            {"name": "q", "label": "rabbit", "credentials": {"uri": "amqp://q"}},
            {"name": "db", "label": "sql", "plan": "small", "tags": ["t"], "credentials": {"uri": "mysql://u:p@h/d"}},
            {"name": "db2", "label": "sql", "credentials": {"uri": "postgresql://h/d"}},
        ], "vcap_application": {"application_name": "shop"}}));
        let all = all(&order);
        assert_eq!(all["DATABASE_URL"], "mysql2://u:p@h/d");
        assert_eq!(all["VCAP_APPLICATION"], "{\"application_name\":\"shop\"}");
        let services: Value = serde_json::from_str(&all["VCAP_SERVICES"]).unwrap();
        assert_eq!(services["sql"][0]["plan"], "small");
        assert_eq!(services["sql"][1]["name"], "db2");
        assert_eq!(services["rabbit"][0]["credentials"]["uri"], "amqp://q");
    }

    #[test]
    fn variables_that_cannot_be_set_are_refused_without_their_value() {
        for entry in ["", "=x", "secret", "A=\0secret"] {
            let refused = check(&order(json!({"environment": ["OK=1", entry]}))).unwrap_err();
            assert_eq!(refused.0, Refusal::Invalid);
            assert!(
                entry == "secret" || !refused.1.contains("secret"),
                "{}",
                refused.1
            );
        }
        assert!(check(&order(json!({"environment": ["OK="]}))).is_ok());
    }
}
