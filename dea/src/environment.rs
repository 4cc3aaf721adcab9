//! The environment of an instance (bus contract §3.2).
//!
//! Values reach the process through `execve` exactly as they are: no shell ever expands them,
//! so `$HOME` or a backtick in a user's password stays what it is.

use std::net::SocketAddrV4;

use chrono::{DateTime, Utc};
use cupola_messages::dea::{BoundService, StartInstance};
use serde_json::{Map, Value, json};
use url::Url;

use crate::instance::Instance;

/// Longest `NAME=value` that the kernel takes: 32 pages with the terminating zero.
const MAX_STRING_BYTES: usize = 128 * 1024 - 1;
/// Longest environment in all, safely below what the kernel takes for arguments and environment.
const MAX_TOTAL_BYTES: usize = 1024 * 1024;

/// Home of the user that apps run as.
pub(crate) const HOME: &str = "/home/vcap";
/// Where the app's files are.
pub(crate) const APP_DIR: &str = "/home/vcap/app";

/// An environment that no process can be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadEnvironment {
    #[error("environment entry {number} has no name or no '='")]
    NotAPair { number: usize },
    #[error("environment variable {name} holds a zero byte")]
    Zero { name: String },
    #[error("environment variable {name} is longer than {MAX_STRING_BYTES} bytes")]
    TooLong { name: String },
    #[error("the environment is longer than {MAX_TOTAL_BYTES} bytes")]
    TooMuch,
}

/// Variables in the order of their first appearance; a later value of a name replaces an earlier.
#[derive(Debug, Default)]
struct Variables(Vec<(String, String)>);

/// Builds the environment of `instance`, which listens at `endpoint`.
pub(crate) fn build(
    order: &StartInstance,
    instance: &Instance,
    endpoint: SocketAddrV4,
) -> Result<Vec<(String, String)>, BadEnvironment> {
    let mut all = Variables::default();
    let port = endpoint.port().to_string();
    all.set("PATH", "/usr/local/bin:/usr/bin:/bin");
    all.set("USER", "vcap");
    all.set("LANG", "C.UTF-8");
    all.set("HOME", APP_DIR);
    all.set("TMPDIR", format!("{HOME}/tmp"));
    all.set("MEMORY_LIMIT", format!("{}m", instance.limits.mem.0));
    all.set(
        "VCAP_APPLICATION",
        application(order, instance, endpoint).to_string(),
    );
    all.set("VCAP_SERVICES", services(&order.services).to_string());
    if let Some(url) = database_url(&order.services) {
        all.set("DATABASE_URL", url);
    }
    all.set("VCAP_APP_HOST", "0.0.0.0");
    all.set("VCAP_APP_PORT", port.as_str());
    all.set("PORT", port.as_str());
    all.set("CF_INSTANCE_GUID", instance.guid.as_str());
    all.set("CF_INSTANCE_INDEX", instance.index.to_string());
    all.set("CF_INSTANCE_IP", endpoint.ip().to_string());
    all.set("CF_INSTANCE_PORT", port.as_str());
    all.set("CF_INSTANCE_ADDR", endpoint.to_string());
    let ports = json!([{ "external": endpoint.port(), "internal": endpoint.port() }]);
    all.set("CF_INSTANCE_PORTS", ports.to_string());
    // Last, so that users can override.
    for (name, value) in user_variables(order)? {
        all.set(name, value);
    }
    all.checked()
}

/// Checks, before an order is accepted, that its user variables can be given to a process.
pub(crate) fn check(order: &StartInstance) -> Result<(), BadEnvironment> {
    let mut all = Variables::default();
    for (name, value) in user_variables(order)? {
        all.set(name, value);
    }
    all.set("VCAP_SERVICES", services(&order.services).to_string());
    all.checked().map(drop)
}

fn user_variables(order: &StartInstance) -> Result<Vec<(&str, &str)>, BadEnvironment> {
    let pairs = order
        .env
        .iter()
        .enumerate()
        .map(|(at, pair)| match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name, value)),
            _ => Err(BadEnvironment::NotAPair { number: at + 1 }),
        });
    pairs.collect()
}

