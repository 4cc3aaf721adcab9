//! Who gets in, and what they may do.

use super::support::{PATIENCE, broker};

fn users() -> serde_json::Value {
    serde_json::json!({
        "limits": { "auth_timeout": "200ms" },
        "authorization": { "users": [
            { "user": "a", "password": "pw", "permissions": {
                "publish": { "allow": ["x.>", "foo"], "deny": ["x.no"] },
                "subscribe": { "allow": ["y.*", "q.> grp.*", "_INBOX.>"], "deny": ["y.hid"] } } },
            { "user": "r", "password": "pw", "permissions": {
                "subscribe": { "allow": ["req.>"] }, "allow_responses": true } },
            { "user": "all", "password": "pw" },
        ] },
    })
}

fn connect(user: &str, verbose: bool) -> String {
    format!(
        "CONNECT {{\"verbose\":{verbose},\"pedantic\":false,\"user\":\"{user}\",\"pass\":\"pw\"}}\r\n"
    )
}

#[tokio::test]
async fn strangers_are_turned_away() {
    let broker = broker(users()).await;
    for said in [
        "PING\r\n",
        "XX",
        "CONNECT {}\r\n",
        "CONNECT {\"user\":\"a\",\"pass\":\"no\"}\r\n",
        "CONNECT {\"user\":\"zz\",\"pass\":\"pw\"}\r\n",
        "CONNECT {\"auth_token\":\"pw\"}\r\n",
    ] {
        let mut client = broker.raw().await;
        assert_eq!(client.info["auth_required"], true);
        client.send(said).await;
        client.ends_with("-ERR 'Authorization Violation'\r\n").await;
    }
}

#[tokio::test]
async fn who_says_nothing_is_cut_off_in_time() {
    let broker = broker(users()).await;
    let mut client = broker.raw().await;
    client.ends_with("-ERR 'Authentication Timeout'\r\n").await;
}

#[tokio::test]
async fn permissions_for_publishing_and_subscribing() {
    let broker = broker(users()).await;
    let mut a = broker.raw().await;
    for (said, heard) in [
        (connect("a", true).as_str(), "+OK\r\n"),
        ("PUB x.1 0\r\n\r\n", "+OK\r\n"),
        (
            "PUB x.no 0\r\n\r\n",
            "-ERR 'Permissions Violation for Publish to \"x.no\"'\r\n",
        ),
        (
            "PUB bar r 0\r\n\r\n",
            "-ERR 'Permissions Violation for Publish to \"bar\"'\r\n",
        ),
        ("PUB foo nope 0\r\n\r\n", "+OK\r\n"),
        ("SUB y.1 1\r\n", "+OK\r\n"),
        (
            "SUB > 2\r\n",
            "-ERR 'Permissions Violation for Subscription to \">\"'\r\n",
        ),
        (
            "SUB y.> 3\r\n",
            "-ERR 'Permissions Violation for Subscription to \"y.>\"'\r\n",
        ),
        (
            "SUB y.hid 4\r\n",
            "-ERR 'Permissions Violation for Subscription to \"y.hid\"'\r\n",
        ),
        (
            "SUB y..x 5\r\n",
            "-ERR 'Permissions Violation for Subscription to \"y..x\"'\r\n",
        ),
        (
            "SUB q.1 6\r\n",
            "-ERR 'Permissions Violation for Subscription to \"q.1\"'\r\n",
        ),
        ("SUB q.1 grp.a 7\r\n", "+OK\r\n"),
        (
            "SUB q.1 other 8\r\n",
            "-ERR 'Permissions Violation for Subscription to \"q.1\" using queue \"other\"'\r\n",
        ),
        ("SUB y.* 9\r\n", "+OK\r\n"),
    ] {
        a.send(said).await;
        a.expect(heard).await;
    }
    // What was denied is neither delivered nor subscribed to, even through a wider wildcard.
    let mut all = broker.greeted(&connect("all", false)).await;
    all.send("SUB x.> 1\r\nSUB bar 2\r\nPUB y.hid 0\r\n\r\nPUB q.1 0\r\n\r\nPUB y.2 0\r\n\r\n")
        .await;
    all.sync().await;
    a.expect("MSG q.1 7 0\r\n\r\nMSG y.2 9 0\r\n\r\n").await;
    a.send("PUB x.no 0\r\n\r\nPUB bar 0\r\n\r\nPUB x.2 0\r\n\r\n")
        .await;
    all.expect("MSG x.2 1 0\r\n\r\n").await;
    all.sync().await;
}

