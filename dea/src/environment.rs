//! The environment of an instance (bus contract §3.2): that of every process of an app, and what only
//! the dea knows.

use std::net::SocketAddrV4;

use chrono::{DateTime, Utc};
use cupola_messages::dea::StartInstance;
use cupola_messages::environment::{BadEnvironment, Variables};
use serde_json::{Value, json};

use crate::instance::Instance;

/// Home of the user that apps run as.
pub(crate) const HOME: &str = "/home/vcap";
/// Where the app's files are.
pub(crate) const APP_DIR: &str = "/home/vcap/app";

/// Builds the environment of `instance`, which listens at `endpoint`.
pub(crate) fn build(
    order: &StartInstance,
    instance: &Instance,
    endpoint: SocketAddrV4,
) -> Result<Vec<(String, String)>, BadEnvironment> {
    let mut all = Variables::of_app(instance.limits.mem);
    let port = endpoint.port().to_string();
    all.set("HOME", APP_DIR);
    all.set("TMPDIR", format!("{HOME}/tmp"));
    all.set(
        "VCAP_APPLICATION",
        application(order, instance, endpoint).to_string(),
    );
    all.set_services(&order.services);
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
    all.set_user(&order.env)?;
    all.checked()
}

/// Checks, before an order is accepted, that its user variables can be given to a process.
pub(crate) fn check(order: &StartInstance) -> Result<(), BadEnvironment> {
    let mut all = Variables::default();
    all.set_services(&order.services);
    all.set_user(&order.env)?;
    all.checked().map(drop)
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
    fn users_override_and_what_cannot_be_is_refused_before_the_start() {
        let mut order = order("a", 0);
        order.env = vec!["LANG=de_DE.UTF-8".to_owned(), "PORT=1".to_owned()];
        let env = built(&order);
        assert_eq!(
            (env["LANG"].as_str(), env["PORT"].as_str()),
            ("de_DE.UTF-8", "1")
        );
        order.env.push("nothing".to_owned());
        assert_eq!(check(&order), Err(BadEnvironment::NotAPair { number: 3 }));
    }
}
