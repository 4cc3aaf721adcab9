//! How other rooms come to trust a token.

use cupola_http::TokenError;
use cupola_http::bearer::{Policy, SigningKey, TokenVerifier};
use serde_json::json;

use crate::harness::{ADMIN_PASSWORD, Answer, fresh};

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_server_verifies_tokens_by_the_published_keys() {
    let (uaa, _folder) = fresh().await;
    let policy = Policy::for_audience("cloud_controller").issued_by("http://uaa.test/oauth/token");
    let keys = uaa.url("/token_keys").parse().unwrap();
    let verifier = TokenVerifier::fetching(policy, keys, uaa.http.clone());
    let token = uaa.admin_token().await;
    let claims = verifier
        .verify(Some(&format!("bearer {token}")))
        .await
        .unwrap();
    assert_eq!(claims.user_name.as_deref(), Some("admin"));
    assert_eq!(
        (claims.client_id.as_str(), claims.origin.as_deref()),
        ("cf", Some("uaa"))
    );
    assert!(claims.has_scope("cloud_controller.admin"));

    let doppler = uaa.client_token("doppler", "doppler secret").await;
    let verdict = verifier.verify_token(&doppler).await;
    assert_eq!(verdict, Err(TokenError::WrongAudience));
    let forged = SigningKey::generate()
        .unwrap()
        .sign(&json!({"exp": u32::MAX}), None)
        .unwrap();
    assert_eq!(
        verifier.verify_token(&forged).await,
        Err(TokenError::UnknownKey)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_are_published_with_a_tag() {
    let (uaa, _folder) = fresh().await;
    let response = uaa.http.get(uaa.url("/token_keys")).send().await.unwrap();
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    let keys = Answer::of(response).await.ok();
    let key = &keys.body["keys"][0];
    assert_eq!(
        (&key["kty"], &key["alg"], &key["use"]),
        (&json!("RSA"), &json!("RS256"), &json!("sig"))
    );
    assert!(
        key["value"]
            .as_str()
            .unwrap()
            .starts_with("-----BEGIN PUBLIC KEY-----\n")
    );
    let request = uaa
        .http
        .get(uaa.url("/token_keys"))
        .header("If-None-Match", tag);
    assert_eq!(request.send().await.unwrap().status(), 304);
    let one = Answer::of(uaa.http.get(uaa.url("/token_key")).send().await.unwrap())
        .await
        .ok();
    assert_eq!(&one.body, key);
    let discovery = uaa
        .http
        .get(uaa.url("/.well-known/openid-configuration"))
        .send()
        .await;
    let discovery = Answer::of(discovery.unwrap()).await.ok();
    assert_eq!(discovery.text("issuer"), "http://uaa.test/oauth/token");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_token_shows_the_claims_to_resource_servers_only() {
    let (uaa, _folder) = fresh().await;
    let login = uaa.login("admin", ADMIN_PASSWORD).await.ok();
    let token = login.text("access_token");
    let claims = uaa.check_token(token).await.ok();
    assert_eq!(claims.text("user_name"), "admin");
    assert_eq!(claims.text("iss"), "http://uaa.test/oauth/token");
    assert_eq!(claims.text("jti"), login.text("jti"));
    for key in [
        "user_id",
        "email",
        "client_id",
        "cid",
        "azp",
        "zid",
        "grant_type",
        "rev_sig",
    ] {
        assert!(claims.body[key].is_string(), "{key}");
    }
    assert!(
        claims.body["aud"]
            .as_array()
            .unwrap()
            .contains(&json!("cloud_controller"))
    );
    uaa.check_token("nonsense")
        .await
        .refused(400, "invalid_token");

    let ask = |path: &str, client: &str, secret: &str, form: &[(&str, &str)]| {
        let request = uaa
            .http
            .post(uaa.url(path))
            .basic_auth(client, Some(secret))
            .form(form);
        async { Answer::of(request.send().await.unwrap()).await }
    };
    let form = [("token", token), ("scopes", "openid,not.there")];
    let missing = ask("/check_token", "doppler", "doppler secret", &form).await;
    missing.refused(400, "invalid_scope");
    assert!(
        missing
            .text("error_description")
            .ends_with("missing: not.there")
    );
    ask("/check_token", "cf", "", &form[..1])
        .await
        .refused(403, "access_denied");
    ask("/check_token", "doppler", "x", &form[..1])
        .await
        .refused(401, "unauthorized");
    let live = ask("/introspect", "doppler", "doppler secret", &form[..1])
        .await
        .ok();
    assert_eq!(live.body["active"], true);
    let dead = ask(
        "/introspect",
        "doppler",
        "doppler secret",
        &[("token", "x")],
    )
    .await
    .ok();
    assert_eq!(dead.body, json!({"active": false}));
}

#[tokio::test(flavor = "multi_thread")]
async fn userinfo_tells_the_bearer_who_he_is() {
    let (uaa, _folder) = fresh().await;
    let token = uaa.admin_token().await;
    let info = uaa.get("/userinfo", &token).await.ok();
    assert_eq!(
        (info.text("user_name"), info.text("email")),
        ("admin", "admin")
    );
    let client = uaa.client_token("doppler", "doppler secret").await;
    uaa.get("/userinfo", &client)
        .await
        .refused(403, "insufficient_scope");
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_a_user_ends_all_that_he_has() {
    let (uaa, _folder) = fresh().await;
    let id = uaa.create_user("bob", "pw").await;
    let bob = uaa.login("bob", "pw").await.ok();
    let path = format!("/oauth/token/revoke/user/{id}");
    uaa.create_user("eve", "pw").await;
    let eve = uaa.login("eve", "pw").await.ok();
    let refused = uaa.get(&path, eve.text("access_token")).await;
    refused.refused(403, "insufficient_scope");
    uaa.get(&path, bob.text("access_token")).await.ok();
    uaa.check_token(bob.text("access_token"))
        .await
        .refused(400, "invalid_token");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", bob.text("refresh_token")),
    ];
    uaa.token(&form).await.refused(401, "invalid_token");
    let operator = uaa.client_token("admin", "admin client secret").await;
    uaa.get("/oauth/token/revoke/client/doppler", &operator)
        .await
        .ok();
    uaa.login("bob", "pw").await.ok();
}
