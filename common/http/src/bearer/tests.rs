#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::LazyLock;

use actix_web::{App, HttpResponse, test as actix_test};
use serde_json::json;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::client;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().unwrap());
static OTHER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().unwrap());

fn claims() -> serde_json::Value {
    json!({
        "jti": "ab12", "sub": "u-1", "user_id": "u-1", "user_name": "admin", "email": "a@b.c",
        "client_id": "cf", "cid": "cf", "scope": ["cloud_controller.read", "openid"],
        "iss": "http://uaa/oauth/token", "aud": ["cf", "cloud_controller"],
        "exp": 2_000, "iat": 1_000, "origin": "uaa", "grant_type": "password"
    })
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn verifier() -> TokenVerifier {
    let policy = Policy::for_audience("cloud_controller").issued_by("http://uaa/oauth/token");
    TokenVerifier::fixed(policy, &KEY.jwks()).unwrap()
}

async fn verdict(claims: &serde_json::Value, now: u64) -> Result<Claims, TokenError> {
    verifier()
        .verify_token_at(&KEY.sign(claims, None).unwrap(), at(now))
        .await
}

#[tokio::test]
async fn takes_a_good_token_and_reads_its_claims() {
    let claims = verdict(&claims(), 1_500).await.unwrap();
    assert_eq!(claims.actor_id(), "u-1");
    assert_eq!(claims.actor_name(), "admin");
    assert_eq!(claims.client_id, "cf");
    assert!(claims.has_scope("openid") && !claims.has_scope("cloud_controller.admin"));
    assert_eq!(claims.expires_at.timestamp(), 2_000);
}

#[tokio::test]
async fn a_client_token_acts_as_the_client() {
    let wire = json!({"jti": "x", "sub": "doppler", "client_id": "doppler", "exp": 2_000,
        "scope": "uaa.resource", "aud": "cloud_controller", "iss": "http://uaa/oauth/token"});
    let claims = verdict(&wire, 1_500).await.unwrap();
    assert_eq!(
        (claims.user_id.as_ref(), claims.actor_id()),
        (None, "doppler")
    );
    assert!(claims.has_scope("uaa.resource"));
}

#[tokio::test]
async fn tells_expired_from_wrong() {
    assert_eq!(
        verdict(&claims(), 2_004).await.map(|_| ()),
        Ok(()),
        "within the leeway"
    );
    assert_eq!(verdict(&claims(), 2_005).await, Err(TokenError::Expired));
    let mut foreign = claims();
    foreign["iss"] = json!("http://elsewhere");
    assert_eq!(verdict(&foreign, 1_500).await, Err(TokenError::WrongIssuer));
    let mut other = claims();
    other["aud"] = json!(["doppler"]);
    assert_eq!(verdict(&other, 1_500).await, Err(TokenError::WrongAudience));
    let mut refresh = claims();
    refresh["jti"] = json!("ab12-r");
    assert!(matches!(
        verdict(&refresh, 1_500).await,
        Err(TokenError::Malformed { .. })
    ));
    let mut endless = claims();
    endless.as_object_mut().unwrap().remove("exp");
    assert!(matches!(
        verdict(&endless, 1_500).await,
        Err(TokenError::Malformed { .. })
    ));
}

#[tokio::test]
async fn a_changed_token_has_a_wrong_signature() {
    let token = KEY.sign(&claims(), None).unwrap();
    let mut admin = claims();
    admin["scope"] = json!(["cloud_controller.admin"]);
    let forged = KEY.sign(&admin, None).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let payload = forged.split('.').nth(1).unwrap();
    let mixed = format!("{}.{payload}.{}", parts[0], parts[2]);
    let verdict = verifier().verify_token_at(&mixed, at(1_500)).await;
    assert_eq!(verdict, Err(TokenError::WrongSignature));
}

#[tokio::test]
async fn another_key_is_unknown_and_another_algorithm_refused() {
    let token = OTHER.sign(&claims(), None).unwrap();
    assert_eq!(
        verifier().verify_token_at(&token, at(1_500)).await,
        Err(TokenError::UnknownKey)
    );
    // The classic confusion: the public key used as an HMAC secret, and no signature at all.
    let secret = jsonwebtoken::EncodingKey::from_secret(KEY.jwk().value.as_bytes());
    let mut header = jsonwebtoken::Header::new(Algorithm::HS256);
    header.kid = Some(KEY.id().to_owned());
    let confused = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
    let verdict = verifier().verify_token_at(&confused, at(1_500)).await;
    assert!(
        matches!(verdict, Err(TokenError::Malformed { .. })),
        "{verdict:?}"
    );
    let none = "eyJhbGciOiJub25lIn0.e30.";
    let verdict = verifier().verify_token_at(none, at(1_500)).await;
    assert!(
        matches!(verdict, Err(TokenError::Malformed { .. })),
        "{verdict:?}"
    );
}

#[tokio::test]
async fn tells_a_missing_header_from_a_malformed_one() {
    assert_eq!(verifier().verify(None).await, Err(TokenError::Missing));
    assert_eq!(verifier().verify(Some(" ")).await, Err(TokenError::Missing));
    for header in [
        "bearer",
        "basic abc",
        "bearer x",
        "bearer a.b.c",
        "bearer ....",
    ] {
        let verdict = verifier().verify(Some(header)).await;
        assert!(
            matches!(verdict, Err(TokenError::Malformed { .. })),
            "{header}: {verdict:?}"
        );
    }
    let long = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1));
    assert!(matches!(
        verifier().verify(Some(&long)).await,
        Err(TokenError::Malformed { .. })
    ));
}

