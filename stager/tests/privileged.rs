//! A real stager in a process of its own, with a real broker, real downloads and real containers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod platform;

use std::time::{Duration, Instant};

use cupola_messages::dea::Refusal;
use cupola_messages::staging::{
    AdminBuildpack, STOP, StagingFailureKind, StartAnswer, StopStaging,
};
use cupola_types::{AppGuid, MemoryMb};
use sha1::{Digest as _, Sha1};
use wiremock::matchers::{method, path};
use wiremock::{Mock, ResponseTemplate};

use platform::{Platform, app, privileged};

/// Not a test: the process that the tests start, signal and kill.
#[test]
fn stager_process() {
    platform::be_the_stager();
}

fn slow() -> Vec<u8> {
    app(&[("Procfile", "web: ./x\n"), ("package.json", "{}")])
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "it says what it measured")]
async fn privileged_a_static_site_becomes_a_droplet_quickly() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let mut times = Vec::new();
    for _ in 0..3 {
        platform.controller.reset().await;
        let started = Instant::now();
        let completed = platform.stage("static-site").await;
        times.push(started.elapsed());
        assert_eq!(completed.error_info, None, "{}", platform.log());
        assert_eq!(completed.detected_buildpack.as_deref(), Some("Static file"));
        assert_eq!(completed.buildpack_key.as_deref(), Some("staticfile"));
        let command = "./.cupola/cupola-staticfile --root .cupola/site --options Staticfile";
        assert_eq!(completed.detected_start_command.as_deref(), Some(command));
        let droplet = platform.received("static-site", "droplet").await;
        assert_eq!(
            completed.droplet_sha1,
            Some(hex::encode(Sha1::digest(droplet)))
        );
        platform.nothing_is_left().await;
    }
    println!("staging the static site took {times:?} (unoptimised)");

    let files = platform.droplet("static-site").await;
    let find = |name: &str| {
        files
            .iter()
            .find(|(path, ..)| path.trim_start_matches("./").trim_end_matches('/') == name)
    };
    for name in [
        "app/.cupola/site/index.html",
        "app/.cupola/cupola-staticfile",
        "tmp",
        "logs/staging_task.log",
    ] {
        assert!(find(name).is_some(), "{name} is not in {:?}", names(&files));
    }
    let (_, mode, _) = find("app/.cupola/cupola-staticfile").unwrap();
    assert_eq!(mode & 0o111, 0o111);
    let (_, _, info) = find("staging_info.yml").unwrap();
    assert!(
        info.contains("start_command: \"./.cupola/cupola-staticfile"),
        "{info}"
    );
    let (_, _, log) = find("logs/staging_task.log").unwrap();
    assert!(
        log.contains("-----> Adding the static file server"),
        "{log}"
    );
    platform
        .line("static-site", "-----> Static file app detected")
        .await;
    platform
        .line("static-site", "-----> Uploaded droplet")
        .await;
}

fn names(files: &[(String, u32, String)]) -> Vec<&str> {
    files.iter().map(|(name, ..)| name.as_str()).collect()
}

#[tokio::test]
async fn privileged_each_sample_is_built_by_its_buildpack() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    for (name, key, command) in [
        ("python-web", "python", "python3 server.py"),
        ("node-web", "nodejs", "node server.js"),
        ("crash-at-start", "procfile", "sh start.sh"),
        ("memory-eater", "python", "python3 eater.py"),
    ] {
        let completed = platform.stage(name).await;
        assert_eq!(completed.error_info, None, "{name}\n{}", platform.log());
        assert_eq!(completed.buildpack_key.as_deref(), Some(key), "{name}");
        assert_eq!(
            completed.detected_start_command.as_deref(),
            Some(command),
            "{name}"
        );
    }
    let files = platform.droplet("node-web").await;
    let module = "app/node_modules/@cupola/small-router/index.js";
    assert!(names(&files).contains(&module), "{:?}", names(&files));
    platform.nothing_is_left().await;
}

#[tokio::test]
async fn privileged_an_app_that_nothing_recognises_is_said_so() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let completed = platform.stage("undetectable").await;
    let failure = completed.error_info.unwrap();
    assert_eq!(failure.kind, StagingFailureKind::NoAppDetectedError);
    assert!(
        failure
            .message
            .contains("staticfile, python, nodejs, procfile, binary"),
        "{failure:?}"
    );
    assert_eq!(completed.droplet_sha1, None);
    platform
        .line(
            "undetectable",
            "Staging failed: no buildpack recognises the app",
        )
        .await;
    assert_eq!(platform.posted("/undetectable/droplet").await, None);
    platform.nothing_is_left().await;
}

