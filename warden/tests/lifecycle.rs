//! A container's life, from the outside.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use common::{Census, House, LONG, eventually, main_shell, ok, run, shell};
use cupola_warden::{
    Bind, ContainerState, EndReason, Event, NetworkMode, ProcessSpec, Stream, WardenError,
};

#[test]
fn privileged_runs_processes_one_after_the_other() {
    let house = House::new();
    let container = house.create("one");
    assert_eq!(ok(&container, "echo hello"), "hello\n");
    let (said, exit) = run(&container, "echo no >&2; exit 3");
    assert_eq!((said.as_str(), exit.code), ("no\n", Some(3)));
    ok(&container, "echo kept > /home/vcap/file");
    assert_eq!(ok(&container, "cat file"), "kept\n");
    let info = container.info().unwrap();
    assert_eq!(info.state, ContainerState::Active);
    assert_eq!(info.processes.len(), 4);
    container.destroy().unwrap();
    assert!(container.info().is_err());
}

#[test]
fn privileged_main_process_ends_the_container() {
    let house = House::new();
    let container = house.create("main");
    let process = container
        .run(&main_shell("echo out; echo err >&2; sleep 0.1; exit 7"))
        .unwrap();
    container.run(&shell("sleep 1000")).unwrap();
    let mut events = process.attach(0).unwrap();
    let mut seen = Vec::new();
    while let Some(event) = events.next(LONG).unwrap() {
        seen.push(event);
    }
    let Some(Event::Exited(exit)) = seen.pop() else {
        panic!("{seen:?}")
    };
    assert_eq!(exit.code, Some(7));
    let all: Vec<u8> = seen
        .iter()
        .flat_map(|event| match event {
            Event::Output { bytes, stream, .. } => {
                assert_eq!(*stream == Stream::Out, bytes.starts_with(b"out"));
                bytes.clone()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(all.len(), 8);
    let info = container.info().unwrap();
    assert_eq!(info.ended.unwrap().reason, EndReason::Exited);
}

#[test]
fn privileged_start_is_quick() {
    let house = House::new();
    let mut times = Vec::new();
    for turn in 0..20 {
        let start = Instant::now();
        let container = house.create(&format!("quick-{turn}"));
        let made = start.elapsed();
        ok(&container, "true");
        let ran = start.elapsed();
        container.destroy().unwrap();
        times.push((made, ran, start.elapsed()));
    }
    times.sort();
    assert!(times[10].0 < Duration::from_secs(1));
}

#[test]
fn privileged_term_comes_first_and_is_enough_for_the_polite() {
    let house = House::new();
    let container = house.create("polite");
    let script = "trap 'echo bye; exit 4' TERM; echo up; while :; do sleep 0.05; done";
    let process = container.run(&main_shell(script)).unwrap();
    let mut events = process.attach(0).unwrap();
    assert!(matches!(
        events.next(LONG).unwrap(),
        Some(Event::Output { .. })
    ));
    let ended = container.stop(Duration::from_secs(20)).unwrap();
    assert_eq!(ended.reason, EndReason::Stopped);
    assert_eq!(ended.main.unwrap().code, Some(4));
    let (said, _) = events.collect(100, LONG).unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("bye\n"), "{said}");
}

#[test]
fn privileged_who_ignores_term_is_killed_after_the_grace() {
    let house = House::new();
    let container = house.create("deaf");
    let script = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; sleep 1000' &); \
        sh -c 'kill -STOP $$' & while :; do sleep 1; done";
    let process = container.run(&main_shell(script)).unwrap();
    eventually("all of it runs", || {
        container.info().unwrap().stats.pids >= 4
    });
    let start = Instant::now();
    let ended = container.stop(Duration::from_millis(300)).unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(
        (ended.reason, ended.main.unwrap().signal),
        (EndReason::Stopped, Some(9))
    );
    assert_eq!(process.wait(LONG).unwrap().signal, Some(9));
    assert_eq!(container.info().unwrap().stats.pids, 0);
}

#[test]
fn privileged_what_a_main_process_leaves_behind_goes_with_it() {
    let house = House::new();
    let container = house.create("daemons");
    let script = "(setsid sleep 1000 </dev/null >/dev/null 2>&1 &); setsid sleep 1000 & exit 0";
    let process = container.run(&main_shell(script)).unwrap();
    assert!(process.wait(LONG).unwrap().success());
    let info = container.info().unwrap();
    assert_eq!((info.state, info.stats.pids), (ContainerState::Ended, 0));
    let refused = container.run(&shell("true")).unwrap_err();
    assert!(matches!(refused, WardenError::Refused { .. }), "{refused}");
}

#[test]
fn privileged_a_job_may_leave_something_running() {
    let house = House::new();
    let container = house.create("jobs");
    // It holds the pipe open; the job is over all the same.
    let (said, exit) = run(&container, "sleep 1000 & echo started");
    assert_eq!((said.as_str(), exit.code), ("started\n", Some(0)));
    assert_eq!(container.info().unwrap().stats.pids, 1);
    let ended = container.stop(Duration::from_secs(20)).unwrap();
    assert_eq!((ended.reason, ended.main), (EndReason::Stopped, None));
}

#[test]
fn privileged_signals_arrive() {
    let house = House::new();
    let container = house.create("signals");
    let script = "trap 'echo got it; exit 0' USR1; echo up; while :; do sleep 0.05; done";
    let process = container.run(&shell(script)).unwrap();
    let mut events = process.attach(0).unwrap();
    events.next(LONG).unwrap();
    process.signal(nix::libc::SIGUSR1).unwrap();
    let (said, exit) = events.collect(100, LONG).unwrap();
    // The whole group hears it, so the shell may say a word about its child as well.
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("got it\n") && exit.success(), "{said}");
    assert!(matches!(
        process.signal(15),
        Err(WardenError::Refused { .. })
    ));
}

#[test]
fn privileged_a_failure_names_its_step_and_leaves_nothing() {
    let house = House::new();
    let empty = Census::take(house.dir.path());
    let mut spec = house.spec("bad");
    spec.binds.push(Bind::read_only("/no/such/folder", "/x"));
    let error = house.depot.create(spec).unwrap_err();
    let WardenError::Start { step, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(step, "bind /no/such/folder");
    eventually("nothing is left", || {
        Census::take(house.dir.path()) == empty
    });

    let container = house.create("bad");
    let run = |spec: ProcessSpec| container.run(&spec).unwrap_err().to_string();
    let missing = run(ProcessSpec::new(["no-such-program"]));
    assert!(
        missing.contains("exec no-such-program") && missing.contains("No such"),
        "{missing}"
    );
    let folder = run(ProcessSpec {
        cwd: "/nowhere".into(),
        ..shell("true")
    });
    assert!(folder.contains("enter /nowhere"), "{folder}");
    let rights = run(ProcessSpec::new(["/etc/passwd"]));
    assert!(rights.contains("Permission denied"), "{rights}");
    // And the container is as good as before.
    ok(&container, "true");
    assert!(matches!(
        house.depot.create(house.spec("bad")),
        Err(WardenError::Exists(_))
    ));
    container.destroy().unwrap();
    container.destroy().unwrap();
    eventually("nothing is left", || {
        Census::take(house.dir.path()) == empty
    });
}

#[test]
fn privileged_the_environment_is_what_was_asked_for() {
    let house = House::new();
    let container = house.with("env", |spec| {
        spec.env = vec![
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), "1".to_owned()),
        ];
        spec.hostname = "some.host".to_owned();
    });
    let mut spec = shell("echo $A $B $(hostname) $(umask) $PWD; echo \"$BIG\" | wc -c");
    spec.env = vec![
        ("B".to_owned(), "2".to_owned()),
        ("BIG".to_owned(), "x".repeat(100_000)),
    ];
    spec.umask = 0o077;
    spec.cwd = "/tmp".into();
    let process = container.run(&spec).unwrap();
    let (said, _) = process.attach(0).unwrap().collect(1000, LONG).unwrap();
    assert_eq!(
        String::from_utf8(said).unwrap(),
        "1 2 some.host 0077 /tmp\n100001\n"
    );
}

