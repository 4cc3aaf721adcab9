//! Monitoring over HTTP, as tools and dashboards use it.

use std::net::SocketAddr;
use std::time::Duration;

use rcgen::DnType;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::certificates::Authority;
use super::spoken::{Spoken, begin_tls};
use super::support::{PATIENCE, Raw, TestBroker, broker, eventually};

/// An HTTP answer.
struct Answer {
    status: u16,
    kind: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> Answer {
    let socket = TcpStream::connect(address).await.unwrap();
    ask_over(socket, method, path).await
}

async fn ask_over<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: S,
    method: &str,
    path: &str,
) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let kind = head
        .lines()
        .find_map(|line| line.strip_prefix("content-type: "));
    Answer {
        status: head[9..12].parse().unwrap(),
        kind: kind.unwrap_or_default().to_owned(),
        body: body.to_owned(),
    }
}

async fn get(broker: &TestBroker, path: &str) -> Answer {
    ask(broker.monitor.unwrap(), "GET", path).await
}

async fn monitored(mut config: Value) -> TestBroker {
    config["monitor"] = json!("127.0.0.1:0");
    broker(config).await
}

/// A client of this name that has been heard.
async fn named(broker: &TestBroker, name: &str) -> Raw {
    let hello = format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"name\":\"{name}\",\"lang\":\"test\",\"version\":\"1.2\"}}\r\n"
    );
    broker.greeted(&hello).await
}

fn cid(client: &Raw) -> u64 {
    client.info["client_id"].as_u64().unwrap()
}

