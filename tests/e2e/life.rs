//! Scaling, crashing, stopping and deleting.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cupola_testkit::{Leftovers, Platform, eventually, example};

fn push(platform: &Platform, name: &str, sample: &str, more: &[&str]) {
    let folder = example(sample);
    let mut args = vec![
        "push",
        name,
        "-p",
        folder.to_str().unwrap(),
        "-m",
        "64M",
        "-k",
        "256M",
    ];
    args.extend_from_slice(more);
    platform.cup(&args).succeeds();
}

/// Indices that answer through the router within some requests.
fn indices(platform: &Platform, app: &str) -> BTreeSet<u64> {
    (0..24)
        .filter_map(|_| platform.try_get(app, "/instance").ok())
        .filter_map(|answer| answer.json()["index"].as_u64())
        .collect()
}

#[test]
fn scaling_up_makes_four_distinct_instances_answer_and_down_leaves_one() {
    let platform = Platform::start();
    push(&platform, "web", "python-web", &[]);
    platform.cup(&["scale", "web", "-i", "4"]).succeeds();
    eventually("four instances answer", Duration::from_secs(30), || {
        indices(&platform, "web") == BTreeSet::from([0, 1, 2, 3])
    });
    let app = platform.cup(&["app", "web"]).succeeds();
    assert!(app.stdout.contains("4/4"), "{}", app.stdout);
    platform.cup(&["scale", "web", "-i", "1"]).succeeds();
    eventually("one is left", Duration::from_secs(30), || {
        indices(&platform, "web") == BTreeSet::from([0])
    });
    for _ in 0..40 {
        assert_eq!(
            platform.get("web", "/instance").status,
            200,
            "no request meets a stopped one"
        );
    }
}

#[test]
fn a_crash_is_answered_by_a_restart_and_told_in_the_events() {
    let platform = Platform::start();
    push(&platform, "web", "python-web", &[]);
    let first = platform.get("web", "/instance").json()["guid"].clone();
    let _ = platform.try_get("web", "/crash");
    assert!(first.is_string(), "{first}");
    eventually("another instance answers", Duration::from_secs(30), || {
        platform.try_get("web", "/instance").is_ok_and(|answer| {
            let guid = answer.json()["guid"].clone();
            guid.is_string() && guid != first
        })
    });
    eventually("the event is there", Duration::from_secs(10), || {
        platform
            .cup(&["events", "web"])
            .stdout
            .contains("app.crash")
    });
    platform
        .cup(&["logs", "web", "--recent"])
        .succeeds()
        .says("[DEA/");
}

#[test]
fn an_app_that_cannot_start_fails_the_push_with_its_last_words_and_backs_off() {
    let platform = Platform::start();
    let folder = example("crash-at-start");
    let failed = platform
        .cup(&[
            "push",
            "doomed",
            "-p",
            folder.to_str().unwrap(),
            "-m",
            "32M",
        ])
        .fails()
        .says("fatal: cannot go on");
    assert!(failed.took < Duration::from_secs(120), "{:?}", failed.took);
    // Three restarts at once, then half a minute of peace.
    let crashes = || {
        platform
            .cup(&["events", "doomed"])
            .stdout
            .matches("app.crash")
            .count()
    };
    eventually("it crashed four times", Duration::from_secs(60), || {
        crashes() >= 4
    });
    let quiet_since = Instant::now();
    while quiet_since.elapsed() < Duration::from_secs(10) {
        assert!(crashes() <= 5, "no restarts during the pause");
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn a_memory_eater_dies_alone() {
    let platform = Platform::start();
    push(&platform, "eater", "memory-eater", &[]);
    push(&platform, "neighbour", "python-web", &[]);
    let _ = platform.try_get("eater", "/eat?mb=forever");
    eventually(
        "the reason is in its events",
        Duration::from_secs(30),
        || {
            platform
                .cup(&["events", "eater"])
                .stdout
                .contains("out of memory")
        },
    );
    assert_eq!(platform.get("neighbour", "/").status, 200);
    assert!(
        !platform
            .cup(&["events", "neighbour"])
            .stdout
            .contains("app.crash")
    );
    platform.wait_for("eater", "/", 200);
}

#[test]
fn an_app_that_ignores_term_is_killed_after_its_grace() {
    let platform = Platform::start();
    push(&platform, "stubborn", "term-ignorer", &[]);
    assert_eq!(platform.get("stubborn", "/").status, 200);
    platform.cup(&["stop", "stubborn"]).succeeds();
    platform.wait_for("stubborn", "/", 404);
    eventually("its processes are gone", Duration::from_secs(30), || {
        Leftovers::of(&platform.data_dir()).supervisors.is_empty()
    });
}

#[test]
fn stop_start_and_delete_leave_nothing_behind() {
    let platform = Platform::start();
    push(&platform, "web", "python-web", &[]);
    platform.cup(&["stop", "web"]).succeeds();
    platform.wait_for("web", "/", 404);
    platform.cup(&["start", "web"]).succeeds();
    assert_eq!(platform.get("web", "/").status, 200);
    platform.cup(&["delete", "web", "-f", "-r"]).succeeds();
    platform.wait_for("web", "/", 404);
    platform.cup(&["app", "web"]).fails();
    assert!(
        !platform.cup(&["routes"]).succeeds().stdout.contains("web."),
        "its route is gone"
    );
    eventually("its containers are gone", Duration::from_secs(30), || {
        let left = Leftovers::of(&platform.data_dir());
        left.supervisors.is_empty() && left.mounts.is_empty()
    });
}

#[test]
fn apps_come_back_with_the_platform() {
    let mut platform = Platform::start();
    push(&platform, "web", "static-site", &[]);
    platform.stop();
    assert!(
        Leftovers::of(&platform.data_dir()).supervisors.is_empty(),
        "Ctrl-C stops the apps"
    );
    platform.up();
    platform.wait_for("web", "/", 200);
}

#[test]
fn routes_are_mapped_and_unmapped_while_the_app_runs() {
    let platform = Platform::start();
    push(&platform, "web", "python-web", &[]);
    let domain = platform.credential("domain");
    let before = platform.get("web", "/instance").json();
    platform
        .cup(&["map-route", "web", &domain, "-n", "second"])
        .succeeds();
    platform.wait_for("second", "/", 200);
    let after = platform.get("second", "/instance").json();
    assert_eq!(
        before["guid"], after["guid"],
        "the instance was not restarted"
    );
    platform
        .cup(&["unmap-route", "web", &domain, "-n", "second"])
        .succeeds();
    platform.wait_for("second", "/", 404);
    assert_eq!(platform.get("web", "/").status, 200);
}
