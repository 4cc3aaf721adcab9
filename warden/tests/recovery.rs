//! Daemons and supervisors that die at the wrong moment.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may")]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use common::{Census, House, LONG, config, eventually, main_shell, ok, pause, shell};
use cupola_warden::{
    Container, ContainerId, ContainerSpec, ContainerState, Depot, EndReason, Event, Limits,
    NetworkMode, Recovered, WardenError,
};

const DEPOT: &str = "WARDEN_TEST_DEPOT";
const SCRIPT: &str = "WARDEN_TEST_SCRIPT";
const LINGER: &str = "WARDEN_TEST_LINGER";

/// The daemon of these tests: this binary again, to be killed. Does nothing in a normal test run.
#[test]
fn daemon() {
    let Ok(dir) = std::env::var(DEPOT) else {
        return;
    };
    let depot = Depot::open(config(Path::new(&dir))).unwrap();
    let Ok(script) = std::env::var(SCRIPT) else {
        return make_without_end(&depot);
    };
    let mut spec = spec("kept");
    spec.properties.insert("note".to_owned(), "mine".to_owned());
    spec.linger_seconds = std::env::var(LINGER).map_or(900, |text| text.parse().unwrap());
    let container = depot.create(spec).unwrap();
    container.run(&main_shell(&script)).unwrap();
    println!("\nmade");
    pause(Duration::from_secs(600));
}

/// Makes and destroys containers until it is killed.
fn make_without_end(depot: &Depot) {
    println!("\nmade");
    for turn in 0.. {
        let container = depot.create(spec(&format!("c{turn}"))).unwrap();
        container.run(&main_shell("sleep 1000")).unwrap();
        if turn % 3 == 0 {
            container.destroy().unwrap();
        }
    }
}

fn spec(id: &str) -> ContainerSpec {
    let mut spec = ContainerSpec::new(ContainerId::new(id).unwrap());
    spec.network = NetworkMode::Isolated;
    spec.limits = Limits {
        memory_bytes: Some(64 << 20),
        pids: 64,
        ..Limits::default()
    };
    spec
}

