//! Who is let in by the door of routes.

use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::{Raw, connected, eventually, server};

#[tokio::test(flavor = "multi_thread")]
async fn peers_must_know_user_and_password() {
    let lock = serde_json::json!({ "authorization": { "user": "r", "password": "s3cret" } });
    let a = server("a", &[], lock.clone()).await;
    let knows = server("b", &[a.routes], lock).await;
    let wrong = serde_json::json!({
        "authorization": { "user": "r", "password": "guess" },
    });
    let guesses = server("c", &[a.routes], wrong).await;
    knows.has_peers(1).await;
    a.has_peers(1).await;
    let in_url = format!("nats://r:s3cret@{}", a.routes);
    let told = server("d", &[], serde_json::json!({ "routes": [in_url] })).await;
    // It cannot be dialled by the others, who have no credentials for it, but is known by its own route.
    eventually("the one with the URL is let in", || {
        told.handle.peers() >= 1
    })
    .await;
    assert_eq!(guesses.handle.peers(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_name_yields_and_a_chosen_one_does_not() {
    let a = server("a", &[], serde_json::json!({ "name": "west" })).await;
    let nameless = server("b", &[a.routes], serde_json::json!({ "name": null })).await;
    let other = server("c", &[a.routes], serde_json::json!({ "name": "east" })).await;
    nameless.has_peers(1).await;
    let (mut one, mut two) = (a.client().await, nameless.client().await);
    connected(&mut one, &mut two).await;
    assert_eq!(Raw::dial(nameless.clients).await.info["cluster"], "west");
    assert_eq!(other.handle.peers(), 0);
    a.has_peers(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_made_up_names_become_one() {
    let nameless = || serde_json::json!({ "name": null });
    let a = server("a", &[], nameless()).await;
    let b = server("b", &[a.routes], nameless()).await;
    a.has_peers(1).await;
    b.has_peers(1).await;
    let name = async |at: SocketAddr| Raw::dial(at).await.info["cluster"].clone();
    assert_eq!(name(a.clients).await, name(b.clients).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_by_the_wrong_door_is_told() {
    let a = server("a", &[], serde_json::json!({})).await;
    let mut lost = Raw::dial(a.routes).await;
    lost.send("CONNECT {\"verbose\":false,\"lang\":\"rust\"}\r\n")
        .await;
    lost.ends_with("-ERR 'attempted to connect to route port'\r\n")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_secured_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let leaf = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &root)
        .unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let tls = serde_json::json!({ "tls": {
        "ca_file": write("ca.pem", root.pem()),
        "cert_file": write("leaf.pem", leaf.pem()),
        "key_file": write("leaf.key", key.serialize_pem()),
    } });
    let a = server("a", &[], tls.clone()).await;
    let b = server("b", &[a.routes], tls.clone()).await;
    let c = server("c", &[a.routes], tls).await;
    let clear = server("d", &[a.routes], serde_json::json!({})).await;
    for server in [&a, &b, &c] {
        server.has_peers(2).await;
    }
    let (mut one, mut two) = (b.client().await, c.client().await);
    connected(&mut one, &mut two).await;
    assert_eq!(clear.handle.peers(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_say_who_is_let_in_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let write = |name: String, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    // A server with a certificate for `host`, and more in its section of TLS and of the cluster.
    let section = |host: &str, tls: serde_json::Value, more: serde_json::Value| {
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), host.to_owned()];
        let leaf = CertificateParams::new(names).unwrap();
        let leaf = leaf.signed_by(&key, &root).unwrap();
        let mut section = serde_json::json!({ "tls": {
            "ca_file": write("ca.pem".to_owned(), root.pem()),
            "cert_file": write(format!("{host}.pem"), leaf.pem()),
            "key_file": write(format!("{host}.key"), key.serialize_pem()),
        } });
        let add = |section: &mut serde_json::Value, more: serde_json::Value| {
            for (key, value) in more.as_object().unwrap() {
                section[key] = value.clone();
            }
        };
        add(&mut section["tls"], tls);
        add(&mut section, more);
        section
    };
    let plain = |host: &str| section(host, serde_json::json!({}), serde_json::json!({}));
    let hosts = section(
        "a.test",
        serde_json::json!({ "verify_cert_and_check_known_urls": true }),
        serde_json::json!({ "routes": ["nats://known.test:6222"] }),
    );
    let a = server("a", &[], hosts).await;
    let stranger = server("b", &[a.routes], plain("stranger.test")).await;
    let known = server("c", &[a.routes], plain("known.test")).await;
    known.has_peers(1).await;
    a.has_peers(1).await;
    assert_eq!(stranger.handle.peers(), 0);

    let users = section(
        "d.test",
        serde_json::json!({ "verify_and_map": true }),
        serde_json::json!({ "authorization": { "user": "user.test" } }),
    );
    let d = server("d", &[], users).await;
    let stranger = server("e", &[d.routes], plain("other.test")).await;
    let named = server("f", &[d.routes], plain("user.test")).await;
    named.has_peers(1).await;
    d.has_peers(1).await;
    assert_eq!(stranger.handle.peers(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_secures_new_routes_in_another_way() {
    let folder = tempfile::tempdir().unwrap();
    let root = |name: &str| {
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.distinguished_name
            .push(rcgen::DnType::CommonName, name);
        CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap()
    };
    let (before, after) = (root("before"), root("after"));
    // Certificate, key and roots of one server, in files of its own.
    let secured = |name: &str, root: &CertifiedIssuer<'_, KeyPair>| {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, root).unwrap();
        let write = |what: &str, text: String| {
            let path = folder.path().join(format!("{name}-{what}"));
            std::fs::write(&path, text).unwrap();
            path
        };
        serde_json::json!({ "tls": {
            "ca_file": write("ca.pem", root.pem()),
            "cert_file": write("leaf.pem", leaf.pem()),
            "key_file": write("leaf.key", key.serialize_pem()),
        } })
    };
    let a = server("a", &[], secured("a", &before)).await;
    let old = server("b", &[a.routes], secured("b", &before)).await;
    a.has_peers(1).await;
    // The files have other contents now.
    secured("a", &after);
    let config = a.config.clone();
    a.handle.reload(&config).unwrap();
    let new = server("c", &[a.routes], secured("c", &after)).await;
    new.has_peers(1).await;
    // Who was there stays.
    a.has_peers(2).await;
    let (mut one, mut two) = (old.client().await, a.client().await);
    connected(&mut one, &mut two).await;
}