/// The names of the connections in an answer of `/connz`.
fn names(connz: &Value) -> Vec<&str> {
    let connections = connz["connections"].as_array().unwrap();
    connections
        .iter()
        .map(|connection| connection["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn who_says_nothing_after_the_request_is_answered() {
    let broker = monitored(json!({})).await;
    for _ in 0..30 {
        let mut socket = TcpStream::connect(broker.monitor.unwrap()).await.unwrap();
        let request = b"GET /connz HTTP/1.1\r\nhost: x\r\n\r\n";
        socket.write_all(request).await.unwrap();
        // As `nc -N` does.
        socket.shutdown().await.unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(PATIENCE, socket.read_to_string(&mut answer)).await;
        read.expect("it does not end").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer:?}");
        assert!(answer.ends_with('}'), "{answer:?}");
    }
}

#[tokio::test]
async fn connections_are_shown_sorted_and_in_pages() {
    let broker = monitored(json!({})).await;
    let mut one = named(&broker, "one").await;
    let mut two = named(&broker, "two").await;
    let _three = named(&broker, "three").await;
    one.send("SUB a.* 1\r\nSUB b q 2\r\nUNSUB 2 5\r\n").await;
    one.sync().await;
    two.send("PUB a.x 5\r\nhello\r\nPUB a.y 5\r\nhello\r\n")
        .await;
    two.sync().await;
    one.expect("MSG a.x 1 5\r\nhello\r\nMSG a.y 1 5\r\nhello\r\n")
        .await;

    let connz = get(&broker, "/connz").await.json();
    assert_eq!(names(&connz), ["one", "two", "three"]);
    assert_eq!(
        (&connz["num_connections"], &connz["total"], &connz["limit"]),
        (&json!(3), &json!(3), &json!(1024))
    );
    let first = &connz["connections"][0];
    for (key, value) in [
        ("cid", json!(cid(&one))),
        ("kind", json!("Client")),
        ("type", json!("nats")),
        ("ip", json!("127.0.0.1")),
        ("lang", json!("test")),
        ("version", json!("1.2")),
        ("out_msgs", json!(2)),
        ("out_bytes", json!(10)),
        ("in_msgs", json!(0)),
        ("subscriptions", json!(2)),
        ("pending_bytes", json!(0)),
    ] {
        assert_eq!(first[key], value, "{key}");
    }
    for (order, wanted) in [
        ("msgs_from", "two"),
        ("bytes_to", "one"),
        ("subs", "one"),
        ("uptime", "three"),
    ] {
        let sorted = get(&broker, &format!("/connz?sort={order}&limit=1"))
            .await
            .json();
        assert_eq!(names(&sorted), [wanted], "{order}");
        assert_eq!(sorted["total"], 3);
    }
    let second = get(&broker, "/connz?limit=1&offset=1").await.json();
    assert_eq!(names(&second), ["two"]);
    let detailed = get(&broker, &format!("/connz?subs=detail&cid={}", cid(&one))).await;
    assert_eq!(
        detailed.json()["connections"][0]["subscriptions_list_detail"],
        json!([
            { "subject": "a.*", "sid": "1", "msgs": 2, "cid": cid(&one) },
            { "subject": "b", "qgroup": "q", "sid": "2", "msgs": 0, "max": 5, "cid": cid(&one) },
        ])
    );
    let filtered = get(&broker, "/connz?acc=$G&filter_subject=a.z")
        .await
        .json();
    assert_eq!(names(&filtered), ["one"]);
}

#[tokio::test]
async fn the_gone_are_remembered_with_their_reasons_up_to_a_number() {
    let broker = monitored(json!({ "max_closed_clients": 2 })).await;
    drop(named(&broker, "forgotten").await);
    let handle = broker.handle.clone();
    eventually("it is gone", || handle.stats().connections == 0).await;
    let mut broken = named(&broker, "broken").await;
    broken.send("FROB\r\n").await;
    broken
        .ends_with("-ERR 'Unknown Protocol Operation'\r\n")
        .await;
    let mut left = named(&broker, "left").await;
    left.send("SUB bye 1\r\n").await;
    left.sync().await;
    drop(left);
    eventually("it is gone", || handle.stats().connections == 0).await;

    let closed = get(&broker, "/connz?state=closed&sort=reason&subs=1")
        .await
        .json();
    let found: Vec<_> = closed["connections"].as_array().unwrap().iter().collect();
    assert_eq!(closed["total"], 2);
    assert_eq!(names(&closed), ["left", "broken"]);
    assert_eq!(found[0]["reason"], "Client Closed");
    assert_eq!(found[0]["subscriptions_list"], json!(["bye"]));
    assert_eq!(found[1]["reason"], "Protocol Violation");
    assert!(found[1]["stop"].as_str().unwrap() >= found[1]["start"].as_str().unwrap());
    let open = get(&broker, "/connz").await.json();
    assert_eq!(open["total"], 0);
}

#[tokio::test]
async fn mistakes_are_answered_with_what_is_wrong() {
    let broker = monitored(json!({})).await;
    for (path, text) in [
        ("/connz?sort=bogus", "invalid sorting option: bogus"),
        (
            "/connz?sort=stop",
            "sort by stop only valid on closed connections",
        ),
        ("/connz?auth=yes", "Error decoding boolean for 'auth'"),
        (
            "/connz?limit=abc",
            "Error decoding int for 'limit': strconv.Atoi: parsing \"abc\": invalid syntax",
        ),
        (
            "/connz?filter_subject=x",
            "filter by subject only valid with account filtering",
        ),
        ("/healthz?details=x", "Error decoding boolean for 'details'"),
        ("/leafz?subs=x", "Error decoding boolean for 'subs'"),
        ("/gatewayz?accs=x", "Error decoding boolean for 'accs'"),
        ("/jsz?limit=x", "Error decoding int for 'limit'"),
        ("/jsz?leader-only=1", "filtered response: not leader"),
        ("/connz?state=gone", "Error decoding state for gone"),
        (
            "/subsz?test=a..b",
            "invalid test subject, must be valid publish subject: a..b",
        ),
        ("/accountz?acc=NOPE", "Account NOPE does not exist"),
        ("/varz?callback=alert(1)//", "invalid callback"),
    ] {
        let answer = get(&broker, path).await;
        assert_eq!(
            (answer.status, answer.kind.as_str()),
            (400, "text/plain; charset=utf-8")
        );
        assert!(answer.body.starts_with(text), "{path}: {}", answer.body);
    }
    for path in ["/nope", "/varz/", "/VARZ"] {
        assert_eq!(get(&broker, path).await.status, 404, "{path}");
    }
    let long = format!("/connz?user={}", "x".repeat(10_000));
    assert_eq!(get(&broker, &long).await.status, 414);
}

#[tokio::test]
async fn every_endpoint_answers_below_its_base_path_by_any_method() {
    let broker = monitored(json!({ "monitor_base_path": "mon" })).await;
    assert_eq!(get(&broker, "/varz").await.status, 404);
    let paths = [
        "varz",
        "connz",
        "subsz",
        "subscriptionsz",
        "routez",
        "accountz",
        "accstatz",
        "gatewayz",
        "leafz",
        "jsz",
    ];
    for path in paths {
        let answer = get(&broker, &format!("/mon/{path}")).await;
        assert_eq!(
            (answer.status, answer.kind.as_str()),
            (200, "application/json"),
            "{path}"
        );
        assert!(answer.json().is_object());
    }
    let index = get(&broker, "/mon").await;
    assert!(index.kind.starts_with("text/html") && index.body.contains("./mon/varz"));
    let posted = ask(broker.monitor.unwrap(), "POST", "/mon/healthz").await;
    assert_eq!(posted.body, "{\"status\":\"ok\"}");
    let headed = ask(broker.monitor.unwrap(), "HEAD", "/mon/varz").await;
    assert_eq!((headed.status, headed.body.as_str()), (200, ""));
    let script = get(&broker, "/mon/varz?callback=app.show").await;
    assert_eq!(script.kind, "application/javascript");
    assert!(script.body.starts_with("app.show({") && script.body.ends_with("})"));
    let counted = &get(&broker, "/mon/varz").await.json()["http_req_stats"];
    assert_eq!(
        (&counted["/subsz"], &counted["/varz"]),
        (&json!(2), &json!(4))
    );
}

#[tokio::test]
async fn subscriptions_are_counted_listed_and_tested() {
    let broker = monitored(json!({})).await;
    let mut client = named(&broker, "one").await;
    client
        .send("SUB a.* 1\r\nSUB a.b 2\r\nSUB c 3\r\nUNSUB 3\r\n")
        .await;
    client.sync().await;
    let subsz = get(&broker, "/subsz").await.json();
    for (key, value) in [
        ("num_subscriptions", 2),
        ("num_inserts", 3),
        ("num_removes", 1),
        ("total", 0),
        ("limit", 1024),
    ] {
        assert_eq!(subsz[key], value, "{key}");
    }
    let listed = get(&broker, "/subsz?subs=1&test=a.x").await.json();
    assert_eq!(listed["total"], 1);
    assert_eq!(
        listed["subscriptions_list"],
        json!([{ "account": "$G", "account_tag": "$G", "subject": "a.*", "sid": "1", "msgs": 0, "cid": cid(&client) }])
    );
    let page = get(&broker, "/subsz?subs=1&limit=1&offset=1").await.json();
    assert_eq!(page["subscriptions_list"][0]["subject"], "a.b");
    assert_eq!(
        get(&broker, "/subsz?acc=NOPE").await.json()["num_subscriptions"],
        0
    );
}

#[tokio::test]
async fn accounts_are_shown_with_what_they_share_and_rename() {
    let broker = monitored(json!({ "system_account": "S", "accounts": [
        { "name": "A", "users": [{ "user": "a", "password": "p" }],
          "exports": [{ "kind": "service", "subject": "q", "accounts": ["B"],
            "latency": { "sampling": { "percent": 25 }, "subject": "took" } }],
          "mappings": [{ "subject": "x", "destinations": [
            { "subject": "y", "weight": 40 }, { "subject": "z", "weight": 10, "cluster": "far" } ] }] },
        { "name": "B", "users": [{ "user": "b", "password": "p" }],
          "imports": [{ "kind": "service", "account": "A", "subject": "q" }] },
        { "name": "S" },
    ] }))
    .await;
    let all = get(&broker, "/accountz").await.json();
    assert_eq!(all["accounts"], json!(["$G", "A", "B", "S"]));
    let shown = get(&broker, "/accountz?acc=A").await.json();
    let shown = &shown["account_detail"];
    let latency = json!({ "sampling": 25, "results": "took" });
    assert_eq!(
        shown["exports"],
        json!([{ "subject": "q", "type": "service", "response_type": "Singleton",
            "service_latency": latency, "approved_accounts": ["B"] }])
    );
    assert_eq!(
        shown["mappings"],
        json!({ "x": [{ "subject": "y", "weight": 40 }, { "subject": "z", "weight": 10, "cluster": "far" }] })
    );
    let importer = get(&broker, "/accountz?acc=B").await.json();
    let import = &importer["account_detail"]["imports"][0];
    assert_eq!(
        (&import["latency"], &import["tracking"]),
        (&latency, &json!(false))
    );
}

#[tokio::test]
async fn the_refused_are_shown_as_who_they_said_they_are() {
    let broker = monitored(json!({ "authorization": {
        "users": [{ "user": "guest", "password": "p" }], "no_auth_user": "guest" } }))
    .await;
    let varz = get(&broker, "/varz").await;
    assert_eq!(varz.json()["auth_required"], true);
    assert!(varz.body.contains("\"auth_timeout\": 2,"), "{}", varz.body);
    let mut wrong = broker.raw().await;
    wrong
        .send("CONNECT {\"user\":\"mallory\",\"pass\":\"x\"}\r\n")
        .await;
    wrong.ends_with("-ERR 'Authorization Violation'\r\n").await;
    let closed = get(&broker, "/connz?state=closed&auth=1").await.json();
    assert_eq!(closed["connections"][0]["authorized_user"], "mallory");
}

#[tokio::test]
async fn round_trips_are_measured_by_pings() {
    let broker =
        monitored(json!({ "limits": { "ping_interval": "50ms", "ping_max": 1000 } })).await;
    let mut client = named(&broker, "slow").await;
    let rtt = async || {
        let connz = get(&broker, "/connz").await.json();
        connz["connections"][0]["rtt"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert!(!rtt().await.is_empty(), "known from the greeting");
    client.expect("PING\r\n").await;
    let pause = Duration::from_millis(60);
    tokio::time::sleep(pause).await;
    client.send("PONG\r\n").await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let rtt = rtt().await;
        if rtt
            .strip_suffix("ms")
            .is_some_and(|ms| ms.parse::<f64>().unwrap() >= 60.0)
        {
            break;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "never measured: {rtt}"
        );
    }
}

/// As `nats-top` does it: two looks, and what happened between them.
#[tokio::test]
async fn rates_can_be_had_from_two_looks() {
    let broker = monitored(json!({})).await;
    let mut publisher = named(&broker, "publisher").await;
    let mut subscriber = named(&broker, "subscriber").await;
    subscriber.send("SUB rate.> 1\r\n").await;
    subscriber.sync().await;
    let look = async || {
        let varz = get(&broker, "/varz").await.json();
        let connz = get(&broker, "/connz?limit=1024&sort=cid&subs=1")
            .await
            .json();
        (varz, connz)
    };
    let (varz, connz) = look().await;
    for _ in 0..20 {
        publisher
            .send("PUB rate.x 10\r\n0123456789\r\n".repeat(50))
            .await;
    }
    publisher.sync().await;
    for _ in 0..1000 {
        subscriber.message().await;
    }
    let (later_varz, later_connz) = look().await;
    let since = |now: &Value, then: &Value, key: &str| {
        now[key].as_u64().unwrap() - then[key].as_u64().unwrap()
    };
    for (key, delta) in [
        ("in_msgs", 1000),
        ("out_msgs", 1000),
        ("in_bytes", 10_000),
        ("out_bytes", 10_000),
    ] {
        assert_eq!(since(&later_varz, &varz, key), delta, "{key}");
    }
    let of = |connz: &Value, name: &str| {
        let mut connections = connz["connections"].as_array().unwrap().iter();
        connections.find(|one| one["name"] == name).unwrap().clone()
    };
    let (then, now) = (of(&connz, "subscriber"), of(&later_connz, "subscriber"));
    assert_eq!(
        (
            since(&now, &then, "out_msgs"),
            since(&now, &then, "in_msgs")
        ),
        (1000, 0)
    );
    assert_eq!(now["subscriptions_list"], json!(["rate.>"]));
    let published = since(
        &of(&later_connz, "publisher"),
        &of(&connz, "publisher"),
        "in_bytes",
    );
    assert_eq!(published, 10_000);
    // Noted to a few milliseconds.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        publisher.send("PUB rate.x 0\r\n\r\n").await;
        publisher.sync().await;
        subscriber.message().await;
        let (_, connz) = look().await;
        let latest = of(&connz, "subscriber");
        if latest["last_activity"].as_str() > now["start"].as_str() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "never active");
    }
    for key in [
        "cpu",
        "mem",
        "uptime",
        "cores",
        "slow_consumers",
        "total_connections",
    ] {
        assert!(later_varz.get(key).is_some(), "{key}");
    }
}

