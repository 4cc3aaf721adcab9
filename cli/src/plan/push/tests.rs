#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::ffi::OsString;
use std::time::Duration;

use super::*;
use crate::args::Verb;
use crate::surroundings::{Terminals, TraceTo};

fn plan_in(folder: &Path, line: &str) -> anyhow::Result<PushPlan> {
    let around = Surroundings {
        home: folder.join(".cup"),
        working_dir: folder.to_owned(),
        trace: TraceTo::Nowhere,
        color: false,
        terminals: Terminals {
            stdin: false,
            stdout: false,
            stderr: false,
        },
        staging_timeout: Duration::from_secs(1),
        startup_timeout: Duration::from_secs(1),
        username: None,
        password: None,
    };
    let words = ["cup", "push"]
        .into_iter()
        .chain(line.split_whitespace())
        .map(OsString::from);
    let cli = args::parse(words, false)?.unwrap();
    let Verb::Push(typed) = cli.verb else {
        panic!("not a push")
    };
    push(*typed, &around)
}

fn plan(manifest: &str, line: &str) -> anyhow::Result<PushPlan> {
    let folder = tempfile::tempdir().unwrap();
    if !manifest.is_empty() {
        std::fs::write(folder.path().join("manifest.yml"), manifest).unwrap();
    }
    plan_in(folder.path(), line)
}

fn only(manifest: &str, line: &str) -> AppPlan {
    let plan = plan(manifest, line).unwrap();
    let [app] = plan.apps.as_slice() else {
        panic!("not one app")
    };
    app.clone()
}

fn words(manifest: &str, line: &str) -> String {
    plan(manifest, line).unwrap_err().to_string()
}

#[test]
fn flags_alone_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan_in(
        folder.path(),
        "site -p web -m 64M -k 1G -i 2 -b staticfile -c run -t 30 -u http -s cupola --no-start",
    )
    .unwrap();
    assert!(!plan.start);
    let app = &plan.apps[0];
    assert_eq!(app.path, folder.path().join("web"));
    assert_eq!(
        (app.memory, app.disk),
        (Some(MemoryMb(64)), Some(DiskMb(1024)))
    );
    assert_eq!((app.instances, app.health_timeout), (Some(2), Some(30)));
    assert_eq!(app.buildpack.as_deref(), Some("staticfile"));
    assert_eq!(app.command.as_deref(), Some("run"));
    assert_eq!(app.health, Some(Health::Http));
    assert_eq!(app.stack.as_deref(), Some("cupola"));
    assert_eq!(app.routing, Routing::Default);
}

#[test]
fn flags_win_over_the_manifest() {
    let manifest = "applications:\n- name: a\n  memory: 1G\n  instances: 3\n  host: old\n  domain: d.example.com\n";
    let app = only(manifest, "-m 64M -n new");
    assert_eq!(
        (app.name.as_str(), app.memory, app.instances),
        ("a", Some(MemoryMb(64)), Some(3))
    );
    assert_eq!(
        app.routing,
        Routing::Hosts {
            hosts: vec!["new".into()],
            domains: vec!["d.example.com".into()],
            path: String::new(),
            no_hostname: false,
        }
    );
}

#[test]
fn a_manifest_for_one_app_serves_under_another_name() {
    assert_eq!(only("name: a\nmemory: 64M\n", "b").name, "b");
    assert_eq!(
        only("name: a\nmemory: 64M\n", "b").memory,
        Some(MemoryMb(64))
    );
}

#[test]
fn an_app_is_picked_from_several_by_name() {
    let two = "applications:\n- name: a\n  memory: 1M\n- name: b\n  memory: 2M\n";
    assert_eq!(only(two, "b -i 3").memory, Some(MemoryMb(2)));
    assert_eq!(plan(two, "").unwrap().apps.len(), 2);
    assert_eq!(plan(two, "--no-start").unwrap().apps.len(), 2);
    assert!(words(two, "c").contains("none is named c"));
    assert!(words(two, "-m 64M").contains("only be used for one app"));
}

#[test]
fn nothing_to_push_is_said_in_words() {
    assert!(words("", "").contains("no app is named"));
    assert!(words("memory: 64M\n", "").contains("has no name"));
    assert!(words("name: a\n", "--no-manifest").contains("no app is named"));
}

#[test]
fn routing_follows_flags_then_manifest() {
    let exact = "name: a\nroutes:\n- route: x.example.com\n";
    for (manifest, line, routing) in [
        ("", "a", Routing::Default),
        ("", "a --no-route", Routing::Nowhere),
        ("", "a --random-route", Routing::Random { domain: None }),
        (
            "",
            "a --random-route -d d.com",
            Routing::Random {
                domain: Some("d.com".into()),
            },
        ),
        ("name: a\nno-route: true\n", "", Routing::Nowhere),
        (
            "name: a\nrandom-route: true\n",
            "",
            Routing::Random { domain: None },
        ),
        (exact, "", Routing::Exactly(vec!["x.example.com".into()])),
        (exact, "--no-route", Routing::Nowhere),
        (
            exact,
            "-d y.com --no-hostname",
            Routing::Hosts {
                hosts: vec![],
                domains: vec!["y.com".into()],
                path: String::new(),
                no_hostname: true,
            },
        ),
        (
            "name: a\nhosts: [b, c]\nhost: d\n",
            "--route-path shop",
            Routing::Hosts {
                hosts: vec!["d".into(), "b".into(), "c".into()],
                domains: vec![],
                path: "/shop".into(),
                no_hostname: false,
            },
        ),
        (
            "name: a\nno-route: true\n",
            "-n b",
            Routing::Hosts {
                hosts: vec!["b".into()],
                domains: vec![],
                path: String::new(),
                no_hostname: false,
            },
        ),
    ] {
        assert_eq!(
            only(manifest, line).routing,
            routing,
            "{manifest:?} {line:?}"
        );
    }
}

#[test]
fn contradictions_are_refused() {
    for line in [
        "a --no-route -n b",
        "a --no-route --random-route",
        "a --no-hostname -n b",
        "a -f m.yml --no-manifest",
        "a -m lots",
        "a -m 0M",
        "a -i -1",
        "a -t 0",
        "a -t 181",
        "a -u sometimes",
        "a --route-path x?y",
        "a b",
        "a --wrong",
    ] {
        let error = plan("", line).unwrap_err();
        assert!(error.is::<UsageError>(), "{line}: {error}");
    }
}

#[test]
fn default_asks_the_platform_to_choose_again() {
    let app = only("name: a\nbuildpack: x\ncommand: y\n", "-b default -c null");
    assert_eq!(
        (app.buildpack.as_deref(), app.command.as_deref()),
        (Some(""), Some(""))
    );
}

#[test]
fn variables_are_put_in() {
    let app = only(
        "name: a\nhost: ((host))\ninstances: ((n))\n",
        "--var host=www --var n=4",
    );
    assert_eq!(app.instances, Some(4));
    assert!(matches!(app.routing, Routing::Hosts { hosts, .. } if hosts == ["www"]));
    assert!(words("name: ((who))\n", "").contains("((who))"));
}

#[test]
fn an_endpoint_makes_the_health_check_http_and_another_type_drops_it() {
    let manifest = "name: a\nhealth-check-http-endpoint: /up\n";
    assert_eq!(only(manifest, "").health, Some(Health::Http));
    let app = only(manifest, "-u process");
    assert_eq!(
        (app.health, app.health_endpoint),
        (Some(Health::Process), None)
    );
}
