//! Accounts of the configuration: what stays within them and what crosses.

use serde_json::{Value, json};

use super::support::{PATIENCE, Raw, TestBroker, broker};

/// A offers streams and services, B takes them, C takes a service of B, D is small.
fn accounts() -> Value {
    json!({
        "accounts": [
            { "name": "A", "users": [{ "user": "a", "password": "p" }], "exports": [
                { "kind": "stream", "subject": "s.>" },
                { "kind": "service", "subject": "q.*" },
                { "kind": "service", "subject": "many", "response": "stream" },
                { "kind": "service", "subject": "quick", "response_threshold": "50ms" },
                { "kind": "service", "subject": "timed", "latency": { "sampling": { "percent": 100 }, "subject": "took" } },
                { "kind": "service", "subject": "shared" } ] },
            { "name": "B", "users": [
                { "user": "b", "password": "p" },
                { "user": "narrow", "password": "p", "permissions": {
                    "subscribe": { "allow": ["in.>"], "deny": ["in.s.secret"] } } } ],
              "imports": [
                { "kind": "stream", "account": "A", "subject": "s.>", "prefix": "in" },
                { "kind": "service", "account": "A", "subject": "q.*", "to": "ask.$1" },
                { "kind": "service", "account": "A", "subject": "many" },
                { "kind": "service", "account": "A", "subject": "quick" },
                { "kind": "service", "account": "A", "subject": "timed" },
                { "kind": "service", "account": "A", "subject": "shared", "share": true } ],
              "exports": [{ "kind": "service", "subject": "ask.*" }] },
            { "name": "C", "users": [{ "user": "c", "password": "p" }],
              "imports": [{ "kind": "service", "account": "B", "subject": "ask.x", "to": "chain" }],
              "mappings": [{ "subject": "old.*", "destinations": [{ "subject": "new.{{wildcard(1)}}" }] }] },
            { "name": "D", "users": [{ "user": "d", "password": "p" }],
              "limits": { "max_connections": 1, "max_subscriptions": 2, "max_payload": 5 } },
        ],
    })
}

async fn user(broker: &TestBroker, name: &str) -> Raw {
    let hello = json!({ "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
        "user": name, "pass": "p" });
    broker.greeted(&format!("CONNECT {hello}\r\n")).await
}

/// Reads a request and answers it; returns what it was about.
async fn answer(service: &mut Raw, with: &[&str]) -> (String, String) {
    let (subject, reply, block, _) = service.headed().await;
    let reply = reply.unwrap();
    for text in with {
        let size = text.len();
        service
            .send(format!("PUB {reply} {size}\r\n{text}\r\n"))
            .await;
    }
    (subject, block)
}

#[tokio::test]
async fn accounts_hear_nothing_of_each_other() {
    let broker = broker(accounts()).await;
    let mut a = user(&broker, "a").await;
    let mut b = user(&broker, "b").await;
    let mut b2 = user(&broker, "b").await;
    for client in [&mut a, &mut b] {
        client.send("SUB > 1\r\n").await;
        client.sync().await;
    }
    b2.send("PUB x 1\r\n1\r\n").await;
    b.expect("MSG x 1 1\r\n1\r\n").await;
    a.sync().await;
    assert!(broker.raw().await.info["auth_required"].as_bool().unwrap());
}

#[tokio::test]
async fn streams_arrive_under_their_local_names() {
    let broker = broker(accounts()).await;
    let mut a = user(&broker, "a").await;
    let mut b = user(&broker, "b").await;
    // Wider than the import, narrower, exactly it, and beside it.
    b.send("SUB in.s.a.> 1\r\nSUB *.s.b 2\r\nSUB in.s.> 3\r\nSUB other.> 4\r\n")
        .await;
    b.sync().await;
    a.send("PUB s.a.x r 2\r\nhi\r\nPUB s.b 0\r\n\r\nPUB other.s 0\r\n\r\nPUB in.s.b 0\r\n\r\n")
        .await;
    let mut heard = Vec::new();
    for _ in 0..4 {
        let (subject, sid, reply, body) = b.message().await;
        heard.push(format!("{subject} {sid} {reply:?} {}", body.len()));
    }
    heard.sort();
    assert_eq!(
        heard,
        [
            "in.s.a.x 1 Some(\"r\") 2",
            "in.s.a.x 3 Some(\"r\") 2",
            "in.s.b 2 None 0",
            "in.s.b 3 None 0"
        ]
    );
    b.sync().await;
    // What B publishes itself does not go to A, and is heard in B.
    b.send("PUB in.s.b 1\r\n1\r\n").await;
    let (.., body) = b.message().await;
    assert_eq!(body, b"1");
}

