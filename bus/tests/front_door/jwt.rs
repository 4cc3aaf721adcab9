//! Users whose accounts an operator stands behind.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::support::{Raw, TestBroker, broker, eventually};

/// An operator and two accounts, the second of which imports from the first.
struct World {
    operator: KeyPair,
    account: KeyPair,
    other: KeyPair,
}

fn mint(issuer: &KeyPair, subject: &str, extra: Value, nats: Value) -> String {
    let mut claims =
        json!({ "iss": issuer.public_key(), "sub": subject, "name": "n", "iat": 1000 });
    for (key, value) in extra.as_object().unwrap() {
        claims[key] = value.clone();
    }
    claims["nats"] = nats;
    claims["nats"]["version"] = 2.into();
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encode(json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let input = format!("{header}.{}", encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(input.as_bytes()).unwrap());
    format!("{input}.{signature}")
}

fn now() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    since.unwrap().as_secs()
}

impl World {
    fn new() -> Self {
        World {
            operator: KeyPair::new_operator(),
            account: KeyPair::new_account(),
            other: KeyPair::new_account(),
        }
    }

    fn account_jwt(&self, key: &KeyPair, extra: Value, more: Value) -> (String, String) {
        let mut nats = json!({ "type": "account", "limits": {
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1 } });
        for (key, value) in more.as_object().unwrap() {
            nats[key] = value.clone();
        }
        let jwt = mint(&self.operator, &key.public_key(), extra, nats);
        (key.public_key(), jwt)
    }

    /// A configuration with `extra` claims of the first account, and `more` of its own part.
    fn config(&self, extra: Value, more: Value) -> Value {
        let key = self.operator.public_key();
        let first = self.account_jwt(&self.account, extra, more);
        let second = self.account_jwt(
            &self.other,
            json!({}),
            json!({ "imports": [
                { "type": "stream", "account": self.account.public_key(), "subject": "s.>", "local_subject": "in.>" },
                { "type": "service", "account": self.account.public_key(), "subject": "q", "local_subject": "ask" } ] }),
        );
        let preload: serde_json::Map<_, _> = [first, second]
            .into_iter()
            .map(|(key, jwt)| (key, jwt.into()))
            .collect();
        json!({ "operator": {
            "jwts": [mint(&self.operator, &key, json!({}), json!({ "type": "operator" }))],
            "preload": preload } })
    }

    async fn plain(&self) -> TestBroker {
        let exports = json!({ "exports": [{ "type": "stream", "subject": "s.>" }, { "type": "service", "subject": "q" }] });
        broker(self.config(json!({}), exports)).await
    }
}

fn unlimited() -> Value {
    json!({ "type": "user", "subs": -1, "data": -1, "payload": -1 })
}

/// Comes in with a JWT that `issuer` signs.
async fn dial(
    broker: &TestBroker,
    issuer: &KeyPair,
    user: &KeyPair,
    extra: Value,
    nats: Value,
) -> Raw {
    let mut raw = broker.raw().await;
    let nonce = raw.info["nonce"].as_str().unwrap().to_owned();
    assert_eq!(raw.info["auth_required"], true);
    let hello = json!({ "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
        "jwt": mint(issuer, &user.public_key(), extra, nats),
        "sig": URL_SAFE_NO_PAD.encode(user.sign(nonce.as_bytes()).unwrap()) });
    raw.send(format!("CONNECT {hello}\r\n")).await;
    raw
}

async fn member(broker: &TestBroker, account: &KeyPair) -> Raw {
    let mut raw = dial(
        broker,
        account,
        &KeyPair::new_user(),
        json!({}),
        unlimited(),
    )
    .await;
    raw.sync().await;
    raw
}

#[tokio::test]
async fn users_belong_to_the_account_that_signed_for_them() {
    let world = World::new();
    let broker = world.plain().await;
    let mut one = member(&broker, &world.account).await;
    let mut two = member(&broker, &world.account).await;
    let mut other = member(&broker, &world.other).await;
    for client in [&mut one, &mut other] {
        client.send("SUB > 1\r\n").await;
        client.sync().await;
    }
    two.send("PUB x 0\r\n\r\n").await;
    one.expect("MSG x 1 0\r\n\r\n").await;
    other.sync().await;
    // Imports work as those of the configuration.
    two.send("PUB s.a 0\r\n\r\n").await;
    one.expect("MSG s.a 1 0\r\n\r\n").await;
    other.expect("MSG in.a 1 0\r\n\r\n").await;
    other.send("PUB ask 0\r\n\r\n").await;
    other.expect("MSG ask 1 0\r\n\r\n").await;
    let (subject, ..) = one.headed().await;
    assert_eq!(subject, "q");
}

#[tokio::test]
async fn strangers_are_turned_away() {
    let world = World::new();
    let broker = world.plain().await;
    let user = KeyPair::new_user();
    let refused = "-ERR 'Authorization Violation'\r\n";
    let mut unknown = dial(
        &broker,
        &KeyPair::new_account(),
        &user,
        json!({}),
        unlimited(),
    )
    .await;
    unknown.ends_with(refused).await;
    let mut late = dial(
        &broker,
        &world.account,
        &user,
        json!({ "exp": 2000 }),
        unlimited(),
    )
    .await;
    late.ends_with(refused).await;
    let mut unsigned = broker.raw().await;
    let jwt = mint(&world.account, &user.public_key(), json!({}), unlimited());
    unsigned
        .send(format!(
            "CONNECT {}\r\n",
            json!({ "jwt": jwt, "sig": "AAAA" })
        ))
        .await;
    unsigned.ends_with(refused).await;
    let mut silent = broker.raw().await;
    silent.send("CONNECT {}\r\n").await;
    silent.ends_with(refused).await;
    let mut garbage = broker.raw().await;
    garbage.send("CONNECT {\"jwt\":\"eyJ.eyJ.x\"}\r\n").await;
    garbage.ends_with(refused).await;
}

