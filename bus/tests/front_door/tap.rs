//! Taps: who may listen in, what they get, and that nobody notices.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Message, Subscriber};
use futures_util::StreamExt as _;
use serde_json::json;

use super::support::{MODERN, PATIENCE, Raw, TestBroker, broker, eventually};

/// `root` may tap everything, `narrow` only orders without the secret ones, `wide` has a right to
/// everything that does not say taps.
async fn tapped() -> TestBroker {
    let allow = |subjects: &[&str]| json!({ "subscribe": { "allow": subjects } });
    broker(json!({ "authorization": { "users": [
        { "user": "root", "password": "pw", "permissions": allow(&["$SYS.TAP.>", "_INBOX.>"]) },
        { "user": "narrow", "password": "pw", "permissions":
            { "subscribe": { "allow": ["$SYS.TAP.orders.>", "_INBOX.>"], "deny": ["$SYS.TAP.orders.secret.>"] } } },
        { "user": "wide", "password": "pw", "permissions": allow(&[">", "$SYS.>"]) },
        { "user": "app", "password": "pw" },
    ] } }))
    .await
}

async fn login(broker: &TestBroker, user: &str) -> Client {
    ConnectOptions::with_user_and_password(user.into(), "pw".into())
        .name(format!("{user}'s\r\nclient"))
        .connect(broker.url())
        .await
        .unwrap()
}

fn hello(user: &str) -> String {
    MODERN.replace('{', &format!("{{\"user\":\"{user}\",\"pass\":\"pw\","))
}

/// One who has logged in without a client library.
async fn raw(broker: &TestBroker, user: &str) -> Raw {
    broker.greeted(&hello(user)).await
}

async fn tap(client: &Client, subject: &str, options: &str) -> Subscriber {
    let tap = match options {
        "" => client.subscribe(subject.to_owned()).await,
        options => {
            client
                .queue_subscribe(subject.to_owned(), options.to_owned())
                .await
        }
    };
    let mut tap = tap.unwrap();
    // An answer says that the subscription has been read as well.
    let nobody = client.request("nobody", "".into()).await;
    assert!(nobody.is_err());
    if subject == "$SYS.TAP.>" {
        assert_eq!(next(&mut tap).await.subject.as_str(), "$SYS.TAP.nobody");
    }
    tap
}

async fn next(tap: &mut Subscriber) -> Message {
    tokio::time::timeout(PATIENCE, tap.next())
        .await
        .expect("nothing came")
        .unwrap()
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let headers = message.headers.as_ref().unwrap();
    headers
        .get(format!("Nats-Tap-{name}"))
        .map(|value| value.as_str())
}

#[tokio::test]
async fn tells_who_sent_what_when_and_who_got_it() {
    let broker = tapped().await;
    let (root, app) = (login(&broker, "root").await, login(&broker, "app").await);
    let mut heard = tap(&root, "$SYS.TAP.orders.*", "").await;
    let mut other = app.subscribe("orders.>").await.unwrap();
    let mut same = app.subscribe("orders.new").await.unwrap();
    app.publish("elsewhere", "x".into()).await.unwrap();
    app.publish_with_reply("orders.new", "answer.here", "two shoes".into())
        .await
        .unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Colour", "red");
    app.publish_with_headers("orders.old", headers, "".into())
        .await
        .unwrap();
    app.flush().await.unwrap();

    let first = next(&mut heard).await;
    assert_eq!(first.subject.as_str(), "$SYS.TAP.orders.new");
    assert_eq!(&first.payload[..], b"two shoes");
    assert_eq!(first.reply, None);
    let at = chrono::DateTime::parse_from_rfc3339(header(&first, "Time").unwrap()).unwrap();
    let age = chrono::Utc::now().signed_duration_since(at);
    assert!(age.num_seconds().abs() < 60, "{at}");
    let id: u64 = header(&first, "Client").unwrap().parse().unwrap();
    assert_eq!(id, app.server_info().client_id);
    for (name, value) in [
        ("Account", Some("$G")),
        ("User", Some("app")),
        ("Name", Some("app's  client")),
        ("Subject", Some("orders.new")),
        ("Reply", Some("answer.here")),
        ("Size", Some("9")),
        ("Header-Size", None),
        ("Delivered", Some("2")),
        ("Dropped", None),
    ] {
        assert_eq!(header(&first, name), value, "{name}");
    }
    let second = next(&mut heard).await;
    let block = b"NATS/1.0\r\nColour: red\r\n\r\n";
    assert_eq!(&second.payload[..], block);
    assert_eq!(header(&second, "Header-Size"), Some("25"));
    assert_eq!(header(&second, "Size"), Some("25"));
    assert_eq!(header(&second, "Delivered"), Some("1"));
    // Those who are tapped got what they would have got anyway.
    assert_eq!(&next(&mut other).await.payload[..], b"two shoes");
    assert_eq!(&next(&mut same).await.payload[..], b"two shoes");
    // Theirs, and the inbox of the tapping one's requests: a tap is no subscription like others.
    assert_eq!(broker.handle.stats().subscriptions.len, 3);
}