#[tokio::test]
async fn privileged_failures_have_their_kind_and_their_words() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let python = |content: &str| {
        app(&[
            ("requirements.txt", content),
            ("vendor/x", ""),
            ("main.py", ""),
        ])
    };
    let cases = [
        (
            "compile",
            python("absent==1\n"),
            StagingFailureKind::BuildpackCompileFailed,
            "exit code 1",
        ),
        (
            "procfile",
            app(&[("Procfile", "web: ./x\nnonsense\n")]),
            StagingFailureKind::StagingError,
            "Procfile",
        ),
        (
            "command",
            app(&[("requirements.txt", "")]),
            StagingFailureKind::StagingError,
            "how the app starts",
        ),
        (
            "broken",
            b"this is no zip".to_vec(),
            StagingFailureKind::StagingError,
            "not a zip archive",
        ),
        (
            "upwards",
            app(&[("../evil", "x"), ("index.html", "")]),
            StagingFailureKind::StagingError,
            "leads upwards",
        ),
        (
            "empty",
            app(&[]),
            StagingFailureKind::NoAppDetectedError,
            "no buildpack",
        ),
    ];
    for (task, package, kind, words) in cases {
        platform.offer(task, package).await;
        platform.accepted(&platform.order(task)).await;
        let failure = platform.completed(task).await.error_info.unwrap();
        assert_eq!(failure.kind, kind, "{task}: {failure:?}");
        assert!(failure.message.contains(words), "{task}: {failure:?}");
    }
    // A package that is not there.
    platform.accepted(&platform.order("absent")).await;
    let failure = platform.completed("absent").await.error_info.unwrap();
    assert_eq!(
        failure.message,
        "the app package could not be downloaded: the other side answered 404 Not Found"
    );
    platform.nothing_is_left().await;
}

