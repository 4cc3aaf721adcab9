//! Exit codes and what is said when things go wrong.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::cup::{Cup, ended};
use crate::platform::Platform;

#[test]
fn wrong_usage_exits_with_64() {
    let cup = Cup::new();
    cup.run(["start"])
        .failed(64)
        .complains("Incorrect Usage:")
        .complains("<APP_NAME>");
    cup.run(["nonsense"])
        .failed(64)
        .complains("unrecognized subcommand");
    cup.run(["strat", "x"]).failed(64).complains("start");
    Cup::new()
        .with("CUP_STAGING_TIMEOUT", "soon")
        .run(["apps"])
        .failed(64)
        .complains("CUP_STAGING_TIMEOUT");
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let cup = Cup::new();
    let mut child = cup.command(["completions", "bash"]).spawn().unwrap();
    let mut start = [0; 16];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    let mut complaints = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaints)
        .unwrap();
    assert_eq!(
        (ended(&mut child).code(), complaints.as_str()),
        (Some(0), "")
    );
}

#[test]
fn passing_trouble_is_tried_again_but_only_where_that_is_safe() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    platform.model().trouble(
        "GET /v2/organizations",
        2,
        503,
        json!({"description": "away"}),
    );
    cup.run(["orgs"]).succeeded().says("cupola");
    platform.model().trouble(
        "POST /v2/organizations",
        1,
        503,
        json!({"description": "away"}),
    );
    cup.run(["create-org", "new"])
        .failed(1)
        .complains("creating the org new: away (HTTP 503)");
}

#[test]
fn refusals_are_told_with_their_numbers() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    let refused = json!({"code": 10003, "error_code": "CF-NotAuthorized",
        "description": "You are not authorized to perform the requested action"});
    platform
        .model()
        .trouble("GET /v2/spaces/space-dev/summary", 1, 403, refused);
    cup.run(["apps"])
        .failed(1)
        .complains("listing the apps: You are not authorized to perform the requested action (HTTP 403, CF-NotAuthorized 10003)\nTIP: ask a manager");
}

#[test]
fn warnings_of_the_platform_are_passed_on_once() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    platform.model().warnings = Some("Endpoint+deprecated%2C+use+v3");
    let run = cup.run(["domains"]).succeeded();
    assert_eq!(run.stderr, "Endpoint deprecated, use v3\n");
}

#[test]
fn an_answer_that_is_no_json_is_quoted() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    platform
        .model()
        .trouble("GET /v2/organizations", 1, 400, json!("just text"));
    cup.run(["orgs"]).failed(1).complains("just text");
}

#[test]
fn a_damaged_or_unwritable_state_is_told() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    std::fs::write(cup.home().join("config.json"), "{").unwrap();
    cup.run(["apps"])
        .failed(1)
        .complains("is not what cup wrote")
        .complains("TIP: remove");
    let cup = Cup::new().with("CUP_HOME", "/proc/nowhere");
    cup.run(["api", &platform.url()])
        .failed(1)
        .complains("cannot make the state folder");
}

#[test]
fn a_listing_follows_its_pages() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    let org = |name: &str| json!({"metadata": {"guid": name}, "entity": {"name": name}});
    let next = "/v2/organizations?order-by=name&page=2";
    platform.model().trouble(
        "GET /v2/organizations?order-by=name&results",
        1,
        200,
        json!({"next_url": next, "resources": [org("first")]}),
    );
    cup.run(["orgs"]).succeeded().says("first\ncupola\n");
    let foreign = "http://127.0.0.1:1/v2/organizations?page=2";
    platform.model().trouble(
        "GET /v2/organizations?order-by=name&results",
        1,
        200,
        json!({"next_url": foreign, "resources": [org("first")]}),
    );
    cup.run(["orgs"])
        .failed(1)
        .complains("does not belong to the API");
}

#[test]
fn colours_are_off_in_pipes_unless_asked_for() {
    let platform = Platform::start();
    platform.model().add_app("hello");
    let cup = Cup::logged_in(&platform);
    cup.run(["apps"]).succeeded().keeps_quiet_about("\x1b");
    let cup = cup.with("CUP_COLOR", "true");
    cup.run(["apps"]).succeeded().says("\x1b[");
}

#[test]
fn the_home_folder_is_private() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    let mode = std::fs::metadata(cup.home()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
