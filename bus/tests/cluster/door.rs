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

/// An authority, and the certificates it has issued: `tls` sections for them.
pub(crate) struct Certificates {
    folder: tempfile::TempDir,
    root: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Certificates { folder, root }
    }

    /// The section of a server whose certificate bears these names, in files called `file`.
    pub(crate) fn tls(&self, file: &str, names: &[&str]) -> serde_json::Value {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let leaf = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &self.root)
            .unwrap();
        let write = |name: &str, text: String| {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        serde_json::json!({
            "ca_file": write("ca.pem", self.root.pem()),
            "cert_file": write(&format!("{file}.pem"), leaf.pem()),
            "key_file": write(&format!("{file}.key"), key.serialize_pem()),
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_secured_when_asked_for() {
    let authority = Certificates::new();
    let tls = serde_json::json!({ "tls": authority.tls("all", &["127.0.0.1", "localhost"]) });
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
async fn peers_heard_of_by_address_may_bear_the_name_of_the_others() {
    let authority = Certificates::new();
    let tls = serde_json::json!({ "tls": authority.tls("all", &["localhost"]) });
    let a = server("a", &[], tls.clone()).await;
    let by_name = format!("nats://localhost:{}", a.routes.port());
    let known = serde_json::json!({ "tls": tls["tls"], "routes": [by_name] });
    let b = server("b", &[], known.clone()).await;
    let c = server("c", &[], known).await;
    for server in [&a, &b, &c] {
        server.has_peers(2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_with_the_name_of_the_user_lets_in() {
    let authority = Certificates::new();
    let mut listens = authority.tls("a", &["127.0.0.1"]);
    listens["verify_and_map"] = true.into();
    let wanted = serde_json::json!({ "tls": listens, "authorization": { "user": "route" } });
    let a = server("a", &[], wanted).await;
    let named = authority.tls("b", &["route", "127.0.0.1"]);
    let other = authority.tls("c", &["other", "127.0.0.1"]);
    // Who has no such name cannot talk himself in.
    let says = serde_json::json!({ "tls": other, "authorization": { "user": "route" } });
    let refused = server("c", &[a.routes], says).await;
    let b = server("b", &[a.routes], serde_json::json!({ "tls": named })).await;
    b.has_peers(1).await;
    a.has_peers(1).await;
    assert_eq!(refused.handle.peers(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_a_server_that_is_dialled_lets_in() {
    let authority = Certificates::new();
    let mut listens = authority.tls("a", &["127.0.0.1"]);
    listens["verify_cert_and_check_known_urls"] = true.into();
    // Nobody is there; only the name counts.
    let wanted = serde_json::json!({ "tls": listens, "routes": ["nats://known.example:1"] });
    let a = server("a", &[], wanted).await;
    let section = |names: &[&str]| serde_json::json!({ "tls": authority.tls(names[0], names) });
    let refused = server("c", &[a.routes], section(&["alien.example", "127.0.0.1"])).await;
    let b = server("b", &[a.routes], section(&["known.example", "127.0.0.1"])).await;
    b.has_peers(1).await;
    a.has_peers(1).await;
    assert_eq!(refused.handle.peers(), 0);
}
