//! `push`.

use std::io::{Cursor, Read};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::cup::{Cup, site};
use crate::platform::{Platform, Seen};

/// The parts of a multipart body by name.
fn part(seen: &Seen, name: &str) -> Option<Vec<u8>> {
    let kind = &seen.headers["content-type"];
    let boundary = format!("--{}", kind.split_once("boundary=").unwrap().1);
    let body = &seen.body;
    let at: Vec<usize> = (0..body.len())
        .filter(|i| body[*i..].starts_with(boundary.as_bytes()))
        .collect();
    at.windows(2).find_map(|pair| {
        let part = &body[pair[0] + boundary.len() + 2..pair[1] - 2];
        let end = part
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8_lossy(&part[..end]);
        head.contains(&format!("name=\"{name}\""))
            .then(|| part[end + 4..].to_vec())
    })
}

fn packed(seen: &Seen) -> Vec<String> {
    let zip = part(seen, "application").unwrap();
    let zip = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
    let mut names: Vec<String> = zip
        .file_names()
        .map(|name| name.unwrap().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_new_app_is_created_routed_uploaded_staged_and_started() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    site(&cup);
    let run = cup
        .run(["push", "hello", "-m", "64M", "-k", "1G", "-i", "1"])
        .succeeded();
    let mut asked = platform.request_lines();
    // These two are asked at the same time and arrive in any order.
    if let Some(pair) = asked.get_mut(16..18) {
        pair.sort_unstable();
    }
    assert_eq!(
        asked,
        [
            "GET /v2/apps?q=name:hello&q=space_guid:space-dev",
            "GET /v2/shared_domains?results-per-page=100",
            "GET /v2/organizations/org-cupola/private_domains?results-per-page=100",
            "PUT /v2/resource_match",
            "POST /v2/apps",
            "GET /v2/routes?q=domain_guid:domain-1&q=host:hello&q=path:",
            "POST /v2/routes",
            "PUT /v2/routes/route-hello/apps/app-1",
            "PUT /v2/apps/app-1/bits?async=true",
            "GET /v2/jobs/job-1",
            "GET /v2/info",
            "PUT /v2/apps/app-1",
            "GET /v2/apps/app-1",
            "GET /v2/apps/app-1/instances",
            "GET /v2/apps/app-1",
            "GET /v2/apps/app-1/summary",
            "GET /v2/apps/app-1/instances",
            "GET /v2/apps/app-1/stats",
            "GET /v2/stacks/stack-1",
            "GET /v2/apps/app-1/summary",
        ]
    );
    assert_eq!(
        platform.only_request("POST /v2/apps").json(),
        json!({"name": "hello", "space_guid": "space-dev", "memory": 64, "disk_quota": 1024, "instances": 1})
    );
    run.says("Pushing app hello to org cupola / space dev as admin...\n")
        .says("Staging app and tracing logs...\n   Staging...\n   Staging complete\n")
        .says("Waiting for app to start...\n")
        .says("name:              hello\n")
        .says("requested state:   started\n")
        .says("instances:         1/1\n")
        .says("routes:            hello.apps.localhost:8090\n")
        .says("     state     since                  cpu    memory        disk         details\n")
        .says("#0   running   2026-11-20T16:20:11Z   1.2%   4.1M of 64M   1.2M of 1G\n")
        .says("hello answers at http://hello.apps.localhost:8090\n");
}

#[test]
fn files_are_sent_with_their_modes_and_without_the_ignored_ones() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    cup.file("app/run.sh", "#!/bin/sh\n")
        .file("app/logs/a.log", "x")
        .file("app/logs/keep.log", "x")
        .file("app/.git/config", "x")
        .file("app/.cfignore", "logs\n!logs/keep.log\n");
    let script = cup.work().join("app/run.sh");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", cup.work().join("app/link")).unwrap();
    cup.run(["push", "hello", "-p", "app", "--no-start"])
        .succeeded()
        .complains("Not sent, for only files and folders are: link");
    let bits = platform.only_request("PUT /v2/apps/app-1/bits");
    assert_eq!(packed(&bits), ["logs/keep.log", "run.sh"]);
    assert_eq!(part(&bits, "resources").unwrap(), b"[]");
    assert!(
        bits.headers.contains_key("content-length"),
        "{:?}",
        bits.headers
    );
    let mut zip = zip::ZipArchive::new(Cursor::new(part(&bits, "application").unwrap())).unwrap();
    let mut script = zip.by_name("run.sh").unwrap();
    assert_eq!(script.unix_mode().unwrap() & 0o777, 0o755);
    let mut content = String::new();
    script.read_to_string(&mut content).unwrap();
    assert_eq!(content, "#!/bin/sh\n");
    let asked = platform.only_request("PUT /v2/resource_match").json();
    let run = asked
        .as_array()
        .unwrap()
        .iter()
        .find(|file| file["fn"] == "run.sh")
        .unwrap();
    assert_eq!((&run["mode"], &run["size"]), (&json!("755"), &json!(10)));
    assert_eq!(
        platform.model().app("hello").unwrap()["entity"]["state"],
        "STOPPED"
    );
}

