//! Endpoint, login, tokens, target.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::cup::Cup;
use crate::platform::Platform;

#[test]
fn login_targets_the_only_org_and_space() {
    let platform = Platform::start();
    let cup = Cup::new();
    cup.run([
        "login",
        "-a",
        &platform.url(),
        "-u",
        "admin",
        "-p",
        "secret",
    ])
    .succeeded()
    .says("Authenticating...\nOK\n")
    .says("Targeted org cupola\n")
    .says("Targeted space dev\n")
    .says(&format!("api endpoint:   {}\n", platform.url()))
    .says("user:           admin\norg:            cupola\nspace:          dev\n");
    let file = cup.home().join("config.json");
    assert_eq!(
        std::fs::metadata(file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let token = platform.only_request("POST /oauth/token");
    assert_eq!(token.headers["authorization"], "Basic Y2Y6");
    assert_eq!(
        String::from_utf8(token.body).unwrap(),
        "grant_type=password&scope=&username=admin&password=secret"
    );
}

#[test]
fn login_with_names_targets_them_and_unknown_ones_fail() {
    let platform = Platform::start();
    platform.model().orgs = vec!["cupola", "other"];
    let cup = Cup::new();
    let url = platform.url();
    let base = ["login", "-a", &url, "-u", "admin", "-p", "secret"];
    cup.run(base.into_iter().chain(["-o", "other", "-s", "dev"]))
        .succeeded()
        .says("org:            other");
    cup.run(base.into_iter().chain(["-o", "nowhere"]))
        .failed(1)
        .complains("organization 'nowhere' not found")
        .complains("TIP: 'cup orgs'");
    cup.run(base).succeeded().says("No org or space targeted");
}

#[test]
fn a_wrong_password_fails_with_advice() {
    let platform = Platform::start();
    let cup = Cup::new();
    cup.run(["login", "-a", &platform.url(), "-u", "admin", "-p", "wrong"])
        .failed(1)
        .complains("Credentials were rejected: Bad credentials (HTTP 401, unauthorized)")
        .complains("TIP: check user name and password");
    cup.run(["apps"])
        .failed(1)
        .complains("not logged in\nTIP: log in with 'cup login'");
}

#[test]
fn nothing_is_asked_without_a_terminal() {
    let platform = Platform::start();
    let cup = Cup::new();
    cup.run(["login"])
        .failed(1)
        .complains("no terminal to ask on: API endpoint");
    cup.run(["login", "-a", &platform.url()])
        .failed(1)
        .complains("give the user name with -u");
    cup.run(["login", "-a", &platform.url(), "-u", "admin"])
        .failed(1)
        .complains("give the password with -p");
}

#[test]
fn auth_takes_its_words_from_the_environment() {
    let platform = Platform::start();
    let cup = Cup::new()
        .with("CUP_USERNAME", "admin")
        .with("CUP_PASSWORD", "secret");
    cup.run(["auth"])
        .failed(1)
        .complains("no API endpoint is set");
    cup.run(["api", &platform.url()])
        .succeeded()
        .says("api version:    2.142.0");
    cup.run(["auth"])
        .succeeded()
        .says("Authenticating...\nOK\n");
    cup.run(["target", "-o", "cupola"])
        .succeeded()
        .says("space:          dev");
    cup.run(["auth", "admin", "wrong"])
        .failed(1)
        .complains("Credentials were rejected");
    // The failed try has not cost the login.
    cup.run(["target"])
        .succeeded()
        .says("user:           admin");
}

#[test]
fn a_client_logs_in_and_asks_again_when_its_token_ends() {
    let platform = Platform::start();
    let cup = Cup::new();
    cup.run(["api", &platform.url()]).succeeded();
    cup.run(["auth", "bot", "client-secret", "--client-credentials"])
        .succeeded();
    platform.model().end_token();
    platform.forget_requests();
    cup.run(["orgs"]).succeeded().says("name\ncupola\n");
    let token = platform.only_request("POST /oauth/token");
    let form = String::from_utf8(token.body).unwrap();
    assert_eq!(
        form,
        "grant_type=client_credentials&client_id=bot&client_secret=client-secret"
    );
    assert!(!token.headers.contains_key("authorization"));
}

#[test]
fn an_ended_token_is_renewed_once_and_kept() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    platform.model().end_token();
    cup.run(["orgs"]).succeeded().says("cupola");
    let lines = platform.request_lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[1], "POST /oauth/token");
    assert_eq!(
        cup.state()["tokens"]["refresh"],
        platform.model().refresh.as_str()
    );
    platform.forget_requests();
    cup.run(["orgs"]).succeeded();
    assert_eq!(platform.request_lines().len(), 1);
}

#[test]
fn a_dead_refresh_token_asks_for_a_new_login() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    platform.model().end_token();
    platform.model().refresh = "another".into();
    cup.run(["apps"])
        .failed(1)
        .complains("the login has expired\nTIP: log in again with 'cup login'");
}

