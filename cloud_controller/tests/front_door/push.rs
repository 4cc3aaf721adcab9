//! The way of a push: the calls of `cf push` in their order, to an app that runs.

use cupola_messages::staging::StagingFailureKind;
use serde_json::{Value, json};

use crate::harness::{Cloud, DOMAIN, guid, zip_of};
use crate::peers::{Build, Dea, Stager};

/// Pushes a small app as `cf` 6.53 does and waits until it is staged.
pub(crate) async fn push(cloud: &Cloud, name: &str) -> String {
    let space = cloud.space().await;
    let lookup = format!("/v2/apps?q=name:{name}&q=space_guid:{space}");
    assert_eq!(cloud.get(&lookup).await.is(200)["total_results"], 0);
    let domain = guid(&cloud.first("/v2/shared_domains").await);
    let taken = format!("/v2/routes?q=domain_guid:{domain}&q=host:{name}&q=path:");
    assert_eq!(cloud.get(&taken).await.is(200)["total_results"], 0);
    let reserved = format!("/v2/routes/reserved/domain/{domain}?host={name}");
    cloud.get(&reserved).await.refused(404, "NotFound");
    let app = cloud.app(name).await;
    cloud.route(name, &app).await;
    assert_eq!(cloud.get(&reserved).await.status, 204);
    let resources = json!([{"fn": "index.html", "mode": "644", "sha1": "a".repeat(40), "size": 5}]);
    assert_eq!(
        cloud.put("/v2/resource_match", resources).await.is(200),
        json!([])
    );
    let zip = zip_of(&[("index.html", b"hello"), ("Staticfile", b"")]);
    let job = cloud.upload(&app, &json!([]), Some(zip)).await.is(201);
    assert_eq!(
        job["entity"]["status"], "finished",
        "a small upload needs no polling"
    );
    let polled = cloud.get(&format!("/v2/jobs/{}", guid(&job))).await.is(200);
    assert_eq!(polled["entity"]["status"], "finished");
    let started = cloud
        .put(&format!("/v2/apps/{app}"), json!({"state": "STARTED"}))
        .await
        .is(201);
    assert_eq!(started["entity"]["state"], "STARTED");
    app
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn a_push_ends_in_a_running_instance() {
    let cloud = Cloud::start().await;
    let dea = Dea::start(&cloud.bus, "d1", 1024).await;
    let stager = Stager::start(&cloud.bus, "s1", Build::Droplet(b"droplet")).await;
    let app = push(&cloud, "shop").await;
    let staged = cloud.app_becomes(&app, "package_state", "STAGED").await;
    assert_eq!(staged["entity"]["detected_buildpack"], "Static file");
    assert_eq!(staged["entity"]["detected_start_command"], "serve");
    dea.runs(&[0]).await;

    let staging = &stager.orders()[0];
    assert_eq!(staging.stack, "cupola-host");
    assert_eq!((staging.memory_limit.0, staging.disk_limit.0), (1024, 4096));
    let keys: Vec<&str> = staging
        .admin_buildpacks
        .iter()
        .map(|b| b.key.as_str())
        .collect();
    assert_eq!(
        keys,
        ["staticfile", "python", "nodejs", "binary", "procfile"]
    );
    assert!(
        staging.buildpack_cache_download_uri.is_none(),
        "there is no cache yet"
    );

    let order = &dea.orders()[0];
    assert_eq!(order.uris, [format!("shop.{DOMAIN}")]);
    assert_eq!(
        (order.limits.mem.0, order.limits.disk.0, order.limits.fds),
        (64, 128, 16_384)
    );
    assert_eq!(order.vcap_application.fields["application_name"], "shop");
    assert_eq!(order.vcap_application.fields["space_name"], "dev");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let droplet = http.get(&order.executable_uri).send().await.unwrap();
    assert_eq!(droplet.content_length(), Some(7));
    assert_eq!(droplet.text().await.unwrap(), "droplet");
    let tampered = order.executable_uri.replace("/droplets/", "/packages/");
    assert_eq!(http.get(tampered).send().await.unwrap().status(), 403);
    let unsigned = order.executable_uri.split('?').next().unwrap();
    assert_eq!(http.get(unsigned).send().await.unwrap().status(), 401);
    assert_eq!(
        http.post(&order.executable_uri)
            .body("x")
            .send()
            .await
            .unwrap()
            .status(),
        403
    );

    let instances = cloud
        .get(&format!("/v2/apps/{app}/instances"))
        .await
        .is(200);
    assert_eq!(instances["0"]["state"], "RUNNING");
    assert_eq!(instances["0"]["since"], 1_700_000_000.5);
    let stats = cloud.get(&format!("/v2/apps/{app}/stats")).await.is(200);
    assert_eq!(stats["0"]["stats"]["mem_quota"], 64 * 1024 * 1024);
    assert_eq!(stats["0"]["stats"]["usage"]["cpu"], 0.25);
    let summary = cloud.get(&format!("/v2/apps/{app}/summary")).await.is(200);
    assert_eq!(summary["routes"][0]["host"], "shop");
    assert_eq!(summary["routes"][0]["domain"]["name"], DOMAIN);
    let space = cloud.space().await;
    let summary = cloud
        .get(&format!("/v2/spaces/{space}/summary"))
        .await
        .is(200);
    assert_eq!(summary["apps"][0]["urls"][0], format!("shop.{DOMAIN}"));
    assert_eq!(summary["apps"][0]["service_names"], json!([]));
    let path = format!("/v2/events?order-direction=desc&q=actee:{app}");
    let events = cloud.get(&path).await.is(200);
    let mut kinds: Vec<&str> = events["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["entity"]["type"].as_str().unwrap())
        .collect();
    kinds.reverse();
    assert_eq!(
        kinds,
        [
            "audit.app.create",
            "audit.app.map-route",
            "audit.app.upload-bits",
            "audit.app.update",
            "audit.app.start",
        ]
    );
    assert_eq!(events["resources"][0]["entity"]["actor_name"], "admin");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn a_failed_build_says_why() {
    let cloud = Cloud::start().await;
    let kind = StagingFailureKind::NoAppDetectedError;
    let _stager = Stager::start(&cloud.bus, "s1", Build::Fails(kind, "nothing fits")).await;
    let app = push(&cloud, "odd").await;
    let failed = cloud.app_becomes(&app, "package_state", "FAILED").await;
    assert_eq!(
        failed["entity"]["staging_failed_reason"],
        "NoAppDetectedError"
    );
    assert_eq!(
        failed["entity"]["staging_failed_description"],
        "nothing fits"
    );
    assert_eq!(failed["entity"]["state"], "STARTED");
    cloud
        .get(&format!("/v2/apps/{app}/instances"))
        .await
        .refused(400, "NoAppDetectedError");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn a_droplet_that_did_not_arrive_is_no_droplet() {
    let cloud = Cloud::start().await;
    let dea = Dea::start(&cloud.bus, "d1", 1024).await;
    let _stager = Stager::start(&cloud.bus, "s1", Build::Lies).await;
    let app = push(&cloud, "liar").await;
    let failed = cloud.app_becomes(&app, "package_state", "FAILED").await;
    assert_eq!(failed["entity"]["staging_failed_reason"], "StagingError");
    assert!(dea.orders().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn nothing_starts_without_bits_and_nothing_is_shown_before_it_is_staged() {
    let cloud = Cloud::start().await;
    let app = cloud.app("bare").await;
    let path = format!("/v2/apps/{app}");
    cloud
        .put(&path, json!({"state": "STARTED"}))
        .await
        .refused(400, "AppPackageInvalid");
    cloud
        .get(&format!("{path}/instances"))
        .await
        .refused(400, "NotStaged");
    cloud
        .get(&format!("{path}/stats"))
        .await
        .refused(400, "AppStoppedStatsError");
    cloud
        .post(&format!("{path}/restage"), Value::Null)
        .await
        .refused(400, "NotStaged");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn a_build_goes_on_while_the_controller_restarts() {
    let mut cloud = Cloud::start().await;
    let dea = Dea::start(&cloud.bus, "d1", 1024).await;
    let stager = Stager::start(&cloud.bus, "s1", Build::Forgets).await;
    let app = push(&cloud, "slow").await;
    crate::peers::until("the build to be placed", || stager.orders().len() == 1).await;
    // The task is accepted in the row a moment after the stager has said so.
    let order = stager.orders().remove(0);
    cloud.restart().await;
    assert_eq!(
        stager.orders().len(),
        1,
        "an accepted build is not ordered twice"
    );
    // The URLs that were handed out before are still good, at the address they are for now.
    let here = |uri: &str| {
        let path = &uri[uri.find("/internal").unwrap()..];
        format!("{}{path}", cloud.base)
    };
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let sent = http
        .post(here(&order.upload_uri))
        .body("late droplet")
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 201);
    let sha1 = sent.json::<Value>().await.unwrap()["sha1"].clone();
    let result = json!({"task_id": order.task_id, "app_id": order.app_id, "droplet_sha1": sha1});
    let sent = http
        .post(here(&order.completed_uri))
        .json(&result)
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 200);
    cloud.app_becomes(&app, "package_state", "STAGED").await;
    dea.runs(&[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn a_late_answer_of_an_earlier_build_is_dropped() {
    let cloud = Cloud::start().await;
    let stager = Stager::start(&cloud.bus, "s1", Build::Forgets).await;
    let app = push(&cloud, "twice").await;
    crate::peers::until("the first build", || stager.orders().len() == 1).await;
    let path = format!("/v2/apps/{app}");
    cloud.put(&path, json!({"state": "STOPPED"})).await.is(201);
    cloud.put(&path, json!({"state": "STARTED"})).await.is(201);
    crate::peers::until("the second build", || stager.orders().len() == 2).await;
    assert!(stager.stops() >= 1);
    let orders = stager.orders();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let upload = http
        .post(&orders[0].upload_uri)
        .body("old")
        .send()
        .await
        .unwrap();
    assert_eq!(upload.status(), 409);
    let error = json!({"type": "StagingError", "message": "old"});
    let late = json!({"task_id": orders[0].task_id, "app_id": app, "error_info": error});
    let sent = http
        .post(&orders[0].completed_uri)
        .json(&late)
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 200);
    let seen = cloud.get(&path).await.is(200);
    assert_eq!(seen["entity"]["package_state"], "PENDING");
    let foreign = json!({"task_id": orders[1].task_id, "app_id": app, "error_info": error});
    let sent = http
        .post(&orders[0].completed_uri)
        .json(&foreign)
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 400, "a URL is good for its own task alone");
}
