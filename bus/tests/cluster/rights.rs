//! What crosses routes when not everything may.

use crate::peer::Peer;
use crate::support::{Raw, Server, eventually, line, server, sync};

/// Only these cross, besides what the tests need themselves.
fn rules(import: &[&str], export: &[&str]) -> serde_json::Value {
    let with = |own: &[&str]| -> Vec<String> {
        own.iter()
            .chain(&["mark.>"])
            .map(ToString::to_string)
            .collect()
    };
    serde_json::json!({ "permissions": {
        "import": { "allow": with(import) }, "export": { "allow": with(export) },
    } })
}

/// Publishes at one server on all of these, and returns which the client of the other gets.
async fn heard(from: &Server, to: &mut Raw, subjects: &[&str]) -> Vec<String> {
    let mark = format!("mark.{:p}.{}", to, subjects.join("."));
    // What it has had from clients beside it does not count.
    to.send(format!("SUB {mark} mark\r\nPING\r\n")).await;
    while line(to).await != "PONG" {}
    let mut publisher = from.client().await;
    // When this arrives, so has all interest from before it.
    loop {
        publisher
            .send(format!(
                "SUB mark.r r\r\nPUB {mark} mark.r 0\r\n\r\nPING\r\n"
            ))
            .await;
        let mut taken = true;
        loop {
            match line(&mut publisher).await.as_str() {
                "PONG" => break,
                answer => taken &= !answer.contains(" r "),
            }
        }
        if taken {
            break;
        }
    }
    to.message().await;
    for subject in subjects {
        publisher.send(format!("PUB {subject} 0\r\n\r\n")).await;
    }
    publisher.send(format!("PUB {mark} 0\r\n\r\n")).await;
    let mut got = Vec::new();
    loop {
        let (subject, ..) = to.message().await;
        if subject == mark {
            to.send("UNSUB mark\r\n").await;
            sync(to).await;
            return got;
        }
        // It may have more than one subscription.
        if !got.contains(&subject) {
            got.push(subject);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_imported_and_exported_crosses() {
    let a = server("a", &[], rules(&["foo"], &["bar", "baz.*"])).await;
    let b = server("b", &[a.routes], serde_json::json!({})).await;
    a.has_peers(1).await;
    b.has_peers(1).await;
    let all = ["foo", "bar", "baz.x", "baz.x.y", "other"];
    for (from, to, expected) in [(&b, &a, vec!["foo"]), (&a, &b, vec!["bar", "baz.x"])] {
        let mut client = to.client().await;
        client
            .send("SUB foo 1\r\nSUB bar 2\r\nSUB baz.* 3\r\nSUB baz.> 4\r\nSUB other q 5\r\n")
            .await;
        sync(&mut client).await;
        assert_eq!(heard(from, &mut client, &all).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_crosses_on_both_sides() {
    let mut a = server("a", &[], rules(&["foo"], &["foo"])).await;
    let b = server("b", &[a.routes], serde_json::json!({})).await;
    a.has_peers(1).await;
    b.has_peers(1).await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    for client in [&mut at_a, &mut at_b] {
        client.send("SUB foo 1\r\nSUB bar 2\r\n").await;
        sync(client).await;
    }
    let both = ["foo", "bar"];
    for (rules, imported, exported) in [
        (serde_json::json!({}), vec!["foo"], vec!["foo"]),
        (
            rules(&["foo", "bar"], &["bar"]),
            vec!["foo", "bar"],
            vec!["bar"],
        ),
        (
            rules(&["bar"], &["foo", "bar"]),
            vec!["bar"],
            vec!["foo", "bar"],
        ),
        (rules(&[], &[]), vec![], vec![]),
        (
            serde_json::json!({ "permissions": null }),
            vec!["foo", "bar"],
            vec!["foo", "bar"],
        ),
    ] {
        a.reload(rules);
        assert_eq!(heard(&b, &mut at_a, &both).await, imported);
        let mut last = Vec::new();
        // B hears of it by a message from A, and repeats what it has been refused.
        for _ in 0..1000 {
            last = heard(&a, &mut at_b, &both).await;
            if last == exported {
                break;
            }
        }
        assert_eq!(last, exported);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_more_than_he_may_have_gets_the_rest() {
    let denied = serde_json::json!({ "permissions": { "export": { "deny": ["x.no", "q.no"] } } });
    let mut a = server("a", &[], denied).await;
    let mut peer = Peer::dial(&a, "NPEER").await;
    peer.send("RS+ $G x.*\r\nRS+ $G q.* g 1\r\nRS+ $G x.no\r\n")
        .await;
    peer.sync().await;
    let mut from = a.client().await;
    let all = "PUB x.no 0\r\n\r\nPUB x.yes 0\r\n\r\nPUB q.no 0\r\n\r\nPUB q.yes 0\r\n\r\n";
    from.send(all).await;
    sync(&mut from).await;
    let whole = ["RMSG $G x.yes 0", "", "RMSG $G q.yes | g 0", ""];
    assert_eq!(peer.sync().await, whole);
    // Less, and then everything: what it is refused now it would have to say again.
    let routes = |text: serde_json::Value| serde_json::json!({ "permissions": text });
    a.reload(routes(
        serde_json::json!({ "export": { "allow": ["q.>"], "deny": ["q.no"] } }),
    ));
    // The route has seen the new settings when it answers.
    peer.sync().await;
    from.send(all).await;
    sync(&mut from).await;
    let told = peer.sync().await;
    assert_eq!(told, ["RMSG $G q.yes | g 0", ""]);
    a.reload(routes(serde_json::Value::Null));
    peer.send("RS+ $G x.*\r\n").await;
    eventually("interest is back", || {
        a.handle.stats().subscriptions.len > 0
    })
    .await;
    peer.sync().await;
    from.send(all).await;
    sync(&mut from).await;
    assert_eq!(peer.sync().await.len(), 8);
}
