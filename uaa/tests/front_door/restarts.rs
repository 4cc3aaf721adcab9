//! What outlives a process, and what several processes share.

use std::time::{Duration, Instant};

use cupola_db::testkit::PostgresServer;
use cupola_uaa::{Config, MIGRATIONS, build};

use crate::harness::{ADMIN_PASSWORD, Uaa, config, config_at, deps, start};

async fn stop(mut uaa: Uaa) {
    uaa.shutdown.cancel();
    let stopped = tokio::time::timeout(Duration::from_secs(10), &mut uaa.running).await;
    stopped.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_tokens_users_and_keys_and_is_quick() {
    let folder = tempfile::tempdir().unwrap();
    let uaa = start(config(folder.path())).await;
    let login = uaa.login("admin", ADMIN_PASSWORD).await.ok();
    stop(uaa).await;

    let mut changed = config(folder.path());
    if let Some(admin) = &mut changed.admin {
        admin.password = "another".into();
    }
    let begun = Instant::now();
    let uaa = start(changed).await;
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(1),
        "a warm start hashes nothing: {took:?}"
    );
    uaa.check_token(login.text("access_token")).await.ok();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", login.text("refresh_token")),
    ];
    uaa.token(&form).await.ok();
    uaa.login("admin", ADMIN_PASSWORD).await.ok();
    uaa.login("admin", "another")
        .await
        .refused(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_client_secret_takes_effect_and_ends_its_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let uaa = start(config(folder.path())).await;
    let token = uaa.client_token("cloud_controller", "cc secret").await;
    stop(uaa).await;
    let mut changed = config(folder.path());
    changed.clients[1].secret = "another".into();
    let uaa = start(changed).await;
    uaa.client_token("cloud_controller", "another").await;
    uaa.check_token(&token).await.refused(400, "invalid_token");
    let form = [("grant_type", "client_credentials")];
    uaa.token_as("cloud_controller", "cc secret", &form)
        .await
        .refused(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_encryption_key_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    stop(start(config(folder.path())).await).await;
    let mut wrong = config(folder.path());
    wrong.encryption_key = "x".repeat(32).into();
    let error = build(wrong, deps("nats://127.0.0.1:1").await)
        .await
        .unwrap_err();
    assert!(format!("{error:#}").contains("encryption_key"), "{error:#}");
    let mut weak = config(folder.path());
    weak.encryption_key = "short".into();
    let error = build(weak, deps("nats://127.0.0.1:1").await)
        .await
        .unwrap_err();
    assert!(format!("{error:#}").contains("at least 32"), "{error:#}");
}

/// Two processes on one database: each honours what the other gave out.
async fn two_share(config: impl Fn() -> Config) {
    let (one, two) = tokio::join!(start(config()), start(config()));
    let login = one.login("admin", ADMIN_PASSWORD).await.ok();
    two.check_token(login.text("access_token")).await.ok();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", login.text("refresh_token")),
    ];
    let refreshed = two.token(&form).await.ok();
    one.get("/userinfo", refreshed.text("access_token"))
        .await
        .ok();
    let id = two.create_user("bob", "pw").await;
    one.login("bob", "pw").await.ok();
    let admin = one.admin_token().await;
    one.send("DELETE", &format!("/Users/{id}"), &admin, None)
        .await
        .ok();
    two.login("bob", "pw").await.refused(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_sqlite_file() {
    let folder = tempfile::tempdir().unwrap();
    Box::pin(two_share(|| config(folder.path()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_postgres() {
    let server = PostgresServer::start();
    let database = server.fresh(MIGRATIONS).await.config;
    Box::pin(two_share(|| config_at(database.clone()))).await;
}

#[test]
fn the_config_refuses_unknown_keys_and_hides_secrets() {
    let text = r#"{"database": {"url": "sqlite:///tmp/x.db"}, "issuer": "http://uaa.test",
        "encryption_key": "sesame", "clients": [{"id": "doppler", "secret": "sesame"}],
        "admin": {"password": "sesame"}}"#;
    let config: Config = serde_json::from_str(text).unwrap();
    assert_eq!(config.admin.as_ref().unwrap().user_name, "admin");
    assert!(!format!("{config:?}").contains("sesame"));
    let unknown = text.replace("\"issuer\"", "\"colour\": 1, \"issuer\"");
    assert!(serde_json::from_str::<Config>(&unknown).is_err());
}
