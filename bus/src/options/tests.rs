#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::conf;

fn options(text: &str) -> Result<Options, String> {
    let map = conf::parse(text, Path::new("n.conf"), &conf::System).map_err(|e| e.to_string())?;
    Options::from_map(&map).map_err(|e| e.to_string())
}

#[test]
fn a_documentation_style_file_is_understood() {
    let read = options(
        r#"
        listen: 127.0.0.1:-1
        http: 8222
        server_name: bus-1
        max_payload: 2MB
        max_subscriptions: -1
        ping_interval: 20s
        write_deadline: 5
        ADMIN = { publish: ">", subscribe: ">" }
        jetstream { store_dir: /tmp/x }
        authorization {
          timeout: 0.5
          default_permissions = { publish = "SANDBOX.*", subscribe = ["PUBLIC.>", "_INBOX.>"] }
          users = [
            { user: admin, password: $2a$11$xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, permissions: $ADMIN }
            { user: client, password: x
              permissions: { publish: { allow: ["req.a", "req.b"], deny: "req.c" }
                             subscribe: { deny: "secret.>" }, allow_responses: { max: 5, expires: "1m" } } }
            { user: other, password: 123 }
          ]
        }
        no_auth_user: other
        "#,
    )
    .unwrap();
    assert_eq!((read.host.as_str(), read.port), ("127.0.0.1", 0));
    assert_eq!((read.monitor_host, read.monitor_port), (None, Some(8222)));
    assert_eq!(read.ignored, ["jetstream"]);
    let limits = &read.config.limits;
    assert_eq!((limits.max_payload, limits.max_subscriptions), (2 << 20, 0));
    assert_eq!(limits.ping_interval, Duration::from_secs(20));
    assert_eq!(limits.write_deadline, Duration::from_secs(5));
    assert_eq!(limits.auth_timeout, Duration::from_millis(500));
    let auth = &read.config.authorization;
    assert_eq!(auth.no_auth_user.as_deref(), Some("other"));
    let [admin, client, other] = &auth.users[..] else {
        panic!("{:?}", auth.users)
    };
    assert!(admin.permissions.as_ref().unwrap().publish.is_some());
    let granted = client.permissions.as_ref().unwrap();
    assert_eq!(granted.publish.as_ref().unwrap().deny, ["req.c"]);
    assert_eq!(granted.subscribe.as_ref().unwrap().allow, None);
    assert_eq!(granted.allow_responses.unwrap().max, 5);
    assert!(other.permissions.is_none() && auth.default_permissions.is_some());
}

#[test]
fn what_cannot_be_honoured_is_an_error_with_its_place() {
    for (text, says) in [
        (
            "a: 1\n  nonsense: 2",
            "n.conf:2:3: unknown field \"nonsense\"",
        ),
        (
            "tls { cert_file: x }",
            "n.conf:1:1: \"tls\" is not supported",
        ),
        ("cluster { port: 1 }", "not supported"),
        ("port: 70000", "n.conf:1:7: port: 70000 is no port"),
        ("port: {}", "expected an integer, found a map"),
        ("listen: foo", "host:port"),
        ("max_payload: -5", "must not be negative"),
        ("ping_interval: soon", "is not a duration"),
        (
            "authorization { users = [ 1 ] }",
            "expected a map, found an integer",
        ),
        (
            "authorization { users = [ { user: a, pasword: b } ] }",
            "unknown field \"pasword\"",
        ),
        (
            "authorization { users: [{user: a, password: b, permissions: {publish: {alow: x}}}] }",
            "unknown field \"alow\"",
        ),
    ] {
        let error = options(&text.replace("a: 1\n", "port: 1\n")).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn an_empty_allow_list_allows_everything_as_with_nats_server() {
    let read = options(
        "authorization { users: [{user: a, password: b, permissions: {publish: [], subscribe: {allow: []}}}] }",
    )
    .unwrap();
    let granted = read.config.authorization.users[0]
        .permissions
        .clone()
        .unwrap();
    assert_eq!(granted.publish.unwrap().allow, None);
    assert_eq!(granted.subscribe.unwrap().allow, None);
}

#[test]
fn names_resolve() {
    let mut read = options("host: localhost, port: 1, http: 127.0.0.1:2").unwrap();
    read.resolve().unwrap();
    assert_eq!(read.config.listen.port(), 1);
    assert_eq!(read.config.monitor.unwrap().to_string(), "127.0.0.1:2");
}
