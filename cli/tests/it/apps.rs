//! Apps once they are there.

use serde_json::json;

use crate::cup::Cup;
use crate::platform::Platform;

fn with_app() -> (Platform, Cup) {
    let platform = Platform::start();
    platform.model().add_app("hello");
    platform
        .model()
        .routes
        .insert("route-hello".into(), ("hello".into(), vec!["app-1".into()]));
    let cup = Cup::logged_in(&platform);
    (platform, cup)
}

#[test]
fn apps_are_listed_with_the_port_of_their_router() {
    let (platform, cup) = with_app();
    let run = cup.run(["apps"]).succeeded();
    assert_eq!(
        run.stdout,
        "Getting apps in org cupola / space dev as admin...\nOK\n\n\
         name    requested state   instances   memory   disk   urls\n\
         hello   started           1/1         64M      1G     hello.apps.localhost:8090\n"
    );
    platform.model().apps.clear();
    cup.run(["a"]).succeeded().says("No apps found");
}

#[test]
fn an_app_is_shown_with_its_instances() {
    let (platform, cup) = with_app();
    let run = cup.run(["app", "hello"]).succeeded();
    assert_eq!(
        run.stdout,
        "Showing health and status for app hello in org cupola / space dev as admin...\n\n\
         name:              hello\n\
         requested state:   started\n\
         instances:         1/1\n\
         usage:             64M x 1 instances\n\
         routes:            hello.apps.localhost:8090\n\
         last uploaded:     Fri 20 Nov 16:20:11 +0000 2026\n\
         stack:             cupola\n\
         buildpack:         staticfile\n\n     \
         state     since                  cpu    memory        disk         details\n\
         #0   running   2026-11-20T16:20:11Z   1.2%   4.1M of 64M   1.2M of 1G\n"
    );
    cup.run(["app", "hello", "--guid"])
        .succeeded()
        .says("app-1\n");
    cup.run(["app", "nobody"])
        .failed(1)
        .complains("App nobody not found in space dev")
        .complains("TIP: 'cup apps'");
    platform.model().apps.get_mut("app-1").unwrap()["entity"]["state"] = json!("STOPPED");
    cup.run(["app", "hello"])
        .succeeded()
        .says("There are no running instances of this app.");
}

#[test]
fn an_app_is_stopped_started_restarted_and_restaged() {
    let (platform, cup) = with_app();
    cup.run(["start", "hello"])
        .succeeded()
        .says("App hello is already started\nOK\n");
    cup.run(["stop", "hello"])
        .succeeded()
        .says("Stopping app hello in org")
        .says("OK\n");
    cup.run(["stop", "hello"])
        .succeeded()
        .says("already stopped");
    // Staged already: no staging, only the start.
    cup.run(["start", "hello"])
        .succeeded()
        .keeps_quiet_about("Staging app")
        .says("Waiting for app to start...")
        .says("#0   running");
    cup.run(["rs", "hello"])
        .succeeded()
        .says("Stopping app...")
        .says("#0   running");
    platform.forget_requests();
    cup.run(["restage", "hello"])
        .succeeded()
        .says("   Staging...\n")
        .says("#0   running");
    platform.only_request("POST /v2/apps/app-1/restage");
}

#[test]
fn scale_shows_and_changes() {
    let (platform, cup) = with_app();
    cup.run(["scale", "hello"])
        .succeeded()
        .says("memory:      64M\ndisk:        1G\ninstances:   1\n");
    cup.run(["scale", "hello", "-i", "4"])
        .succeeded()
        .says("Scaling app hello")
        .says("OK\n");
    assert_eq!(
        platform.only_request("PUT /v2/apps/app-1").json(),
        json!({"instances": 4})
    );
    cup.run(["scale", "hello", "-m", "128M"])
        .failed(1)
        .complains("use -f to restart without asking");
    platform.forget_requests();
    cup.run(["scale", "hello", "-m", "128M", "-k", "2G", "-f"])
        .succeeded()
        .says("#0   running");
    let changes: Vec<_> = platform
        .requests()
        .iter()
        .filter(|seen| seen.line == "PUT /v2/apps/app-1")
        .map(crate::platform::Seen::json)
        .collect();
    assert_eq!(
        changes,
        [
            json!({"memory": 128, "disk_quota": 2048}),
            json!({"state": "STOPPED"}),
            json!({"state": "STARTED"}),
        ]
    );
    cup.run(["scale", "hello", "-i", "many"])
        .failed(64)
        .complains("-i: \"many\" is not");
}