#[tokio::test]
async fn prometheus_can_read_the_metrics() {
    let broker = monitored(json!({})).await;
    let mut client = named(&broker, "one").await;
    client.send("SUB a 1\r\nPUB a 2\r\nhi\r\n").await;
    client.expect("MSG a 1 2\r\nhi\r\n").await;
    let answer = get(&broker, "/metrics").await;
    assert_eq!(answer.kind, "text/plain; version=0.0.4; charset=utf-8");
    let mut types = std::collections::HashMap::new();
    let mut helped = std::collections::HashSet::new();
    let mut series = std::collections::HashSet::new();
    for line in answer.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(types.insert(name, kind), None, "{name} twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} {kind}");
            assert!(helped.contains(name), "{name} has no help before its type");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.') && helped.insert(name), "{rest}");
        } else {
            let (name, number) = line.rsplit_once(' ').unwrap();
            assert!(series.insert(name), "{name} twice");
            let name = name.split('{').next().unwrap();
            assert!(types.contains_key(name), "{name} has no type");
            assert!(name.starts_with("cupola_bus_"), "{name}");
            number.parse::<f64>().unwrap();
        }
    }
    for line in [
        "cupola_bus_ready 1",
        "cupola_bus_connections 1",
        "cupola_bus_sent_bytes_total{peer=\"client\"} 2",
        "cupola_bus_account_received_messages_total{account=\"$G\"} 1",
        "cupola_bus_account_connections{account=\"$G\"} 1",
    ] {
        assert!(
            answer.body.lines().any(|it| it == line),
            "{line} is not in\n{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_lame_duck_is_not_healthy() {
    let broker = monitored(json!({
        "lame_duck": { "duration": "30s", "grace_period": "20s" },
    }))
    .await;
    let _client = named(&broker, "one").await;
    assert_eq!(get(&broker, "/healthz").await.status, 200);
    broker.handle.lame_duck();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let answer = loop {
        let answer = get(&broker, "/healthz").await;
        if answer.status != 200 {
            break answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "still healthy");
    };
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["status"], "unavailable");
}

