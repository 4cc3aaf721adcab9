//! What operators do to a running program: signals, reloads, log files, and leaving in lame duck mode.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::support::{QUIET, Raw, eventually};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cupola-bus");
/// Of a client that understands INFO at any time.
const MODERN: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"protocol\":1,\"name\":\"joe\",\"lang\":\"raw\",\
     \"version\":\"1.0\"}\r\n";

/// A program that runs on a configuration file of its own, and is gone when the test is.
struct Program {
    child: Child,
    folder: tempfile::TempDir,
}

impl Program {
    async fn start(config: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().to_str().unwrap().to_owned();
        std::fs::write(folder.path().join("bus.conf"), config).unwrap();
        let child = Command::new(PROGRAM)
            .current_dir(&here)
            .args(["-c", "bus.conf", "-l", "bus.log", "-P", "bus.pid"])
            .args(["--ports_file_dir", &here])
            .args(arguments)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let program = Program { child, folder };
        eventually("the program is ready", || {
            program.log().contains("Server is ready")
        })
        .await;
        program
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("bus.log")).unwrap_or_default()
    }

    async fn logs(&self, line: &str) {
        let deadline = tokio::time::Instant::now() + super::support::PATIENCE;
        while !self.log().contains(line) {
            let log = self.log();
            assert!(
                tokio::time::Instant::now() < deadline,
                "{line:?} never came: {log}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    async fn client(&self, hello: &str) -> Raw {
        let ports = self.path(&format!("cupola-bus_{}.ports", self.child.id()));
        let ports = std::fs::read_to_string(ports).unwrap();
        let ports: serde_json::Value = serde_json::from_str(&ports).unwrap();
        let url = ports["nats"][0].as_str().unwrap();
        let mut raw = Raw::dial(url.strip_prefix("nats://").unwrap().parse().unwrap()).await;
        raw.send(hello).await;
        raw.sync().await;
        raw
    }

    /// Through the program itself, as people do it.
    fn signal(&self, name: &str) {
        let pid_file = self.path("bus.pid");
        let told = Command::new(PROGRAM)
            .arg("--signal")
            .arg(format!("{name}={}", pid_file.display()))
            .status()
            .unwrap();
        assert!(told.success());
    }

    fn reconfigure(&self, config: &str) {
        std::fs::write(self.path("bus.conf"), config).unwrap();
        self.signal("reload");
    }

    async fn ends(mut self) {
        let mut status = None;
        eventually("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        assert!(status.unwrap().success(), "{status:?}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn lame_duck_mode_tells_clients_and_sends_them_away_one_by_one() {
    let program = Program::start(
        "listen: 127.0.0.1:-1, client_advertise: \"here:1\"\n\
         disable_short_first_ping: true\n\
         lame_duck_duration: 30s, lame_duck_grace_period: 0s",
        &[],
    )
    .await;
    let mut one = program.client(MODERN).await;
    let mut other = program.client(MODERN).await;
    let mut old = program.client(QUIET).await;
    assert_eq!(
        (&one.info["host"], &one.info["port"]),
        (&"here".into(), &1.into())
    );
    assert!(one.info["connect_urls"].is_null());
    let address = one.socket.peer_addr().unwrap();
    program.signal("ldm");
    for client in [&mut one, &mut other] {
        let line = client.line().await;
        let info: serde_json::Value =
            serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
        assert_eq!(info["ldm"], true);
        assert!(info["connect_urls"].is_null(), "{line}");
    }
    program.logs("Entering lame duck mode").await;
    eventually("nobody new is let in", || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    // One is sent away at a time, with a pause between: in between the program takes no hint.
    program.signal("term");
    let began = std::time::Instant::now();
    one.ends_with("").await;
    other.ends_with("").await;
    old.ends_with("").await;
    assert!(began.elapsed().as_millis() > 500, "all at once");
    program.logs("[INF] Initiating Shutdown...").await;
    program.logs("[INF] Server Exiting..").await;
    program.ends().await;
}

#[tokio::test]
async fn a_reload_changes_limits_and_log_without_losing_anybody() {
    let program = Program::start("listen: 127.0.0.1:-1, max_payload: 1000", &[]).await;
    let mut client = program.client(MODERN).await;
    assert_eq!(client.info["max_payload"], 1000);
    program.reconfigure("listen: 127.0.0.1:-1, max_payload: 5, debug: true");
    let line = client.line().await;
    let info: serde_json::Value =
        serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
    assert_eq!(info["max_payload"], 5);
    program.logs("[INF] Reloaded: max_payload = 5").await;
    program.logs("[INF] Reloaded: debug = true").await;
    program.logs("[INF] Reloaded server configuration").await;
    client
        .send("PUB a 5\r\nhello\r\nPUB a 6\r\nhello!\r\n")
        .await;
    client
        .ends_with("-ERR 'Maximum Payload Violation'\r\n")
        .await;
    program.logs("[DBG] 127.0.0.1:").await;
}

#[tokio::test]
async fn who_came_last_goes_when_fewer_may_stay() {
    let program = Program::start("listen: 127.0.0.1:-1", &[]).await;
    let mut first = program.client(QUIET).await;
    let mut last = program.client(QUIET).await;
    program.reconfigure("listen: 127.0.0.1:-1, max_connections: 1");
    last.ends_with("-ERR 'maximum connections exceeded'\r\n")
        .await;
    first.sync().await;
    program.logs("Closed 1 connections to fall within").await;
}

#[tokio::test]
async fn a_port_from_the_system_may_be_named_later() {
    let file = |clients: &str, peers: &str, websockets: &str, max: usize| {
        format!(
            "listen: \"127.0.0.1:{clients}\", max_payload: {max}\n\
             cluster {{ name: c, listen: \"127.0.0.1:{peers}\" }}\n\
             websocket {{ listen: \"127.0.0.1:{websockets}\", no_tls: true }}\n"
        )
    };
    let program = Program::start(&file("-1", "-1", "-1", 1000), &[]).await;
    let ports = program.path(&format!("cupola-bus_{}.ports", program.child.id()));
    let ports: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(ports).unwrap()).unwrap();
    let port = |door: &str| {
        let url = ports[door][0].as_str().unwrap();
        url.rsplit_once(':').unwrap().1.to_owned()
    };
    let (clients, peers, websockets) = (port("nats"), port("cluster"), port("websocket"));
    program.reconfigure(&file(&clients, &peers, &websockets, 2000));
    program.logs("Reloaded: max_payload = 2000").await;
    program.reconfigure(&file("-1", &peers, "-1", 3000));
    program.logs("Reloaded: max_payload = 3000").await;
    for (file, field) in [
        (file(&peers, &peers, "-1", 4000), "Port"),
        (file("-1", &clients, "-1", 4000), "cluster host and port"),
        (file("-1", "-1", &clients, 4000), "Websocket"),
    ] {
        program.reconfigure(&file);
        program
            .logs(&format!("config reload not supported for {field}: old="))
            .await;
    }
}

#[tokio::test]
async fn headers_are_not_turned_off_under_those_who_use_them() {
    let program = Program::start("listen: 127.0.0.1:-1, no_header_support: true", &[]).await;
    let client = program.client(MODERN).await;
    assert_eq!(client.info["headers"], false);
    program.reconfigure("listen: 127.0.0.1:-1");
    program
        .logs("config reload not supported for NoHeaderSupport: old=true, new=false")
        .await;
}

#[tokio::test]
async fn a_reload_that_cannot_be_honoured_changes_nothing() {
    let program = Program::start("listen: 127.0.0.1:-1, max_payload: 1000", &[]).await;
    program.reconfigure("listen: 127.0.0.1:-1\n  max_payloat: 5");
    program
        .logs("[ERR] Failed to reload server configuration: bus.conf:2:3: unknown field \"max_payloat\"")
        .await;
    program.reconfigure("listen: 127.0.0.1:4555, max_payload: 5");
    program
        .logs("config reload not supported for Port: old=")
        .await;
    program.reconfigure("listen: 127.0.0.1:-1, max_payload: 5, max_pending: 1");
    program
        .logs("max_payload must not be above max_pending")
        .await;
    let mut client = program.client(QUIET).await;
    assert_eq!(client.info["max_payload"], 1000);
    client.sync().await;
    program.signal("quit");
    let pid_file = program.path("bus.pid");
    let folder = program.path("");
    program.ends().await;
    assert!(!pid_file.exists() && !folder.exists());
}

#[tokio::test]
async fn a_reload_changes_what_users_may_do_and_who_they_are() {
    let config =
        |users: &str| format!("listen: 127.0.0.1:-1, authorization {{ users: [ {users} ] }}");
    let hello = |user: &str, password: &str| {
        format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"user\":\"{user}\",\"pass\":\"{password}\"}}\r\n"
        )
    };
    let program = Program::start(
        &config(
            "{ user: joe, password: j }, { user: ann, password: a }, { user: bob, password: b }",
        ),
        &[],
    )
    .await;
    let mut joe = program.client(&hello("joe", "j")).await;
    let mut ann = program.client(&hello("ann", "a")).await;
    let mut bob = program.client(&hello("bob", "b")).await;
    joe.send("SUB secret.x 7\r\nSUB open.* 8\r\nSUB open.* group 9\r\n")
        .await;
    joe.sync().await;
    program.reconfigure(&config(
        "{ user: joe, password: j, permissions: { publish: \"open.>\"
           subscribe: { allow: \"open.>\", deny: [\"open.closed\", \"> group\"] } } }
         { user: ann, password: changed }",
    ));
    // One whose password is another is not whom it was; one that is gone had better come again.
    ann.ends_with("-ERR 'Authorization Violation'\r\n").await;
    bob.ends_with("").await;
    let mut refused = [joe.line().await, joe.line().await];
    refused.sort();
    assert_eq!(
        refused,
        [
            "-ERR 'Permissions Violation for Subscription to \"open.*\" using queue \"group\" (sid \"9\")'",
            "-ERR 'Permissions Violation for Subscription to \"secret.x\" (sid \"7\")'",
        ]
    );
    // What is left is filtered as the new rules want it.
    joe.send("PUB open.closed 0\r\n\r\nPUB open.a 1\r\nx\r\nPUB secret.x 0\r\n\r\n")
        .await;
    joe.expect(
        "MSG open.a 8 1\r\nx\r\n-ERR 'Permissions Violation for Publish to \"secret.x\"'\r\n",
    )
    .await;
    program.client(&hello("ann", "changed")).await;
    // Without users everybody is welcome, but one who was a user is that no more.
    program.reconfigure("listen: 127.0.0.1:-1");
    joe.ends_with("").await;
    program.client(QUIET).await;
}

#[tokio::test]
async fn the_log_is_opened_again_when_it_was_moved_away() {
    let program = Program::start("listen: 127.0.0.1:-1", &[]).await;
    std::fs::rename(program.path("bus.log"), program.path("old.log")).unwrap();
    program.signal("reopen");
    program.logs("File log re-opened").await;
    assert!(!program.log().contains("Server is ready"));
}

#[tokio::test]
async fn traced_frames_are_logged_without_secrets() {
    let program = Program::start(
        "listen: 127.0.0.1:-1, max_traced_msg_len: 4",
        &["-DV", "--user", "joe", "--pass", "hunter2"],
    )
    .await;
    let hello = "CONNECT {\"verbose\":false,\"pedantic\":false,\"user\":\"joe\",\"pass\":\"hunter2\",\
                 \"headers\":true,\"name\":\"n\",\"lang\":\"raw\",\"version\":\"1.0\"}\r\n";
    let mut client = program.client(hello).await;
    client
        .send("SUB foo q 1\r\nPUB foo bar 5\r\nhello\r\nHPUB foo 12 17\r\nNATS/1.0\r\n\r\nhello\r\nUNSUB 1 7\r\n")
        .await;
    client.message().await;
    client
        .expect("HMSG foo 1 12 17\r\nNATS/1.0\r\n\r\nhello\r\n")
        .await;
    client.sync().await;
    drop(client);
    program.logs("Client connection closed").await;
    let log = program.log();
    for line in [
        "[DBG] 127.0.0.1:",
        " - Client connection created",
        "[REDACTED]",
        " - \"v1.0:raw:n\" - <<- [PING]",
        " - \"v1.0:raw:n\" - ->> [PONG]",
        "<<- [SUB foo q 1]",
        "<<- [PUB foo bar 5]",
        "<<- MSG_PAYLOAD: [\"hell...\"]",
        "->> [HMSG foo 1 12 17]",
        "->> [MSG foo 1 bar 5]",
        "<<- [UNSUB 1 7]",
    ] {
        assert!(log.contains(line), "{line} is not in {log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn who_may_not_is_named_in_the_log() {
    let program = Program::start(
        "listen: 127.0.0.1:-1, authorization { users: [\
         { user: joe, password: j, permissions: { publish: open, subscribe: open } } ] }",
        &[],
    )
    .await;
    let hello = |user: &str| {
        format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"user\":\"{user}\",\"pass\":\"j\"}}\r\n"
        )
    };
    let mut joe = program.client(&hello("joe")).await;
    joe.send("PUB shut 0\r\n\r\nSUB shut 1\r\n").await;
    program.logs("[ERR] 127.0.0.1:").await;
    program
        .logs("- Publish Violation - User \"joe\", Subject \"shut\"")
        .await;
    program
        .logs("- Subscription Violation - User \"joe\", Subject \"shut\"")
        .await;
    let mut stranger = Raw::dial(joe.socket.peer_addr().unwrap()).await;
    stranger.send(&hello("jim")).await;
    stranger
        .ends_with("-ERR 'Authorization Violation'\r\n")
        .await;
    program.logs("- authentication error - User \"jim\"").await;
}

#[test]
fn a_signal_needs_somebody_to_hear_it() {
    for (signal, says) in [
        ("hurry=1", "unknown signal \"hurry\""),
        ("ldm=2147483647", "no such process"),
        ("reload=/nowhere/at/all", "invalid pid: /nowhere/at/all\n"),
        ("quit=1=2", "invalid signal parameters: [2]"),
    ] {
        let output = Command::new(PROGRAM)
            .args(["--signal", signal])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(says), "{text}");
    }
}

#[tokio::test]
async fn all_addresses_are_those_of_both_kinds() {
    let program = Program::start("port: -1", &[]).await;
    let ports = program.path(&format!("cupola-bus_{}.ports", program.child.id()));
    let ports: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(ports).unwrap()).unwrap();
    let port = ports["nats"][0].as_str().unwrap().rsplit_once(':').unwrap();
    let port: u16 = port.1.parse().unwrap();
    program
        .logs(&format!("client connections on 0.0.0.0:{port}"))
        .await;
    let old = Raw::dial(([127, 0, 0, 1], port).into()).await;
    assert_eq!(
        (&old.info["host"], &old.info["client_ip"]),
        (&"0.0.0.0".into(), &"127.0.0.1".into())
    );
    // A machine may have no IPv6.
    let here = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
    if std::net::TcpListener::bind(here).is_err() {
        return;
    }
    let new = Raw::dial((std::net::Ipv6Addr::LOCALHOST, port).into()).await;
    assert_eq!(new.info["client_ip"], "::1");
}