#[test]
fn an_app_is_deleted_with_its_routes() {
    let (platform, cup) = with_app();
    cup.run(["delete", "hello"])
        .failed(1)
        .complains("use -f to delete without asking");
    cup.run(["delete", "hello", "-f", "-r"])
        .succeeded()
        .says("Deleting app hello")
        .says("OK\n");
    assert!(platform.model().apps.is_empty());
    assert!(platform.model().routes.is_empty());
    platform.only_request("GET /v2/jobs/job-1");
    cup.run(["delete", "hello", "-f"])
        .succeeded()
        .complains("App hello does not exist.");
}

#[test]
fn variables_are_set_shown_and_removed() {
    let (platform, cup) = with_app();
    cup.run(["set-env", "hello", "GREETING", "-hi there"])
        .succeeded()
        .says("Setting env variable GREETING for app hello")
        .says("TIP: Use 'cup restage hello'")
        .keeps_quiet_about("hi there");
    cup.run(["se", "hello", "OTHER", "1"]).succeeded();
    assert_eq!(
        platform.model().app("hello").unwrap()["entity"]["environment_json"],
        json!({"GREETING": "-hi there", "OTHER": "1"})
    );
    cup.run(["env", "hello"])
        .succeeded()
        .says("System-Provided:\n")
        .says("\"VCAP_APPLICATION\": {\n    \"name\": \"hello\"\n  }")
        .says("User-Provided:\nGREETING: -hi there\nOTHER: 1\n")
        .says("No running env variables have been set");
    cup.run(["unset-env", "hello", "GREETING"]).succeeded();
    cup.run(["unset-env", "hello", "GREETING"])
        .succeeded()
        .complains("was not set");
}

#[test]
fn events_are_told_newest_first() {
    let (_platform, cup) = with_app();
    cup.run(["events", "hello"]).succeeded().says(
        "time                          event       actor   description\n\
         2026-11-20T16:20:11.00+0000   app.crash   hello   index: 0, exit_description: out of memory\n",
    );
}

#[test]
fn curl_prints_what_the_api_says() {
    let (platform, cup) = with_app();
    cup.run(["curl", "/v2/apps/app-1"])
        .succeeded()
        .says("\"name\":\"hello\"");
    cup.run(["curl", "/v2/nowhere", "-i"])
        .succeeded()
        .says("HTTP/1.1 404")
        .says("CF-NotFound");
    cup.file("body.json", "{\"instances\": 3}");
    cup.run([
        "curl",
        "v2/apps/app-1",
        "-X",
        "PUT",
        "-d",
        "@body.json",
        "-H",
        "X-Test: yes",
    ])
    .succeeded();
    let seen = platform.only_request("PUT /v2/apps/app-1");
    assert_eq!(seen.json(), json!({"instances": 3}));
    assert_eq!(
        (
            seen.headers["x-test"].as_str(),
            seen.headers["content-type"].as_str()
        ),
        ("yes", "application/json")
    );
    cup.run(["curl", "/v2/info", "--output", "info.json"])
        .succeeded();
    assert!(
        std::fs::read_to_string(cup.work().join("info.json"))
            .unwrap()
            .contains("2.142.0")
    );
    // The token does not go elsewhere.
    cup.run(["curl", "http://127.0.0.1:1/v2/info"])
        .failed(1)
        .complains("does not belong to the API");
}
