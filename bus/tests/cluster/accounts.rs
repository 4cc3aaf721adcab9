//! Accounts in a cluster: their limits are for all servers together.

use std::net::SocketAddr;

use crate::support::{Raw, Server, eventually, line, start};

/// Two accounts with a user each, `u` and `v`; the first may have three connections.
async fn house(name: &str, routes: &[SocketAddr]) -> Server {
    let routes: Vec<String> = routes.iter().map(|to| format!("nats://{to}")).collect();
    start(serde_json::json!({
        "listen": "127.0.0.1:0", "server_name": name,
        "cluster": { "name": "test", "listen": "127.0.0.1:0", "routes": routes },
        "accounts": [
            { "name": "U", "users": [{ "user": "u", "password": "p" }], "limits": { "max_connections": 3 } },
            { "name": "V", "users": [{ "user": "v", "password": "p" }] },
            { "name": "S", "users": [{ "user": "s", "password": "p" }] },
        ],
        "system_account": "S",
        "limits": { "first_ping": "1h" },
    }))
    .await
}

/// A user that has said who it is, whether it is let in or not.
async fn user(server: &Server, name: &str) -> Raw {
    let mut raw = Raw::dial(server.clients).await;
    raw.send(format!(
        "CONNECT {{\"verbose\":false,\"user\":\"{name}\",\"pass\":\"p\",\"headers\":true,\
         \"no_responders\":true}}\r\nPING\r\n"
    ))
    .await;
    raw
}

const FULL: &str = "-ERR 'maximum account active connections exceeded'";

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_so_many_connections_in_the_whole_cluster() {
    let a = house("a", &[]).await;
    let mut here = Vec::new();
    for _ in 0..2 {
        let mut raw = user(&a, "u").await;
        assert_eq!(line(&mut raw).await, "PONG");
        here.push(raw);
    }
    // It has joined when they are there, and must be told of them.
    let b = house("b", &[a.routes]).await;
    b.has_peers(1).await;
    let known = |server: &Server, count: u64| {
        let varz = server.handle.varz();
        varz["connections"].as_u64() == Some(count)
    };
    // B lets more in than there is room for until it has been told; then some are sent away again, by either.
    let mut there = Vec::new();
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    loop {
        assert!(tokio::time::Instant::now() < deadline, "never full");
        let mut raw = user(&b, "u").await;
        match line(&mut raw).await.as_str() {
            FULL => break,
            "PONG" => there.push(raw),
            other => panic!("{other:?}"),
        }
    }
    assert!(!there.is_empty());
    let connections = |server: &Server| server.handle.stats().connections;
    eventually("so many are left as may be", || {
        connections(&a) + connections(&b) <= 3
    })
    .await;
    let mut other = user(&b, "v").await;
    assert_eq!(line(&mut other).await, "PONG");
    // When they have gone, or their server has, there is room.
    drop((here, there));
    eventually("they are gone", || known(&a, 0) && known(&b, 1)).await;
    a.stop().await;
    b.has_peers(0).await;
    let mut late = Vec::new();
    for _ in 0..3 {
        let mut raw = user(&b, "u").await;
        assert_eq!(line(&mut raw).await, "PONG");
        late.push(raw);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_slipped_in_at_the_same_time_is_sent_away() {
    let a = house("a", &[]).await;
    let mut all = vec![user(&a, "u").await, user(&a, "u").await];
    let b = house("b", &[]).await;
    all.extend([user(&b, "u").await, user(&b, "u").await]);
    for raw in &mut all {
        assert_eq!(line(raw).await, "PONG");
    }
    // It knows both, so that they meet.
    let c = house("c", &[a.routes, b.routes]).await;
    for server in [&a, &b, &c] {
        server.has_peers(2).await;
    }
    let connections = |server: &Server| server.handle.stats().connections;
    eventually("one of four has gone", || {
        connections(&a) + connections(&b) < 4
    })
    .await;
    assert!(connections(&a) > 0 && connections(&b) > 0, "and not all");
}
