//! The program: flags, configuration file, files it writes, exit codes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::support::{QUIET, Raw, eventually};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cupola-bus");

/// Kills the process when the test is over, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    (
        output.status.success(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn config(folder: &Path, text: &str) -> String {
    let path = folder.join("bus.conf");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn serves_as_its_file_says_and_ends_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().to_str().unwrap();
    let file = config(
        folder.path(),
        "listen: 127.0.0.1:-1, http: 127.0.0.1:-1\njetstream { }\n\
         authorization { users = [ { user: joe, password: pw, permissions: { publish: foo } } ] }\n",
    );
    let pid_file = folder.path().join("bus.pid");
    let log = folder.path().join("bus.log");
    let child = Command::new(PROGRAM)
        .args([
            "-c",
            &file,
            "--ports_file_dir",
            here,
            "-P",
            pid_file.to_str().unwrap(),
        ])
        .args(["-l", log.to_str().unwrap(), "-D"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let ports = folder
        .path()
        .join(format!("cupola-bus_{}.ports", running.0.id()));
    eventually("the ports file is there", || ports.exists()).await;
    assert_eq!(
        std::fs::read_to_string(&pid_file).unwrap(),
        running.0.id().to_string()
    );
    let written: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&ports).unwrap()).unwrap();
    let url = written["nats"][0].as_str().unwrap();
    let mut raw = Raw::dial(url.strip_prefix("nats://").unwrap().parse().unwrap()).await;
    raw.send("CONNECT {\"verbose\":true,\"user\":\"joe\",\"pass\":\"pw\"}\r\nPUB bar 0\r\n\r\n")
        .await;
    raw.expect("+OK\r\n-ERR 'Permissions Violation for Publish to \"bar\"'\r\n")
        .await;
    assert!(
        written["monitoring"][0]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );

    let killed = Command::new("kill")
        .args(["-TERM", &running.0.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    raw.ends_with("").await;
    let mut status = None;
    eventually("the process ends", || {
        status = running.0.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert!(status.unwrap().success());
    assert!(!ports.exists() && !pid_file.exists());
    let log = std::fs::read_to_string(log).unwrap();
    for line in [
        "[INF] Listening for client connections on 127.0.0.1:",
        "[INF] Starting http monitor on 127.0.0.1:",
        "[INF] Server is ready",
        "[WRN] Settings without effect in this server: jetstream",
    ] {
        assert!(log.contains(line), "{line} is not in {log}");
    }
}

/// The program, and what it writes into its ports file.
async fn started(args: &[&str]) -> (Running, serde_json::Value) {
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(PROGRAM)
        .args(args)
        .args(["--ports_file_dir", folder.path().to_str().unwrap()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running(child);
    let name = format!("cupola-bus_{}.ports", running.0.id());
    let ports = folder.path().join(name);
    eventually("the ports file is there", || ports.exists()).await;
    let written = std::fs::read_to_string(&ports).unwrap();
    (running, serde_json::from_str(&written).unwrap())
}

#[tokio::test]
async fn flags_alone_are_enough() {
    let args = ["-a", "127.0.0.1", "-p", "-1", "--user=joe", "--pass=pw"];
    let (_running, ports) = started(&args).await;
    let address = ports["nats"][0].as_str().unwrap();
    let address = address.strip_prefix("nats://").unwrap();
    let mut raw = Raw::dial(address.parse().unwrap()).await;
    raw.send(QUIET).await;
    raw.ends_with("-ERR 'Authorization Violation'\r\n").await;
}

#[tokio::test]
async fn the_ports_file_names_every_address_of_a_door() {
    let (_running, written) = started(&["-p", "-1", "-m", "-1"]).await;
    for (door, scheme) in [("nats", "nats://"), ("monitoring", "http://")] {
        let urls = written[door].as_array().unwrap();
        let addresses: Vec<SocketAddr> = urls
            .iter()
            .map(|url| url.as_str().unwrap().strip_prefix(scheme).unwrap())
            .map(|address| address.parse().unwrap())
            .collect();
        let port = addresses[0].port();
        let everywhere = cupola_bus::machine::dialable(([0, 0, 0, 0], port).into());
        let loopback = |all: &[SocketAddr]| {
            let mut own = all.to_vec();
            own.retain(|it| it.ip().is_loopback());
            own
        };
        assert!(addresses.contains(&([127, 0, 0, 1], port).into()));
        assert_eq!(loopback(&addresses), loopback(&everywhere));
        for address in loopback(&addresses) {
            std::net::TcpStream::connect(address).unwrap();
        }
        assert!(addresses.iter().all(|it| it.port() == port));
    }
}

#[test]
fn mistakes_are_said_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path(), "port: 4222\n  prot: 1\n");
    let (success, _, says) = run(&["-c", &file]);
    assert!(!success);
    assert!(
        says.contains("bus.conf:2:3: unknown field \"prot\""),
        "{says}"
    );
    let file = config(folder.path(), "{\n  \"port\": : \"x\"\n}\n");
    let (success, _, says) = run(&["-c", &file]);
    assert!(
        !success && says.contains("bus.conf:2:13: Parse error on line 2: expected"),
        "{says}"
    );
    let (success, _, says) = run(&["-c", "/nowhere/at/all.conf"]);
    assert!(!success && says.contains("/nowhere/at/all.conf"), "{says}");
    let (success, _, says) = run(&["-nonsense"]);
    assert!(
        !success && says.contains("flag provided but not defined: -nonsense"),
        "{says}"
    );
    let file = config(folder.path(), "port: 4222\n");
    let (success, _, says) = run(&["-t", "-c", &file]);
    assert!(success && says.contains("is valid"), "{says}");
    let (success, says, _) = run(&["-v"]);
    assert!(success && says.starts_with("nats-server: v"), "{says}");
    assert!(run(&["--help"]).1.contains("Usage:"));
}

#[test]
fn an_address_that_is_taken_is_named_as_nats_server_does() {
    let folder = tempfile::tempdir().unwrap();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let used = format!("listen tcp {taken}: bind: address already in use");
    let port = taken.port();
    for (settings, says) in [
        (
            format!("listen: \"{taken}\""),
            format!("[FTL] Error listening on port: {taken}, \"{used}\""),
        ),
        (
            format!("http: \"{taken}\""),
            format!("[FTL] Can't start monitoring: can't listen to the monitor port: {used}"),
        ),
        (
            format!("websocket {{ listen: \"{taken}\", no_tls: true }}"),
            format!("[FTL] Unable to listen for websocket connections: {used}"),
        ),
        (
            format!("cluster {{ name: C, listen: \"{taken}\" }}"),
            format!("[FTL] Error listening on router port: {port} - {used}"),
        ),
    ] {
        let file = config(folder.path(), &settings);
        let mut arguments = vec!["-c", &file];
        if !settings.starts_with("listen") {
            arguments.extend(["-a", "127.0.0.1", "-p", "-1"]);
        }
        let (success, _, log) = run(&arguments);
        assert!(!success && log.contains(&says), "{settings}: {log}");
    }
}
