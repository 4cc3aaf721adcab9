//! Genuine clients of other languages: the same day's work over every way to come.
//!
//! They are installed into the target folder when they are not there; see `tests/clients/install`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use super::certificates::Authority;
use super::support::{TestBroker, broker};

/// A suite takes a few seconds; a busy machine needs more.
const LONG: Duration = Duration::from_secs(100);

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Where the clients are, installed.
async fn installed() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    let mut install = Command::new(scripts().join("install"));
    let status = install.arg(&target).status().await.unwrap();
    assert!(status.success(), "cannot install the clients: see above");
    target
}

async fn passes(mut command: Command) {
    command.kill_on_drop(true).stdin(Stdio::null());
    let output = tokio::time::timeout(LONG, command.output()).await;
    let output = output.expect("it does not come to an end").unwrap();
    let says = String::from_utf8_lossy(&output.stdout);
    let complains = String::from_utf8_lossy(&output.stderr);
    assert!(
        says.trim() == "ok" && output.status.success(),
        "{says}\n{complains}"
    );
}

async fn python(how: &Value) {
    let mut command = Command::new(installed().await.join("python/bin/python"));
    command.arg(scripts().join("suite.py")).arg(how.to_string());
    passes(command).await;
}

async fn node(library: &str, how: &Value) {
    let mut how = how.clone();
    how["library"] = library.into();
    let mut command = Command::new("node");
    command
        .arg(scripts().join("suite.mjs"))
        .arg(how.to_string())
        .arg(installed().await.join("node"));
    if let Some(ca) = how["ca"].as_str() {
        command.env("NODE_EXTRA_CA_CERTS", ca);
    }
    passes(command).await;
}

/// A broker with all doors, and a certificate for a client.
async fn everything(authority: &Authority, tls: Value, websocket: Value) -> TestBroker {
    authority.issue("joe", |_| {});
    broker(json!({ "tls": tls, "allow_non_tls": true, "websocket": websocket })).await
}

fn over_tls(authority: &Authority, scheme: &str, port: u16) -> Value {
    json!({ "url": format!("{scheme}://localhost:{port}"), "ca": authority.file("ca.pem") })
}

#[tokio::test]
async fn nats_py_in_clear_and_over_tls() {
    let authority = Authority::new();
    let broker = everything(&authority, authority.section(), Value::Null).await;
    python(&json!({ "url": broker.url() })).await;
    python(&over_tls(&authority, "tls", broker.address.port())).await;
}

#[tokio::test]
async fn nats_py_over_websockets() {
    let authority = Authority::new();
    let section = json!({ "no_tls": true, "compression": true });
    let broker = everything(&authority, Value::Null, section).await;
    python(&json!({ "url": format!("ws://{}", broker.websocket.unwrap()) })).await;
    let section = json!({ "tls": authority.section() });
    let broker = everything(&authority, Value::Null, section).await;
    let port = broker.websocket.unwrap().port();
    python(&over_tls(&authority, "wss", port)).await;
}

#[tokio::test]
async fn nats_js_in_clear_and_over_tls() {
    let authority = Authority::new();
    // Where TLS is to be had they take it, so those in clear need a broker without.
    let clear = everything(&authority, Value::Null, Value::Null).await;
    let broker = everything(&authority, authority.section(), Value::Null).await;
    for library in ["nats", "transport-node"] {
        node(library, &json!({ "url": clear.url() })).await;
        node(library, &over_tls(&authority, "tls", broker.address.port())).await;
    }
}

#[tokio::test]
async fn nats_js_over_websockets() {
    let authority = Authority::new();
    for compression in [false, true] {
        let section = json!({ "no_tls": true, "compression": compression });
        let broker = everything(&authority, Value::Null, section).await;
        node(
            "ws",
            &json!({ "url": format!("ws://{}", broker.websocket.unwrap()) }),
        )
        .await;
    }
    let section = json!({ "tls": authority.section(), "compression": true });
    let broker = everything(&authority, Value::Null, section).await;
    let port = broker.websocket.unwrap().port();
    node("ws", &over_tls(&authority, "wss", port)).await;
}

#[tokio::test]
async fn both_with_the_handshake_first_and_a_certificate_of_their_own() {
    let authority = Authority::new();
    let tls = authority.section_with(json!({ "handshake_first": true, "verify": true }));
    let broker = everything(&authority, tls, Value::Null).await;
    let mut how = over_tls(&authority, "tls", broker.address.port());
    how["first"] = true.into();
    how["certificate"] = json!(authority.file("joe.pem"));
    how["key"] = json!(authority.file("joe.key"));
    python(&how).await;
    node("transport-node", &how).await;
}