#[tokio::test]
async fn only_who_is_named_may_listen_in() {
    let broker = tapped().await;
    for (user, subject, allowed) in [
        ("root", "$SYS.TAP.>", true),
        ("root", "$SYS.TAP.a.*.b", true),
        ("narrow", "$SYS.TAP.orders.>", true),
        ("narrow", "$SYS.TAP.>", false),
        ("narrow", "$SYS.TAP.orders.secret.x", false),
        ("wide", "$SYS.TAP.>", false),
        ("wide", "$SYS.TAP.orders", false),
        ("app", "$SYS.TAP.orders", false),
    ] {
        let mut client = raw(&broker, user).await;
        client.send(format!("SUB {subject} 1\r\n")).await;
        if !allowed {
            let refusal =
                format!("-ERR 'Permissions Violation for Subscription to \"{subject}\"'\r\n");
            client.expect(&refusal).await;
        }
        client.sync().await;
    }
    let root = login(&broker, "root").await;
    let mut heard = tap(&root, "$SYS.TAP.>", "").await;
    // A subscription to everything is one to what is published, which taps are not.
    let mut wide = raw(&broker, "wide").await;
    wide.send("SUB > 1\r\n").await;
    wide.sync().await;
    let app = login(&broker, "app").await;
    app.publish("a", "once".into()).await.unwrap();
    assert_eq!(next(&mut heard).await.subject.as_str(), "$SYS.TAP.a");
    wide.expect("MSG a 1 4\r\nonce\r\n").await;
    wide.sync().await;
    // Without headers a tap could say nothing.
    let mut old = broker
        .greeted(&hello("root").replace(",\"headers\":true,\"no_responders\":true", ""))
        .await;
    old.send("SUB $SYS.TAP.> 1\r\n").await;
    old.expect("-ERR 'taps need headers support'\r\n").await;
}

#[tokio::test]
async fn what_is_denied_to_a_tap_is_kept_from_it() {
    let broker = tapped().await;
    let (narrow, app) = (login(&broker, "narrow").await, login(&broker, "app").await);
    let mut heard = tap(&narrow, "$SYS.TAP.orders.>", "").await;
    app.publish("orders.secret.1", "s".into()).await.unwrap();
    app.publish("orders.open.1", "o".into()).await.unwrap();
    assert_eq!(
        header(&next(&mut heard).await, "Subject"),
        Some("orders.open.1")
    );
}

#[tokio::test]
async fn takes_samples_and_pieces_as_it_is_told() {
    let broker = tapped().await;
    let (root, app) = (login(&broker, "root").await, login(&broker, "app").await);
    let mut heard = tap(&root, "$SYS.TAP.n", "every=10,bytes=3").await;
    for n in 1000..1100 {
        app.publish("n", n.to_string().into()).await.unwrap();
    }
    for n in (1000..1100).step_by(10) {
        let message = next(&mut heard).await;
        assert_eq!(message.payload[..], n.to_string().as_bytes()[..3]);
        assert_eq!(header(&message, "Size"), Some("4"));
    }
    let mut raw = raw(&broker, "root").await;
    raw.send("SUB $SYS.TAP.n every=0 1\r\n").await;
    raw.expect("-ERR 'Invalid Tap Options'\r\n").await;
    raw.sync().await;
}

#[tokio::test]
async fn ends_like_any_subscription() {
    let broker = tapped().await;
    let mut app = raw(&broker, "app").await;
    let mut raw = raw(&broker, "root").await;
    raw.send("SUB $SYS.TAP.> bytes=0 1\r\nUNSUB 1 2\r\nSUB $SYS.TAP.> bytes=0 2\r\n")
        .await;
    raw.sync().await;
    for _ in 0..3 {
        app.publish("a").await;
    }
    raw.send("UNSUB 2\r\nPING\r\n").await;
    let mut sids = Vec::new();
    loop {
        let line = raw.line().await;
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["HMSG", "$SYS.TAP.a", sid, size, total] => {
                assert_eq!(size, total);
                sids.push(sid.to_owned());
                raw.bytes(size.parse::<usize>().unwrap() + 2).await;
            }
            ["PONG"] => break,
            _ => panic!("{line}"),
        }
    }
    sids.sort_unstable();
    assert_eq!(sids, ["1", "1", "2", "2", "2"]);
    app.publish("a").await;
    raw.sync().await;
    // There is room for many, not for any number.
    for n in 0..64 {
        raw.send(format!("SUB $SYS.TAP.> {}\r\n", 100 + n)).await;
    }
    raw.sync().await;
    raw.send("SUB $SYS.TAP.> 200\r\n").await;
    raw.expect("-ERR 'maximum taps exceeded'\r\n").await;
    drop(raw);
    eventually("the tapping one is gone", || {
        broker.handle.stats().connections == 1
    })
    .await;
    let root = login(&broker, "root").await;
    let mut heard = tap(&root, "$SYS.TAP.>", "").await;
    app.publish("a").await;
    assert_eq!(next(&mut heard).await.subject.as_str(), "$SYS.TAP.a");
}