/// Starts the daemon and waits until its container is there.
fn start_daemon(dir: &Path, vars: &[(&str, &str)]) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "daemon", "--nocapture"])
        .env(DEPOT, dir)
        .envs(vars.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let made = lines.any(|line| line.unwrap() == "made");
    if !made {
        let status = child.wait();
        panic!("the daemon did not make its container: {status:?}");
    }
    child
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn only(mut found: Vec<Recovered>) -> Recovered {
    assert_eq!(found.len(), 1, "{found:?}");
    found.pop().unwrap()
}

fn destroy_all(depot: &Depot) {
    for id in depot.ids().unwrap() {
        depot.container(&id).unwrap().destroy().unwrap();
    }
    assert!(depot.wait_for_trash(LONG));
}

#[test]
fn privileged_containers_outlive_their_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let script = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done";
    kill(start_daemon(dir.path(), &[(SCRIPT, script)]));
    let depot = Depot::open(config(dir.path())).unwrap();
    let Recovered::Attached { container, info } = only(depot.recover().unwrap()) else {
        panic!("not attached")
    };
    assert_eq!(info.state, ContainerState::Active);
    assert_eq!(info.properties["note"], "mine");
    assert!(container.address().is_some());
    // From where somebody left off, nothing twice and nothing missing.
    let process = container.process(info.processes[0].id);
    let (mut all, mut next) = (Vec::new(), 0);
    for _ in 0..3 {
        let mut events = process.attach(next).unwrap();
        for _ in 0..5 {
            match events.next(LONG).unwrap().unwrap() {
                Event::Output { seq, bytes, .. } => {
                    assert_eq!(seq, next);
                    next += bytes.len() as u64;
                    all.extend(bytes);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let said = String::from_utf8(all).unwrap();
    let complete = said.rsplit_once('\n').unwrap().0;
    for (line, number) in complete.lines().zip(0..) {
        assert_eq!(line, number.to_string());
    }
    ok(&container, "true");
    destroy_all(&depot);
    let nothing = Census {
        cgroups: 0,
        mounts: 0,
        interfaces: 0,
        supervisors: 0,
    };
    eventually("nothing is left", || Census::take(dir.path()) == nothing);
}

#[test]
fn privileged_an_end_while_nobody_looked_is_told_with_its_output() {
    let dir = tempfile::tempdir().unwrap();
    kill(start_daemon(
        dir.path(),
        &[(SCRIPT, "sleep 0.2; echo last words; exit 5")],
    ));
    let depot = Depot::open(config(dir.path())).unwrap();
    let Recovered::Attached { container, info } = only(depot.recover().unwrap()) else {
        panic!("not attached")
    };
    let process = container.process(info.processes[0].id);
    let (said, exit) = process.attach(0).unwrap().collect(100, LONG).unwrap();
    assert_eq!(
        (said.as_slice(), exit.code),
        (&b"last words\n"[..], Some(5))
    );
    let ended = container.stop(Duration::ZERO).unwrap();
    assert_eq!(ended.reason, EndReason::Exited);
    destroy_all(&depot);
}

#[test]
fn privileged_an_end_is_told_even_when_the_supervisor_has_left() {
    let dir = tempfile::tempdir().unwrap();
    kill(start_daemon(
        dir.path(),
        &[(SCRIPT, "sleep 0.2; exit 5"), (LINGER, "0")],
    ));
    let depot = Depot::open(config(dir.path())).unwrap();
    eventually("the supervisor has left", || {
        Census::take(dir.path()).supervisors == 0
    });
    let Recovered::Exited {
        container,
        ended,
        properties,
    } = only(depot.recover().unwrap())
    else {
        panic!("not exited")
    };
    assert_eq!(ended.reason, EndReason::Exited);
    assert_eq!(ended.main.unwrap().code, Some(5));
    assert_eq!(properties["note"], "mine");
    container.destroy().unwrap();
    destroy_all(&depot);
}

#[test]
fn privileged_nothing_outlives_its_supervisor() {
    let house = House::new();
    let empty = Census::take(house.dir.path());
    let container = house.depot.create(spec("doomed")).unwrap();
    let script = "(setsid sleep 1000 &) ; trap '' TERM HUP; sleep 1000";
    let process = container.run(&main_shell(script)).unwrap();
    eventually("all of it runs", || {
        container.info().unwrap().stats.pids >= 3
    });
    let info = container.info().unwrap();
    let inside: Vec<String> = cgroup_members(house.dir.path(), "doomed");
    assert!(inside.len() >= 3, "{inside:?}");
    let mut events = process.attach(0).unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(info.supervisor_pid).unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    assert!(matches!(events.next(LONG), Err(WardenError::Lost { .. })));
    eventually("everything inside is gone", || {
        inside
            .iter()
            .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    });
    assert!(matches!(container.info(), Err(WardenError::Lost { .. })));
    let Recovered::Lost { id, .. } = only(house.depot.recover().unwrap()) else {
        panic!("not lost")
    };
    assert_eq!(id.as_str(), "doomed");
    eventually("nothing is left", || {
        Census::take(house.dir.path()) == empty
    });
    // Its place can be used again.
    house
        .depot
        .create(spec("doomed"))
        .unwrap()
        .destroy()
        .unwrap();
}

fn cgroup_members(dir: &Path, id: &str) -> Vec<String> {
    let group = format!("cupola/{}/{id}/cgroup.procs", common::claim_prefix(dir));
    let memory = Path::new("/sys/fs/cgroup/memory").join(group);
    std::fs::read_to_string(memory)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn privileged_a_daemon_killed_at_any_moment_leaves_nothing_unaccounted() {
    let dir = tempfile::tempdir().unwrap();
    for turn in 0..12 {
        let daemon = start_daemon(dir.path(), &[]);
        pause(Duration::from_millis(7 * turn + 1));
        kill(daemon);
        let depot = Depot::open(config(dir.path())).unwrap();
        for found in depot.recover().unwrap() {
            match found {
                Recovered::Attached { container, info } => {
                    // It works, or it is on its way out: the daemon had asked for that, or did not
                    // live to hear that its process runs, which then belongs to nobody.
                    let works = info.state == ContainerState::Active
                        && container.run(&shell("true")).is_ok_and(|process| {
                            process.wait(LONG).is_ok_and(|exit| exit.success())
                        });
                    if !works {
                        eventually("it has ended", || {
                            container.info().is_ok_and(|info| info.ended.is_some())
                                || container.info().is_err()
                        });
                    }
                }
                // It was killed while it destroyed one.
                Recovered::Exited { ended, .. } => assert_eq!(ended.reason, EndReason::Stopped),
                Recovered::Lost { .. } => {}
            }
        }
        destroy_all(&depot);
        depot.sweep().unwrap();
        let nothing = Census {
            cgroups: 0,
            mounts: 0,
            interfaces: 0,
            supervisors: 0,
        };
        eventually("nothing is left", || Census::take(dir.path()) == nothing);
        let left: Vec<_> = std::fs::read_dir(dir.path().join("depot"))
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name())
            .filter(|name| !name.to_string_lossy().starts_with('.'))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn privileged_a_sweep_takes_what_belongs_to_nobody_and_nothing_else() {
    let house = House::new();
    let empty = Census::take(house.dir.path());
    let kept = house.depot.create(spec("kept")).unwrap();
    kept.run(&main_shell("sleep 1000")).unwrap();
    let lost = house.depot.create(spec("lost")).unwrap();
    lost.run(&main_shell("sleep 1000")).unwrap();
    // The worst: somebody removed the folder of a container that runs.
    std::fs::remove_dir_all(lost.dir()).unwrap();
    std::fs::create_dir(house.dir.path().join("depot/half-made")).unwrap();
    let swept = house.depot.sweep().unwrap();
    assert_eq!(
        (swept.supervisors, swept.cgroups, swept.folders),
        (1, 1, 1),
        "{swept:?}"
    );
    ok(&kept, "true");
    kept.destroy().unwrap();
    eventually("nothing is left", || {
        Census::take(house.dir.path()) == empty
    });
    assert_eq!(
        house.depot.sweep().unwrap(),
        cupola_warden::Swept::default()
    );
}

#[test]
fn privileged_a_depot_has_one_owner_and_its_own_names() {
    let one = House::new();
    let error = Depot::open(config(one.dir.path())).unwrap_err();
    assert!(matches!(error, WardenError::Busy { .. }), "{error}");
    let two = House::new();
    let (a, b) = (
        one.depot.create(spec("same")).unwrap(),
        two.depot.create(spec("same")).unwrap(),
    );
    assert_ne!(a.address(), b.address());
    assert_ne!(a.uid(), b.uid());
    // Sweeping one does nothing to the other.
    two.depot.sweep().unwrap();
    let alive = |container: &Container| ok(container, "hostname") == "same\n";
    assert!(alive(&a) && alive(&b));
    b.destroy().unwrap();
    assert!(alive(&a));
}

#[test]
fn privileged_a_depot_keeps_its_names_when_it_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    kill(start_daemon(dir.path(), &[(SCRIPT, "sleep 1000")]));
    let before = common::claim_prefix(dir.path());
    // Another depot opens meanwhile: what lives keeps its claim though nobody holds it.
    let other = House::new();
    assert_ne!(common::claim_prefix(other.dir.path()), before);
    let depot = Depot::open(config(dir.path())).unwrap();
    assert_eq!(common::claim_prefix(dir.path()), before);
    depot.recover().unwrap();
    let new = depot.create(spec("new")).unwrap();
    let old = depot.container(&ContainerId::new("kept").unwrap()).unwrap();
    assert_ne!(new.address(), old.address());
    ok(&old, "true");
    new.run(&shell("true")).unwrap();
    destroy_all(&depot);
}
