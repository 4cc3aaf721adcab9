//! A real dea in a process of its own, with a real broker, a real download and real containers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(
    clippy::print_stdout,
    reason = "a test that is skipped says so, and one prints what it measured"
)]

mod platform;

use std::time::{Duration, Instant};

use cupola_messages::dea::{
    ExitReason, FIND, FindInstances, InstanceFilter, Refusal, STATUS, STOP, StartAnswer, UPDATE,
    UpdateRoutes,
};
use cupola_messages::logs::{LogSource, LogStream};
use cupola_messages::{Nothing, router};
use cupola_types::{AppGuid, InstanceGuid, InstanceIndex, InstanceState, MemoryMb};
use nix::sys::signal::Signal;

use platform::{Platform, get, privileged};

/// Not a test: the process that the tests start, signal and kill.
#[test]
fn dea_process() {
    platform::be_the_dea();
}

fn app(name: &str) -> InstanceFilter {
    InstanceFilter::app(AppGuid::new(name))
}

/// The state of an instance in a heartbeat.
fn beat(said: &cupola_messages::dea::Heartbeat, guid: &InstanceGuid) -> Option<InstanceState> {
    said.droplets
        .iter()
        .find(|beat| beat.instance == *guid)
        .map(|beat| beat.state)
}

#[tokio::test]
async fn privileged_an_instance_starts_serves_and_stops() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let order = platform.order("shop", 2, &["GREETING=$HOME `id` \"x\""]);
    let since = platform.witness.now();
    let (guid, endpoint) = platform.running(&order).await;

    // It serves, with the environment of the contract, nothing expanded.
    assert_eq!(get(endpoint, "").await.unwrap(), "hello from 2");
    assert_eq!(
        get(endpoint, "env/GREETING").await.unwrap(),
        "$HOME `id` \"x\""
    );
    assert_eq!(get(endpoint, "env/HOME").await.unwrap(), "/home/vcap/app");
    assert_eq!(
        get(endpoint, "env/FROM_PROFILE").await.unwrap(),
        "/home/vcap/app and 2"
    );
    assert_eq!(get(endpoint, "write").await.unwrap(), "ok");
    assert!(
        get(endpoint, "cwd")
            .await
            .unwrap()
            .starts_with("/home/vcap/app 0077")
    );
    let about = get(endpoint, "env/VCAP_APPLICATION").await.unwrap();
    assert!(about.contains(guid.as_str()), "{about}");

    // It is told of: heartbeat, advertisement, log lines.
    platform
        .see(since, "RUNNING", |said| {
            (beat(&said.heartbeat()?, &guid)? == InstanceState::Running).then_some(())
        })
        .await;
    platform
        .see(since, "less room", |said| {
            (said.advertised()?.available_memory == MemoryMb(2048 - 64)).then_some(())
        })
        .await;
    platform
        .see(since, "the dea's words", |s| {
            s.says("Starting app instance (index 2)")
        })
        .await;
    platform
        .see(since, "the app's words", |said| {
            let lines = said.lines();
            let line = lines
                .iter()
                .find(|line| line.message == "listening on 8080")?;
            assert_eq!(
                (line.stream, line.source_type),
                (LogStream::Out, LogSource::App)
            );
            assert_eq!(line.source_instance, "2");
            Some(())
        })
        .await;
    platform
        .see(since, "the app's errors", |said| {
            let lines = said.lines();
            let line = lines
                .iter()
                .find(|line| line.message == "a word on stderr")?;
            (line.stream == LogStream::Err).then_some(())
        })
        .await;

    // It is found, with what it uses.
    let question = FindInstances {
        filter: app("shop"),
        include_stats: true,
        path: None,
    };
    let within = Duration::from_secs(2);
    let found = platform
        .bus
        .request_many(&FIND, &question, within, |a| !a.is_empty())
        .await
        .unwrap();
    let stats = found[0].stats.clone().unwrap();
    assert_eq!(
        (found[0].instance.clone(), found[0].index),
        (guid.clone(), InstanceIndex(2))
    );
    assert!(
        stats.usage.mem > 100_000 && stats.usage.cpu >= 0.0,
        "{stats:?}"
    );
    assert_eq!((stats.port, stats.mem_quota), (8080, 64 << 20));
    let status = platform
        .bus
        .request(&STATUS, &Nothing, within)
        .await
        .unwrap();
    assert_eq!(
        (status.reserved_memory, status.num_clients),
        (MemoryMb(64), Some(1))
    );

    // It is stopped: the routers hear of it before the app does.
    let since = platform.witness.now();
    platform.bus.publish(&STOP, &app("shop")).await.unwrap();
    let exited = platform.see(since, "the end", |said| said.exited()).await;
    assert_eq!(
        (exited.reason, exited.instance),
        (ExitReason::Stopped, guid.clone())
    );
    platform
        .see(since, "the app's last word", |said| said.says("got TERM"))
        .await;
    let unregistered = platform
        .witness
        .position(since, |said| said.unregistered().is_some());
    let last_word = platform
        .witness
        .position(since, |said| said.says("got TERM").is_some());
    assert!(unregistered.unwrap() < last_word.unwrap());
    platform
        .see(since, "an empty heartbeat", |s| {
            s.heartbeat()?.droplets.is_empty().then_some(())
        })
        .await;
    platform.no_container_is_left().await;
    platform.nothing_is_left_on_the_host().await;
}

