//! Builds that go wrong because of who builds them.

use cupola_types::StagingTaskId;
use serde_json::{Value, json};

use crate::harness::{Cloud, zip_of};
use crate::peers::{Build, Stager, until};

/// Starts an app with some bits; what becomes of it depends on the stagers.
async fn started(cloud: &Cloud) -> String {
    let app = cloud.app("shop").await;
    cloud
        .upload(&app, &json!([]), Some(zip_of(&[("a", b"b")])))
        .await
        .is(201);
    cloud
        .put(&format!("/v2/apps/{app}"), json!({"state": "STARTED"}))
        .await
        .is(201);
    app
}

fn reason(app: &Value) -> &str {
    app["entity"]["staging_failed_reason"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_without_a_stager_fails_after_a_while() {
    let cloud = Cloud::start_with(json!({"staging": {"find_seconds": 1}})).await;
    let app = started(&cloud).await;
    let failed = cloud.app_becomes(&app, "package_state", "FAILED").await;
    assert_eq!(reason(&failed), "StagerError");
    cloud
        .get(&format!("/v2/apps/{app}/instances"))
        .await
        .refused(400, "StagerError");
    // Once there is one, starting again tries again.
    let _stager = Stager::start(&cloud.bus, "s1", Build::Droplet(b"droplet")).await;
    cloud
        .put(&format!("/v2/apps/{app}"), json!({"state": "STARTED"}))
        .await
        .is(201);
    cloud.app_becomes(&app, "package_state", "STAGED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_takes_too_long_has_failed() {
    let staging = json!({"timeout_seconds": 1, "grace_seconds": 0, "watch_period_ms": 50});
    let cloud = Cloud::start_with(json!({"staging": staging})).await;
    let stager = Stager::start(&cloud.bus, "s1", Build::Forgets).await;
    let app = started(&cloud).await;
    let failed = cloud.app_becomes(&app, "package_state", "FAILED").await;
    assert_eq!(reason(&failed), "StagingTimeExpired");
    until("the stager to be told", || stager.stops() >= 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_its_stager_no_longer_lists_is_lost() {
    let staging = json!({"listed_within_seconds": 0, "watch_period_ms": 300});
    let cloud = Cloud::start_with(json!({"staging": staging})).await;
    let stager = Stager::start(&cloud.bus, "s1", Build::Forgets).await;
    let app = started(&cloud).await;
    until("the build to be placed", || stager.orders().len() == 1).await;
    let task: StagingTaskId = stager.orders()[0].task_id.clone();
    // As long as it is listed it is not lost, however often one looks.
    stager.advertise(std::slice::from_ref(&task)).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let seen = cloud.get(&format!("/v2/apps/{app}")).await.is(200);
    assert_eq!(seen["entity"]["package_state"], "PENDING");
    stager.advertise(&[]).await;
    let failed = cloud.app_becomes(&app, "package_state", "FAILED").await;
    assert_eq!(reason(&failed), "StagerError");
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_have_a_cache_and_a_droplet_of_bounded_size() {
    let cloud = Cloud::start_with(json!({"uploads": {"cache_mb": 1, "droplet_mb": 1}})).await;
    let stager = Stager::start(&cloud.bus, "s1", Build::Forgets).await;
    let app = started(&cloud).await;
    until("the build to be placed", || stager.orders().len() == 1).await;
    let order = stager.orders().remove(0);
    assert!(order.buildpack_cache_download_uri.is_none());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let large = vec![7_u8; 2 * 1024 * 1024];
    for uri in [
        Some(&order.upload_uri),
        order.buildpack_cache_upload_uri.as_ref(),
    ] {
        let sent = http.post(uri.unwrap()).body(large.clone()).send().await;
        // A server that has read enough may close the connection on whoever goes on sending.
        assert!(sent.map_or(true, |sent| sent.status() == 413));
    }
    let cache = order.buildpack_cache_upload_uri.as_ref().unwrap();
    let wrong = http
        .post(cache)
        .header("X-Content-Sha1", "0".repeat(40))
        .body("x");
    assert_eq!(wrong.send().await.unwrap().status(), 422);
    assert_eq!(
        http.post(cache)
            .body("cache")
            .send()
            .await
            .unwrap()
            .status(),
        201
    );
    let path = format!("/v2/apps/{app}");
    cloud.put(&path, json!({"state": "STOPPED"})).await.is(201);
    cloud.put(&path, json!({"state": "STARTED"})).await.is(201);
    until("the second build", || stager.orders().len() == 2).await;
    let again = stager.orders()[1]
        .buildpack_cache_download_uri
        .clone()
        .unwrap();
    assert_eq!(
        http.get(again).send().await.unwrap().text().await.unwrap(),
        "cache"
    );
}
