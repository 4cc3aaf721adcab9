//! Apps' attributes, feature flags, environment groups and buildpacks.

use serde_json::{Value, json};

use crate::harness::{Cloud, guid, zip_of};
use crate::peers::{Build, Dea, Stager};
use crate::push::push;

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn an_app_has_the_attributes_it_was_given() {
    let cloud = Cloud::start().await;
    let space = cloud.space().await;
    let app = json!({
        "name": "Shop", "space_guid": space, "instances": 2, "command": "run", "buildpack": "",
        "environment_json": {"A": 1, "B": true, "C": "x"}, "health_check_timeout": 90,
    });
    let made = cloud
        .post("/v2/apps?async=true&inline-relations-depth=1", app.clone())
        .await
        .is(201);
    let entity = &made["entity"];
    assert_eq!(entity["memory"], 256);
    assert_eq!(entity["disk_quota"], 1024);
    assert_eq!(entity["state"], "STOPPED");
    assert_eq!(entity["package_state"], "PENDING");
    assert_eq!(entity["buildpack"], Value::Null);
    assert_eq!(
        entity["environment_json"],
        json!({"A": 1, "B": true, "C": "x"})
    );
    assert_eq!(entity["ports"], Value::Null);
    cloud
        .post("/v2/apps", app)
        .await
        .refused(400, "AppNameTaken");
    let path = made["metadata"]["url"].as_str().unwrap();
    let changed = json!({"command": null, "environment_json": {"A": "2"}, "name": "shop"});
    let changed = cloud.put(path, changed).await.is(201);
    assert_eq!(changed["entity"]["command"], Value::Null);
    assert_eq!(changed["entity"]["environment_json"], json!({"A": "2"}));
    assert_eq!(changed["entity"]["health_check_timeout"], 90);
    let env = cloud.get(&format!("{path}/env")).await.is(200);
    assert_eq!(env["environment_json"], json!({"A": "2"}));
    let described = &env["application_env_json"]["VCAP_APPLICATION"];
    assert_eq!(
        described["limits"],
        json!({"mem": 256, "disk": 1024, "fds": 16384})
    );
    assert_eq!(described["organization_name"], "cupola");
    for (body, name) in [
        (json!({"memory": 0}), "AppMemoryInvalid"),
        (json!({"disk_quota": 999_999}), "AppInvalid"),
        (json!({"instances": -1}), "AppInvalid"),
        (json!({"environment_json": {"VCAP_X": "1"}}), "AppInvalid"),
        (json!({"environment_json": []}), "MessageParseError"),
        (json!({"docker_image": "x"}), "DockerDisabled"),
        (json!({"stack_guid": "none"}), "StackNotFound"),
    ] {
        let answer = cloud.put(path, body).await;
        assert_eq!(
            answer.body["error_code"],
            format!("CF-{name}"),
            "{}",
            answer.text
        );
    }
    cloud
        .post("/v2/apps", json!({"name": "x"}))
        .await
        .refused(400, "MessageParseError");
    let nowhere = json!({"name": "x", "space_guid": "none"});
    cloud
        .post("/v2/apps", nowhere)
        .await
        .refused(400, "InvalidRelation");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn new_bits_another_buildpack_and_restage_need_a_build() {
    let cloud = Cloud::start().await;
    let dea = Dea::start(&cloud.bus, "d1", 1024).await;
    let stager = Stager::start(&cloud.bus, "s1", Build::Droplet(b"droplet")).await;
    let app = push(&cloud, "shop").await;
    cloud.app_becomes(&app, "package_state", "STAGED").await;
    dea.runs(&[0]).await;
    let path = format!("/v2/apps/{app}");
    // The same buildpack as before, however it is written, changes nothing.
    let same = cloud.put(&path, json!({"buildpack": ""})).await.is(201);
    assert_eq!(same["entity"]["package_state"], "STAGED");
    cloud
        .upload(&app, &json!([]), Some(zip_of(&[("new", b"new")])))
        .await
        .is(201);
    let pending = cloud.get(&path).await.is(200);
    assert_eq!(pending["entity"]["package_state"], "PENDING");
    assert_eq!(dea.indices(), [0], "what runs goes on running");
    cloud.put(&path, json!({"state": "STOPPED"})).await.is(201);
    cloud
        .put(&path, json!({"state": "STARTED", "buildpack": "python"}))
        .await
        .is(201);
    cloud.app_becomes(&app, "package_state", "STAGED").await;
    dea.runs(&[0]).await;
    let orders = stager.orders();
    assert_eq!(
        orders[1].properties.buildpack_key.as_deref(),
        Some("python")
    );
    let restaged = cloud
        .post(&format!("{path}/restage"), Value::Null)
        .await
        .is(201);
    assert_eq!(restaged["entity"]["package_state"], "PENDING");
    cloud.app_becomes(&app, "package_state", "STAGED").await;
    crate::peers::until("the third build to run", || dea.orders().len() == 3).await;
    dea.runs(&[0]).await;
    let git = json!({"buildpack": "https://me:pw@git.example/bp.git#v1"});
    let masked = cloud.put(&path, git).await.is(201);
    assert_eq!(
        masked["entity"]["buildpack"],
        "https://***:***@git.example/bp.git#v1"
    );
    assert_eq!(masked["entity"]["package_state"], "PENDING");
    // Old droplets and packages are not kept.
    crate::peers::until("old blobs to go", || {
        let count = |bucket: &str| count_files(&cloud.folder().join("blobs").join(bucket));
        count("droplets") == 1 && count("packages") == 1
    })
    .await;
    cloud.delete(&path).await.is(204);
    crate::peers::until("all blobs to go", || {
        let count = |bucket: &str| count_files(&cloud.folder().join("blobs").join(bucket));
        count("droplets") == 0 && count("packages") == 0
    })
    .await;
}

fn count_files(folder: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                count_files(&entry.path())
            } else {
                1
            }
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn flags_switch_things_off_for_everybody_but_admins() {
    let cloud = Cloud::start().await;
    let org = guid(&cloud.first("/v2/organizations").await);
    let space = cloud.space().await;
    let dev = cloud.user("dev");
    cloud
        .call("GET", "/v2/apps", &dev, Value::Null)
        .await
        .is(200);
    cloud
        .put(
            &format!("/v2/organizations/{org}/users/dev-guid"),
            Value::Null,
        )
        .await
        .is(201);
    cloud
        .put(
            &format!("/v2/spaces/{space}/developers/dev-guid"),
            Value::Null,
        )
        .await
        .is(201);
    let app = cloud.app("shop").await;
    let path = format!("/v2/apps/{app}");
    let flags = cloud
        .call("GET", "/v2/config/feature_flags", &dev, Value::Null)
        .await
        .is(200);
    assert_eq!(flags.as_array().unwrap().len(), 15);
    let flag = "/v2/config/feature_flags/app_scaling";
    let off = json!({"enabled": false, "error_message": "not today"});
    cloud
        .call("PUT", flag, &dev, off.clone())
        .await
        .refused(403, "NotAuthorized");
    cloud.put(flag, off).await.is(200);
    let refused = cloud
        .call("PUT", &path, &dev, json!({"instances": 2}))
        .await;
    assert!(refused.text.contains("not today"));
    refused.refused(403, "FeatureDisabled");
    cloud
        .call("PUT", &path, &dev, json!({"instances": 1}))
        .await
        .is(201);
    cloud.put(&path, json!({"instances": 2})).await.is(201);
    cloud
        .get("/v2/config/feature_flags/none")
        .await
        .refused(404, "FeatureFlagNotFound");
    cloud
        .put(
            "/v2/config/feature_flags/user_org_creation",
            json!({"enabled": true}),
        )
        .await
        .is(200);
    let own = json!({"name": "mine"});
    let own = guid(
        &cloud
            .call("POST", "/v2/organizations", &dev, own)
            .await
            .is(201),
    );
    let managed = cloud
        .get(&format!("/v2/organizations/{own}/managers"))
        .await
        .is(200);
    assert_eq!(managed["resources"][0]["entity"]["username"], "dev");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn environment_groups_are_below_the_apps_own() {
    let cloud = Cloud::start().await;
    let group = "/v2/config/environment_variable_groups/running";
    assert_eq!(cloud.get(group).await.is(200), json!({}));
    cloud
        .put(group, json!({"A": "group", "B": "group"}))
        .await
        .is(200);
    let bad = cloud.put(group, json!({"PORT": "1"})).await;
    bad.refused(400, "EnvironmentVariableGroupInvalid");
    let dea = Dea::start(&cloud.bus, "d1", 1024).await;
    let _stager = Stager::start(&cloud.bus, "s1", Build::Droplet(b"droplet")).await;
    let app = push(&cloud, "shop").await;
    dea.runs(&[0]).await;
    let path = format!("/v2/apps/{app}");
    cloud
        .put(
            &path,
            json!({"environment_json": {"A": "own"}, "state": "STOPPED"}),
        )
        .await
        .is(201);
    cloud.put(&path, json!({"state": "STARTED"})).await.is(201);
    crate::peers::until("the second start", || dea.orders().len() == 2).await;
    assert_eq!(dea.orders()[1].env, ["A=own", "B=group"]);
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn buildpacks_are_moved_and_switched_off() {
    let cloud = Cloud::start().await;
    let binary = guid(&cloud.first("/v2/buildpacks?q=name:binary").await);
    let path = format!("/v2/buildpacks/{binary}");
    let moved = cloud.put(&path, json!({"position": 1})).await.is(201);
    assert_eq!(moved["entity"]["position"], 1);
    let first = cloud.first("/v2/buildpacks?results-per-page=1").await;
    assert_eq!(first["entity"]["name"], "binary");
    cloud
        .put(&path, json!({"position": 99, "enabled": false}))
        .await
        .is(201);
    let all = cloud.get("/v2/buildpacks").await.is(200);
    let places: Vec<(&str, i64)> = all["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| {
            (
                b["entity"]["name"].as_str().unwrap(),
                b["entity"]["position"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            ("staticfile", 1),
            ("python", 2),
            ("nodejs", 3),
            ("procfile", 4),
            ("binary", 5)
        ]
    );
    cloud
        .put(&path, json!({"position": 0}))
        .await
        .refused(400, "BuildpackInvalid");
    let eve = cloud.user("eve");
    cloud
        .call("PUT", &path, &eve, json!({"enabled": true}))
        .await
        .refused(403, "NotAuthorized");
}
