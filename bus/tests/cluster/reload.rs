//! Another configuration for a server that is in a cluster.

use crate::door::Certificates;
use crate::support::{Raw, connected, eventually, server};

fn none() -> serde_json::Value {
    serde_json::json!({})
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_come_and_go_with_the_configuration() {
    let mut a = server("a", &[], none()).await;
    let b = server("b", &[], none()).await;
    let c = server("c", &[], none()).await;
    let routes = |to: &[std::net::SocketAddr]| {
        let urls: Vec<String> = to.iter().map(|to| format!("nats://{to}")).collect();
        serde_json::json!({ "routes": urls })
    };
    a.reload(routes(&[b.routes]));
    b.has_peers(1).await;
    a.reload(routes(&[c.routes]));
    b.has_peers(0).await;
    c.has_peers(1).await;
    a.has_peers(1).await;
    // The one that was dialled first is dropped with either of its names.
    let twice = format!("nats://localhost:{}", c.routes.port());
    a.reload(serde_json::json!({ "routes": [format!("nats://{}", c.routes), twice] }));
    a.reload(routes(&[]));
    c.has_peers(0).await;
    a.has_peers(0).await;
    a.reload(routes(&[b.routes, c.routes]));
    for server in [&a, &b, &c] {
        server.has_peers(2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_let_in_no_more_must_go() {
    let secret = |password: &str| serde_json::json!({ "authorization": { "user": "r", "password": password } });
    let mut a = server("a", &[], none()).await;
    let mut b = server("b", &[a.routes], none()).await;
    a.has_peers(1).await;
    a.reload(secret("one"));
    a.has_peers(0).await;
    b.reload(secret("one"));
    a.has_peers(1).await;
    b.has_peers(1).await;
    let before = a.handle.stats().total_connections;
    a.reload(serde_json::json!({ "connect_retries": 1 }));
    let (mut from, mut to) = (a.client().await, b.client().await);
    connected(&mut from, &mut to).await;
    // The clients of this test, and no route.
    assert_eq!(a.handle.stats().total_connections - before, 1);
    a.reload(secret("two"));
    a.has_peers(0).await;
    a.reload(serde_json::json!({ "authorization": null }));
    a.has_peers(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed() {
    let authority = Certificates::new();
    let tls = serde_json::json!({ "tls": authority.tls("a", &["127.0.0.1"]) });
    let mut a = server("a", &[], tls.clone()).await;
    let b = server("b", &[a.routes], tls.clone()).await;
    a.has_peers(1).await;
    // Under the same names of files, by another authority.
    let other = Certificates::new();
    a.reload(serde_json::json!({ "tls": other.tls("a", &["127.0.0.1"]) }));
    let renewed = serde_json::json!({ "tls": other.tls("c", &["127.0.0.1"]) });
    let c = server("c", &[a.routes], renewed).await;
    // Who is there stays, though it could not come any more.
    c.has_peers(1).await;
    a.has_peers(2).await;
    assert_eq!(b.handle.peers(), 1);
    a.reload(serde_json::json!({ "tls": null }));
    let d = server("d", &[a.routes], none()).await;
    d.has_peers(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_can_be_renamed_one_after_the_other() {
    let mut a = server("a", &[], none()).await;
    let mut b = server("b", &[a.routes], none()).await;
    a.has_peers(1).await;
    b.has_peers(1).await;
    for server in [&mut a, &mut b] {
        server.reload(serde_json::json!({ "name": "renamed" }));
    }
    assert_eq!(Raw::dial(a.clients).await.info["cluster"], "renamed");
    assert_eq!(a.handle.varz()["cluster"]["name"], "renamed");
    let (mut from, mut to) = (a.client().await, b.client().await);
    connected(&mut from, &mut to).await;
    let old = server("old", &[a.routes], none()).await;
    let new = server("new", &[a.routes], serde_json::json!({ "name": "renamed" })).await;
    new.has_peers(2).await;
    eventually("the old name is refused", || old.handle.peers() == 0).await;
}
