//! What goes wrong gives a clear error and loses nothing.

use std::io::Write as _;
use std::time::Duration;

use cupola_testkit::{Cup, Platform, eventually, example};
use zip::write::SimpleFileOptions;

#[test]
fn an_undetectable_app_says_so() {
    let platform = Platform::start();
    let folder = example("undetectable");
    platform
        .cup(&[
            "push",
            "riddle",
            "-p",
            folder.to_str().unwrap(),
            "-m",
            "32M",
        ])
        .fails()
        .says("NoAppDetectedError");
    platform.cup(&["app", "riddle"]).says("riddle");
}

#[test]
fn a_build_that_fails_shows_its_output_and_reason() {
    let platform = Platform::start();
    let app = platform.scratch("app");
    std::fs::create_dir(&app).unwrap();
    std::fs::write(app.join("package.json"), "{ this is not json").unwrap();
    platform
        .cup(&[
            "push",
            "broken",
            "-p",
            app.to_str().unwrap(),
            "-b",
            "nodejs",
            "-m",
            "64M",
        ])
        .fails()
        .says("BuildpackCompileFailed");
}

#[test]
fn a_wrong_password_and_an_unknown_user_read_the_same() {
    let platform = Platform::start_with(cupola_testkit::Options {
        logged_out: true,
        ..Default::default()
    });
    platform
        .cup(&["api", &platform.credential("api")])
        .succeeds();
    let wrong = platform.cup(&["auth", "admin", "wrong"]).fails().text();
    let unknown = platform.cup(&["auth", "nobody", "wrong"]).fails().text();
    assert_eq!(
        wrong, unknown,
        "the answer must not tell which users there are"
    );
    platform.cup(&["apps"]).fails().says("log");
}

#[test]
fn a_token_that_is_no_good_is_401_with_the_right_code() {
    let platform = Platform::start();
    let api = platform.address("cloud_controller", "api");
    let ask = |token: &str| {
        let authorization = format!("bearer {token}");
        let headers = [("Authorization", authorization.as_str())];
        let get = cupola_testkit::HttpRequest {
            method: "GET",
            host: "api",
            path: "/v2/apps",
            headers: &headers,
            body: &[],
        };
        cupola_testkit::request(api, &get).unwrap()
    };
    let answer = ask("nonsense");
    assert_eq!(
        (answer.status, answer.json()["code"].as_i64()),
        (401, Some(1000)),
        "{answer:?}"
    );

    // Cut in its signature, a real token is no better.
    let token = platform.cup(&["oauth-token"]).succeeds().stdout;
    let token = token.trim().trim_start_matches("bearer ");
    assert_eq!(ask(token).status, 200);
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    assert_eq!(ask(&forged).status, 401);
}

#[test]
fn an_expired_token_is_refreshed_by_the_client_and_refused_by_the_api() {
    let platform = Platform::start_with(cupola_testkit::Options {
        settings: "[[uaa.clients]]
id = \"cf\"
secret = \"\"
access_token_seconds = 1
"
        .to_owned(),
        ..Default::default()
    });
    let token = platform.cup(&["oauth-token"]).succeeds().stdout;
    let token = token.trim().trim_start_matches("bearer ").to_owned();
    let api = platform.address("cloud_controller", "api");
    eventually("the API refuses it", Duration::from_secs(120), || {
        let authorization = format!("bearer {token}");
        let headers = [("Authorization", authorization.as_str())];
        let get = cupola_testkit::HttpRequest {
            method: "GET",
            host: "api",
            path: "/v2/apps",
            headers: &headers,
            body: &[],
        };
        let answer = cupola_testkit::request(api, &get).unwrap();
        answer.status == 401 && answer.json()["error_code"] == "CF-InvalidAuthToken"
    });
    platform.cup(&["apps"]).succeeds();
}

#[test]
fn another_user_s_space_is_forbidden_and_its_apps_are_not_listed() {
    let platform = Platform::start();
    let folder = example("static-site");
    platform
        .cup(&["push", "mine", "-p", folder.to_str().unwrap(), "-m", "32M"])
        .succeeds();
    let app = platform
        .cup(&["app", "mine", "--guid"])
        .succeeds()
        .stdout
        .trim()
        .to_owned();

    let stranger = stranger(&platform);
    let answer = stranger.run(&["curl", &format!("/v2/apps/{app}")]);
    assert!(
        answer.text().contains("CF-NotAuthorized"),
        "{}",
        answer.text()
    );
    let stop = stranger.run(&[
        "curl",
        "-X",
        "PUT",
        "-d",
        "{\"state\":\"STOPPED\"}",
        &format!("/v2/apps/{app}"),
    ]);
    assert!(stop.text().contains("CF-NotAuthorized"), "{}", stop.text());
    let list = stranger.run(&["curl", "/v2/apps"]).succeeds().stdout;
    assert!(
        list.contains("\"total_results\": 0") || list.contains("\"total_results\":0"),
        "{list}"
    );
    assert_eq!(platform.get("mine", "/").status, 200);
}

/// A user without any role, logged in.
fn stranger(platform: &Platform) -> Cup {
    let token = platform.cup(&["oauth-token"]).succeeds().stdout;
    let uaa = platform.address("uaa", "http");
    let user = r#"{"userName":"stranger","emails":[{"value":"stranger@example.test"}],"password":"a long enough password","name":{"familyName":"s","givenName":"s"}}"#;
    let headers = [
        ("Authorization", token.trim()),
        ("Content-Type", "application/json"),
    ];
    let post = cupola_testkit::HttpRequest {
        method: "POST",
        host: "uaa",
        path: "/Users",
        headers: &headers,
        body: user.as_bytes(),
    };
    let made = cupola_testkit::request(uaa, &post).unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    let cup = Cup::new();
    cup.run(&["api", &platform.credential("api")]).succeeds();
    cup.run(&["auth", "stranger", "a long enough password"])
        .succeeds();
    cup
}

