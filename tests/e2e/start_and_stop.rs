//! `cupola up`, `status`, `credentials`, Ctrl-C and coming back.

use std::process::Command;
use std::time::Duration;

use cupola_testkit::{Options, Platform, eventually, program};

#[test]
fn every_role_is_a_healthy_process_and_stops_on_interrupt() {
    let mut platform = Platform::start();
    let roles = platform.roles();
    assert!(roles.len() >= 7, "{roles:?}");
    let mut pids = Vec::new();
    for role in &roles {
        let status = platform.role(role);
        assert_eq!(status.health, "healthy", "{role}");
        assert_eq!(status.restarts, 0, "{role}");
        pids.push(status.pid.unwrap());
    }
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), roles.len(), "one process a role");

    platform.stop();
    for pid in pids {
        assert!(
            !std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "{pid} still runs"
        );
    }
}

#[test]
fn roles_run_as_users_of_their_own_and_cannot_read_each_other_s_secrets() {
    use std::os::unix::fs::MetadataExt as _;
    let platform = Platform::start();
    let uid = |role: &str| {
        let pid = platform.role(role).pid.unwrap();
        std::fs::metadata(format!("/proc/{pid}")).unwrap().uid()
    };
    let roles = platform.roles();
    let unprivileged: Vec<&str> = roles
        .iter()
        .map(String::as_str)
        .filter(|r| !["dea", "stager"].contains(r))
        .collect();
    let mut uids: Vec<u32> = unprivileged.iter().map(|role| uid(role)).collect();
    assert!(uids.iter().all(|uid| *uid != 0), "{uids:?}");
    uids.sort_unstable();
    uids.dedup();
    assert_eq!(uids.len(), unprivileged.len());
    assert_eq!((uid("dea"), uid("stager")), (0, 0));
    for role in &unprivileged {
        let config = platform.data_dir().join(format!("config/{role}.toml"));
        let metadata = std::fs::metadata(config).unwrap();
        assert_eq!(
            (metadata.mode() & 0o777, metadata.uid()),
            (0o600, uid(role)),
            "{role}"
        );
    }
}

#[test]
fn a_second_platform_runs_beside_the_first() {
    let first = Platform::start();
    let second = Platform::start();
    for platform in [&first, &second] {
        platform.cup(&["apps"]).succeeds();
    }
    assert_ne!(first.credential("api"), second.credential("api"));
}

#[test]
fn a_folder_is_used_by_one_platform_at_a_time() {
    let platform = Platform::start();
    let output = Command::new(program("cupola"))
        .args(["up", "--http", "127.0.0.1:0", "--data-dir"])
        .arg(platform.data_dir())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(
        said.contains("another `cupola up`") && said.contains("--data-dir"),
        "{said}"
    );
}

#[test]
fn without_root_one_line_says_what_is_needed_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let copy = std::env::temp_dir().join(format!("cupola-{}", std::process::id()));
    std::fs::copy(program("cupola"), &copy).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&copy)
        .args(["up", "--data-dir"])
        .arg(&data)
        .output()
        .unwrap();
    std::fs::remove_file(&copy).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("root") && said.contains("namespaces"),
        "{said}"
    );
}

#[test]
fn a_mistake_in_the_settings_names_file_key_and_the_nearest_right_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let up = |settings: &str| {
        std::fs::write(data.join("cupola.toml"), settings).unwrap();
        let output = Command::new(program("cupola"))
            .args(["up", "--http", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(64));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = up("[cupola]\ndomian = \"example.test\"\n");
    assert!(
        said.contains("cupola.toml") && said.contains("`domain`"),
        "{said}"
    );
    let said = up("[deaa]\nzone = \"z1\"\n");
    assert!(said.contains("[deaa]") && said.contains("[dea]"), "{said}");
}

#[test]
fn everything_is_as_it_was_after_a_restart() {
    let mut platform = Platform::start();
    let password = platform.credential("password");
    let api = platform.credential("api");
    platform.cup(&["create-space", "kept"]).succeeds();
    platform.stop();
    platform.up();
    assert_eq!(platform.credential("password"), password);
    assert_eq!(platform.credential("api"), api, "clients keep their target");
    platform.cup(&["spaces"]).succeeds().says("kept");
}

#[test]
fn a_killed_role_is_started_again_and_refuses_no_connection() {
    let platform = Platform::start();
    let api = platform.address("cloud_controller", "api");
    let before = platform.role("cloud_controller").pid.unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(before),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    // The supervisor holds the socket: this request waits in it for the next process.
    let get = cupola_testkit::HttpRequest {
        method: "GET",
        host: "api",
        path: "/v2/info",
        headers: &[],
        body: &[],
    };
    eventually("the request is answered", Duration::from_secs(20), || {
        cupola_testkit::request(api, &get).is_ok_and(|answer| answer.status == 200)
    });
    eventually("it is counted", Duration::from_secs(20), || {
        platform.role("cloud_controller").restarts == 1
    });
}

#[test]
fn roles_do_not_outlive_a_killed_supervisor() {
    let mut platform = Platform::start_with(Options::default());
    let pid = platform.role("router").pid.unwrap();
    platform.kill();
    eventually("the router is gone", Duration::from_secs(10), || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
    platform.up();
    platform.cup(&["apps"]).succeeds();
}