#[tokio::test]
async fn privileged_orders_that_cannot_be_carried_out_are_refused_with_a_reason() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("max_instances = 1").await;
    let refusal = |answer| match answer {
        StartAnswer::Refused { reason, .. } => reason,
        accepted @ StartAnswer::Accepted { .. } => panic!("{accepted:?}"),
    };
    let mut order = platform.order("large", 0, &[]);
    order.limits.mem = MemoryMb(4096);
    assert_eq!(refusal(platform.ask(&order).await), Refusal::NoMemory);
    order = platform.order("bad", 0, &["no pair"]);
    assert_eq!(refusal(platform.ask(&order).await), Refusal::Invalid);
    order = platform.order("other", 0, &[]);
    order.stack = "lucid64".to_owned();
    assert_eq!(refusal(platform.ask(&order).await), Refusal::NoStack);
    platform.running(&platform.order("one", 0, &[])).await;
    assert_eq!(
        refusal(platform.ask(&platform.order("two", 0, &[])).await),
        Refusal::Full
    );
}

#[tokio::test]
async fn privileged_crashes_are_told_with_their_reason_and_others_live_on() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let (_, neighbour) = platform.running(&platform.order("neighbour", 0, &[])).await;

    // An exit of its own.
    let (guid, endpoint) = platform.running(&platform.order("quits", 0, &[])).await;
    let since = platform.witness.now();
    let _ = get(endpoint, "exit/3").await;
    let exited = platform.see(since, "the crash", |said| said.exited()).await;
    assert_eq!(
        (exited.reason, exited.instance),
        (ExitReason::Crashed, guid.clone())
    );
    assert_eq!(
        (exited.exit_status, exited.exit_description.as_str()),
        (3, "app instance exited")
    );
    assert!(exited.crash_timestamp.is_some());
    platform
        .see(since, "the unregister", |said| said.unregistered())
        .await;
    platform
        .see(since, "CRASHED", |said| {
            (beat(&said.heartbeat()?, &guid)? == InstanceState::Crashed).then_some(())
        })
        .await;

    // Too much memory.
    let (eater, endpoint) = platform.running(&platform.order("eats", 0, &[])).await;
    let since = platform.witness.now();
    let _ = get(endpoint, "eat").await;
    let exited = platform.see(since, "the crash", |said| said.exited()).await;
    assert_eq!(
        (exited.instance, exited.exit_description.as_str()),
        (eater, "out of memory")
    );
    platform
        .see(since, "the log line", |said| said.says("out of memory"))
        .await;

    // Too much disk.
    let (filler, endpoint) = platform.running(&platform.order("fills", 0, &[])).await;
    let since = platform.witness.now();
    let _ = get(endpoint, "fill").await;
    let exited = platform.see(since, "the crash", |said| said.exited()).await;
    assert_eq!(
        (exited.instance, exited.exit_description.as_str()),
        (filler, "disk quota exceeded")
    );

    // Ends while starting; never listens; has nothing to run.
    let mut never = platform.order("never", 0, &["NEVER_LISTEN=1"]);
    never.health_check_timeout = Some(1);
    let mut nothing = platform.order("nothing", 0, &[]);
    nothing.start_command = Some("exec /no/such/program".to_owned());
    let early = platform.order("early", 0, &["EXIT_AT_START=7"]);
    for (order, status, description) in [
        (
            never,
            None,
            "failed to accept connections within health check timeout",
        ),
        (nothing, Some(127), "app instance exited"),
        (early, Some(7), "app instance exited"),
    ] {
        let since = platform.witness.now();
        let guid = platform.accepted(&order).await;
        let exited = platform.see(since, "the crash", |said| said.exited()).await;
        assert_eq!(
            (exited.reason, exited.instance),
            (ExitReason::Crashed, guid)
        );
        assert_eq!(exited.exit_description, description);
        if let Some(status) = status {
            assert_eq!(exited.exit_status, status);
        }
    }

    assert_eq!(get(neighbour, "").await.unwrap(), "hello from 0");
    // A stop forgets the crash.
    let since = platform.witness.now();
    platform.bus.publish(&STOP, &app("quits")).await.unwrap();
    platform
        .see(since, "a heartbeat without the crash", |said| {
            beat(&said.heartbeat()?, &guid).is_none().then_some(())
        })
        .await;
}