/// The controller's part, and what only the dea knows.
fn application(order: &StartInstance, instance: &Instance, endpoint: SocketAddrV4) -> Value {
    let mut fields = order.vcap_application.fields.clone();
    #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970 fit")]
    let started = instance.born_at as i64;
    let printed = DateTime::<Utc>::from_timestamp(started, 0).unwrap_or_default();
    let printed = printed.format("%Y-%m-%d %H:%M:%S %z").to_string();
    let own = [
        ("application_id", json!(instance.app)),
        ("instance_id", json!(instance.guid)),
        ("instance_index", json!(instance.index)),
        ("host", json!("0.0.0.0")),
        ("port", json!(endpoint.port())),
        ("started_at", json!(printed)),
        ("started_at_timestamp", json!(started)),
        ("start", json!(printed)),
        ("state_timestamp", json!(started)),
    ];
    fields.extend(own.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(fields)
}

/// `VCAP_SERVICES`: label → services of that label, without what is absent.
fn services(bound: &[BoundService]) -> Value {
    let mut by_label = Map::new();
    for service in bound {
        let mut fields = Map::new();
        let mut add = |name: &str, value: Value| {
            if !value.is_null() {
                fields.insert(name.to_owned(), value);
            }
        };
        add("name", json!(service.name));
        add("label", json!(service.label));
        add("tags", json!(service.tags));
        add("plan", json!(service.plan));
        add("credentials", service.credentials.clone());
        add("syslog_drain_url", json!(service.syslog_drain_url));
        let list = by_label
            .entry(service.label.clone())
            .or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(Value::Object(fields));
        }
    }
    Value::Object(by_label)
}

/// The address of the first bound database, with the scheme that database libraries expect.
fn database_url(bound: &[BoundService]) -> Option<String> {
    bound.iter().find_map(|service| {
        let uri = service.credentials.get("uri")?.as_str()?;
        let scheme = match Url::parse(uri).ok()?.scheme() {
            "mysql" | "mysql2" => "mysql2",
            "postgres" | "postgresql" => "postgres",
            "db2" | "informix" => "ibmdb",
            _ => return None,
        };
        let (_, rest) = uri.split_once(':')?;
        Some(format!("{scheme}:{rest}"))
    })
}

// === impl Variables ===