#[tokio::test]
async fn a_crowd_does_not_make_an_answer_long() {
    let broker = monitored(json!({})).await;
    let mut crowd = Vec::new();
    for number in 0..300 {
        crowd.push(named(&broker, &format!("c{number}")).await);
    }
    let connz = get(&broker, "/connz?limit=10&sort=cid&offset=250")
        .await
        .json();
    assert_eq!(
        (&connz["num_connections"], &connz["total"]),
        (&json!(10), &json!(300))
    );
    assert_eq!(names(&connz)[0], "c250");
    let all = get(&broker, "/connz?limit=99999999").await.json();
    assert_eq!(
        (&all["num_connections"], &all["limit"]),
        (&json!(300), &json!(65_536))
    );
}

#[tokio::test]
async fn the_same_is_served_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let broker = broker(json!({
        "monitor_https": "127.0.0.1:0",
        // Clients must show certificates; monitors need not.
        "tls": { "cert_file": cert, "key_file": key, "ca_file": cert, "verify": true },
    }))
    .await;
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = tokio_rustls::rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let address = broker.monitor_https.unwrap();
    let socket = TcpStream::connect(address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let socket = connector.connect(name, socket).await.unwrap();
    let varz = ask_over(socket, "GET", "/varz").await.json();
    assert_eq!(varz["https_port"], address.port());
    assert_eq!(
        (&varz["http_port"], &varz["tls_verify"]),
        (&json!(0), &json!(true))
    );
    // One who says nothing of TLS is hung up on.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET /varz HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard).await;
    assert!(!heard.starts_with(b"HTTP"));
}

#[tokio::test]
async fn what_clients_have_shown_over_tls_is_told_when_asked_for() {
    let authority = Authority::new();
    authority.issue("sue", |params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "sue");
    });
    let section = authority.section_with(json!({ "verify": true }));
    let broker = monitored(json!({ "tls": section })).await;
    let mut client = Spoken::new(TcpStream::connect(broker.address).await.unwrap());
    client.info().await;
    let tls = authority.client(Some("sue"));
    let mut client = begin_tls(client.into_inner(), tls).await.unwrap();
    client.sync().await;
    let told = get(&broker, "/connz?auth=1").await.json();
    let certificate = &told["connections"][0]["tls_peer_certs"][0];
    assert_eq!(certificate["subject"], "CN=sue");
    for digest in ["spki_sha256", "cert_sha256"] {
        assert_eq!(certificate[digest].as_str().unwrap().len(), 64);
    }
    assert_ne!(certificate["spki_sha256"], certificate["cert_sha256"]);
    let untold = get(&broker, "/connz").await.json();
    assert!(untold["connections"][0]["tls_peer_certs"].is_null());
}