#[tokio::test]
async fn privileged_a_droplet_that_cannot_be_had_is_a_failed_start() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let mut wrong = platform.order("wrong", 0, &[]);
    wrong.sha1 = "0".repeat(40);
    let mut gone = platform.order("gone", 0, &[]);
    gone.executable_uri = "http://127.0.0.1:1/x?signature=hidden".to_owned();
    gone.sha1 = "1".repeat(40);
    for order in [wrong, gone] {
        let since = platform.witness.now();
        platform.accepted(&order).await;
        let exited = platform.see(since, "the crash", |said| said.exited()).await;
        assert_eq!(exited.exit_description, "failed to start");
    }
    assert!(
        !platform.log().contains("hidden"),
        "the log shows a signed address"
    );
    platform.no_container_is_left().await;
}

#[tokio::test]
async fn privileged_one_that_ignores_term_is_killed_and_one_that_starts_can_be_stopped() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let (guid, _) = platform
        .running(&platform.order("stubborn", 0, &["IGNORE_TERM=1"]))
        .await;
    let since = platform.witness.now();
    let begun = Instant::now();
    platform.bus.publish(&STOP, &app("stubborn")).await.unwrap();
    let exited = platform.see(since, "the end", |said| said.exited()).await;
    assert_eq!(
        (exited.reason, exited.instance),
        (ExitReason::Stopped, guid)
    );
    let took = begun.elapsed();
    assert!(
        took > Duration::from_millis(2900) && took < Duration::from_secs(5),
        "{took:?}"
    );

    let since = platform.witness.now();
    let guid = platform
        .accepted(&platform.order("slow", 0, &["NEVER_LISTEN=1"]))
        .await;
    platform
        .see(since, "the start", |s| s.says("Starting app instance"))
        .await;
    platform.bus.publish(&STOP, &app("slow")).await.unwrap();
    let exited = platform.see(since, "the end", |said| said.exited()).await;
    assert_eq!(
        (exited.reason, exited.instance),
        (ExitReason::Stopped, guid)
    );
    platform.no_container_is_left().await;
}

#[tokio::test]
async fn privileged_four_copies_share_one_download_and_are_stopped_one_by_one() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let orders: Vec<_> = (0..4)
        .map(|index| platform.order("wide", index, &[]))
        .collect();
    let since = platform.witness.now();
    for order in &orders {
        platform.accepted(order).await;
    }
    let mut endpoints = Vec::new();
    for order in &orders {
        let endpoint = platform.registered(since, order).await;
        let expected = format!("hello from {}", order.index);
        assert_eq!(get(endpoint, "").await.unwrap(), expected);
        endpoints.push(endpoint);
    }
    // Each owns its files and changes none of another's.
    for path in ["write", "chmod"] {
        assert_eq!(get(endpoints[0], path).await.unwrap(), "ok");
    }
    assert_eq!(get(endpoints[0], "look").await.unwrap(), "there");
    assert_eq!(get(endpoints[1], "look").await.unwrap(), "not there");
    assert_eq!(platform.blobs.served(), 1);

    // A list that is present and empty stops nothing.
    let since = platform.witness.now();
    let nothing = InstanceFilter {
        instances: Some(Vec::new()),
        ..app("wide")
    };
    platform.bus.publish(&STOP, &nothing).await.unwrap();
    let two = InstanceFilter {
        indices: Some(vec![InstanceIndex(1), InstanceIndex(3)]),
        ..app("wide")
    };
    platform.bus.publish(&STOP, &two).await.unwrap();
    platform
        .see(since, "a heartbeat of the other two", |said| {
            let beats = said.heartbeat()?.droplets;
            let mut left: Vec<_> = beats.iter().map(|beat| beat.index.0).collect();
            left.sort_unstable();
            (left == [0, 2]).then_some(())
        })
        .await;
}