#[tokio::test]
async fn imported_subscriptions_end_when_they_should() {
    let broker = broker(accounts()).await;
    let own = broker.handle.stats().subscriptions.len;
    let mut a = user(&broker, "a").await;
    let mut b = user(&broker, "b").await;
    // Two from anywhere: one is the account's own, one is imported.
    b.send("SUB in.s.x 1\r\nUNSUB 1 2\r\nPUB in.s.x 0\r\n\r\n")
        .await;
    b.expect("MSG in.s.x 1 0\r\n\r\n").await;
    b.sync().await;
    a.send("PUB s.x 0\r\n\r\nPUB s.x 0\r\n\r\n").await;
    a.sync().await;
    b.expect("MSG in.s.x 1 0\r\n\r\n").await;
    b.sync().await;
    b.send("SUB in.s.x 2\r\nUNSUB 2\r\nSUB in.s.x 3\r\n").await;
    b.sync().await;
    a.send("PUB s.x 0\r\n\r\n").await;
    b.expect("MSG in.s.x 3 0\r\n\r\n").await;
    drop(b);
    super::support::eventually("its shadows are gone", || {
        broker.handle.stats().subscriptions.len == own
    })
    .await;
}

#[tokio::test]
async fn one_of_a_queue_group_gets_what_is_imported() {
    let broker = broker(accounts()).await;
    let mut a = user(&broker, "a").await;
    let mut one = user(&broker, "b").await;
    let mut two = user(&broker, "b").await;
    for client in [&mut one, &mut two] {
        client.send("SUB in.s.* q 1\r\n").await;
        client.sync().await;
    }
    for _ in 0..200 {
        a.send("PUB s.x 0\r\n\r\n").await;
    }
    a.sync().await;
    let mut counts = Vec::new();
    for client in [&mut one, &mut two] {
        client.send("PING\r\n").await;
        let mut count = 0;
        loop {
            match client.line().await.as_str() {
                "PONG" => break,
                "" => {}
                _ => count += 1,
            }
        }
        counts.push(count);
    }
    assert_eq!(counts.iter().sum::<i32>(), 200);
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}

#[tokio::test]
async fn permissions_are_about_local_names() {
    let broker = broker(accounts()).await;
    let mut a = user(&broker, "a").await;
    let mut narrow = user(&broker, "narrow").await;
    narrow.send("SUB s.x 1\r\n").await;
    narrow
        .expect("-ERR 'Permissions Violation for Subscription to \"s.x\"'\r\n")
        .await;
    narrow.send("SUB in.> 2\r\n").await;
    narrow.sync().await;
    a.send("PUB s.secret 0\r\n\r\nPUB s.open 0\r\n\r\n").await;
    narrow.expect("MSG in.s.open 2 0\r\n\r\n").await;
    narrow.sync().await;
}

#[tokio::test]
async fn a_request_crosses_and_one_answer_comes_back() {
    let broker = broker(accounts()).await;
    let mut a = user(&broker, "a").await;
    let mut b = user(&broker, "b").await;
    a.send("SUB q.* 1\r\n").await;
    a.sync().await;
    b.send("SUB inbox 1\r\nPUB ask.7 inbox 1\r\nQ\r\n").await;
    let (subject, block) = answer(&mut a, &["one", "two"]).await;
    assert_eq!(subject, "q.7");
    let info = block.split("Nats-Request-Info: ").nth(1).unwrap();
    let info: Value = serde_json::from_str(info.trim()).unwrap();
    assert_eq!((&info["acc"], info.get("user")), (&json!("B"), None));
    b.expect("MSG inbox 1 3\r\none\r\n").await;
    b.sync().await;
    // Headers of the request stay; without a reply there is none in the other account.
    b.send("HPUB ask.8 18 19\r\nNATS/1.0\r\nA: b\r\n\r\nQ\r\n")
        .await;
    let (subject, reply, block, payload) = a.headed().await;
    assert_eq!(
        (subject.as_str(), reply, payload.as_str()),
        ("q.8", None, "Q")
    );
    assert!(
        block.starts_with("NATS/1.0\r\nA: b\r\nNats-Request-Info: {"),
        "{block}"
    );
    // Who answers on a made-up subject reaches nobody.
    a.send("PUB _R_.nobody.knows 1\r\n1\r\n").await;
    a.sync().await;
    b.sync().await;
}

