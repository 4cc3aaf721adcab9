//! Users, their passwords and their groups.

use serde_json::{Value, json};

use crate::harness::{ADMIN_PASSWORD, fresh, user_body};

fn names(list: &Value) -> Vec<&str> {
    list["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| u["userName"].as_str().unwrap())
        .collect()
}

fn query(filter: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    format!("/Users?filter={encoded}&sortBy=userName")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_made_found_and_deleted() {
    let (uaa, _folder) = fresh().await;
    let admin = uaa.admin_token().await;
    let id = uaa.create_user("Bob@example.com", "pw").await;
    let again = uaa
        .send(
            "POST",
            "/Users",
            &admin,
            Some(user_body("bob@EXAMPLE.com", "x")),
        )
        .await;
    again.refused(409, "scim_resource_already_exists");
    assert_eq!(again.text("user_id"), id);

    let found = uaa
        .get(&query("userName Eq \"bob@example.com\""), &admin)
        .await
        .ok();
    assert_eq!(found.body["totalResults"], 1);
    assert_eq!(found.body["resources"][0]["id"], id.as_str());
    assert_eq!(found.body["resources"][0]["origin"], "uaa");
    assert!(found.body["resources"][0].get("password").is_none());
    let only = uaa
        .get("/Users?attributes=id,userName&count=1", &admin)
        .await
        .ok();
    let keys: Vec<&String> = only.body["resources"][0]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(keys, ["id", "schemas", "userName"]);

    let bob = uaa.login("bob@example.com", "pw").await.ok();
    let bob = bob.text("access_token").to_owned();
    let path = format!("/Users/{id}");
    assert_eq!(
        uaa.get(&path, &bob).await.ok().text("userName"),
        "Bob@example.com"
    );
    let deleted = uaa.send("DELETE", &path, &admin, None).await.ok();
    assert_eq!(deleted.text("id"), id);
    uaa.get(&path, &admin)
        .await
        .refused(404, "scim_resource_not_found");
    uaa.get("/userinfo", &bob)
        .await
        .refused(401, "invalid_token");
    uaa.login("bob@example.com", "pw")
        .await
        .refused(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_find_what_they_say() {
    let (uaa, _folder) = fresh().await;
    let admin = uaa.admin_token().await;
    for name in ["ann", "anna", "bob_x", "bobbyx"] {
        uaa.create_user(name, "pw").await;
    }
    for (filter, expected) in [
        (r#"userName eq "ann""#, vec!["ann"]),
        (r#"userName eq "ANN" and origin eq "uaa""#, vec!["ann"]),
        (r#"userName eq "ann" and origin eq "ldap""#, vec![]),
        (
            r#"(userName eq "ann" or userName eq "anna") and active eq true"#,
            vec!["ann", "anna"],
        ),
        (r#"userName sw "ann""#, vec!["ann", "anna"]),
        (r#"userName co "b_x""#, vec!["bob_x"]),
        (r#"userName co "%""#, vec![]),
        (
            r#"created gt "2020-01-01T00:00:00.000Z" and userName ge "b""#,
            vec!["bob_x", "bobbyx"],
        ),
        (r#"userName eq "' or 1=1 --""#, vec![]),
    ] {
        let found = uaa.get(&query(filter), &admin).await.ok();
        assert_eq!(names(&found.body), expected, "{filter}");
    }
    uaa.get(&query("password eq \"x\""), &admin)
        .await
        .refused(400, "scim");
    let page = uaa
        .get("/Users?startIndex=2&count=2&sortBy=userName", &admin)
        .await
        .ok();
    assert_eq!(names(&page.body), ["ann", "anna"]);
    assert_eq!(
        (&page.body["totalResults"], &page.body["itemsPerPage"]),
        (&json!(5), &json!(2))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_sees_and_makes_users() {
    let (uaa, _folder) = fresh().await;
    let id = uaa.create_user("bob", "pw").await;
    uaa.create_user("eve", "pw").await;
    let eve = uaa
        .login("eve", "pw")
        .await
        .ok()
        .text("access_token")
        .to_owned();
    uaa.get("/Users", &eve)
        .await
        .refused(403, "insufficient_scope");
    uaa.get(&format!("/Users/{id}"), &eve)
        .await
        .refused(403, "insufficient_scope");
    let refused = uaa
        .send("POST", "/Users", &eve, Some(user_body("x", "y")))
        .await;
    refused.refused(403, "insufficient_scope");
    assert!(refused.text("scope").contains("scim.write"));
    uaa.send("DELETE", &format!("/Users/{id}"), &eve, None)
        .await
        .refused(403, "insufficient_scope");
    let response = uaa.http.get(uaa.url("/Users")).send().await.unwrap();
    assert_eq!(
        response.headers()["www-authenticate"].to_str().unwrap()[..6],
        *"Bearer"
    );
    crate::harness::Answer::of(response)
        .await
        .refused(401, "unauthorized");
    uaa.get("/Users", "a.b.c")
        .await
        .refused(401, "invalid_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_users_are_refused_with_a_reason() {
    let (uaa, _folder) = fresh().await;
    let admin = uaa.admin_token().await;
    let mut no_mail = user_body("x", "y");
    no_mail["emails"] = json!([]);
    for (body, error) in [
        (user_body("", "y"), "invalid_scim_resource"),
        (user_body("a b", "y"), "invalid_scim_resource"),
        (user_body("a<script>", "y"), "invalid_scim_resource"),
        (user_body(&"a".repeat(300), "y"), "invalid_scim_resource"),
        (no_mail, "invalid_scim_resource"),
        (user_body("x", ""), "invalid_password"),
        (user_body("x", &"y".repeat(256)), "invalid_password"),
        (json!({"userName": 5}), "invalid_request"),
    ] {
        uaa.send("POST", "/Users", &admin, Some(body))
            .await
            .refused(400, error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_ends_the_old_tokens() {
    let (uaa, _folder) = fresh().await;
    let id = uaa.create_user("bob", "old").await;
    let login = uaa.login("bob", "old").await.ok();
    let (token, path) = (login.text("access_token"), format!("/Users/{id}/password"));
    let change = |old: &str, new: &str| Some(json!({"oldPassword": old, "password": new}));
    uaa.send("PUT", &path, token, change("", "new"))
        .await
        .refused(400, "invalid_password");
    let wrong = uaa.send("PUT", &path, token, change("guess", "new")).await;
    wrong.refused(401, "unauthorized");
    assert_eq!(wrong.text("error_description"), "Old password is incorrect");
    uaa.send("PUT", &path, token, change("old", "old"))
        .await
        .refused(422, "invalid_password");
    let done = uaa
        .send("PUT", &path, token, change("old", "new"))
        .await
        .ok();
    assert_eq!(
        done.body,
        json!({"status": "ok", "message": "password updated"})
    );

    uaa.login("bob", "old").await.refused(401, "unauthorized");
    uaa.login("bob", "new").await.ok();
    uaa.get("/userinfo", token)
        .await
        .refused(401, "invalid_token");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", login.text("refresh_token")),
    ];
    uaa.token(&form).await.refused(401, "invalid_token");

    uaa.create_user("eve", "pw").await;
    let eve = uaa.login("eve", "pw").await.ok();
    let other = uaa
        .send("PUT", &path, eve.text("access_token"), change("new", "x"))
        .await;
    other.refused(403, "access_denied");
    let controller = uaa.client_token("cloud_controller", "cc secret").await;
    uaa.send(
        "PUT",
        &path,
        &controller,
        Some(json!({"password": "reset"})),
    )
    .await
    .ok();
    uaa.login("bob", "reset").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_needs_the_version_and_keeps_a_user_from_promoting_himself() {
    let (uaa, _folder) = fresh().await;
    let id = uaa.create_user("bob", "pw").await;
    let bob = uaa
        .login("bob", "pw")
        .await
        .ok()
        .text("access_token")
        .to_owned();
    let path = uaa.url(&format!("/Users/{id}"));
    let mut body = user_body("bobby", "x");
    body["active"] = json!(false);
    body["name"]["givenName"] = json!("Robert");
    let put = |version: Option<&'static str>| {
        let mut request = uaa.http.put(&path).bearer_auth(&bob).json(&body);
        if let Some(version) = version {
            request = request.header("If-Match", version);
        }
        async { crate::harness::Answer::of(request.send().await.unwrap()).await }
    };
    put(None).await.refused(400, "scim");
    put(Some("7")).await.refused(412, "scim_resource_version");
    let changed = put(Some("0")).await.ok();
    assert_eq!(changed.body["name"]["givenName"], "Robert");
    assert_eq!(
        (changed.text("userName"), &changed.body["active"]),
        ("bob", &json!(true))
    );
    assert_eq!(changed.body["meta"]["version"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_member_of_a_group_holds_its_scope() {
    let (uaa, _folder) = fresh().await;
    let admin = uaa.admin_token().await;
    let id = uaa.create_user("bob", "pw").await;
    assert!(
        !uaa.login("bob", "pw")
            .await
            .ok()
            .text("scope")
            .contains("cloud_controller.admin")
    );
    let filter = "/Groups?filter=displayName+eq+%22cloud_controller.admin%22";
    let found = uaa.get(filter, &admin).await.ok();
    let group = found.body["resources"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let members = format!("/Groups/{group}/members");
    let member = json!({"origin": "uaa", "type": "USER", "value": id});
    let added = uaa
        .send("POST", &members, &admin, Some(member.clone()))
        .await;
    assert_eq!(added.status, 201);
    uaa.send("POST", &members, &admin, Some(member))
        .await
        .refused(409, "member_already_exists");
    let unknown = json!({"value": "nobody"});
    uaa.send("POST", &members, &admin, Some(unknown))
        .await
        .refused(404, "scim_resource_not_found");

    let bob = uaa.login("bob", "pw").await.ok();
    assert!(bob.text("scope").contains("cloud_controller.admin"));
    let himself = uaa
        .get(&format!("/Users/{id}"), bob.text("access_token"))
        .await
        .ok();
    assert!(
        himself.body["groups"]
            .to_string()
            .contains("cloud_controller.admin")
    );
    uaa.send("DELETE", &format!("{members}/{id}"), &admin, None)
        .await
        .ok();
    // What a refresh gives is what the user holds now.
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", bob.text("refresh_token")),
    ];
    assert!(
        !uaa.token(&form)
            .await
            .ok()
            .text("scope")
            .contains("cloud_controller.admin")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_made_changed_and_deleted() {
    let (uaa, _folder) = fresh().await;
    let admin = uaa.admin_token().await;
    let id = uaa.create_user("bob", "pw").await;
    let body = json!({"displayName": "team.red", "members": [{"value": id}]});
    let made = uaa
        .send("POST", "/Groups", &admin, Some(body.clone()))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    uaa.send("POST", "/Groups", &admin, Some(body))
        .await
        .refused(409, "scim_resource_already_exists");
    let path = format!("/Groups/{}", made.text("id"));
    let update = json!({"displayName": "team.red", "description": "d", "members": []});
    let changed = uaa.send("PUT", &path, &admin, Some(update)).await.ok();
    assert_eq!(
        (changed.text("description"), &changed.body["members"]),
        ("d", &json!([]))
    );
    uaa.send("DELETE", &path, &admin, None).await.ok();
    uaa.get(&path, &admin)
        .await
        .refused(404, "scim_resource_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_can_be_looked_up_but_not_browsed() {
    let (uaa, _folder) = fresh().await;
    let id = uaa.create_user("bob", "pw").await;
    let bob = uaa.login("bob", "pw").await.ok();
    let controller = uaa.client_token("cloud_controller", "cc secret").await;
    let path = |filter: &str| query(filter).replace("/Users", "/ids/Users");
    let found = uaa
        .get(
            &path(&format!("id eq \"{id}\" or id eq \"x\"")),
            &controller,
        )
        .await
        .ok();
    let expected = json!([{"id": id, "userName": "bob", "origin": "uaa"}]);
    assert_eq!(found.body["resources"], expected);
    for filter in ["userName sw \"b\"", "userName pr", "", "email eq \"bob\""] {
        uaa.get(&path(filter), &controller)
            .await
            .refused(400, "scim");
    }
    // cf's own tokens do not carry the scope.
    let refused = uaa
        .get(&path("id eq \"x\""), bob.text("access_token"))
        .await;
    refused.refused(403, "insufficient_scope");
    assert_eq!(uaa.login("admin", ADMIN_PASSWORD).await.status, 200);
}