#[tokio::test]
async fn privileged_routes_change_without_a_restart_and_routers_are_told_again() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let order = platform.order("moves", 0, &[]);
    let (guid, _) = platform.running(&order).await;
    let since = platform.witness.now();
    let update = UpdateRoutes {
        droplet: order.droplet.clone(),
        uris: vec!["new.example.test".to_owned()],
        version: Some(order.version.clone()),
    };
    platform.bus.publish(&UPDATE, &update).await.unwrap();
    let added = platform
        .see(since, "the new route", |said| said.registered())
        .await;
    assert_eq!(added.uris, ["new.example.test"]);
    let removed = platform
        .see(since, "the old route", |said| said.unregistered())
        .await;
    assert_eq!(removed.uris, ["moves.example.test"]);
    assert_eq!(added.private_instance_id, removed.private_instance_id);

    let since = platform.witness.now();
    let start = router::RouterStart {
        id: "r".to_owned(),
        hosts: Vec::new(),
        minimum_register_interval_in_seconds: 20,
        prune_threshold_in_seconds: None,
    };
    platform.bus.publish(&router::START, &start).await.unwrap();
    let again = platform
        .see(since, "the registration", |said| said.registered())
        .await;
    assert_eq!(again.uris, ["new.example.test"]);
    platform
        .see(0, "the same instance", |said| {
            beat(&said.heartbeat()?, &guid)
        })
        .await;
}

#[tokio::test]
async fn privileged_a_killed_dea_adopts_what_lives_and_tells_what_died() {
    if !privileged() {
        return;
    }
    let mut platform = Platform::start("").await;
    let counting = platform.order("counts", 0, &["COUNT=1"]);
    let (lives, endpoint) = platform.running(&counting).await;
    let (dies, doomed) = platform.running(&platform.order("dies", 0, &[])).await;
    let (eats, hungry) = platform.running(&platform.order("eats", 0, &[])).await;
    let first = platform
        .see(0, "its registration", |s| s.registered())
        .await;
    platform
        .see(0, "some counting", |said| said.says("count 20"))
        .await;

    platform.dea.kill();
    assert_eq!(
        get(endpoint, "").await.unwrap(),
        "hello from 0",
        "apps do not notice"
    );
    let _ = get(doomed, "exit/9").await;
    let _ = get(hungry, "eat").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let since = platform.witness.now();
    platform.start_dea().await;

    let again = platform
        .see(since, "the registration", |said| {
            said.registered()
                .filter(|r| r.app.as_deref() == Some("counts"))
        })
        .await;
    assert_eq!(again.private_instance_id, first.private_instance_id);
    assert_eq!((again.host, again.port), (first.host, first.port));
    platform
        .see(since, "RUNNING", |said| {
            (beat(&said.heartbeat()?, &lives)? == InstanceState::Running).then_some(())
        })
        .await;
    for (guid, status, description) in [
        (&dies, Some(9), "app instance exited"),
        (&eats, None, "out of memory"),
    ] {
        let exited = platform
            .see(since, "the crash", |said| {
                said.exited().filter(|e| e.instance == *guid)
            })
            .await;
        assert_eq!(exited.reason, ExitReason::Crashed);
        assert_eq!(exited.exit_description, description);
        assert!(
            status.is_none_or(|status| status == exited.exit_status),
            "{exited:?}"
        );
    }
    assert_eq!(get(endpoint, "").await.unwrap(), "hello from 0");

    // Its log goes on: no number is missing, and only the last moment is said twice.
    let more = platform
        .see(since, "more counting", |said| number_in(&said.lines()))
        .await;
    platform
        .see(since, "much more", |said| {
            said.says(&format!("count {}", more + 100))
        })
        .await;
    let said = platform.witness.since(0);
    let said = said.iter().flat_map(|said| said.lines());
    let all = said
        .filter(|line| line.message.starts_with("count "))
        .count();
    let numbers = numbers_of(&platform);
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    let twice = all - numbers.len();
    assert!(twice < 40, "{twice} lines were said twice");

    // It is an instance like any other: it can be stopped.
    let since = platform.witness.now();
    platform.bus.publish(&STOP, &app("counts")).await.unwrap();
    let exited = platform.see(since, "the end", |said| said.exited()).await;
    assert_eq!(
        (exited.instance, exited.reason),
        (lives, ExitReason::Stopped)
    );
    platform.no_container_is_left().await;
}

