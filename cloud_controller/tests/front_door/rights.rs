//! Who may do what, and what strangers are told.

use serde_json::{Value, json};

use crate::harness::{Cloud, guid};

/// An app with a secret in another user's space.
struct Scene {
    cloud: Cloud,
    app: String,
    space: String,
    org: String,
    route: String,
}

async fn scene() -> Scene {
    let cloud = Cloud::start().await;
    let app = cloud.app("shop").await;
    let env = json!({"environment_json": {"PASSWORD": "hunter2"}});
    cloud.put(&format!("/v2/apps/{app}"), env).await.is(201);
    let route = cloud.route("shop", &app).await;
    let space = cloud.space().await;
    let org = guid(&cloud.first("/v2/organizations").await);
    Scene {
        cloud,
        app,
        space,
        org,
        route,
    }
}

impl Scene {
    /// A user with these roles in the organization and the space.
    async fn user(&self, name: &str, org_roles: &[&str], space_roles: &[&str]) -> String {
        let token = self.cloud.user(name);
        self.cloud
            .call("GET", "/v2/organizations", &token, Value::Null)
            .await
            .is(200);
        for role in org_roles {
            let path = format!("/v2/organizations/{}/{role}/{name}-guid", self.org);
            self.cloud.put(&path, Value::Null).await.is(201);
        }
        for role in space_roles {
            let path = format!("/v2/spaces/{}/{role}/{name}-guid", self.space);
            self.cloud.put(&path, Value::Null).await.is(201);
        }
        token
    }