impl Variables {
    fn set(&mut self, name: &str, value: impl Into<String>) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value.into(),
            None => self.0.push((name.to_owned(), value.into())),
        }
    }

    fn checked(self) -> Result<Vec<(String, String)>, BadEnvironment> {
        let mut total = 0;
        for (name, value) in &self.0 {
            let shown = || {
                name.chars()
                    .take(100)
                    .collect::<String>()
                    .escape_debug()
                    .to_string()
            };
            if name.contains('\0') || value.contains('\0') {
                return Err(BadEnvironment::Zero { name: shown() });
            }
            let length = name.len() + 1 + value.len();
            if length > MAX_STRING_BYTES {
                return Err(BadEnvironment::TooLong { name: shown() });
            }
            total += length + 1;
        }
        if total > MAX_TOTAL_BYTES {
            Err(BadEnvironment::TooMuch)
        } else {
            Ok(self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::instance::tests::order;

    fn built(order: &StartInstance) -> BTreeMap<String, String> {
        let born = UNIX_EPOCH + Duration::from_secs(1_400_000_000);
        let instance = Instance::born(order, Duration::from_secs(60), born).unwrap();
        let endpoint = SocketAddrV4::new(Ipv4Addr::new(10, 254, 0, 2), 8080);
        build(order, &instance, endpoint)
            .unwrap()
            .into_iter()
            .collect()
    }

    fn service(label: &str, credentials: Value) -> BoundService {
        serde_json::from_value(json!({
            "name": format!("my-{label}"), "label": label, "plan": "free", "tags": ["db"],
            "credentials": credentials,
        }))
        .unwrap()
    }

    #[test]
    fn the_contract_s_variables_are_there() {
        let mut order = order("app-guid-1", 3);
        order
            .vcap_application
            .fields
            .insert("space_name".to_owned(), json!("dev"));
        let env = built(&order);
        let expected = [
            ("HOME", "/home/vcap/app"),
            ("TMPDIR", "/home/vcap/tmp"),
            ("USER", "vcap"),
            ("MEMORY_LIMIT", "64m"),
            ("PORT", "8080"),
            ("VCAP_APP_HOST", "0.0.0.0"),
            ("VCAP_APP_PORT", "8080"),
            ("CF_INSTANCE_INDEX", "3"),
            ("CF_INSTANCE_IP", "10.254.0.2"),
            ("CF_INSTANCE_ADDR", "10.254.0.2:8080"),
            (
                "CF_INSTANCE_PORTS",
                r#"[{"external":8080,"internal":8080}]"#,
            ),
            ("VCAP_SERVICES", "{}"),
        ];
        for (name, value) in expected {
            assert_eq!(env[name], value, "{name}");
        }
        assert!(!env.contains_key("DATABASE_URL"));
        let about: Value = serde_json::from_str(&env["VCAP_APPLICATION"]).unwrap();
        assert_eq!(about["space_name"], "dev");
        assert_eq!(about["application_id"], "app-guid-1");
        assert_eq!(about["instance_index"], 3);
        assert_eq!(about["started_at"], "2014-05-13 16:53:20 +0000");
        assert_eq!(about["started_at_timestamp"], 1_400_000_000);
        assert_eq!(
            (&about["host"], &about["port"]),
            (&json!("0.0.0.0"), &json!(8080))
        );
    }

    #[test]
    fn user_values_are_taken_as_they_are_and_override() {
        let mut order = order("a", 0);
        order.env = vec![
            "SECRET=$HOME `id` \"quoted\" 'single' \\ $(id)\nnext".to_owned(),
            "LANG=de_DE.UTF-8".to_owned(),
            "EQUALS=a=b=c".to_owned(),
            "EMPTY=".to_owned(),
        ];
        let env = built(&order);
        assert_eq!(
            env["SECRET"],
            "$HOME `id` \"quoted\" 'single' \\ $(id)\nnext"
        );
        assert_eq!(env["LANG"], "de_DE.UTF-8");
        assert_eq!(env["EQUALS"], "a=b=c");
        assert_eq!(env["EMPTY"], "");
    }

    #[test]
    fn impossible_variables_are_named() {
        let refused = |entry: &str| {
            let mut order = order("a", 0);
            order.env = vec!["GOOD=1".to_owned(), entry.to_owned()];
            check(&order).unwrap_err()
        };
        assert_eq!(refused("nothing"), BadEnvironment::NotAPair { number: 2 });
        assert_eq!(refused("=x"), BadEnvironment::NotAPair { number: 2 });
        assert_eq!(
            refused("A=\0"),
            BadEnvironment::Zero {
                name: "A".to_owned()
            }
        );
        let long = format!("A={}", "x".repeat(MAX_STRING_BYTES));
        assert_eq!(
            refused(&long),
            BadEnvironment::TooLong {
                name: "A".to_owned()
            }
        );
        let mut many = order("a", 0);
        many.env = (0..11)
            .map(|n| format!("A{n}={}", "x".repeat(100_000)))
            .collect();
        assert_eq!(check(&many), Err(BadEnvironment::TooMuch));
    }

    #[test]
    fn services_are_grouped_by_label_without_absent_keys() {
        let bound = [
            service("mysql", json!({"uri": "x"})),
            service("mysql", Value::Null),
        ];
        let expected = json!({"mysql": [
            {"name": "my-mysql", "label": "mysql", "tags": ["db"], "plan": "free",
             "credentials": {"uri": "x"}},
            {"name": "my-mysql", "label": "mysql", "tags": ["db"], "plan": "free"},
        ]});
        assert_eq!(services(&bound), expected);
    }

    #[test]
    fn the_first_database_gives_the_database_url() {
        let url = |uris: &[&str]| {
            let bound: Vec<_> = uris
                .iter()
                .map(|uri| service("s", json!({ "uri": uri })))
                .collect();
            database_url(&bound)
        };
        assert_eq!(
            url(&["redis://h/", "mysql://u:p@h/d"]).as_deref(),
            Some("mysql2://u:p@h/d")
        );
        assert_eq!(
            url(&["postgresql://h/d"]).as_deref(),
            Some("postgres://h/d")
        );
        assert_eq!(url(&["db2://h/d"]).as_deref(), Some("ibmdb://h/d"));
        assert_eq!(
            url(&["postgres://h/1", "mysql://h/2"]).as_deref(),
            Some("postgres://h/1")
        );
        assert_eq!(url(&["amqp://h", "not a url"]), None);
        assert_eq!(database_url(&[service("s", Value::Null)]), None);
    }
}