#[test]
fn a_token_that_stays_refused_is_renewed_only_once() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    let refused = json!({"code": 1000, "error_code": "CF-InvalidAuthToken", "description": "no"});
    platform
        .model()
        .trouble("GET /v2/organizations", 100, 401, refused);
    cup.run(["orgs"])
        .failed(1)
        .complains("CF-InvalidAuthToken 1000")
        .complains("log in again");
    platform.only_request("POST /oauth/token");
}

#[test]
fn two_commands_at_once_spend_one_refresh_token() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    platform.model().end_token();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| cup.run(["orgs"]))).collect();
        for run in runs {
            run.join().unwrap().succeeded();
        }
    });
    platform.only_request("POST /oauth/token");
}

#[test]
fn logout_forgets_the_tokens_but_not_the_endpoint() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    cup.run(["logout"]).succeeded().says("Logging out...\nOK\n");
    assert!(cup.state().get("tokens").is_none());
    cup.run(["api"]).succeeded().says(&platform.url());
    cup.run(["apps"]).failed(1).complains("not logged in");
    cup.run(["api", "--unset"]).succeeded();
    cup.run(["apps"])
        .failed(1)
        .complains("no API endpoint is set");
}

#[test]
fn an_address_that_is_no_api_is_said_to_be_none() {
    let cup = Cup::new();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    cup.run(["api", &format!("127.0.0.1:{port}")])
        .failed(1)
        .complains("cannot connect to http://127.0.0.1:")
        .complains("Connection refused")
        .complains("TIP: check that the platform is up");
    let platform = Platform::start();
    platform
        .model()
        .trouble("GET /v2/info", 1, 200, json!({"hello": "world"}));
    cup.run(["api", &platform.url()])
        .failed(1)
        .complains("cannot understand the answer");
    cup.run(["api", "ftp://x"])
        .failed(64)
        .complains("neither http nor https");
}

#[test]
fn proxies_do_not_come_between_us_and_this_machine() {
    let platform = Platform::start();
    let nowhere = "http://127.0.0.1:1";
    let cup = Cup::new()
        .with("HTTP_PROXY", nowhere)
        .with("http_proxy", nowhere)
        .with("HTTPS_PROXY", nowhere)
        .with("ALL_PROXY", nowhere);
    cup.run(["api", &platform.url()]).succeeded();
    let by_name = platform.url().replace("127.0.0.1", "api.cupola.localhost");
    cup.run(["api", &by_name]).succeeded();
    // Others go through it.
    cup.run(["api", "http://api.example.com"])
        .failed(1)
        .complains("cannot connect");
}

#[test]
fn a_trace_shows_requests_without_their_secrets() {
    let platform = Platform::start();
    let cup = Cup::new().with("CUP_TRACE", "trace.log");
    cup.run([
        "login",
        "-a",
        &platform.url(),
        "-u",
        "admin",
        "-p",
        "secret",
    ])
    .succeeded();
    let path = cup.work().join("trace.log");
    let trace = std::fs::read_to_string(&path).unwrap();
    assert!(
        trace.contains("GET ") && trace.contains("/v2/organizations"),
        "{trace}"
    );
    assert!(trace.contains("username=admin"), "{trace}");
    assert!(
        !trace.contains("secret&") && !trace.contains("password=secret"),
        "{trace}"
    );
    assert!(!trace.contains(&platform.model().token), "{trace}");
    assert!(!trace.contains(&platform.model().refresh), "{trace}");
    assert_eq!(
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    Cup::new()
        .run(["-v", "api", &platform.url()])
        .succeeded()
        .complains("REQUEST:");
}

#[test]
fn orgs_and_spaces_are_listed_and_created() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    cup.run(["orgs"])
        .succeeded()
        .says("Getting orgs as admin...\n\nname\ncupola\n");
    cup.run(["spaces"])
        .succeeded()
        .says("Getting spaces in org cupola as admin...\n\nname\ndev\n");
    cup.run(["create-org", "new"])
        .succeeded()
        .says("Creating org new as admin...\nOK\n");
    cup.run(["create-org", "cupola"])
        .succeeded()
        .complains("Org cupola already exists.");
    cup.run(["create-space", "new"])
        .succeeded()
        .says("Creating space new in org cupola");
    platform.only_request("PUT /v2/organizations/org-cupola/users/user-1");
    platform.only_request("PUT /v2/spaces/space-new/developers/user-1");
    cup.run(["target", "-s", "nowhere"])
        .failed(1)
        .complains("space 'nowhere' not found");
}

#[test]
fn the_token_is_printed_fresh() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    let token = platform.model().token.clone();
    cup.run(["oauth-token"])
        .succeeded()
        .says(&format!("bearer {token}\n"));
}
