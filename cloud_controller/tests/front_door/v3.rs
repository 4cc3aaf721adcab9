//! What late `cf` v6 reads from v3.

use serde_json::{Value, json};

use crate::harness::Cloud;
use crate::peers::{Build, Dea, Stager};
use crate::push::push;

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn late_v6_finds_what_it_shows_after_a_push() {
    let cloud = Cloud::start().await;
    let dea = Dea::start(&cloud.bus, "d1", 1024).await;
    let _stager = Stager::start(&cloud.bus, "s1", Build::Droplet(b"droplet")).await;
    let root = cloud.call("GET", "/", "", Value::Null).await.is(200);
    let v3 = root["links"]["cloud_controller_v3"]["href"]
        .as_str()
        .unwrap();
    assert_eq!(v3, format!("{}/v3", cloud.base));
    let orgs = cloud.get("/v3/organizations?names=Cupola").await.is(200);
    let org = orgs["resources"][0]["guid"].as_str().unwrap().to_owned();
    let path = format!("/v3/spaces?names=dev&organization_guids={org}");
    let spaces = cloud.get(&path).await.is(200);
    let space = spaces["resources"][0]["guid"].as_str().unwrap().to_owned();
    let owner = &spaces["resources"][0]["relationships"]["organization"]["data"]["guid"];
    assert_eq!(owner, org.as_str());

    let app = push(&cloud, "shop").await;
    cloud.app_becomes(&app, "package_state", "STAGED").await;
    dea.runs(&[0]).await;
    let apps = cloud
        .get(&format!("/v3/apps?names=shop&space_guids={space}"))
        .await
        .is(200);
    assert_eq!(apps["pagination"]["total_results"], 1);
    assert_eq!(apps["resources"][0]["guid"], app.as_str());
    assert_eq!(apps["resources"][0]["state"], "STARTED");
    let data = &apps["resources"][0]["lifecycle"]["data"];
    assert_eq!(data, &json!({"buildpacks": [], "stack": "cupola-host"}));
    let processes = cloud
        .get(&format!("/v3/apps/{app}/processes"))
        .await
        .is(200);
    assert_eq!(processes["resources"][0]["memory_in_mb"], 64);
    let process = cloud
        .get(&format!("/v3/apps/{app}/processes/web"))
        .await
        .is(200);
    assert_eq!(process["command"], "serve");
    let guid = process["guid"].as_str().unwrap();
    let stats = cloud
        .get(&format!("/v3/processes/{guid}/stats"))
        .await
        .is(200);
    assert_eq!(stats["resources"][0]["state"], "RUNNING");
    assert_eq!(stats["resources"][0]["usage"]["mem"], 1024);
    let droplet = cloud
        .get(&format!("/v3/apps/{app}/droplets/current"))
        .await
        .is(200);
    assert_eq!(droplet["buildpacks"][0]["detect_output"], "Static file");
    let segment = format!("/v3/spaces/{space}/relationships/isolation_segment");
    assert_eq!(cloud.get(&segment).await.is(200), json!({"data": null}));
    let path = format!("/v3/isolation_segments?organization_guids={org}");
    assert_eq!(cloud.get(&path).await.is(200)["resources"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn errors_have_the_shape_of_v3_and_tell_no_secrets() {
    let cloud = Cloud::start().await;
    let app = cloud.app("shop").await;
    let eve = cloud.user("eve");
    for path in [format!("/v3/apps/{app}"), "/v3/apps/none".to_owned()] {
        let answer = cloud.call("GET", &path, &eve, Value::Null).await;
        assert_eq!(answer.status, 404);
        let error =
            json!({"code": 10010, "title": "CF-ResourceNotFound", "detail": "App not found"});
        assert_eq!(answer.body, json!({"errors": [error]}));
    }
    let answer = cloud
        .call("GET", "/v3/apps", &cloud.expired_token(), Value::Null)
        .await;
    assert_eq!(
        (answer.status, &answer.body["errors"][0]["title"]),
        (401, &json!("CF-InvalidAuthToken"))
    );
    let answer = cloud.get("/v3/apps?secret=1").await;
    assert_eq!(
        (answer.status, &answer.body["errors"][0]["code"]),
        (400, &json!(10005))
    );
    assert_eq!(cloud.get("/v3/nothing").await.status, 404);
    assert_eq!(
        cloud
            .get(&format!("/v3/apps/{app}/droplets/current"))
            .await
            .status,
        404
    );
    let list = cloud
        .call("GET", "/v3/apps", &eve, Value::Null)
        .await
        .is(200);
    assert_eq!(list["pagination"]["total_results"], 0);
}
