//! What a command-line client does to log in and to stay so.

use cupola_uaa::Lockout;

use crate::harness::{ADMIN_PASSWORD, Answer, config, fresh, start};

#[tokio::test(flavor = "multi_thread")]
async fn login_json_has_prompts_and_links() {
    let (uaa, _folder) = fresh().await;
    for path in ["/login", "/info"] {
        let request = uaa
            .http
            .get(uaa.url(path))
            .header("Accept", "application/json");
        let answer = Answer::of(request.send().await.unwrap()).await.ok();
        assert_eq!(
            answer.body["prompts"]["username"],
            serde_json::json!(["text", "Email"])
        );
        assert_eq!(answer.body["prompts"]["password"][0], "password");
        assert_eq!(answer.body["links"]["uaa"], "http://uaa.test");
        assert_eq!(answer.body["zone_name"], "uaa");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_gives_tokens() {
    let (uaa, _folder) = fresh().await;
    let answer = uaa.login("admin", ADMIN_PASSWORD).await.ok();
    assert_eq!(answer.text("token_type"), "bearer");
    assert_eq!(answer.body["expires_in"], 1200);
    assert!(answer.text("refresh_token").ends_with("-r"));
    let scopes: Vec<&str> = answer.text("scope").split(' ').collect();
    for scope in [
        "cloud_controller.admin",
        "cloud_controller.read",
        "openid",
        "scim.write",
    ] {
        assert!(scopes.contains(&scope), "{scope}");
    }
    assert!(!scopes.contains(&"uaa.admin"), "not a scope of cf");
    assert!(
        uaa.login("ADMIN", ADMIN_PASSWORD).await.status.is_success(),
        "in any case"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_with_tokens_are_not_stored() {
    let (uaa, _folder) = fresh().await;
    let form = [
        ("grant_type", "password"),
        ("username", "admin"),
        ("password", ADMIN_PASSWORD),
    ];
    let request = uaa
        .http
        .post(uaa.url("/oauth/token?login_hint=%7B%22origin%22%3A%22uaa%22%7D"));
    let response = request
        .basic_auth("cf", Some(""))
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let request = uaa
        .http
        .post(uaa.url("/oauth/token?login_hint=%7B%22origin%22%3A%22ldap%22%7D"));
    let response = request
        .basic_auth("cf", Some(""))
        .form(&form)
        .send()
        .await
        .unwrap();
    Answer::of(response).await.refused(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_password_and_unknown_user_look_the_same() {
    let (uaa, _folder) = fresh().await;
    let wrong = uaa.login("admin", "wrong").await;
    wrong.refused(401, "unauthorized");
    assert_eq!(wrong.text("error_description"), "Bad credentials");
    let unknown = uaa.login("nobody", "wrong").await;
    assert_eq!(wrong.body, unknown.body);
    uaa.login("admin", "").await.refused(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrower_scope_can_be_asked_for() {
    let (uaa, _folder) = fresh().await;
    let form = |scope| {
        [
            ("grant_type", "password"),
            ("username", "admin"),
            ("password", ADMIN_PASSWORD),
            ("scope", scope),
        ]
    };
    let answer = uaa.token(&form("openid cloud_controller.read")).await.ok();
    assert_eq!(answer.text("scope"), "cloud_controller.read openid");
    uaa.token(&form("not.there"))
        .await
        .refused(400, "invalid_scope");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_token_requests_say_what_is_wrong() {
    let (uaa, _folder) = fresh().await;
    uaa.token(&[]).await.refused(400, "invalid_request");
    uaa.token(&[("grant_type", "magic")])
        .await
        .refused(400, "unsupported_grant_type");
    uaa.token(&[("grant_type", "password")])
        .await
        .refused(400, "invalid_request");
    uaa.token(&[("grant_type", "client_credentials")])
        .await
        .refused(401, "unauthorized_client");
    let twice = [("grant_type", "password"), ("grant_type", "password")];
    uaa.token(&twice).await.refused(400, "invalid_request");
    let form = [("grant_type", "password")];
    uaa.token_as("cf", "secret", &form)
        .await
        .refused(401, "unauthorized");
    uaa.token_as("nobody", "", &form)
        .await
        .refused(401, "unauthorized");
    let big = "x".repeat(300 * 1024);
    uaa.token(&[("grant_type", &big)])
        .await
        .refused(413, "invalid_request");
    let response = uaa.http.get(uaa.url("/oauth/token")).send().await.unwrap();
    Answer::of(response)
        .await
        .refused(405, "method_not_allowed");
    let response = uaa.http.get(uaa.url("/nothing")).send().await.unwrap();
    assert!(response.headers().contains_key("x-vcap-request-id"));
    Answer::of(response).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_gives_access_tokens_again_and_again() {
    let (uaa, _folder) = fresh().await;
    let login = uaa.login("admin", ADMIN_PASSWORD).await.ok();
    let refresh = login.text("refresh_token");
    let form = |token| {
        [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("scope", ""),
        ]
    };
    for _ in 0..2 {
        let answer = uaa.token(&form(refresh)).await.ok();
        assert_eq!(answer.text("refresh_token"), refresh);
        assert_eq!(answer.text("scope"), login.text("scope"));
        assert_ne!(answer.text("jti"), login.text("jti"));
        uaa.check_token(answer.text("access_token")).await.ok();
    }
    uaa.token(&form("made-up-r"))
        .await
        .refused(401, "invalid_token");
    let access = login.text("access_token");
    uaa.token(&form(access)).await.refused(401, "invalid_token");
    let other = uaa
        .token_as("ssh-proxy", "ssh secret", &form(refresh))
        .await;
    other.refused(401, "invalid_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_refresh_token_is_good_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.rotate_refresh_tokens = true;
    let uaa = start(config).await;
    let login = uaa.login("admin", ADMIN_PASSWORD).await.ok();
    let form = |token| [("grant_type", "refresh_token"), ("refresh_token", token)];
    let first = login.text("refresh_token");
    let next = uaa.token(&form(first)).await.ok();
    assert_ne!(next.text("refresh_token"), first);
    uaa.token(&form(first)).await.refused(401, "invalid_token");
    uaa.token(&form(next.text("refresh_token"))).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_refresh_token_is_dead() {
    let (uaa, _folder) = fresh().await;
    let login = uaa.login("admin", ADMIN_PASSWORD).await.ok();
    let (refresh, access) = (login.text("refresh_token"), login.text("access_token"));
    let revoke = |id: &str| format!("/oauth/token/revoke/{id}");
    uaa.create_user("mallory", "pw").await;
    let mallory = uaa.login("mallory", "pw").await.ok();
    let stolen = mallory.text("access_token");
    uaa.send("DELETE", &revoke(refresh), stolen, None)
        .await
        .refused(404, "invalid_token");
    uaa.send("DELETE", &revoke(refresh), access, None)
        .await
        .ok();
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    uaa.token(&form).await.refused(401, "invalid_token");
    uaa.send("DELETE", &revoke(login.text("jti")), access, None)
        .await
        .ok();
    uaa.get("/userinfo", access)
        .await
        .refused(401, "invalid_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_failures_lock_even_the_right_password_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.lockout = Lockout {
        failures: 3,
        window_seconds: 60,
        lock_seconds: 60,
    };
    let uaa = start(config).await;
    let id = uaa.create_user("bob", "pw").await;
    let admin = uaa.admin_token().await;
    for _ in 0..3 {
        let answer = uaa.login("bob", "wrong").await;
        assert_eq!(answer.text("error_description"), "Bad credentials");
    }
    let locked = uaa.login("bob", "pw").await;
    locked.refused(401, "unauthorized");
    assert_eq!(
        locked.text("error_description"),
        "Your account has been locked because of too many failed attempts to login."
    );
    uaa.login("admin", ADMIN_PASSWORD).await.ok();
    let unlock = serde_json::json!({"locked": false});
    uaa.send(
        "PATCH",
        &format!("/Users/{id}/status"),
        &admin,
        Some(unlock),
    )
    .await
    .ok();
    uaa.login("bob", "pw").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_side_by_side_do_not_get_round_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.lockout = Lockout {
        failures: 2,
        window_seconds: 60,
        lock_seconds: 60,
    };
    let uaa = start(config).await;
    uaa.create_user("bob", "pw").await;
    let guesses = (0..12).map(|n| uaa.login("bob", if n == 11 { "pw" } else { "wrong" }));
    let answers = futures_util::future::join_all(guesses).await;
    assert!(answers.iter().filter(|answer| answer.status == 401).count() >= 11);
    assert_eq!(
        uaa.login("bob", "pw").await.status,
        401,
        "locked in the end"
    );
}