/// The numbers that the counting app said, in order, each once.
fn numbers_of(platform: &Platform) -> Vec<u64> {
    let said = platform.witness.since(0);
    let lines = said.iter().flat_map(|said| said.lines());
    let numbers: std::collections::BTreeSet<u64> = lines
        .filter_map(|line| line.message.strip_prefix("count ")?.parse().ok())
        .collect();
    numbers.into_iter().collect()
}

fn number_in(lines: &[cupola_messages::logs::LogLine]) -> Option<u64> {
    lines
        .iter()
        .find_map(|line| line.message.strip_prefix("count ")?.parse().ok())
}

#[tokio::test]
async fn privileged_a_lost_snapshot_loses_no_app_and_a_kill_while_starting_loses_no_order() {
    if !privileged() {
        return;
    }
    let mut platform = Platform::start("").await;
    let (guid, endpoint) = platform.running(&platform.order("stays", 0, &[])).await;
    let slow = platform.order("slow", 0, &["LISTEN_AFTER=2"]);
    let since = platform.witness.now();
    let starting = platform.accepted(&slow).await;
    platform
        .see(since, "STARTING", |said| {
            (beat(&said.heartbeat()?, &starting)? == InstanceState::Starting).then_some(())
        })
        .await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    platform.dea.kill();
    std::fs::write(platform.dir.path().join("dea/instances.json"), "{broken").unwrap();
    let since = platform.witness.now();
    platform.start_dea().await;
    for guid in [&guid, &starting] {
        platform
            .see(since, "RUNNING", |said| {
                (beat(&said.heartbeat()?, guid)? == InstanceState::Running).then_some(())
            })
            .await;
    }
    assert_eq!(get(endpoint, "").await.unwrap(), "hello from 0");
}

#[tokio::test]
async fn privileged_what_happens_while_the_bus_is_away_is_told_when_it_is_back() {
    if !privileged() {
        return;
    }
    let mut platform = Platform::start("").await;
    let (_, counting) = platform
        .running(&platform.order("counts", 0, &["COUNT=1"]))
        .await;
    let (dies, doomed) = platform.running(&platform.order("dies", 0, &[])).await;
    platform
        .see(0, "some counting", |said| said.says("count 10"))
        .await;
    platform.broker.kill();
    let _ = get(doomed, "exit/4").await;
    assert_eq!(get(counting, "").await.unwrap(), "hello from 0");
    tokio::time::sleep(Duration::from_millis(600)).await;
    let since = platform.witness.now();
    platform.restart_broker().await;

    let exited = platform.see(since, "the crash", |said| said.exited()).await;
    assert_eq!((exited.instance, exited.exit_status), (dies, 4));
    platform
        .see(since, "the registration", |said| {
            said.registered()
                .filter(|r| r.app.as_deref() == Some("counts"))
        })
        .await;
    platform
        .see(since, "an advertisement", |said| said.advertised())
        .await;
    let more = platform
        .see(since, "more counting", |said| number_in(&said.lines()))
        .await;
    platform
        .see(since, "much more", |said| {
            said.says(&format!("count {}", more + 50))
        })
        .await;
    let numbers = numbers_of(&platform);
    // What was on its way when the broker died is gone; what came after that is not.
    let missing: Vec<_> = numbers
        .windows(2)
        .filter(|pair| pair[1] != pair[0] + 1)
        .collect();
    let lost: u64 = missing.iter().map(|pair| pair[1] - pair[0] - 1).sum();
    assert!(missing.len() <= 1 && lost < 10, "{missing:?}");
}