#[tokio::test]
async fn privileged_a_named_buildpack_is_not_asked_whether_it_wants_the_app() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    platform
        .offer("named", app(&[("program", "#!/bin/sh\n")]))
        .await;
    let mut order = platform.order("named");
    order.properties.buildpack_key = Some("binary_buildpack".to_owned());
    order.properties.meta.command = Some("./program".to_owned());
    platform.accepted(&order).await;
    let completed = platform.completed("named").await;
    assert_eq!(completed.error_info, None, "{}", platform.log());
    assert_eq!(
        (
            completed.detected_buildpack,
            completed.detected_start_command
        ),
        (None, None)
    );
    let files = platform.droplet("named").await;
    let info = files
        .iter()
        .find(|(name, ..)| name.ends_with("staging_info.yml"))
        .unwrap();
    assert!(
        info.2.contains("start_command: \"./program\""),
        "{}",
        info.2
    );
    let program = files
        .iter()
        .find(|(name, ..)| name.ends_with("app/program"))
        .unwrap();
    assert_eq!(
        program.1 & 0o100,
        0o100,
        "zips do not tell what is executable"
    );

    let mut order = platform.order("unknown");
    order.properties.buildpack_key = Some("cobol".to_owned());
    platform.accepted(&order).await;
    let failure = platform.completed("unknown").await.error_info.unwrap();
    assert!(
        failure
            .message
            .contains("no buildpack \"cobol\"; there are: staticfile"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn privileged_an_uploaded_buildpack_builds_with_a_cache() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let pack = app(&[
        (
            "bin/detect",
            "#!/bin/sh\n[ -f \"$1/wanted\" ] && echo Mine\n",
        ),
        (
            "bin/compile",
            "#!/bin/sh\ncat \"$2/count\" 2>/dev/null || echo none\necho \"$SECRET\" | wc -c\nid -u\n\
                         echo once >\"$2/count\"\necho >&2 complaint\necho 'web: from compile' >\"$1/Procfile\"\n",
        ),
        (
            "bin/release",
            "#!/bin/sh\necho 'default_process_types: {web: a, worker: b}'\n",
        ),
    ]);
    let get = Mock::given(method("GET")).and(path("/mine"));
    get.respond_with(ResponseTemplate::new(200).set_body_bytes(pack))
        .mount(&platform.controller)
        .await;
    platform.offer("cached", app(&[("wanted", "")])).await;
    let mut order = platform.order("cached");
    let url = Some(format!("{}/mine", platform.controller.uri()));
    order.admin_buildpacks = vec![
        AdminBuildpack {
            key: "python".to_owned(),
            url: None,
        },
        AdminBuildpack {
            key: "mine".to_owned(),
            url,
        },
    ];
    order.properties.environment = vec!["SECRET=12345".to_owned()];
    platform.accepted(&order).await;
    let completed = platform.completed("cached").await;
    assert_eq!(completed.error_info, None, "{}", platform.log());
    assert_eq!(completed.buildpack_key.as_deref(), Some("mine"));
    assert_eq!(completed.detected_buildpack.as_deref(), Some("Mine"));
    assert_eq!(
        completed.detected_start_command.as_deref(),
        Some("from compile")
    );
    let cache = platform.received("cached", "cache").await;
    for line in ["none", "6", "complaint"] {
        platform.line("cached", line).await;
    }
    assert!(
        !platform.lines("cached").contains(&"0".to_owned()),
        "it ran as root"
    );
    platform.nothing_is_left().await;

    // The next build finds what this one left.
    let get = Mock::given(method("GET")).and(path("/cached/cache"));
    get.respond_with(ResponseTemplate::new(200).set_body_bytes(cache))
        .mount(&platform.controller)
        .await;
    order.task_id = cupola_types::StagingTaskId::new("task-again");
    platform.accepted(&order).await;
    platform.line("cached", "once").await;
    platform.nothing_is_left().await;
}

/// A buildpack whose compile goes on until it is ended.
fn endless() -> Vec<u8> {
    app(&[
        (
            "bin/compile",
            "#!/bin/sh\ntrap '' TERM\necho begun\nsetsid sleep 1000 &\nwhile :; do sleep 1; done\n",
        ),
        ("bin/release", "#!/bin/sh\n"),
    ])
}

async fn begin_endless(platform: &Platform, task: &str, timeout: u32) {
    let get = Mock::given(method("GET")).and(path("/endless"));
    get.respond_with(ResponseTemplate::new(200).set_body_bytes(endless()))
        .mount(&platform.controller)
        .await;
    platform.offer(task, slow()).await;
    let mut order = platform.order(task);
    order.timeout = timeout;
    let url = Some(format!("{}/endless", platform.controller.uri()));
    order.admin_buildpacks = vec![AdminBuildpack {
        key: "endless".to_owned(),
        url,
    }];
    order.properties.buildpack_key = Some("endless".to_owned());
    platform.accepted(&order).await;
    platform.line(task, "begun").await;
}

#[tokio::test]
async fn privileged_a_build_without_end_is_ended_by_its_time_limit() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let started = Instant::now();
    begin_endless(&platform, "late", 2).await;
    let failure = platform.completed("late").await.error_info.unwrap();
    assert_eq!(
        failure.kind,
        StagingFailureKind::StagingTimeExpired,
        "{failure:?}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    platform.nothing_is_left().await;
}

#[tokio::test]
async fn privileged_a_stop_ends_older_builds_and_spares_the_one_that_follows() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    begin_endless(&platform, "shop", 30).await;
    let other = platform.advertised().unwrap();
    assert_eq!(other.tasks.len(), 1);

    // As the controller does it: stop, and at once the next build of the same app.
    platform
        .bus
        .publish(
            &STOP,
            &StopStaging {
                app_id: AppGuid::new("shop"),
            },
        )
        .await
        .unwrap();
    let mut order = platform.order("static-site");
    platform
        .offer(
            "static-site",
            platform::zip_of(&cupola_testkit::example("static-site")),
        )
        .await;
    order.app_id = AppGuid::new("shop");
    platform.accepted(&order).await;
    let stopped = platform.completed("shop").await.error_info.unwrap();
    assert_eq!(stopped.message, "staging was stopped");
    assert_eq!(
        platform.completed("static-site").await.error_info,
        None,
        "{}",
        platform.log()
    );
    platform.nothing_is_left().await;
}