#[tokio::test]
async fn one_that_cannot_keep_up_loses_messages_and_says_how_many() {
    let broker = tapped().await;
    let mut stuck = raw(&broker, "root").await;
    stuck.send("SUB $SYS.TAP.flood bytes=100000 1\r\n").await;
    stuck.sync().await;
    let mut publisher = raw(&broker, "app").await;
    const COUNT: u64 = 3000;
    let frame = format!("PUB flood 10000\r\n{}\r\n", "x".repeat(10_000));
    let begun = std::time::Instant::now();
    for _ in 0..COUNT {
        publisher.send(&frame).await;
    }
    publisher.sync().await;
    assert!(begun.elapsed() < PATIENCE);
    // It reads now, and a later message tells how many are missing.
    let dripping = tokio::spawn(async move {
        loop {
            publisher.send("PUB flood 1\r\nx\r\n").await;
            publisher.sync().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut got = 0;
    let mut lost = 0;
    while got + lost <= COUNT {
        let line = stuck.line().await;
        let words: Vec<&str> = line.split(' ').collect();
        let ["HMSG", "$SYS.TAP.flood", "1", size, total] = words[..] else {
            panic!("{line}")
        };
        let (size, total): (usize, usize) = (size.parse().unwrap(), total.parse().unwrap());
        let body = stuck.bytes(total + 2).await;
        let block = String::from_utf8_lossy(&body[..size]).into_owned();
        let dropped = block
            .lines()
            .find_map(|line| line.strip_prefix("Nats-Tap-Dropped: "));
        lost += dropped.map_or(0, |number| number.parse::<u64>().unwrap());
        got += 1;
    }
    dripping.abort();
    assert!(lost > 0, "it kept up: {got}");
    assert_eq!(broker.handle.stats().slow_consumers, 0);
}

#[tokio::test]
async fn a_reload_takes_rights_away_and_changes_what_is_denied() {
    let users = |root: serde_json::Value| {
        json!({ "authorization": { "users": [
            { "user": "root", "password": "pw", "permissions": root },
            { "user": "app", "password": "pw" },
        ] } })
    };
    let denying = |deny: &[&str]| {
        users(json!({ "subscribe": { "allow": ["$SYS.TAP.>", "_INBOX.>"], "deny": deny } }))
    };
    let broker = broker(denying(&["$SYS.TAP.a"])).await;
    let mut root = raw(&broker, "root").await;
    let mut app = raw(&broker, "app").await;
    root.send("SUB $SYS.TAP.> 1\r\n").await;
    root.sync().await;
    for (denied, heard) in [("a", "b"), ("b", "a")] {
        broker.reload(denying(&[&format!("$SYS.TAP.{denied}")]));
        root.sync().await;
        app.publish("a").await;
        app.publish("b").await;
        let (subject, ..) = root.headed().await;
        assert_eq!(subject, format!("$SYS.TAP.{heard}"));
        root.sync().await;
    }
    // What is published on the subject itself is no copy of anything.
    app.publish("$SYS.TAP.a").await;
    let (subject, ..) = root.headed().await;
    assert_eq!(subject, "$SYS.TAP.$SYS.TAP.a");
    root.sync().await;
    // A right to everything is none to listen in.
    broker.reload(users(json!({ "subscribe": { "allow": [">"] } })));
    root.expect("-ERR 'Permissions Violation for Subscription to \"$SYS.TAP.>\" (sid \"1\")'\r\n")
        .await;
    app.publish("a").await;
    root.sync().await;
    // Neither are no rules at all.
    broker.reload(denying(&[]));
    root.sync().await;
    root.send("SUB $SYS.TAP.> 2\r\n").await;
    root.sync().await;
    broker.reload(users(serde_json::Value::Null));
    root.expect("-ERR 'Permissions Violation for Subscription to \"$SYS.TAP.>\" (sid \"2\")'\r\n")
        .await;
    app.publish("a").await;
    root.sync().await;
}