#[tokio::test]
async fn streams_of_answers_go_on_until_an_empty_one() {
    let broker = broker(accounts()).await;
    let mut a = user(&broker, "a").await;
    let mut b = user(&broker, "b").await;
    a.send("SUB many 1\r\n").await;
    a.sync().await;
    b.send("SUB inbox 1\r\nPUB many inbox 0\r\n\r\n").await;
    answer(&mut a, &["1", "2", "", "3"]).await;
    a.sync().await;
    b.expect("MSG inbox 1 1\r\n1\r\nMSG inbox 1 1\r\n2\r\nMSG inbox 1 0\r\n\r\n")
        .await;
    b.sync().await;
}

#[tokio::test]
async fn nobody_answering_crosses_back() {
    let broker = broker(accounts()).await;
    let mut b = user(&broker, "b").await;
    b.send("SUB inbox 1\r\nPUB ask.1 inbox 0\r\n\r\n").await;
    let line = b.line().await;
    assert!(line.starts_with("HMSG inbox 1 "), "{line}");
    assert_eq!(b.line().await, "NATS/1.0 503");
}

#[tokio::test]
async fn late_answers_reach_nobody() {
    let broker = broker(accounts()).await;
    let mut a = user(&broker, "a").await;
    let mut b = user(&broker, "b").await;
    a.send("SUB quick 1\r\n").await;
    a.sync().await;
    b.send("SUB inbox 1\r\nPUB quick inbox 0\r\n\r\n").await;
    let (_, reply, ..) = a.headed().await;
    let reply = reply.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(80)).await;
    a.send(format!("PUB {reply} 0\r\n\r\n")).await;
    a.sync().await;
    b.sync().await;
}

#[tokio::test]
async fn a_service_may_lead_on_to_another() {
    let broker = broker(accounts()).await;
    let mut a = user(&broker, "a").await;
    let mut c = user(&broker, "c").await;
    a.send("SUB q.* 1\r\n").await;
    a.sync().await;
    c.send("SUB inbox 1\r\nPUB chain inbox 0\r\n\r\n").await;
    let (subject, block) = answer(&mut a, &["yes"]).await;
    assert_eq!(subject, "q.x");
    assert!(
        block.contains("\"acc\":\"C\"") && block.contains("\"svc\":\"B\""),
        "{block}"
    );
    c.expect("MSG inbox 1 3\r\nyes\r\n").await;
    c.sync().await;
}

#[tokio::test]
async fn sharing_tells_who_asks_and_latency_how_long_it_took() {
    let broker = broker(accounts()).await;
    let mut a = user(&broker, "a").await;
    let mut watch = user(&broker, "a").await;
    let mut b = user(&broker, "b").await;
    a.send("SUB shared 1\r\nSUB timed 2\r\n").await;
    a.sync().await;
    watch.send("SUB took 1\r\n").await;
    watch.sync().await;
    b.send("SUB inbox 1\r\nPUB shared inbox 0\r\n\r\n").await;
    let (_, block) = answer(&mut a, &[""]).await;
    assert!(
        block.contains("\"user\":\"b\"") && block.contains("\"host\":\"127.0.0.1\""),
        "{block}"
    );
    b.expect("MSG inbox 1 0\r\n\r\n").await;
    b.send("PUB timed inbox 0\r\n\r\n").await;
    answer(&mut a, &["ok"]).await;
    b.expect("MSG inbox 1 2\r\nok\r\n").await;
    let (.., sample) = tokio::time::timeout(PATIENCE, watch.message())
        .await
        .unwrap();
    let sample: Value = serde_json::from_slice(&sample).unwrap();
    assert_eq!(
        (&sample["status"], &sample["requestor"]["acc"]),
        (&json!(200), &json!("B"))
    );
    assert_eq!(sample["responder"]["user"], "a");
    assert!(sample["requestor"].get("user").is_none());
    // Nobody there: that is said as well.
    a.send("UNSUB 2\r\n").await;
    a.sync().await;
    b.send("PUB timed inbox 0\r\n\r\n").await;
    let (.., sample) = watch.message().await;
    let sample: Value = serde_json::from_slice(&sample).unwrap();
    assert_eq!(sample["status"], 503);
}