#[tokio::test]
async fn privileged_a_clean_stop_stops_every_instance_and_says_goodbye() {
    if !privileged() {
        return;
    }
    let mut platform = Platform::start("").await;
    let (guid, _) = platform.running(&platform.order("one", 0, &[])).await;
    platform
        .running(&platform.order("two", 0, &["IGNORE_TERM=1"]))
        .await;
    let since = platform.witness.now();
    platform.dea.signal(Signal::SIGTERM);
    platform.dea.ends(Duration::from_secs(10)).await;
    let farewell = |said: &platform::Said| matches!(said, platform::Said::Shutdown(_));
    let farewell = platform.witness.position(since, farewell);
    let unregistered = platform
        .witness
        .position(since, |said| said.unregistered().is_some());
    let exited = platform.witness.position(since, |said| {
        said.exited()
            .is_some_and(|e| e.instance == guid && e.reason == ExitReason::DeaShutdown)
    });
    assert!(farewell.unwrap() < unregistered.unwrap() && unregistered.unwrap() < exited.unwrap());
    platform
        .see(since, "the last word", |said| said.says("got TERM"))
        .await;
    platform
        .see(since, "an empty heartbeat", |s| {
            s.heartbeat()?.droplets.is_empty().then_some(())
        })
        .await;
    platform.no_container_is_left().await;
}

#[tokio::test]
async fn privileged_an_evacuation_serves_until_the_replacements_run() {
    if !privileged() {
        return;
    }
    let mut platform = Platform::start("").await;
    let (guid, endpoint) = platform.running(&platform.order("moves", 0, &[])).await;
    let since = platform.witness.now();
    platform.dea.signal(Signal::SIGUSR2);
    let exited = platform
        .see(since, "the evacuation", |said| said.exited())
        .await;
    assert_eq!(
        (exited.instance, exited.reason),
        (guid.clone(), ExitReason::DeaEvacuation)
    );
    // What it offered before it had heard the signal counts for nothing.
    let emptied = platform.witness.now();
    platform
        .see(since, "EVACUATING", |said| {
            (beat(&said.heartbeat()?, &guid)? == InstanceState::Evacuating).then_some(())
        })
        .await;
    assert_eq!(get(endpoint, "").await.unwrap(), "hello from 0");
    let answer = platform.ask(&platform.order("late", 0, &[])).await;
    assert!(
        matches!(
            answer,
            StartAnswer::Refused {
                reason: Refusal::ShuttingDown,
                ..
            }
        ),
        "{answer:?}"
    );
    platform.bus.publish(&STOP, &app("moves")).await.unwrap();
    platform.dea.ends(Duration::from_secs(10)).await;
    let advertised = platform
        .witness
        .since(emptied)
        .iter()
        .any(|s| s.advertised().is_some());
    assert!(!advertised, "a dea that is being emptied offers no room");
}

#[tokio::test]
async fn privileged_a_flood_of_lines_is_cut_and_counted() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("log_lines_per_second = 100").await;
    let (_, endpoint) = platform.running(&platform.order("loud", 0, &[])).await;
    let since = platform.witness.now();
    assert_eq!(get(endpoint, "flood").await.unwrap(), "hello from 0");
    platform
        .see(since, "the count", |said| {
            let lines = said.lines();
            let line = lines
                .iter()
                .find(|line| line.source_type == LogSource::Loggregator)?;
            line.message.contains("dropped").then_some(())
        })
        .await;
    let passed = platform
        .witness
        .since(since)
        .iter()
        .flat_map(|said| said.lines())
        .count();
    assert!(passed < 2000, "{passed} lines passed");
}

#[tokio::test]
async fn privileged_a_stop_and_a_start_take_a_moment() {
    if !privileged() {
        return;
    }
    let platform = Platform::start("").await;
    let order = platform.order("quick", 0, &[]);
    platform.running(&order).await;
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let since = platform.witness.now();
        let begun = Instant::now();
        platform.bus.publish(&STOP, &app("quick")).await.unwrap();
        platform.see(since, "the end", |said| said.exited()).await;
        let stopped = begun.elapsed();
        let (_, endpoint) = platform.running(&order).await;
        get(endpoint, "").await.unwrap();
        best = best.min(begun.elapsed());
        println!(
            "stopped after {stopped:?}, served again after {:?}",
            begun.elapsed()
        );
    }
    assert!(best < Duration::from_secs(2), "{best:?}");
}