#[tokio::test]
async fn who_is_asked_may_answer_once() {
    let broker = broker(users()).await;
    let mut service = broker.greeted(&connect("r", false)).await;
    service.send("SUB req.> 1\r\n").await;
    service.sync().await;
    let mut client = broker.greeted(&connect("all", false)).await;
    client
        .send("SUB rep.> 1\r\nPUB req.1 rep.1 0\r\n\r\n")
        .await;
    service.expect("MSG req.1 1 rep.1 0\r\n\r\n").await;
    service
        .send("PUB rep.1 0\r\n\r\nPUB rep.1 0\r\n\r\nPUB zz 0\r\n\r\n")
        .await;
    service
        .expect("-ERR 'Permissions Violation for Publish to \"rep.1\"'\r\n")
        .await;
    service
        .expect("-ERR 'Permissions Violation for Publish to \"zz\"'\r\n")
        .await;
    client.expect("MSG rep.1 1 0\r\n\r\n").await;
    client.sync().await;
}

#[tokio::test]
async fn the_silent_become_the_user_for_them() {
    let mut config = users();
    config["authorization"]["no_auth_user"] = "a".into();
    let broker = broker(config).await;
    let mut client = broker.raw().await;
    assert!(client.info.get("auth_required").is_none());
    client.send("PUB y 0\r\n\r\nPUB x.1 0\r\n\r\n").await;
    client
        .expect("-ERR 'Permissions Violation for Publish to \"y\"'\r\n+OK\r\n")
        .await;
    // With a name it is that name that counts.
    client.send(connect("all", false)).await;
    client.send("PUB y 0\r\n\r\n").await;
    client.sync().await;
    let mut wrong = broker.raw().await;
    wrong.send("CONNECT {\"user\":\"zz\"}\r\n").await;
    wrong.ends_with("-ERR 'Authorization Violation'\r\n").await;
}

#[tokio::test]
async fn the_silent_must_say_something_in_time() {
    let mut config = users();
    config["authorization"]["no_auth_user"] = "a".into();
    config["limits"]["auth_timeout"] = "300ms".into();
    let broker = broker(config).await;
    let mut speaks = broker.raw().await;
    speaks.sync().await;
    let mut silent = broker.raw().await;
    silent.ends_with("-ERR 'Authentication Timeout'\r\n").await;
    speaks.sync().await;
}

#[tokio::test]
async fn who_came_when_nobody_was_asked_is_asked_later() {
    let broker = broker(serde_json::json!({})).await;
    let mut known = broker
        .greeted("CONNECT {\"verbose\":false,\"user\":\"u\",\"pass\":\"p\"}\r\n")
        .await;
    let mut wrong = broker
        .greeted("CONNECT {\"verbose\":false,\"user\":\"u\",\"pass\":\"x\"}\r\n")
        .await;
    let mut nobody = broker.greeted("CONNECT {\"verbose\":false}\r\n").await;
    broker.reload(serde_json::json!({ "authorization": { "users": [
        { "user": "u", "password": "p", "permissions": { "publish": { "allow": ["a"] } } } ] } }));
    for client in [&mut wrong, &mut nobody] {
        client.ends_with("-ERR 'Authorization Violation'\r\n").await;
    }
    known.send("PUB b 0\r\n\r\n").await;
    known
        .expect("-ERR 'Permissions Violation for Publish to \"b\"'\r\n")
        .await;
    known.sync().await;
}

#[tokio::test]
async fn slow_password_hashes_do_not_hold_up_others() {
    // Cost 10: some ten milliseconds optimised, far more here.
    let hash = tokio::task::spawn_blocking(|| bcrypt::hash("secret", 8).unwrap())
        .await
        .unwrap();
    let broker = broker(serde_json::json!({
        "workers": 1,
        "limits": { "auth_timeout": "15s" },
        "authorization": { "users": [
            { "user": "slow", "password": hash }, { "user": "quick", "password": "pw" } ] },
    }))
    .await;
    let mut quick = broker.greeted(&connect("quick", false)).await;
    let mut good = broker.raw().await;
    let mut bad = broker.raw().await;
    good.send("CONNECT {\"verbose\":true,\"user\":\"slow\",\"pass\":\"secret\"}\r\nPING\r\n")
        .await;
    bad.send("CONNECT {\"verbose\":true,\"user\":\"slow\",\"pass\":\"wrong\"}\r\nPING\r\n")
        .await;
    tokio::time::timeout(PATIENCE, quick.sync()).await.unwrap();
    good.expect("+OK\r\nPONG\r\n").await;
    bad.ends_with("-ERR 'Authorization Violation'\r\n").await;
}