    async fn status(&self, method: &str, path: &str, token: &str, body: Value) -> u16 {
        self.cloud.call(method, path, token, body).await.status
    }
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn a_token_is_needed_and_must_be_good() {
    let cloud = Cloud::start().await;
    cloud
        .call("GET", "/v2/apps", "", Value::Null)
        .await
        .refused(401, "NotAuthenticated");
    let expired = cloud.expired_token();
    cloud
        .call("GET", "/v2/apps", &expired, Value::Null)
        .await
        .refused(401, "InvalidAuthToken");
    let junk = "bearer not.a.token";
    cloud
        .call("GET", "/v2/apps", junk, Value::Null)
        .await
        .refused(401, "InvalidAuthToken");
    let reader = cloud.token("r", "r", &["cloud_controller.read"]);
    cloud
        .call("GET", "/v2/apps", &reader, Value::Null)
        .await
        .is(200);
    let refused = cloud.call("POST", "/v2/apps", &reader, json!({})).await;
    refused.refused(403, "InsufficientScope");
    let other = cloud.token("o", "o", &["openid"]);
    cloud
        .call("GET", "/v2/apps", &other, Value::Null)
        .await
        .refused(403, "InsufficientScope");
    let info = cloud.call("GET", "/v2/info", "", Value::Null).await.is(200);
    assert!(info.get("user").is_none());
    let info = cloud.get("/v2/info").await.is(200);
    assert_eq!(info["user"], "admin-guid");
    assert_eq!(
        info["cupola"],
        json!({"apps_url_port": 8000, "apps_url_scheme": "http"})
    );
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn strangers_see_nothing_and_change_nothing() {
    let scene = scene().await;
    let eve = scene.user("eve", &[], &[]).await;
    let Scene {
        cloud,
        app,
        space,
        org,
        route,
    } = &scene;
    for path in [
        "/v2/apps",
        "/v2/spaces",
        "/v2/organizations",
        "/v2/routes",
        "/v2/events",
        "/v2/route_mappings",
    ] {
        let list = cloud.call("GET", path, &eve, Value::Null).await.is(200);
        assert_eq!(list["total_results"], 0, "{path}");
    }
    let paths = [
        format!("/v2/apps/{app}"),
        format!("/v2/apps/{app}/summary"),
        format!("/v2/apps/{app}/env"),
        format!("/v2/apps/{app}/stats"),
        format!("/v2/apps/{app}/instances"),
        format!("/v2/apps/{app}/routes"),
        format!("/v2/apps/{app}/events"),
        format!("/v2/apps/{app}/download"),
        format!("/v2/spaces/{space}"),
        format!("/v2/spaces/{space}/summary"),
        format!("/v2/spaces/{space}/apps"),
        format!("/v2/spaces/{space}/developers"),
        format!("/v2/organizations/{org}"),
        format!("/v2/organizations/{org}/users"),
        format!("/v2/routes/{route}"),
    ];
    for path in &paths {
        cloud
            .call("GET", path, &eve, Value::Null)
            .await
            .refused(403, "NotAuthorized");
    }
    let changes: [(&str, String, Value); 12] = [
        ("PUT", format!("/v2/apps/{app}"), json!({"instances": 2})),
        ("DELETE", format!("/v2/apps/{app}"), Value::Null),
        ("POST", format!("/v2/apps/{app}/restage"), Value::Null),
        ("DELETE", format!("/v2/apps/{app}/instances/0"), Value::Null),
        (
            "DELETE",
            format!("/v2/apps/{app}/routes/{route}"),
            Value::Null,
        ),
        ("DELETE", format!("/v2/routes/{route}"), Value::Null),
        ("PUT", format!("/v2/spaces/{space}"), json!({"name": "x"})),
        ("DELETE", format!("/v2/spaces/{space}"), Value::Null),
        (
            "PUT",
            format!("/v2/organizations/{org}"),
            json!({"name": "x"}),
        ),
        ("DELETE", format!("/v2/organizations/{org}"), Value::Null),
        (
            "PUT",
            format!("/v2/spaces/{space}/developers/eve-guid"),
            Value::Null,
        ),
        (
            "PUT",
            format!("/v2/organizations/{org}/managers/eve-guid"),
            Value::Null,
        ),
    ];
    for (method, path, body) in changes {
        cloud
            .call(method, &path, &eve, body)
            .await
            .refused(403, "NotAuthorized");
    }
    let app = json!({"name": "mine", "space_guid": space});
    cloud
        .call("POST", "/v2/apps", &eve, app)
        .await
        .refused(403, "NotAuthorized");
    for (path, body) in [
        ("/v2/organizations", json!({"name": "o"})),
        ("/v2/shared_domains", json!({"name": "d.example"})),
        ("/v2/quota_definitions", json!({"name": "q"})),
        ("/v2/stacks", json!({"name": "s"})),
    ] {
        cloud
            .call("POST", path, &eve, body)
            .await
            .refused(403, "NotAuthorized");
    }
    // What does not exist is another answer than what one may not see.
    cloud
        .call("GET", "/v2/apps/none", &eve, Value::Null)
        .await
        .refused(404, "AppNotFound");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn roles_allow_what_the_table_says() {
    let scene = scene().await;
    let developer = scene.user("dev", &["users"], &["developers"]).await;
    let auditor = scene.user("aud", &["users"], &["auditors"]).await;
    let manager = scene.user("man", &["users"], &["managers"]).await;
    let org_manager = scene.user("om", &["managers"], &[]).await;
    let member = scene.user("ou", &["users"], &[]).await;
    let (app, space, org) = (&scene.app, &scene.space, &scene.org);
    let read = format!("/v2/apps/{app}");
    let space_path = format!("/v2/spaces/{space}");
    let org_path = format!("/v2/organizations/{org}");
    // Columns: token, read app, change app, read env, rename space, make a space.
    let rows = [
        ("developer", &developer, [200, 201, 200, 403, 403]),
        ("auditor", &auditor, [200, 403, 403, 403, 403]),
        ("manager", &manager, [200, 403, 403, 201, 403]),
        ("org manager", &org_manager, [200, 403, 403, 201, 201]),
        ("member", &member, [403, 403, 403, 403, 403]),
    ];
    for (who, token, expected) in rows {
        let made = json!({"name": format!("space of {who}"), "organization_guid": org});
        let got = [
            scene.status("GET", &read, token, Value::Null).await,
            scene
                .status("PUT", &read, token, json!({"health_check_timeout": 60}))
                .await,
            scene
                .status("GET", &format!("{read}/env"), token, Value::Null)
                .await,
            scene
                .status("PUT", &space_path, token, json!({"allow_ssh": false}))
                .await,
            scene.status("POST", "/v2/spaces", token, made).await,
        ];
        assert_eq!(got, expected, "{who}");
        assert_eq!(
            scene.status("GET", &org_path, token, Value::Null).await,
            200,
            "{who}"
        );
    }
    // A suspended organization takes no changes but an admin's.
    scene
        .cloud
        .put(&org_path, json!({"status": "suspended"}))
        .await
        .is(201);
    assert_eq!(
        scene
            .status("PUT", &read, &developer, json!({"memory": 32}))
            .await,
        403
    );
    assert_eq!(
        scene.status("GET", &read, &developer, Value::Null).await,
        200
    );
    assert_eq!(
        scene
            .status("PUT", &read, &scene.cloud.admin, json!({"memory": 32}))
            .await,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn secrets_are_shown_to_developers_alone_and_nowhere_in_the_rows() {
    let scene = scene().await;
    let auditor = scene.user("aud", &["users"], &["auditors"]).await;
    let developer = scene.user("dev", &["users"], &["developers"]).await;
    let path = format!("/v2/apps/{}", scene.app);
    let seen = scene
        .cloud
        .call("GET", &path, &developer, Value::Null)
        .await
        .is(200);
    assert_eq!(
        seen["entity"]["environment_json"],
        json!({"PASSWORD": "hunter2"})
    );
    for path in [
        path.clone(),
        format!("{path}/summary"),
        "/v2/apps".into(),
        format!("/v2/spaces/{}/summary", scene.space),
    ] {
        let answer = scene.cloud.call("GET", &path, &auditor, Value::Null).await;
        assert_eq!(answer.status, 200);
        assert!(
            !answer.text.contains("hunter2") && answer.text.contains("redacted_message"),
            "{path}"
        );
    }
    let events = scene.cloud.get("/v2/events").await;
    assert!(!events.text.contains("hunter2"));
    for file in ["cc.db", "cc.db-wal"] {
        let bytes = std::fs::read(scene.cloud.folder().join(file)).unwrap();
        assert!(
            !bytes.windows(7).any(|window| window == b"hunter2"),
            "{file} holds the secret"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn the_inside_of_the_platform_is_closed_to_users() {
    let scene = scene().await;
    let cloud = &scene.cloud;
    for path in [
        "/internal/blobs/droplets/abcdef",
        "/internal/blobs/packages/abcdef",
        "/internal/blobs/resources/abcdef?expires=99999999999&signature=00",
    ] {
        let answer = cloud.get(path).await;
        assert!(
            matches!(answer.status, 401 | 403),
            "{path}: {}",
            answer.text
        );
    }
    let answer = cloud
        .post("/internal/staging/t1/completed", json!({"task_id": "t1"}))
        .await;
    assert_eq!(answer.status, 401);
    assert_eq!(cloud.get("/internal/other").await.status, 404);
}
