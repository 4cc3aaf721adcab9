//! Envelopes, pages and filters.

use serde_json::{Value, json};

use crate::harness::Cloud;

fn names(page: &Value) -> Vec<&str> {
    page["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| resource["entity"]["name"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn pages_follow_each_other_with_their_filters() {
    let cloud = Cloud::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        cloud.app(name).await;
    }
    let space = cloud.space().await;
    let first = format!("/v2/apps?results-per-page=2&q=space_guid:{space}&order-direction=desc");
    let page = cloud.get(&first).await.is(200);
    assert_eq!(names(&page), ["e", "d"]);
    assert_eq!(
        (&page["total_results"], &page["total_pages"]),
        (&json!(5), &json!(3))
    );
    assert_eq!(page["prev_url"], Value::Null);
    let next = page["next_url"].as_str().unwrap();
    assert!(
        next.starts_with("/v2/apps?") && next.contains("q=space_guid"),
        "{next}"
    );
    let page = cloud.get(next).await.is(200);
    assert_eq!(names(&page), ["c", "b"]);
    let page = cloud.get(page["next_url"].as_str().unwrap()).await.is(200);
    assert_eq!(names(&page), ["a"]);
    assert_eq!(page["next_url"], Value::Null);
    let empty = cloud.get("/v2/apps?q=name:none").await.is(200);
    assert_eq!(empty["total_pages"], 1);
    assert_eq!(empty["resources"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn filters_compare_as_they_should() {
    let cloud = Cloud::start().await;
    for name in ["Shop", "store"] {
        cloud.app(name).await;
    }
    let found = async |query: &str| {
        cloud.get(&format!("/v2/apps?{query}")).await.is(200)["total_results"].clone()
    };
    assert_eq!(found("q=name:SHOP").await, 1);
    assert_eq!(found("q=name+IN+shop,store,none").await, 2);
    assert_eq!(found("q=name:shop&q=diego:true").await, 0);
    assert_eq!(found("q=name:shop;diego:false").await, 1);
    assert_eq!(found("q=name:'%20OR%201=1--").await, 0);
    assert_eq!(found("q=organization_guid:none").await, 0);
    cloud
        .get("/v2/apps?q=secret:x")
        .await
        .refused(400, "BadQueryParameter");
    cloud
        .get("/v2/apps?page=0")
        .await
        .refused(400, "BadQueryParameter");
    cloud
        .get("/v2/apps?results-per-page=101")
        .await
        .refused(400, "BadQueryParameter");
    cloud
        .get("/v2/apps?order-by=secret")
        .await
        .refused(500, "OrderByParameterInvalid");
    let events = async |query: &str| {
        cloud.get(&format!("/v2/events?{query}")).await.is(200)["total_results"].clone()
    };
    assert_eq!(events("q=timestamp%3E2000-01-01T00:00:00Z").await, 2);
    assert_eq!(events("q=timestamp%3C2000-01-01T00:00:00Z").await, 0);
    assert_eq!(
        events("order-by=timestamp&q=type+IN+audit.app.create,x").await,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn related_resources_are_expanded_when_asked_for() {
    let cloud = Cloud::start().await;
    let app = cloud.app("shop").await;
    cloud.route("shop", &app).await;
    let plain = cloud.get(&format!("/v2/apps/{app}")).await.is(200);
    assert!(plain["entity"].get("space").is_none());
    assert_eq!(
        plain["entity"]["routes_url"],
        format!("/v2/apps/{app}/routes")
    );
    let deep = cloud
        .get(&format!("/v2/apps/{app}?inline-relations-depth=1"))
        .await
        .is(200);
    assert_eq!(deep["entity"]["routes"][0]["entity"]["host"], "shop");
    assert_eq!(deep["entity"]["stack"]["entity"]["name"], "cupola-host");
    assert_eq!(deep["entity"]["space"]["entity"]["name"], "dev");
    assert_eq!(deep["entity"]["service_bindings"], json!([]));
    let space = cloud.first("/v2/spaces?inline-relations-depth=1").await;
    assert_eq!(space["entity"]["apps"][0]["entity"]["name"], "shop");
    assert_eq!(space["entity"]["organization"]["entity"]["name"], "cupola");
    let org = cloud
        .first("/v2/organizations?inline-relations-depth=2")
        .await;
    assert_eq!(
        org["entity"]["quota_definition"]["entity"]["name"],
        "default"
    );
    assert_eq!(
        org["entity"]["spaces"][0]["entity"]["apps"][0]["entity"]["name"],
        "shop"
    );
    let routes = cloud.first("/v2/routes?inline-relations-depth=3").await;
    assert_eq!(
        routes["entity"]["space"]["entity"]["apps"][0]["entity"]["name"],
        "shop"
    );
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn unknown_paths_and_methods_are_not_found_in_json() {
    let cloud = Cloud::start().await;
    for (method, path) in [
        ("GET", "/nothing"),
        ("GET", "/v2/nothing"),
        ("PATCH", "/v2/apps"),
        ("GET", "/v2/apps/x/y/z"),
        ("POST", "/v2/info"),
        ("PUT", "/v2/organizations/x/nonsense/y"),
        ("GET", "/v2/spaces/x/nonsense"),
        ("DELETE", "/v2/jobs/x"),
        ("GET", "/internal"),
    ] {
        let answer = cloud.call(method, path, &cloud.admin, Value::Null).await;
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (404, &json!(10000)),
            "{method} {path}: {}",
            answer.text
        );
    }
    let answer = cloud.get("/v2/info").await;
    assert_eq!(
        answer.headers["content-type"],
        "application/json;charset=utf-8"
    );
    assert!(answer.headers.contains_key("x-vcap-request-id"));
    let bad = cloud
        .send(cloud.request("POST", "/v2/apps", &cloud.admin).body("{"))
        .await;
    bad.refused(400, "MessageParseError");
}