#[test]
fn an_unknown_route_is_404_and_says_so() {
    let platform = Platform::start();
    let answer = platform.get("nobody-home", "/");
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("x-cf-routererror"), Some("unknown_route"));
    assert!(answer.body.contains("nobody-home"), "{answer:?}");
}

#[test]
fn an_upload_that_is_too_large_is_refused_and_the_running_app_serves_on() {
    let platform = Platform::start_with(cupola_testkit::Options {
        settings: "[cloud_controller.uploads]\npackage_mb = 1\n".to_owned(),
        ..Default::default()
    });
    let site = platform.scratch("site");
    std::fs::create_dir(&site).unwrap();
    std::fs::write(site.join("index.html"), "small\n").unwrap();
    let push = || platform.cup(&["push", "site", "-p", site.to_str().unwrap(), "-m", "32M"]);
    push().succeeds();
    // Bytes that do not compress.
    let mut x = 1u64;
    let noise: Vec<u8> = (0..3_000_000)
        .map(|_| {
            x = x
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            x.to_be_bytes()[0]
        })
        .collect();
    std::fs::write(site.join("large.bin"), noise).unwrap();
    push().fails();
    assert_eq!(platform.get("site", "/").body, "small\n");
}

#[test]
fn archives_that_reach_out_of_their_folder_are_refused() {
    let platform = Platform::start();
    platform
        .cup(&[
            "push",
            "victim",
            "--no-start",
            "-p",
            example("static-site").to_str().unwrap(),
        ])
        .succeeds();
    let app = platform
        .cup(&["app", "victim", "--guid"])
        .succeeds()
        .stdout
        .trim()
        .to_owned();
    let outside = platform.scratch("escaped");

    let dotdot = archive(|zip| {
        zip.start_file("../../../escaped", SimpleFileOptions::default())
            .unwrap();
        zip.write_all(b"out").unwrap();
    });
    let absolute = archive(|zip| {
        zip.start_file(outside.to_str().unwrap(), SimpleFileOptions::default())
            .unwrap();
        zip.write_all(b"out").unwrap();
    });
    let link = archive(|zip| {
        zip.add_symlink("way-out", "/etc", SimpleFileOptions::default())
            .unwrap();
        zip.start_file("way-out/escaped", SimpleFileOptions::default())
            .unwrap();
        zip.write_all(b"out").unwrap();
    });
    for (name, bytes) in [("../", dotdot), ("absolute", absolute), ("symlink", link)] {
        let answer = upload(&platform, &app, &bytes);
        assert!(
            answer.contains("CF-AppBitsUploadInvalid"),
            "{name}: {answer}"
        );
    }
    assert!(!outside.exists());
    assert!(!std::path::Path::new("/etc/escaped").exists());
}

fn archive(fill: impl FnOnce(&mut zip::ZipWriter<std::io::Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    fill(&mut zip);
    zip.finish().unwrap().into_inner()
}

/// Uploads a zip as an app's bits; gives the error, at once or from the job.
fn upload(platform: &Platform, app: &str, zip: &[u8]) -> String {
    const BOUNDARY: &str = "b0undary";
    let mut body = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"resources\"\r\n\r\n[]\r\n\
         --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"application\"; \
         filename=\"application.zip\"\r\nContent-Type: application/zip\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(zip);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    let token = platform.cup(&["oauth-token"]).succeeds().stdout;
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let headers = [
        ("Authorization", token.trim()),
        ("Content-Type", content_type.as_str()),
    ];
    let put = cupola_testkit::HttpRequest {
        method: "PUT",
        host: "api",
        path: &format!("/v2/apps/{app}/bits?async=true"),
        headers: &headers,
        body: &body,
    };
    let answer =
        cupola_testkit::request(platform.address("cloud_controller", "api"), &put).unwrap();
    if answer.status != 201 {
        return answer.body;
    }
    let job = answer.json()["metadata"]["guid"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut last = String::new();
    eventually("the job ends", Duration::from_secs(30), || {
        last = platform
            .cup(&["curl", &format!("/v2/jobs/{job}")])
            .succeeds()
            .stdout;
        last.contains("finished") || last.contains("failed")
    });
    last
}

#[test]
fn a_full_disk_is_told_and_the_neighbour_serves_on() {
    let platform = Platform::start();
    let app = platform.scratch("filler");
    std::fs::create_dir(&app).unwrap();
    std::fs::write(
        app.join("Procfile"),
        "web: dd if=/dev/zero of=$HOME/fill bs=1M count=400 2>&1; echo dd ended; sleep 1000\n",
    )
    .unwrap();
    std::fs::write(app.join("x.sh"), "true\n").unwrap();
    let site = example("static-site");
    platform
        .cup(&[
            "push",
            "neighbour",
            "-p",
            site.to_str().unwrap(),
            "-m",
            "32M",
        ])
        .succeeds();
    let _ = platform.cup(&[
        "push",
        "filler",
        "-p",
        app.to_str().unwrap(),
        "-b",
        "procfile",
        "-m",
        "64M",
        "-k",
        "64M",
        "--no-route",
        "-u",
        "none",
    ]);
    eventually("the reason is told", Duration::from_secs(60), || {
        let events = platform.cup(&["events", "filler"]).stdout;
        let logs = platform.cup(&["logs", "filler", "--recent"]).text();
        events.contains("disk quota exceeded") || logs.contains("disk quota exceeded")
    });
    assert_eq!(platform.get("neighbour", "/").status, 200);
}
