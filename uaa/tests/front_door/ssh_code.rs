//! `cf ssh-code`: a code for another program, by a token.

use reqwest::Response;

use crate::harness::{Answer, Uaa, fresh};

async fn ask(uaa: &Uaa, token: &str, query: &str) -> Response {
    let url = uaa.url(&format!(
        "/oauth/authorize?response_type=code&client_id=ssh-proxy{query}"
    ));
    uaa.http.get(url).bearer_auth(token).send().await.unwrap()
}

fn code(response: &Response) -> String {
    assert_eq!(response.status(), 302);
    let location = response.headers()["location"].to_str().unwrap();
    let (address, query) = location.split_once('?').unwrap();
    assert_eq!(address, "http://uaa.test/login");
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.into_owned().find(|(key, _)| key == "code").unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_good_once() {
    let (uaa, _folder) = fresh().await;
    let token = uaa.admin_token().await;
    let code = code(&ask(&uaa, &token, "&grant_type=authorization_code&state=s").await);
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("response_type", "token"),
    ];
    let granted = uaa.token_as("ssh-proxy", "ssh secret", &form).await.ok();
    assert!(granted.text("scope").contains("cloud_controller.read"));
    assert!(granted.body.get("id_token").is_some());
    let claims = uaa.check_token(granted.text("access_token")).await.ok();
    assert_eq!(
        (claims.text("user_name"), claims.text("client_id")),
        ("admin", "ssh-proxy")
    );
    let again = uaa.token_as("ssh-proxy", "ssh secret", &form).await;
    again.refused(400, "invalid_grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_for_its_client_address_and_verifier() {
    let (uaa, _folder) = fresh().await;
    let token = uaa.admin_token().await;
    let address = "&redirect_uri=http%3A%2F%2Fuaa.test%2Flogin";
    let challenge = "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM\
                     &code_challenge_method=S256";
    let verifier = (
        "code_verifier",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    );
    let uri = ("redirect_uri", "http://uaa.test/login");
    for (query, extra, status) in [
        (address, vec![], 400),
        (address, vec![("redirect_uri", "http://evil.test/")], 400),
        (address, vec![uri], 200),
        (challenge, vec![], 400),
        (challenge, vec![("code_verifier", "guess")], 400),
        (challenge, vec![verifier], 200),
    ] {
        let code = code(&ask(&uaa, &token, query).await);
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
        ];
        form.extend(extra);
        let answer = uaa.token_as("ssh-proxy", "ssh secret", &form).await;
        assert_eq!(answer.status, status, "{query} {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_code_goes_astray() {
    let (uaa, _folder) = fresh().await;
    let token = uaa.admin_token().await;
    let evil = "&redirect_uri=http%3A%2F%2Fuaa.test%2Flogin%2F..%2Fevil";
    Answer::of(ask(&uaa, &token, evil).await)
        .await
        .refused(400, "invalid_request");
    let client = uaa.client_token("cloud_controller", "cc secret").await;
    Answer::of(ask(&uaa, &client, "").await)
        .await
        .refused(403, "insufficient_scope");
    Answer::of(ask(&uaa, "x", "").await)
        .await
        .refused(401, "invalid_token");
    let get = |query: &str| {
        let url = uaa.url(&format!("/oauth/authorize?{query}"));
        let request = uaa.http.get(url).bearer_auth(&token);
        async { Answer::of(request.send().await.unwrap()).await }
    };
    get("response_type=code&client_id=cf")
        .await
        .refused(401, "unauthorized_client");
    get("response_type=token&client_id=ssh-proxy")
        .await
        .refused(400, "unsupported_response_type");
    get("client_id=ssh-proxy")
        .await
        .refused(400, "invalid_request");
}
