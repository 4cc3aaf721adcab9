//! Routes, mappings and domains.

use serde_json::{Value, json};

use crate::harness::{Cloud, DOMAIN, guid};

async fn space_in_new_org(cloud: &Cloud, name: &str) -> (String, String) {
    let org = guid(
        &cloud
            .post("/v2/organizations", json!({"name": name}))
            .await
            .is(201),
    );
    let space = json!({"name": "dev", "organization_guid": org});
    (org, guid(&cloud.post("/v2/spaces", space).await.is(201)))
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn a_host_belongs_to_one_space() {
    let cloud = Cloud::start().await;
    let (space, domain) = (
        cloud.space().await,
        guid(&cloud.first("/v2/shared_domains").await),
    );
    let (_, other) = space_in_new_org(&cloud, "other").await;
    let route = |host: &str, path: &str, space: &str| json!({"host": host, "path": path, "domain_guid": domain, "space_guid": space});
    let made = cloud
        .post("/v2/routes", route("Shop", "", &space))
        .await
        .is(201);
    assert_eq!(made["entity"]["host"], "shop");
    assert_eq!(
        made["entity"]["domain_url"],
        format!("/v2/shared_domains/{domain}")
    );
    cloud
        .post("/v2/routes", route("shop", "", &space))
        .await
        .refused(400, "RouteHostTaken");
    cloud
        .post("/v2/routes", route("shop", "/a", &other))
        .await
        .refused(400, "RouteHostTaken");
    cloud
        .post("/v2/routes", route("shop", "/a", &space))
        .await
        .is(201);
    cloud
        .post("/v2/routes", route("shop", "/a", &space))
        .await
        .refused(400, "RoutePathTaken");
    cloud
        .post("/v2/routes", route("", "", &space))
        .await
        .refused(400, "RouteInvalid");
    cloud
        .post("/v2/routes", route("a.b", "", &space))
        .await
        .refused(400, "RouteInvalid");
    cloud
        .post("/v2/routes", route("api", "", &space))
        .await
        .refused(400, "RouteHostTaken");
    cloud
        .post("/v2/routes", route("x", "no", &space))
        .await
        .refused(400, "PathInvalid");
    let unknown = json!({"host": "x", "domain_guid": "none", "space_guid": space});
    cloud
        .post("/v2/routes", unknown)
        .await
        .refused(400, "InvalidRelation");

    let list = |q: &str| format!("/v2/routes?q={q}");
    let exact = cloud
        .get(&format!(
            "/v2/routes?q=host:shop&q=domain_guid:{domain}&q=path:"
        ))
        .await;
    assert_eq!(exact.is(200)["total_results"], 1);
    let joined = cloud
        .get(&list(&format!("host:SHOP;domain_guid:{domain}")))
        .await
        .is(200);
    assert_eq!(joined["total_results"], 2);
    let reserved = format!("/v2/routes/reserved/domain/{domain}/host/shop?path=/a");
    assert_eq!(cloud.get(&reserved).await.status, 204);
    assert_eq!(cloud.get(&format!("{reserved}b")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn routes_are_mapped_in_either_direction_and_unmapped() {
    let cloud = Cloud::start().await;
    let (one, two) = (cloud.app("one").await, cloud.app("two").await);
    let route = cloud.route("shop", &one).await;
    // Doing it again, from the other side, is no error.
    cloud
        .put(&format!("/v2/apps/{one}/routes/{route}"), Value::Null)
        .await
        .is(201);
    let mapping = json!({"app_guid": one, "route_guid": route});
    cloud
        .post("/v2/route_mappings", mapping)
        .await
        .refused(400, "RouteMappingTaken");
    let mapping = json!({"app_guid": two, "route_guid": route});
    let mapping = guid(&cloud.post("/v2/route_mappings", mapping).await.is(201));
    let apps = cloud.get(&format!("/v2/routes/{route}/apps")).await.is(200);
    assert_eq!(apps["total_results"], 2);
    let path = format!("/v2/route_mappings?q=route_guid:{route}");
    assert_eq!(cloud.get(&path).await.is(200)["total_results"], 2);
    cloud
        .delete(&format!("/v2/route_mappings/{mapping}"))
        .await
        .is(204);
    let path = format!("/v2/routes/{route}?inline-relations-depth=1");
    let inlined = cloud.get(&path).await.is(200);
    assert_eq!(
        inlined["entity"]["apps"][0]["metadata"]["guid"],
        one.as_str()
    );
    assert_eq!(inlined["entity"]["domain"]["entity"]["name"], DOMAIN);
    cloud
        .delete(&format!("/v2/apps/{one}/routes/{route}"))
        .await
        .is(204);
    cloud
        .delete(&format!("/v2/apps/{one}/routes/{route}"))
        .await
        .is(204);
    let space = cloud.space().await;
    cloud
        .delete(&format!("/v2/spaces/{space}/unmapped_routes"))
        .await
        .is(204);
    cloud
        .get(&format!("/v2/routes/{route}"))
        .await
        .refused(404, "RouteNotFound");

    let (_, other) = space_in_new_org(&cloud, "other").await;
    let domain = guid(&cloud.first("/v2/shared_domains").await);
    let foreign = json!({"host": "foreign", "domain_guid": domain, "space_guid": other});
    let foreign = guid(&cloud.post("/v2/routes", foreign).await.is(201));
    let across = cloud
        .put(&format!("/v2/apps/{one}/routes/{foreign}"), Value::Null)
        .await;
    across.refused(400, "InvalidRelation");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn private_domains_belong_to_their_organization() {
    let cloud = Cloud::start().await;
    let (org, space) = space_in_new_org(&cloud, "owner").await;
    let (other_org, other_space) = space_in_new_org(&cloud, "other").await;
    let body = json!({"name": "Shop.Example", "owning_organization_guid": org, "wildcard": true});
    let made = cloud
        .post("/v2/private_domains?async=true", body.clone())
        .await
        .is(201);
    assert_eq!(made["entity"]["name"], "shop.example");
    let domain = guid(&made);
    cloud
        .post("/v2/private_domains", body)
        .await
        .refused(400, "DomainNameTaken");
    for name in [
        "a.shop.example",
        format!("x.{DOMAIN}").as_str(),
        "example.test",
    ] {
        let body = json!({"name": name, "owning_organization_guid": other_org});
        cloud
            .post("/v2/private_domains", body)
            .await
            .refused(400, "DomainNameTaken");
    }
    let below = json!({"name": "a.shop.example", "owning_organization_guid": org});
    cloud.post("/v2/private_domains", below).await.is(201);
    let bad = json!({"name": "no spaces", "owning_organization_guid": org});
    cloud
        .post("/v2/private_domains", bad)
        .await
        .refused(400, "DomainInvalid");

    let route = |space: &str| json!({"host": "", "domain_guid": domain, "space_guid": space});
    cloud
        .post("/v2/routes", route(&other_space))
        .await
        .refused(400, "InvalidRelation");
    cloud.post("/v2/routes", route(&space)).await.is(201);
    let shared = format!("/v2/organizations/{other_org}/private_domains/{domain}");
    cloud.put(&shared, Value::Null).await.is(201);
    let route = json!({"host": "b", "domain_guid": domain, "space_guid": other_space});
    cloud.post("/v2/routes", route).await.is(201);
    let listed = cloud
        .get(&format!("/v2/organizations/{other_org}/private_domains"))
        .await;
    assert_eq!(listed.is(200)["total_results"], 1);
    cloud.delete(&shared).await.is(204);

    let path = format!("/v2/private_domains/{domain}");
    cloud
        .delete(&path)
        .await
        .refused(400, "AssociationNotEmpty");
    cloud
        .delete(&format!("{path}?recursive=true&async=true"))
        .await
        .is(202);
    cloud.get(&path).await.refused(404, "DomainNotFound");
    let union = cloud.get("/v2/domains").await;
    assert_eq!(union.headers["x-cf-warnings"], "Endpoint+deprecated");
    assert_eq!(union.is(200)["total_results"], 2);
}