#[tokio::test]
async fn privileged_orders_beyond_the_room_are_refused_with_a_reason() {
    if !privileged() {
        return;
    }
    let extra =
        "max_tasks = 2\nmemory = 1500\ndisk = 3000\nbuild_memory = '500M'\nbuild_disk = '500M'";
    let platform = Platform::start(extra).await;
    let refusal = async |change: fn(&mut cupola_messages::staging::StartStaging)| {
        let mut order = platform.order("refused");
        change(&mut order);
        match platform.ask(&order).await {
            StartAnswer::Refused { reason, .. } => reason,
            accepted => panic!("{accepted:?}"),
        }
    };
    assert_eq!(
        refusal(|o| o.memory_limit = MemoryMb(1501)).await,
        Refusal::NoMemory
    );
    assert_eq!(refusal(|o| o.disk_limit.0 = 3001).await, Refusal::NoDisk);
    assert_eq!(
        refusal(|o| o.stack = "lucid64".into()).await,
        Refusal::NoStack
    );
    assert_eq!(
        refusal(|o| o.properties.environment = vec!["X".into()]).await,
        Refusal::Invalid
    );
    begin_endless(&platform, "one", 30).await;
    let room = platform
        .until("one task", || {
            platform.advertised().filter(|a| a.tasks.len() == 1)
        })
        .await;
    assert_eq!(room.available_memory, MemoryMb(1000));
    begin_endless(&platform, "two", 30).await;
    assert_eq!(refusal(|_| ()).await, Refusal::Full);
    // The same order again is no second build.
    let again = platform.order("two");
    assert!(matches!(
        platform.ask(&again).await,
        StartAnswer::Accepted { .. }
    ));
    let room = platform
        .until("no room", || {
            platform.advertised().filter(|a| a.tasks.len() == 2)
        })
        .await;
    assert_eq!(room.available_memory, MemoryMb(0));
    assert!(platform.posted("/refused/completed").await.is_none());
}

#[tokio::test]
async fn privileged_a_stager_that_is_asked_to_stop_says_so_for_each_build() {
    if !privileged() {
        return;
    }
    let mut platform = Platform::start("").await;
    begin_endless(&platform, "shop", 30).await;
    let started = Instant::now();
    platform.stop_stager().await;
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
    let failure = platform.completed("shop").await.error_info.unwrap();
    assert_eq!(failure.message, "the stager is shutting down; push again");
    platform.nothing_is_left().await;
}

#[tokio::test]
async fn privileged_a_stager_that_was_killed_tells_what_it_had_taken_and_leaves_nothing() {
    if !privileged() {
        return;
    }
    let mut platform = Platform::start("").await;
    begin_endless(&platform, "shop", 30).await;
    platform.kill_stager();
    assert!(platform.posted("/shop/completed").await.is_none());
    platform.start_stager().await;
    let failure = platform.completed("shop").await.error_info.unwrap();
    assert_eq!(failure.kind, StagingFailureKind::StagingError);
    assert!(failure.message.contains("restarted"), "{failure:?}");
    platform.nothing_is_left().await;
    let completed = platform.stage("static-site").await;
    assert_eq!(completed.error_info, None, "{}", platform.log());
}

#[tokio::test]
async fn privileged_a_build_that_eats_memory_is_ended_alone() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("memory = '2G'\nbuild_memory = '64M'").await;
    let pack = app(&[(
        "bin/compile",
        "#!/usr/bin/python3\nx = []\nwhile True: x.append(bytearray(1 << 20))\n",
    )]);
    let get = Mock::given(method("GET")).and(path("/eater"));
    get.respond_with(ResponseTemplate::new(200).set_body_bytes(pack))
        .mount(&platform.controller)
        .await;
    platform.offer("eats", slow()).await;
    let mut order = platform.order("eats");
    let url = Some(format!("{}/eater", platform.controller.uri()));
    order.admin_buildpacks = vec![AdminBuildpack {
        key: "eater".to_owned(),
        url,
    }];
    order.properties.buildpack_key = Some("eater".to_owned());
    platform.accepted(&order).await;
    let failure = platform.completed("eats").await.error_info.unwrap();
    assert_eq!(
        failure.kind,
        StagingFailureKind::InsufficientResources,
        "{failure:?}"
    );
    assert_eq!(failure.message, "the build ran out of memory (limit 64 MB)");
    platform.nothing_is_left().await;
}