#[tokio::test]
async fn claims_bind_the_user() {
    let world = World::new();
    let broker = world.plain().await;
    let mut claims = unlimited();
    claims["pub"] = json!({ "allow": ["ok"] });
    claims["sub"] = json!({ "deny": ["no"] });
    claims["subs"] = 1.into();
    claims["payload"] = 3.into();
    let mut user = dial(
        &broker,
        &world.account,
        &KeyPair::new_user(),
        json!({}),
        claims,
    )
    .await;
    user.sync().await;
    user.send("PUB bad 0\r\n\r\n").await;
    user.expect("-ERR 'Permissions Violation for Publish to \"bad\"'\r\n")
        .await;
    user.send("SUB no 1\r\n").await;
    user.expect("-ERR 'Permissions Violation for Subscription to \"no\"'\r\n")
        .await;
    user.send("SUB ok 1\r\nSUB more 2\r\n").await;
    user.expect("-ERR 'maximum subscriptions exceeded'\r\n")
        .await;
    user.send("PUB ok 4\r\n1234\r\n").await;
    user.ends_with("-ERR 'Maximum Payload Violation'\r\n").await;
}

#[tokio::test]
async fn time_runs_out() {
    let world = World::new();
    let exports = json!({});
    let broker = broker(world.config(json!({ "exp": now() + 3 }), exports)).await;
    let user = KeyPair::new_user();
    let mut short = dial(
        &broker,
        &world.account,
        &user,
        json!({ "exp": now() + 2 }),
        unlimited(),
    )
    .await;
    let mut account = member(&broker, &world.account).await;
    let mut other = member(&broker, &world.other).await;
    short
        .ends_with("-ERR 'User Authentication Expired'\r\n")
        .await;
    account
        .ends_with("-ERR 'Account Authentication Expired'\r\n")
        .await;
    other.sync().await;
}

#[tokio::test]
async fn time_runs_out_for_many_at_once() {
    const EACH: usize = 150;
    let world = World::new();
    let (users, account) = (now() + 12, now() + 14);
    let mut config = world.config(json!({ "exp": account }), json!({}));
    config["workers"] = 1.into();
    let broker = broker(config).await;
    let mut innocent = member(&broker, &world.other).await;
    innocent.send("SUB calm 1\r\n").await;
    innocent.sync().await;
    let come = async |extra: Value| {
        let user = KeyPair::new_user();
        let mut client = dial(&broker, &world.account, &user, extra, unlimited()).await;
        // All that has to be given up as well.
        let lines = (0..200).map(|n| format!("SUB w.{n}.* {n}\r\nSUB x.{n} x{n}\r\n"));
        client.send(lines.collect::<String>()).await;
        client.sync().await;
        client
    };
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..EACH {
        first.push(come(json!({ "exp": users })).await);
        second.push(come(json!({})).await);
    }
    assert!(now() < users, "it took too long to come");
    while now() < account + 2 {
        let asked = std::time::Instant::now();
        innocent.send("PUB calm 2\r\nok\r\n").await;
        innocent.expect("MSG calm 1 2\r\nok\r\n").await;
        let took = asked.elapsed();
        assert!(took < std::time::Duration::from_secs(2), "{took:?}");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    for client in &mut first {
        client
            .ends_with("-ERR 'User Authentication Expired'\r\n")
            .await;
    }
    for client in &mut second {
        client
            .ends_with("-ERR 'Account Authentication Expired'\r\n")
            .await;
    }
    eventually("all is given up", || {
        broker.handle.stats().subscriptions.len == 1
    })
    .await;
    innocent.sync().await;
}

#[tokio::test]
async fn a_reload_withdraws_what_was_revoked() {
    let world = World::new();
    let broker = world.plain().await;
    let user = KeyPair::new_user();
    let mut revoked = dial(&broker, &world.account, &user, json!({}), unlimited()).await;
    revoked.sync().await;
    let mut stays = member(&broker, &world.account).await;
    let mut other = member(&broker, &world.other).await;
    broker.reload(world.config(
        json!({}),
        json!({ "revocations": { user.public_key(): 5000 } }),
    ));
    revoked
        .ends_with("-ERR 'User Authentication Revoked'\r\n")
        .await;
    stays.sync().await;
    other.sync().await;
    let mut config = world.config(json!({}), json!({}));
    config["operator"]["preload"]
        .as_object_mut()
        .unwrap()
        .remove(&world.other.public_key());
    broker.reload(config);
    other
        .ends_with("-ERR 'Account Authentication Expired'\r\n")
        .await;
    stays.sync().await;
}

#[tokio::test]
async fn the_official_client_comes_in_with_its_jwt() {
    let world = World::new();
    let broker = world.plain().await;
    let user = std::sync::Arc::new(KeyPair::new_user());
    let jwt = mint(&world.account, &user.public_key(), json!({}), unlimited());
    let client = async_nats::ConnectOptions::with_jwt(jwt, move |nonce| {
        let user = std::sync::Arc::clone(&user);
        async move { user.sign(&nonce).map_err(async_nats::AuthError::new) }
    })
    .connect(broker.url())
    .await
    .unwrap();
    let answer = client
        .request("$SYS.REQ.USER.INFO", "".into())
        .await
        .unwrap();
    let said: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(said["data"]["account"], world.account.public_key());
}