#[test]
fn privileged_binds_appear_with_the_access_that_was_given() {
    let house = House::new();
    let shared = tempfile::tempdir().unwrap();
    std::fs::set_permissions(shared.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::write(shared.path().join("file"), "from the host").unwrap();
    let container = house.with("binds", |spec| {
        spec.binds = vec![
            Bind::read_only(shared.path(), "/ro/deep/down"),
            Bind::read_write(shared.path(), "/rw"),
            Bind::read_only(shared.path().join("file"), "/one-file"),
        ];
    });
    assert_eq!(
        ok(&container, "cat /ro/deep/down/file /one-file"),
        "from the host".repeat(2)
    );
    let (said, exit) = run(&container, "touch /ro/deep/down/new");
    assert!(!exit.success() && said.contains("Read-only"), "{said}");
    ok(&container, "touch /rw/new");
    assert!(shared.path().join("new").exists());
}

#[test]
fn privileged_ten_at_once() {
    let house = House::new();
    let empty = Census::take(house.dir.path());
    std::thread::scope(|scope| {
        for number in 0..10 {
            let house = &house;
            scope.spawn(move || {
                let container = house.with(&format!("many-{number}"), |spec| {
                    spec.network = NetworkMode::Isolated;
                });
                assert_eq!(ok(&container, "echo $((6*7))"), "42\n");
                container.destroy().unwrap();
            });
        }
    });
    eventually("nothing is left", || {
        Census::take(house.dir.path()) == empty
    });
}

#[test]
fn privileged_what_the_machine_can_do_is_found_out() {
    let house = House::new();
    let facilities = cupola_warden::probe(&common::config(house.dir.path())).unwrap();
    facilities.require().unwrap();
    for name in [
        "memory limit",
        "process limit",
        "overlay file systems",
        "network cables",
    ] {
        assert!(facilities.has(name), "{facilities:?}");
    }
    assert!(!facilities.has("teleportation"));
    assert_eq!(Census::take(house.dir.path()).supervisors, 0);
}

#[test]
fn privileged_layers_are_shared_and_belong_to_each_containers_user() {
    let house = House::new();
    let layer = tempfile::tempdir().unwrap();
    let app = layer.path().join("home/vcap/app");
    std::fs::create_dir_all(&app).unwrap();
    std::fs::write(app.join("file"), "from the layer").unwrap();
    std::fs::write(layer.path().join("home/vcap/note"), "lower").unwrap();
    let above = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(above.path().join("home/vcap")).unwrap();
    std::fs::write(above.path().join("home/vcap/note"), "upper").unwrap();
    let make = |id: &str| {
        house.with(id, |spec| {
            spec.layers = vec![above.path().to_owned(), layer.path().to_owned()];
        })
    };
    let (one, two) = (make("layers-one"), make("layers-two"));
    for container in [&one, &two] {
        assert_eq!(
            ok(container, "stat -c %U app app/file; cat note"),
            "vcap\nvcap\nupper"
        );
    }
    ok(
        &one,
        "echo changed > app/file && chmod 700 app && touch app/new && rm note",
    );
    assert_eq!(ok(&one, "cat app/file; ls"), "changed\napp\n");
    assert_eq!(ok(&two, "cat app/file; ls app"), "from the layerfile\n");
    let mounts = ok(&one, "cat /proc/self/mountinfo");
    assert!(!mounts.contains(layer.path().to_str().unwrap()), "{mounts}");
    let outside = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(app).unwrap());
    assert_eq!(outside, 0);
}

#[test]
fn privileged_an_empty_depot_leaves_nothing_in_the_machine() {
    let house = House::new();
    let prefix = common::claim_prefix(house.dir.path());
    let slot = prefix.trim_start_matches("wt").to_owned();
    let claim = std::path::PathBuf::from(format!("/run/cupola/slot-{slot}"));
    let group = std::path::PathBuf::from(format!("/sys/fs/cgroup/memory/cupola/{prefix}"));
    house.create("brief").destroy().unwrap();
    assert!(claim.exists() && group.exists());
    let dir = house
        .dir
        .path()
        .join("depot")
        .to_string_lossy()
        .into_owned();
    drop(house);
    let still_ours = std::fs::read_to_string(&claim).is_ok_and(|text| text.contains(&dir));
    assert!(!still_ours);
}