#[tokio::test]
async fn mappings_rename_what_is_published() {
    let broker = broker(accounts()).await;
    let mut c = user(&broker, "c").await;
    c.send("SUB old.* 1\r\nSUB new.* 2\r\nPUB old.x 1\r\n1\r\n")
        .await;
    c.expect("MSG new.x 2 1\r\n1\r\n").await;
    c.sync().await;
}

#[tokio::test]
async fn an_account_has_limits() {
    let broker = broker(accounts()).await;
    let mut d = user(&broker, "d").await;
    d.send("SUB x 1\r\nSUB y 2\r\nSUB z 3\r\n").await;
    d.expect("-ERR 'maximum subscriptions exceeded'\r\n").await;
    let mut second = broker.raw().await;
    second
        .send("CONNECT {\"verbose\":false,\"user\":\"d\",\"pass\":\"p\"}\r\n")
        .await;
    second
        .ends_with("-ERR 'maximum account active connections exceeded'\r\n")
        .await;
    d.send("PUB x 5\r\n12345\r\nPUB x 6\r\n123456\r\n").await;
    d.expect("MSG x 1 5\r\n12345\r\n").await;
    d.ends_with("-ERR 'Maximum Payload Violation'\r\n").await;
    // Its place is free again.
    super::support::eventually("the connection is gone", || {
        broker.handle.stats().connections == 0
    })
    .await;
    // A library that knows the limit does not run into it.
    let hello = "CONNECT {\"verbose\":false,\"protocol\":1,\"user\":\"d\",\"pass\":\"p\"}\r\n";
    let mut d = broker.greeted(hello).await;
    assert_eq!(d.info["max_payload"], 1 << 20);
    let line = d.line().await;
    let info: Value = serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
    assert_eq!(info["max_payload"], 5);
}

#[tokio::test]
async fn the_silent_belong_to_the_account_of_their_user() {
    let mut config = accounts();
    config["authorization"] = json!({ "no_auth_user": "b" });
    let broker = broker(config).await;
    let mut a = user(&broker, "a").await;
    let mut silent = broker.raw().await;
    assert!(silent.info.get("auth_required").is_none());
    silent.send("SUB in.s.x 1\r\n").await;
    silent.expect("+OK\r\n").await;
    a.send("PUB s.x 0\r\n\r\n").await;
    silent.expect("MSG in.s.x 1 0\r\n\r\n").await;
}

#[tokio::test]
async fn a_client_may_ask_who_it_is() {
    let broker = broker(accounts()).await;
    let mut narrow = user(&broker, "narrow").await;
    narrow
        .send("SUB in.box 1\r\nPUB $SYS.REQ.USER.INFO in.box 0\r\n\r\n")
        .await;
    let (.., body) = narrow.message().await;
    let said: Value = serde_json::from_slice(&body).unwrap();
    let data = &said["data"];
    assert_eq!(
        (&data["user"], &data["account"]),
        (&json!("narrow"), &json!("B"))
    );
    assert_eq!(data["permissions"]["subscribe"]["deny"][0], "in.s.secret");
}