fn remote(server: &MockServer) -> TokenVerifier {
    let url = format!("{}/token_keys", server.uri()).parse().unwrap();
    TokenVerifier::fetching(Policy::default(), url, client::loopback("test").unwrap())
}

async fn publish(server: &MockServer, status: u16, keys: Vec<u8>, times: u64) {
    server.reset().await;
    Mock::given(path("/token_keys"))
        .respond_with(ResponseTemplate::new(status).set_body_bytes(keys))
        .expect(times)
        .mount(server)
        .await;
}

#[tokio::test]
async fn fetches_once_and_keeps_the_keys_while_uaa_is_away() {
    let server = MockServer::start().await;
    publish(&server, 200, KEY.jwks(), 1).await;
    let verifier = remote(&server);
    let token = KEY.sign(&claims(), None).unwrap();
    for _ in 0..3 {
        verifier.verify_token_at(&token, at(1_500)).await.unwrap();
    }
    server.verify().await;
    publish(&server, 503, vec![], 0).await;
    verifier.verify_token_at(&token, at(1_500)).await.unwrap();
    server.verify().await;
}

#[tokio::test]
async fn made_up_key_ids_do_not_flood_uaa() {
    let server = MockServer::start().await;
    publish(&server, 200, KEY.jwks(), 1).await;
    let verifier = remote(&server);
    let token = OTHER.sign(&claims(), None).unwrap();
    for _ in 0..20 {
        let verdict = verifier.verify_token_at(&token, at(1_500)).await;
        assert_eq!(verdict, Err(TokenError::UnknownKey));
    }
    server.verify().await;
}

#[tokio::test]
async fn says_that_keys_are_unavailable_and_recovers() {
    let server = MockServer::start().await;
    publish(&server, 503, vec![], 1).await;
    let verifier = remote(&server);
    let token = KEY.sign(&claims(), None).unwrap();
    let verdict = verifier.verify_token_at(&token, at(1_500)).await;
    assert_eq!(verdict, Err(TokenError::KeysUnavailable));
    publish(&server, 200, KEY.jwks(), 1).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while verifier.verify_token_at(&token, at(1_500)).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "never recovered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[actix_web::test]
async fn the_extractor_answers_in_the_api_shape() {
    async fn whoami(who: Authenticated) -> HttpResponse {
        HttpResponse::Ok().body(who.actor_id().to_owned())
    }
    let verifier = web::Data::new(TokenVerifier::fixed(Policy::default(), &KEY.jwks()).unwrap());
    let app = App::new()
        .app_data(verifier)
        .route("/", web::get().to(whoami));
    let app = actix_test::init_service(app).await;
    let mut live = claims();
    live["exp"] = json!(u32::MAX);
    let good = KEY.sign(&live, None).unwrap();
    for (header, status, code) in [
        (None, 401, 10002),
        (Some("bearer nonsense".to_owned()), 401, 1000),
        (
            Some(format!("Bearer {}", KEY.sign(&claims(), None).unwrap())),
            401,
            1000,
        ),
        (Some(format!("bearer {good}")), 200, 0),
    ] {
        let mut request = actix_test::TestRequest::get().uri("/");
        if let Some(header) = header {
            request = request.insert_header((AUTHORIZATION, header));
        }
        let response = actix_test::call_service(&app, request.to_request()).await;
        assert_eq!(response.status(), status);
        let body = actix_test::read_body(response).await;
        if code > 0 {
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["code"], code);
        } else {
            assert_eq!(body, "u-1");
        }
    }
}
