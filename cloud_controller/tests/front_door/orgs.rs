//! Organizations, spaces, quotas and roles.

use serde_json::{Value, json};

use crate::harness::{Cloud, guid};

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn the_first_start_makes_what_a_person_needs_and_a_second_changes_nothing() {
    let mut cloud = Cloud::start().await;
    for _ in 0..2 {
        let org = cloud.first("/v2/organizations?q=name:cupola").await;
        let space = cloud.first("/v2/spaces?q=name:dev").await;
        assert_eq!(
            space["entity"]["organization_guid"],
            org["metadata"]["guid"].clone()
        );
        assert_eq!(org["metadata"]["updated_at"], Value::Null);
        let domains = cloud.get("/v2/shared_domains").await.is(200);
        assert_eq!(domains["total_results"], 1);
        let stack = cloud.first("/v2/stacks").await;
        assert_eq!(stack["entity"]["name"], "cupola-host");
        let buildpacks = cloud.get("/v2/buildpacks").await.is(200);
        let names: Vec<&Value> = buildpacks["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|buildpack| &buildpack["entity"]["name"])
            .collect();
        assert_eq!(
            names,
            ["staticfile", "python", "nodejs", "binary", "procfile"]
        );
        let managers = cloud
            .get(&format!("/v2/organizations/{}/managers", guid(&org)))
            .await
            .is(200);
        assert_eq!(managers["resources"][0]["entity"]["username"], "admin");
        cloud.restart().await;
    }
    let org = guid(&cloud.first("/v2/organizations?q=name:cupola").await);
    let path = format!("/v2/organizations/{org}?recursive=true");
    cloud.delete(&path).await.is(204);
    cloud.restart().await;
    let left = cloud.get("/v2/organizations").await.is(200);
    assert_eq!(
        left["total_results"], 1,
        "an empty platform is seeded again"
    );
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn organizations_are_made_renamed_and_removed() {
    let cloud = Cloud::start().await;
    let made = cloud
        .post("/v2/organizations", json!({"name": "Shop"}))
        .await;
    assert_eq!(
        made.headers["location"],
        made.body["metadata"]["url"].as_str().unwrap(),
        "{}",
        made.text
    );
    let org = guid(&made.is(201));
    let again = cloud
        .post("/v2/organizations", json!({"name": "sHOP"}))
        .await;
    again.refused(400, "OrganizationNameTaken");
    cloud
        .post("/v2/organizations", json!({}))
        .await
        .refused(400, "MessageParseError");
    cloud
        .post("/v2/organizations", json!({"name": ""}))
        .await
        .refused(400, "OrganizationInvalid");
    let path = format!("/v2/organizations/{org}");
    let renamed = cloud.put(&path, json!({"name": "store"})).await.is(201);
    assert_eq!(renamed["entity"]["name"], "store");
    assert!(renamed["metadata"]["updated_at"].is_string());
    let space = json!({"name": "prod", "organization_guid": org});
    let space = guid(&cloud.post("/v2/spaces", space).await.is(201));
    cloud
        .delete(&path)
        .await
        .refused(400, "AssociationNotEmpty");
    let app = json!({"name": "a", "space_guid": space});
    let app = guid(&cloud.post("/v2/apps", app).await.is(201));
    cloud
        .delete(&format!("/v2/spaces/{space}"))
        .await
        .refused(400, "NonrecursiveSpaceDeletionFailed");
    let job = cloud
        .delete(&format!("{path}?recursive=true&async=true"))
        .await
        .is(202);
    assert_eq!(job["entity"]["status"], "finished");
    cloud.get(&path).await.refused(404, "OrganizationNotFound");
    cloud
        .get(&format!("/v2/apps/{app}"))
        .await
        .refused(404, "AppNotFound");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn quotas_limit_memory_instances_and_routes() {
    let cloud = Cloud::start().await;
    let quota = json!({
        "name": "tiny", "non_basic_services_allowed": false, "total_services": 0,
        "total_routes": 1, "memory_limit": 256, "instance_memory_limit": 128,
        "app_instance_limit": 3,
    });
    let quota = guid(
        &cloud
            .post("/v2/quota_definitions", quota.clone())
            .await
            .is(201),
    );
    let org = guid(&cloud.first("/v2/organizations").await);
    let set = json!({"quota_definition_guid": quota});
    cloud
        .put(&format!("/v2/organizations/{org}"), set)
        .await
        .is(201);
    let path = format!("/v2/quota_definitions/{quota}");
    cloud
        .delete(&path)
        .await
        .refused(400, "AssociationNotEmpty");

    let space = cloud.space().await;
    let huge = json!({"name": "huge", "space_guid": space, "memory": 512});
    cloud
        .post("/v2/apps", huge)
        .await
        .refused(400, "QuotaInstanceMemoryLimitExceeded");
    let app = cloud.app("a").await;
    let path = format!("/v2/apps/{app}");
    cloud
        .upload(
            &app,
            &json!([]),
            Some(crate::harness::zip_of(&[("a", b"b")])),
        )
        .await
        .is(201);
    let many = json!({"memory": 100, "instances": 3, "state": "STARTED"});
    cloud
        .put(&path, many)
        .await
        .refused(400, "AppMemoryQuotaExceeded");
    let many = json!({"memory": 16, "instances": 4, "state": "STARTED"});
    cloud
        .put(&path, many)
        .await
        .refused(400, "QuotaInstanceLimitExceeded");
    assert_eq!(cloud.get(&path).await.is(200)["entity"]["state"], "STOPPED");
    cloud
        .put(
            &path,
            json!({"memory": 64, "instances": 3, "state": "STARTED"}),
        )
        .await
        .is(201);

    cloud.route("one", &app).await;
    let domain = guid(&cloud.first("/v2/shared_domains").await);
    let two = json!({"host": "two", "domain_guid": domain, "space_guid": space});
    cloud
        .post("/v2/routes", two)
        .await
        .refused(400, "OrgQuotaTotalRoutesExceeded");

    let usage = cloud
        .get(&format!("/v2/organizations/{org}/memory_usage"))
        .await
        .is(200);
    assert_eq!(usage, json!({"memory_usage_in_mb": 192}));
    let usage = cloud
        .get(&format!("/v2/organizations/{org}/instance_usage"))
        .await
        .is(200);
    assert_eq!(usage, json!({"instance_usage": 3}));
    let summary = cloud
        .get(&format!("/v2/organizations/{org}/summary"))
        .await
        .is(200);
    assert_eq!(summary["spaces"][0]["mem_dev_total"], 192);
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn roles_are_given_and_taken_by_name_and_by_guid() {
    let cloud = Cloud::start().await;
    let org = guid(&cloud.first("/v2/organizations").await);
    let space = cloud.space().await;
    // Whoever has used the API is known by name.
    let bob = cloud.user("bob");
    cloud
        .call("GET", "/v2/organizations", &bob, Value::Null)
        .await
        .is(200);
    let developers = format!("/v2/spaces/{space}/developers");
    let outsider = cloud.put(&developers, json!({"username": "bob"})).await;
    outsider.refused(400, "InvalidRelation");
    let nobody = cloud
        .put(
            &format!("/v2/organizations/{org}/users"),
            json!({"username": "nobody"}),
        )
        .await;
    nobody.refused(404, "UserNotFound");
    let users = format!("/v2/organizations/{org}/users");
    let parent = cloud.put(&users, json!({"username": "BOB"})).await.is(201);
    assert_eq!(guid(&parent), org);
    cloud
        .put(&format!("{developers}/bob-guid"), Value::Null)
        .await
        .is(201);
    let listed = cloud.get(&developers).await.is(200);
    let names: Vec<&Value> = listed["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| &u["entity"]["username"])
        .collect();
    assert_eq!(names, ["admin", "bob"]);
    let roles = cloud
        .get(&format!("/v2/spaces/{space}/user_roles"))
        .await
        .is(200);
    assert_eq!(
        roles["resources"][1]["entity"]["space_roles"],
        json!(["space_developer"])
    );

    let taken = cloud
        .call(
            "DELETE",
            &developers,
            &cloud.admin,
            json!({"username": "bob"}),
        )
        .await;
    assert_eq!(guid(&taken.is(200)), space);
    cloud
        .put(&format!("{developers}/bob-guid"), Value::Null)
        .await
        .is(201);
    // Who leaves the organization leaves its spaces.
    cloud.delete(&format!("{users}/bob-guid")).await.is(204);
    assert_eq!(cloud.get(&developers).await.is(200)["total_results"], 1);
    let events = cloud
        .get("/v2/events?q=type:audit.user.space_developer_add")
        .await
        .is(200);
    assert_eq!(events["total_results"], 2);
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn users_are_made_and_removed_by_admins_alone() {
    let cloud = Cloud::start().await;
    let eve = cloud.user("eve");
    let body = json!({"guid": "carl-guid"});
    cloud
        .call("POST", "/v2/users", &eve, body.clone())
        .await
        .refused(403, "NotAuthorized");
    cloud
        .call("GET", "/v2/users", &eve, Value::Null)
        .await
        .refused(403, "NotAuthorized");
    cloud.post("/v2/users", body.clone()).await.is(201);
    cloud
        .post("/v2/users", body)
        .await
        .refused(400, "UaaIdTaken");
    let own = cloud
        .call("GET", "/v2/users/eve-guid", &eve, Value::Null)
        .await
        .is(200);
    assert_eq!(own["entity"]["username"], "eve");
    cloud
        .call("GET", "/v2/users/carl-guid", &eve, Value::Null)
        .await
        .refused(403, "NotAuthorized");
    cloud.delete("/v2/users/carl-guid?async=true").await.is(202);
    cloud
        .get("/v2/users/carl-guid")
        .await
        .refused(404, "UserNotFound");
    let spaces = cloud.get("/v2/users/admin-guid/spaces").await.is(200);
    assert_eq!(spaces["total_results"], 1);
}