#[tokio::test]
async fn privileged_a_buildpack_is_cloned_from_a_git_repository() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let folder = platform.dir.path().join("repository");
    let script = "set -e\nmkdir -p work/bin && cd work && git init -q -b main .\n\
                  printf '#!/bin/sh\\necho first\\n' >bin/compile\n\
                  printf '#!/bin/sh\\necho \"default_process_types: {web: ./git}\"\\n' >bin/release\n\
                  chmod 755 bin/*\n\
                  git add . && git -c user.name=x -c user.email=x@x commit -q -m one\n\
                  printf '#!/bin/sh\\necho second\\n' >bin/compile\n\
                  git -c user.name=x -c user.email=x@x commit -q -a -m two\n\
                  cd .. && git clone -q --bare work site/pack.git\n\
                  git -C site/pack.git update-server-info\ngit -C work rev-parse HEAD~1\n";
    std::fs::create_dir(&folder).unwrap();
    let mut sh = std::process::Command::new("sh");
    let made = sh
        .args(["-c", script])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let commit = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let server = platform::file_server(&folder.join("site"));
    let url = format!("http://{}", server.address());

    for (task, suffix, said) in [
        ("newest", String::new(), "second"),
        ("older", format!("#{commit}"), "first"),
    ] {
        platform.offer(task, app(&[("x", "")])).await;
        let mut order = platform.order(task);
        order.properties.buildpack_git_url = Some(format!("{}/pack.git{suffix}", url));
        platform.accepted(&order).await;
        let completed = platform.completed(task).await;
        assert_eq!(
            completed.error_info,
            None,
            "{:?}\n{}",
            platform.lines(task),
            platform.log()
        );
        assert_eq!(completed.detected_start_command.as_deref(), Some("./git"));
        platform.line(task, said).await;
    }
    platform.offer("nowhere", app(&[("x", "")])).await;
    let mut order = platform.order("nowhere");
    order.properties.buildpack_git_url = Some(format!("{}/none.git", url));
    platform.accepted(&order).await;
    let failure = platform.completed("nowhere").await.error_info.unwrap();
    assert!(
        failure.message.contains("could not be cloned"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn privileged_a_flood_of_output_neither_stops_the_build_nor_fills_the_stager() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let flood = "#!/bin/sh\nhead -c 50000000 /dev/zero | tr '\\0' x\necho\n\
                 seq 1 300000\nhead -c 1000000 /dev/urandom\necho\necho the end\n";
    let release = "#!/bin/sh\nhead -c 10000000 /dev/zero | tr '\\0' '#'\necho\necho 'x: y'\n";
    let pack = app(&[("bin/compile", flood), ("bin/release", release)]);
    let get = Mock::given(method("GET")).and(path("/flood"));
    let answer = ResponseTemplate::new(200).set_body_bytes(pack);
    get.respond_with(answer).mount(&platform.controller).await;
    platform
        .offer("flood", app(&[("Procfile", "web: ./x\n")]))
        .await;
    let mut order = platform.order("flood");
    let url = Some(format!("{}/flood", platform.controller.uri()));
    order.admin_buildpacks = vec![AdminBuildpack {
        key: "flood".to_owned(),
        url,
    }];
    order.properties.buildpack_key = Some("flood".to_owned());
    platform.accepted(&order).await;
    let completed = platform.completed("flood").await;
    assert_eq!(completed.error_info, None, "{}", platform.log());
    let peak = platform.peak_memory_kb();
    assert!(peak < 200_000, "the stager took {peak} kB");
    platform.nothing_is_left().await;
}

#[tokio::test]
async fn privileged_the_server_of_static_sites_works_behind_the_walls_of_a_container() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let compile = "#!/bin/sh\nset -e\nmkfifo /tmp/said\n\
                   \"$CUPOLA_BUILDPACK_TOOLS/cupola-staticfile\" --root \"$1\" --port 0 >/tmp/said &\n\
                   read -r line </tmp/said\n\
                   exec python3 -c 'import sys, urllib.request as web\n\
                   print(web.urlopen(sys.argv[1]).read().decode())' \
                   \"http://127.0.0.1:${line##* }/deep/link/hello.txt\"\n";
    let release = "#!/bin/sh\necho 'default_process_types: {web: x}'\n";
    let pack = app(&[("bin/compile", compile), ("bin/release", release)]);
    let get = Mock::given(method("GET")).and(path("/serves"));
    let answer = ResponseTemplate::new(200).set_body_bytes(pack);
    get.respond_with(answer).mount(&platform.controller).await;
    let package = platform::zip_with_link(
        ("deep/real/hello.txt", "hello from inside"),
        ("deep/link", "real"),
    );
    platform.offer("serves", package).await;
    let mut order = platform.order("serves");
    let url = Some(format!("{}/serves", platform.controller.uri()));
    order.admin_buildpacks = vec![AdminBuildpack {
        key: "serves".to_owned(),
        url,
    }];
    order.properties.buildpack_key = Some("serves".to_owned());
    platform.accepted(&order).await;
    let completed = platform.completed("serves").await;
    assert_eq!(completed.error_info, None, "{:?}", platform.lines("serves"));
    platform.line("serves", "hello from inside").await;
}
