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
            { user: other, password: "0123" }
          ]
        }
        no_auth_user: other
        "#,
    )
    .unwrap();
    assert_eq!((read.host.as_str(), read.port), ("127.0.0.1", 0));
    assert_eq!((read.monitor_host, read.monitor_port), (None, Some(8222)));
    assert_eq!(read.ignored, ["jetstream"]);
    // The number was understood as seconds, but is better written as such.
    assert_eq!(
        read.doubtful,
        [
            "n.conf:8:9: invalid use of field \"write_deadline\": write_deadline should be converted to a duration"
        ]
    );
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
fn workers_stay_awake_as_they_are_told_to() {
    let told = |text| options(text).map(|read| read.config.stay_awake);
    assert_eq!(told("port: 4222"), Ok(None));
    assert_eq!(told("stay_awake: off"), Ok(Some(false)));
    assert_eq!(told("stay_awake: true"), Ok(Some(true)));
    let wrong = told("stay_awake: 30us").unwrap_err();
    assert!(wrong.starts_with("n.conf:1:0: "), "{wrong}");
}

#[test]
fn what_cannot_be_honoured_is_an_error_with_its_place() {
    for (text, says) in [
        (
            "a: 1\n  nonsense: 2",
            "n.conf:2:3: unknown field \"nonsense\"",
        ),
        ("prot: 1", "unknown field \"prot\" (did you mean \"port\"?)"),
        ("tls { cert_file: x }", "missing 'key_file'"),
        ("tls { cert: x }", "unknown field \"cert\""),
        ("tls { curve_preferences: [] }", "cannot be empty"),
        ("cluster { routes: \"nats://x\" }", "expected an array"),
        (
            "cluster { routes: [\"http://x\"] }",
            "error parsing route url",
        ),
        (
            "cluster { authorization { token: x } }",
            "does not support tokens",
        ),
        (
            "websocket { headers { a: 1 } }",
            "the value of a header is text",
        ),
        (
            "accounts { A { exports: [{ stream: s, response: stream }] } }",
            "for exports of services only",
        ),
        (
            "accounts { A { exports: [{ stream: s, allow_trace: true }] } }",
            "for exports of services only",
        ),
        (
            "accounts { A { imports: [{ service: { account: B, subject: s }, allow_trace: true }] } }",
            "for imports of streams only",
        ),
        ("accounts { A { msg_trace: \"x.*\" } }", "is not valid"),
        ("lame_duck_duration: 60", "expected a duration"),
        ("lame_duck_duration: 5s", "at least 30s"),
        ("max_sub_tokens: 300", "between 1 and 255"),
        (
            "authorization { user: a, pass: b, token: c }",
            "Cannot have a user/pass and token",
        ),
        (
            "authorization { user: a, pass: b, users: [] }",
            "single user/pass and a users array",
        ),
        ("port: 70000", "n.conf:1:0: port: 70000 is no port"),
        ("port: {}", "expected an integer, found a map"),
        ("listen: foo", "host:port"),
        ("max_pending: -5", "must not be negative"),
        ("server_name: 0123", "expected text, found an integer"),
        ("write_timeout: never", "default, close and retry"),
        ("proxy_protocol: true", "not supported"),
        (
            "tls { verify_cert_and_check_known_urls: true }",
            "not supported in this context",
        ),
        ("tls { pinned_certs: [abc] }", "no SHA-256"),
        (
            "accounts { A { nkey: x } }",
            "Not a valid public nkey for an account",
        ),
        (
            "accounts { A { trace_dest: \"a..b\" } }",
            "Trace destination",
        ),
        (
            "authorization { user: a, pass: b }, accounts { A { users: [{user: c, pass: d}] } }",
            "a single user/pass and accounts",
        ),
        (
            "authorization { token: a }, accounts { A { users: [{user: c, pass: d}] } }",
            "a token and accounts",
        ),
        ("authorization { pass: b }", "a password needs a user"),
        (
            "authorization { users: [{pass: b}] }",
            "needs a user or an nkey",
        ),
        (
            "authorization { users: [{user: a, pass: b, allowed_connection_types: [carrier_pigeon]}] }",
            "invalid connection type",
        ),
        (
            "authorization { users: [{user: a, pass: b, permissions: {publish: \"a q\"}}] }",
            "is not a valid subject",
        ),
        (
            "cluster { compression: 1 }",
            "expected a boolean, a mode or a map",
        ),
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
fn all_that_is_wrong_is_said_at_its_key() {
    let error =
        options("port: 1\nprot: 2\n tls {\n  cert: x }\ncluster {\n  authorization { token: x } }");
    let error = error.unwrap_err();
    let lines: Vec<&str> = error.lines().collect();
    let [prot, tls, cluster] = lines[..] else {
        panic!("{error}")
    };
    assert!(prot.starts_with("n.conf:2:1: unknown field"), "{prot}");
    assert!(tls.starts_with("n.conf:4:3: unknown field"), "{tls}");
    assert!(
        cluster.starts_with("n.conf:6:3: authorization: Cluster authorization"),
        "{cluster}"
    );
}

#[test]
fn nought_means_the_default_where_it_would_make_no_sense() {
    let mut read = options(
        "max_payload: 0, max_pending: 0, max_control_line: 0, ping_interval: 0, ping_max: 0, write_deadline: \"0s\"\n\
         authorization { timeout: 0 }, max_closed_clients: 0",
    )
    .unwrap();
    let default = Limits::default();
    let limits = &read.config.limits;
    assert_eq!(limits.max_payload, default.max_payload);
    assert_eq!(limits.max_pending, default.max_pending);
    assert_eq!(limits.max_control_line, default.max_control_line);
    assert_eq!(limits.ping_interval, default.ping_interval);
    assert_eq!(limits.ping_max, default.ping_max);
    assert_eq!(limits.write_deadline, default.write_deadline);
    assert_eq!(limits.auth_timeout, default.auth_timeout);
    assert_eq!(read.config.max_closed_clients, 10_000);
    read.resolve().unwrap();
    // Less than nothing is as much as can wait for a client.
    let mut read = options("max_payload: -1, max_pending: 9MB").unwrap();
    read.resolve().unwrap();
    assert_eq!(read.config.limits.max_payload, 9 << 20);
}

#[test]
fn answers_may_be_few_or_many() {
    let answers = |text: &str| {
        let users =
            format!("authorization {{ users: [{{user: a, pass: b, permissions: {{{text}}}}}] }}");
        let read = options(&users).unwrap();
        let granted = read.config.authorization.users[0]
            .permissions
            .clone()
            .unwrap();
        granted.allow_responses
    };
    let default = crate::config::AllowResponses::default();
    assert_eq!(answers("allow_responses: false"), None);
    assert_eq!(answers("publish_allow_responses: true"), Some(default));
    assert_eq!(
        answers("allow_responses: {max: 0, expires: \"0s\"}"),
        Some(default)
    );
    let any = answers("allow_responses: {max: -1, expires: \"-1s\"}").unwrap();
    assert_eq!((any.max, any.expires), (0, Duration::MAX));
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
fn tls_websocket_and_cluster_are_understood() {
    let mut read = options(
        r#"
        server_tags: ["region:eu", fast]
        http_base_path: "/bus", https: 127.0.0.1:-1
        max_traced_msg_len: 64, no_fast_producer_stall: true, max_connections: -1
        lame_duck_duration: "1m", lame_duck_grace_period: 2s
        log_file: /tmp/x.log, logfile_size_limit: 1MB, logfile_max_num: 3, trace_verbose: true, logtime_utc: yes
        tls { cert_file: a.pem, key_file: b.pem, ca_file: c.pem, verify_and_map: true, timeout: 0.5
              min_version: 1.3, handshake_first: 300ms, pinned_certs: ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] }
        allow_non_tls: true
        websocket { port: 8080, tls: { cert_file: a.pem, key_file: b.pem }, compression: true
              allowed_origins: ["https://a"], authorization { token: t }, headers { X-One: "1" } }
        cluster { name: west, listen: 127.0.0.1:-1, routes: [nats://u:p@b:6222, nats://b:6222, nats://c], no_advertise: true
              pool_size: 3, compression: s2_auto, ping_interval: 20, authorization { user: u, password: p, timeout: 61 } }
        "#,
    )
    .unwrap();
    read.resolve().unwrap();
    let config = &read.config;
    let tls = config.tls.as_ref().unwrap();
    assert!(tls.verify && tls.verify_and_map && config.allow_non_tls);
    assert_eq!(tls.min_version, crate::config::TlsVersion::V1_3);
    assert_eq!(tls.timeout, Duration::from_millis(500));
    let websocket = config.websocket.as_ref().unwrap();
    assert_eq!(websocket.listen.to_string(), "0.0.0.0:8080");
    assert!(websocket.compression && websocket.token.is_some());
    let cluster = config.cluster.as_ref().unwrap();
    assert_eq!(cluster.listen.unwrap().port(), 0);
    // The same peer twice is one peer.
    assert_eq!(
        (cluster.routes.len(), cluster.name.as_deref()),
        (2, Some("west"))
    );
    assert_eq!(cluster.authorization.timeout, Duration::from_secs(61));
    assert_eq!(config.server_tags, ["region:eu", "fast"]);
    assert_eq!(config.limits.max_connections, usize::MAX);
    assert!(!config.limits.stall_producers && read.log.trace && read.log.utc);
    assert_eq!((read.log.size_limit, read.log.max_files), (1 << 20, 3));
    assert_eq!(read.ignored, ["cluster.compression"]);
    assert_eq!(read.doubtful.len(), 2, "{:?}", read.doubtful);
}

#[test]
fn accounts_are_not_what_variables_stand_for() {
    let read = options(
        "accounts { P { publish: a }, A { users: [{user: u, pass: p, permissions: $P}] }, a { } }",
    )
    .unwrap();
    let names: Vec<&str> = read
        .config
        .accounts
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(names, ["A", "a"]);
}

#[test]
fn permissions_of_routes_stand_in_either_place() {
    let granted = |text: &str| options(text).map(|read| read.config.cluster.unwrap().permissions);
    let rules = |json: serde_json::Value| Some(serde_json::from_value(json).unwrap());
    for (text, expected) in [
        (
            "cluster { permissions { import: foo, export { allow: [a, b], deny: c } } }",
            serde_json::json!({ "import": { "allow": ["foo"] }, "export": { "allow": ["a", "b"], "deny": ["c"] } }),
        ),
        (
            "cluster { authorization { user: u, permissions { publish { deny: x } } } }",
            serde_json::json!({ "import": { "deny": ["x"] } }),
        ),
        (
            "cluster { permissions { export: y }, authorization { user: u, permissions { import: x } } }",
            serde_json::json!({ "export": { "allow": ["y"] } }),
        ),
    ] {
        assert_eq!(granted(text).unwrap(), rules(expected), "{text}");
    }
    for (text, wrong) in [
        (
            "cluster { permissions { export: \"a q\" } }",
            "is not a subject",
        ),
        (
            "cluster { permissions { import { deny: \"a..b\" } } }",
            "is not a valid subject",
        ),
        (
            "cluster { permissions { allow_responses: true } }",
            "dynamic responses",
        ),
        ("cluster { permissions { imports: a } }", "imports"),
    ] {
        let error = granted(text).unwrap_err();
        assert!(error.contains(wrong), "{text}: {error}");
    }
}

#[test]
fn a_key_that_a_variable_uses_is_no_mistake() {
    let text = |used: &str| format!("who: joe, authorization {{ pw: x, user: {used}, pass: $pw }}");
    let read = options(&text("$who")).unwrap();
    assert_eq!(
        read.config.authorization.users[0].user.as_deref(),
        Some("joe")
    );
    assert!(
        options(&text("jim"))
            .unwrap_err()
            .contains("unknown field \"who\"")
    );
}

#[test]
fn contradictions_are_found_at_last() {
    for (text, says) in [
        ("server_name: \"a b\"", "cannot contain spaces"),
        ("client_advertise: \"me:x\"", "not of the form host:port"),
        ("cluster { name: \"a b\" }", "cannot contain spaces"),
        ("websocket { port: 1 }", "websocket requires TLS"),
        ("http: 1, https: 2, tls {}", "at the same time"),
        ("https: 2", "requires TLS"),
        (
            "cluster { routes: [nats://a] }",
            "require cluster capabilities",
        ),
        (
            "lame_duck_duration: 30s, lame_duck_grace_period: 30s",
            "strictly lower",
        ),
    ] {
        let error = options(text).unwrap().resolve().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    // Without a port nothing is served, so nothing is missing.
    let mut read = options("websocket { compression: true }, port: 0, http: 0").unwrap();
    read.resolve().unwrap();
    assert!(read.config.websocket.is_none() && read.config.monitor.is_none());
    assert_eq!(read.port, 4222);
}

#[test]
fn names_resolve() {
    let mut read = options("host: localhost, port: 1, http: 127.0.0.1:2").unwrap();
    read.resolve().unwrap();
    assert_eq!(read.config.listen.port(), 1);
    assert_eq!(read.config.monitor.unwrap().to_string(), "127.0.0.1:2");
}

#[test]
fn a_name_of_both_kinds_leads_to_the_older_one() {
    let chosen = |found: &[&str]| {
        let found = found.iter().map(|address| address.parse().unwrap());
        preferred(found).map(|address| address.to_string())
    };
    let both = chosen(&["[::1]:1", "127.0.0.1:1", "127.0.0.2:1"]);
    assert_eq!(both.as_deref(), Some("127.0.0.1:1"));
    assert_eq!(chosen(&["[::1]:1"]).as_deref(), Some("[::1]:1"));
}