#[test]
fn files_that_the_platform_has_are_named_and_not_sent() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    cup.file("a.txt", "abc").file("b.txt", "other");
    platform.model().pool = vec!["a9993e364706816aba3e25717850c26c9cd0d89d".into()];
    cup.run(["push", "hello", "--no-start"]).succeeded();
    let bits = platform.only_request("PUT /v2/apps/app-1/bits");
    assert_eq!(packed(&bits), ["b.txt"]);
    let known: Value = serde_json::from_slice(&part(&bits, "resources").unwrap()).unwrap();
    assert_eq!(
        known,
        json!([{"fn": "a.txt", "mode": "644", "sha1": "a9993e364706816aba3e25717850c26c9cd0d89d", "size": 3}])
    );
    // When it has them all, no archive is sent.
    std::fs::remove_file(cup.work().join("b.txt")).unwrap();
    platform.forget_requests();
    cup.run(["push", "hello", "--no-start"])
        .succeeded()
        .says("All files found in remote cache");
    assert!(
        part(
            &platform.only_request("PUT /v2/apps/app-1/bits"),
            "application"
        )
        .is_none()
    );
}

#[test]
fn an_existing_app_is_changed_stopped_and_started_again() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    site(&cup);
    cup.run(["push", "hello"]).succeeded();
    platform.model().apps.get_mut("app-1").unwrap()["entity"]["environment_json"] =
        json!({"OLD": "1", "BOTH": "1"});
    platform.forget_requests();
    cup.file(
        "manifest.yml",
        "name: hello\nmemory: 128M\nbuildpack: default\nenv:\n  BOTH: 2\n  NEW: 3\n",
    );
    cup.run(["push"])
        .succeeded()
        .says("Updating app hello...")
        .says("Stopping app...");
    let changes: Vec<Value> = platform
        .requests()
        .iter()
        .filter(|seen| seen.line == "PUT /v2/apps/app-1")
        .map(Seen::json)
        .collect();
    assert_eq!(
        changes,
        [
            json!({"memory": 128, "buildpack": "",
            "environment_json": {"OLD": "1", "BOTH": "2", "NEW": "3"}}),
            json!({"state": "STOPPED"}),
            json!({"state": "STARTED"}),
        ]
    );
    let lines = platform.request_lines();
    assert!(
        !lines.iter().any(|line| line.starts_with("POST /v2/routes")),
        "{lines:#?}"
    );
}

#[test]
fn a_manifest_with_two_apps_pushes_both() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    cup.file("one/a", "1").file("two/b", "2").file(
        "manifest.yml",
        "memory: 32M\napplications:\n- name: one\n  path: one\n  host: first\n- name: two\n  path: two\n  no-route: true\n  health-check-type: process\n",
    );
    cup.run(["push"])
        .succeeded()
        .says("Using manifest file")
        .says("Pushing app two");
    let model = platform.model();
    assert_eq!(model.app("one").unwrap()["entity"]["memory"], 32);
    assert_eq!(
        model.app("two").unwrap()["entity"]["health_check_type"],
        "process"
    );
    assert_eq!(model.routes["route-first"].1, ["app-1"]);
    assert_eq!(model.routes.len(), 1);
}

#[test]
fn a_wrong_manifest_names_file_line_and_key() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    cup.file("manifest.yml", "applications:\n- name: a\n  memroy: 64M\n");
    cup.run(["push"])
        .failed(64)
        .complains("manifest.yml:3: memroy: there is no such key; did you mean 'memory'?");
    cup.run(["push", "-f", "nowhere.yml"])
        .failed(64)
        .complains("cannot read");
    assert!(platform.request_lines().is_empty());
}

#[test]
fn no_route_takes_the_routes_away_and_random_route_keeps_the_first() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    site(&cup);
    cup.run(["push", "hello", "--random-route", "--no-start"])
        .succeeded();
    let first: Vec<String> = platform.model().routes.keys().cloned().collect();
    assert!(first[0].starts_with("route-hello-"), "{first:?}");
    cup.run(["push", "hello", "--random-route", "--no-start"])
        .succeeded();
    assert_eq!(platform.model().routes.len(), 1);
    cup.run(["push", "hello", "--no-route", "--no-start"])
        .succeeded()
        .says("Unmapping routes...");
    assert!(platform.model().routes[&first[0]].1.is_empty());
}

#[test]
fn a_taken_host_is_told_with_a_way_out() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    site(&cup);
    cup.run(["push", "hello", "-n", "taken"])
        .failed(1)
        .complains("The route taken.apps.localhost is already in use")
        .complains("--random-route");
}

#[test]
fn an_app_that_nothing_detects_fails_with_its_reason() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    site(&cup);
    platform.model().staging_fails = Some((
        "NoAppDetectedError".into(),
        "An app was not successfully detected".into(),
    ));
    cup.run(["push", "hello"])
        .failed(1)
        .says("   Staging...\n")
        .complains("pushing hello: staging hello: An app was not successfully detected (NoAppDetectedError)")
        .complains("TIP: name a buildpack with -b");
}

