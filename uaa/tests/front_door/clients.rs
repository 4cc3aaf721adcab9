//! Clients, for themselves and as things to be registered.

use serde_json::json;

use crate::harness::{Answer, fresh};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_its_own_authorities_either_way() {
    let (uaa, _folder) = fresh().await;
    let form = [("grant_type", "client_credentials")];
    let answer = uaa.token_as("doppler", "doppler secret", &form).await.ok();
    assert_eq!(answer.text("scope"), "uaa.resource");
    assert!(answer.body.get("refresh_token").is_none());
    assert_eq!(answer.body["expires_in"], 43_200);
    let in_form = [
        ("grant_type", "client_credentials"),
        ("client_id", "doppler"),
        ("client_secret", "doppler secret"),
    ];
    let request = uaa.http.post(uaa.url("/oauth/token")).form(&in_form);
    Answer::of(request.send().await.unwrap()).await.ok();
    uaa.token_as("doppler", "wrong", &form)
        .await
        .refused(401, "unauthorized");
    uaa.token_as("doppler", "", &form)
        .await
        .refused(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_registers_changes_and_removes_a_client() {
    let (uaa, _folder) = fresh().await;
    let token = uaa.client_token("admin", "admin client secret").await;
    let body = json!({
        "client_id": "dash", "client_secret": "s1", "authorized_grant_types": ["client_credentials"],
        "authorities": ["uaa.resource"], "access_token_validity": 60
    });
    let made = uaa
        .send("POST", "/oauth/clients", &token, Some(body.clone()))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.body["scope"], json!(["uaa.none"]));
    assert!(made.body.get("client_secret").is_none());
    uaa.send("POST", "/oauth/clients", &token, Some(body.clone()))
        .await
        .refused(409, "invalid_client");
    let own = uaa.client_token("dash", "s1").await;

    let mut changed = body;
    changed["name"] = json!("Dashboard");
    let path = "/oauth/clients/dash";
    assert_eq!(
        uaa.send("PUT", path, &token, Some(changed))
            .await
            .ok()
            .text("name"),
        "Dashboard"
    );
    let add = json!({"secret": "s2", "changeMode": "ADD", "oldSecret": "s1"});
    uaa.send("PUT", "/oauth/clients/dash/secret", &own, Some(add))
        .await
        .ok();
    for secret in ["s1", "s2"] {
        uaa.client_token("dash", secret).await;
    }
    let drop = json!({"changeMode": "DELETE"});
    uaa.send("PUT", "/oauth/clients/dash/secret", &token, Some(drop))
        .await
        .ok();
    uaa.client_token("dash", "s2").await;
    let form = [("grant_type", "client_credentials")];
    uaa.token_as("dash", "s1", &form)
        .await
        .refused(401, "unauthorized");

    assert_eq!(uaa.get(path, &token).await.ok().text("client_id"), "dash");
    let listed = uaa.get("/oauth/clients", &token).await.ok();
    assert_eq!(listed.body["totalResults"], 6);
    uaa.send("DELETE", path, &token, None).await.ok();
    let gone = uaa.get(path, &token).await;
    assert_eq!((gone.status.as_u16(), gone.body), (404, json!("")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hands_out_rights_that_he_has_not() {
    let (uaa, _folder) = fresh().await;
    let admin = uaa.client_token("admin", "admin client secret").await;
    let maker = json!({
        "client_id": "maker", "client_secret": "s", "authorized_grant_types": ["client_credentials"],
        "authorities": ["clients.write", "clients.read"]
    });
    uaa.send("POST", "/oauth/clients", &admin, Some(maker))
        .await
        .ok();
    let maker = uaa.client_token("maker", "s").await;
    let wanted = |key: &str, value: serde_json::Value| {
        let mut body = json!({
            "client_id": "evil", "client_secret": "s",
            "authorized_grant_types": ["client_credentials"]
        });
        body[key] = value;
        Some(body)
    };
    for (key, value) in [
        ("authorities", json!(["uaa.admin"])),
        ("scope", json!(["cloud_controller.admin"])),
        ("authorized_grant_types", json!(["password"])),
        ("authorized_grant_types", json!(["implicit"])),
        ("authorized_grant_types", json!([])),
        ("authorized_grant_types", json!(["authorization_code"])),
        ("client_secret", json!("")),
        ("client_id", json!("a/b")),
    ] {
        let answer = uaa
            .send("POST", "/oauth/clients", &maker, wanted(key, value))
            .await;
        answer.refused(400, "invalid_client");
    }
    uaa.send(
        "POST",
        "/oauth/clients",
        &maker,
        wanted("scope", json!(["evil.read"])),
    )
    .await
    .ok();
    // Nor does he get hold of a mightier client by changing it.
    let take_over = json!({"authorized_grant_types": ["client_credentials"], "scope": []});
    let answer = uaa
        .send("PUT", "/oauth/clients/admin", &maker, Some(take_over))
        .await;
    answer.refused(400, "invalid_client");
    let secret = json!({"secret": "mine"});
    let answer = uaa
        .send("PUT", "/oauth/clients/admin/secret", &maker, Some(secret))
        .await;
    answer.refused(403, "insufficient_scope");
    let answer = uaa
        .send("DELETE", "/oauth/clients/admin", &maker, None)
        .await;
    answer.refused(400, "invalid_client");
}