#[tokio::test]
async fn a_reload_redoes_imports_users_and_permissions() {
    let broker = broker(accounts()).await;
    let mut a = user(&broker, "a").await;
    let mut b = user(&broker, "b").await;
    let mut narrow = user(&broker, "narrow").await;
    let mut gone = user(&broker, "c").await;
    b.send("SUB in.> 1\r\nSUB new.> 2\r\n").await;
    b.sync().await;
    narrow.send("SUB in.s.open 1\r\nSUB in.s.more 2\r\n").await;
    narrow.sync().await;
    let mut config = accounts();
    config["accounts"][1]["imports"] =
        json!([{ "kind": "stream", "account": "A", "subject": "s.>", "prefix": "new" }]);
    config["accounts"][1]["users"][1]["permissions"] =
        json!({ "subscribe": { "allow": ["in.s.open"] } });
    config["accounts"][2] = json!({ "name": "E" });
    broker.reload(config);
    gone.ends_with("").await;
    narrow
        .expect("-ERR 'Permissions Violation for Subscription to \"in.s.more\" (sid \"2\")'\r\n")
        .await;
    b.sync().await;
    a.send("PUB s.open 0\r\n\r\n").await;
    b.expect("MSG new.s.open 2 0\r\n\r\n").await;
    b.sync().await;
    // The subscription that stayed is B's own by now.
    b.send("PUB in.s.open 0\r\n\r\nPUB ask.1 0\r\n\r\n").await;
    b.expect("MSG in.s.open 1 0\r\n\r\n").await;
    narrow.expect("MSG in.s.open 1 0\r\n\r\n").await;
    narrow.sync().await;
}

#[tokio::test]
async fn an_account_may_import_from_itself() {
    let broker = broker(json!({ "accounts": [
        { "name": "A", "users": [{ "user": "a", "password": "p" }],
          "exports": [{ "kind": "service", "subject": "q" }, { "kind": "stream", "subject": "s.>" }],
          "imports": [
            { "kind": "service", "account": "A", "subject": "q", "to": "my.q" },
            { "kind": "stream", "account": "A", "subject": "s.>", "prefix": "own" } ] },
    ] }))
    .await;
    let mut service = user(&broker, "a").await;
    let mut asker = user(&broker, "a").await;
    service.send("SUB q 1\r\n").await;
    service.sync().await;
    asker
        .send("SUB in 1\r\nSUB own.s.x 2\r\nPUB my.q in 1\r\n?\r\n")
        .await;
    let (subject, _) = answer(&mut service, &["yes"]).await;
    assert_eq!(subject, "q");
    asker.expect("MSG in 1 3\r\nyes\r\n").await;
    service.send("PUB s.x 1\r\n1\r\n").await;
    asker.expect("MSG own.s.x 2 1\r\n1\r\n").await;
}

#[tokio::test]
async fn a_request_that_has_crossed_does_not_come_back_as_a_stream() {
    let broker = broker(json!({ "accounts": [
        { "name": "A", "users": [{ "user": "a", "password": "p" }],
          "exports": [{ "kind": "service", "subject": "s.>" }, { "kind": "stream", "subject": "s.>" }] },
        { "name": "B", "users": [{ "user": "b", "password": "p" }],
          "imports": [
            { "kind": "service", "account": "A", "subject": "s.>" },
            { "kind": "stream", "account": "A", "subject": "s.>" } ] },
    ] }))
    .await;
    let mut a = user(&broker, "a").await;
    let mut b = user(&broker, "b").await;
    a.send("SUB s.> 1\r\n").await;
    a.sync().await;
    b.send("SUB s.> 1\r\nPUB s.x r 1\r\n?\r\nPING\r\n").await;
    b.expect("MSG s.x 1 r 1\r\n?\r\nPONG\r\n").await;
    let (subject, reply, ..) = a.headed().await;
    assert!(subject == "s.x" && reply.unwrap().starts_with("_R_."));
}

#[tokio::test]
async fn what_does_not_fit_together_does_not_start() {
    for (accounts, says) in [
        (json!([{ "name": "A" }, { "name": "A" }]), "twice"),
        (json!([{ "name": "$G" }]), "cannot be defined"),
        (
            json!([{ "name": "A", "imports": [{ "kind": "stream", "account": "B", "subject": "x" }] }]),
            "no such account",
        ),
    ] {
        let config = serde_json::from_value(json!({ "accounts": accounts })).unwrap();
        let error = cupola_bus::build(config, cupola_bus::Listeners::default())
            .await
            .unwrap_err();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        assert!(text.contains(says), "{text}");
    }
}