#[test]
fn an_app_that_crashes_fails_with_its_last_lines_and_the_reason() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    site(&cup);
    platform.model().outcome = "CRASHED".into();
    cup.run(["push", "hello"])
        .failed(1)
        .says("[APP/PROC/WEB/0] OUT cannot bind: port in use\n")
        .complains("Start unsuccessful: instance 0 of hello crashed: out of memory")
        .complains("TIP: use 'cup logs hello --recent'");
}

#[test]
fn an_app_that_does_not_come_up_is_given_up() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform).with("CUP_STARTUP_TIMEOUT", "1s");
    site(&cup);
    platform.model().outcome = "STARTING".into();
    platform.model().kept = vec![("APP/PROC/WEB".into(), "still thinking".into())];
    cup.run(["push", "hello"])
        .failed(1)
        .says("still thinking")
        .complains("no instance of hello runs after 1 s")
        .complains("CUP_STARTUP_TIMEOUT");
}

#[test]
fn a_platform_that_is_away_for_a_moment_is_waited_for() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    site(&cup);
    platform
        .model()
        .trouble("GET /v2/apps/app-1", 6, 503, json!({"description": "away"}));
    cup.run(["push", "hello"])
        .succeeded()
        .says("requested state:   started");
}

#[test]
fn a_token_that_ends_before_the_upload_is_renewed_and_the_files_sent_again() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    site(&cup);
    let refused = json!({"code": 1000, "error_code": "CF-InvalidAuthToken"});
    platform
        .model()
        .trouble("PUT /v2/apps/app-1/bits", 1, 401, refused);
    cup.run(["push", "hello", "--no-start"]).succeeded();
    let uploads: Vec<Seen> = platform
        .requests()
        .into_iter()
        .filter(|seen| seen.line.contains("/bits"))
        .collect();
    assert_eq!(uploads.len(), 2);
    assert_eq!(packed(&uploads[1]), ["css/", "css/site.css", "index.html"]);
}

#[test]
fn refused_bits_and_failed_jobs_are_told() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    site(&cup);
    let refused = json!({"code": 160_001, "error_code": "CF-AppBitsUploadInvalid",
        "description": "The package is larger than 512 MB"});
    platform
        .model()
        .trouble("PUT /v2/apps/app-1/bits", 1, 413, refused);
    cup.run(["push", "hello"])
        .failed(1)
        .complains("The package is larger than 512 MB (HTTP 413")
        .complains(".cfignore");
    let failed = json!({"metadata": {"guid": "job-1"}, "entity": {"guid": "job-1", "status": "failed",
        "error_details": {"code": 160_001, "error_code": "CF-AppBitsUploadInvalid",
            "description": "The zip holds ../evil"}}});
    platform
        .model()
        .trouble("GET /v2/jobs/job-1", 1, 200, failed);
    cup.run(["push", "hello"]).failed(1).complains(
        "processing the uploaded files: The zip holds ../evil (CF-AppBitsUploadInvalid)",
    );
}

#[test]
fn what_is_no_app_is_refused_before_anything_is_made() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    cup.run(["push", "hello", "-p", "nowhere"])
        .failed(1)
        .complains("there is nothing at");
    cup.file("text.txt", "no zip");
    cup.run(["push", "hello", "-p", "text.txt"])
        .failed(1)
        .complains("neither a folder nor a zip archive")
        .complains("TIP: give a folder");
    std::fs::create_dir(cup.work().join("empty")).unwrap();
    cup.run(["push", "hello", "-p", "empty"])
        .failed(1)
        .complains("nothing to push in");
    cup.run(["push", "hello", "-s", "other"])
        .failed(1)
        .complains("there is no stack other");
    assert!(platform.model().apps.is_empty());
    cup.run(["push"]).failed(64).complains("no app is named");
}

#[test]
fn an_archive_is_sent_as_it_is() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("index.html", zip::write::SimpleFileOptions::default())
        .unwrap();
    let zip = zip.finish().unwrap().into_inner();
    cup.file("app.jar", &zip);
    cup.run(["push", "hello", "-p", "app.jar", "--no-start"])
        .succeeded();
    let bits = platform.only_request("PUT /v2/apps/app-1/bits");
    assert_eq!(part(&bits, "application").unwrap(), zip);
}

#[test]
fn no_temporary_file_is_left_behind() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    let temporary = cup.work().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let cup = cup.with("TMPDIR", temporary.to_str().unwrap());
    cup.file("app/a", "x");
    cup.run(["push", "hello", "-p", "app", "--no-start"])
        .succeeded();
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
}

#[test]
fn without_a_log_server_a_push_still_works() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    site(&cup);
    platform.model().doppler = "ws://127.0.0.1:1".into();
    cup.run(["push", "hello"])
        .succeeded()
        .complains("The log cannot be shown while this runs")
        .says("requested state:   started");
}

#[test]
fn a_push_is_quick_when_the_platform_is() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    site(&cup);
    let start = std::time::Instant::now();
    cup.run(["push", "hello"]).succeeded();
    // Whoever looks only every three seconds takes longer on the fastest machine.
    let took = start.elapsed();
    assert!(took.as_secs() < 5, "took {took:?}");
}
