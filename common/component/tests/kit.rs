//! The kit from outside: a real broker that comes and goes, a real process with handed-over
//! sockets.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and polls between looks"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};
use cupola_component::{AppLog, Bus, BusConfig, BusError, Registrar};
use cupola_messages::component::{Component, DISCOVER};
use cupola_messages::health::{APP_STATE, AppActual, AppQuery, UPDATED};
use cupola_messages::logs::{self, LogSource, LogStream};
use cupola_messages::{Nothing, health::AppUpdated, router};
use cupola_types::{AppGuid, AppVersion, Role};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);

/// A broker that can go away and come back at the same address.
struct Broker {
    address: SocketAddr,
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Broker {
    /// An address, with nobody there yet.
    fn absent() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            address: free.local_addr().unwrap(),
            running: None,
        }
    }

    async fn start() -> Self {
        let mut broker = Self::absent();
        broker.up().await;
        broker
    }

    async fn up(&mut self) {
        let config = cupola_bus::Config {
            workers: Some(1),
            ..cupola_bus::Config::default()
        };
        let socket = TcpListener::bind(self.address).unwrap();
        let broker = cupola_bus::build(config, socket).await.unwrap();
        let stop = CancellationToken::new();
        let running = broker.run(stop.clone());
        let task = tokio::spawn(async move {
            let _ = running.await;
        });
        self.running = Some((stop, task));
    }

    async fn down(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.cancel();
        timeout(DEADLINE, task).await.unwrap().unwrap();
    }

    async fn connect(&self, name: &str) -> Bus {
        let config = format!("urls = [\"nats://{}\"]", self.address);
        let config: BusConfig = toml::from_str(&config).unwrap();
        Bus::connect(&config, name).await.unwrap()
    }
}

async fn connected(bus: &Bus, wanted: bool) {
    let mut state = bus.connected();
    timeout(DEADLINE, state.wait_for(|up| *up == wanted))
        .await
        .unwrap()
        .unwrap();
}

fn updated(app: &str) -> AppUpdated {
    AppUpdated {
        droplet: AppGuid::new(app),
        cc_partition: String::new(),
    }
}

fn query() -> AppQuery {
    AppQuery {
        droplet: AppGuid::new("a"),
        version: AppVersion::new("v"),
    }
}

#[tokio::test]
async fn subscriptions_live_through_the_restart_of_the_broker() {
    let mut broker = Broker::start().await;
    let (speaker, hearer) = (
        broker.connect("speaker").await,
        broker.connect("hearer").await,
    );
    let mut heard = hearer.subscribe(&UPDATED).await.unwrap();
    let mut questions = hearer.serve(&APP_STATE).await.unwrap();
    tokio::spawn(async move {
        while let Some(asked) = questions.next().await {
            let _ = asked.answer(&AppActual::default()).await;
        }
    });
    for round in 0..3 {
        connected(&speaker, true).await;
        connected(&hearer, true).await;
        hearer.flush(DEADLINE).await.unwrap();
        let app = format!("app-{round}");
        speaker.publish(&UPDATED, &updated(&app)).await.unwrap();
        let message = timeout(DEADLINE, heard.next()).await.unwrap().unwrap();
        assert_eq!(message.droplet.as_str(), app);
        speaker
            .request(&APP_STATE, &query(), DEADLINE)
            .await
            .unwrap();

        broker.down().await;
        connected(&speaker, false).await;
        connected(&hearer, false).await;
        let begun = Instant::now();
        let refused = speaker.publish(&UPDATED, &updated("x")).await.unwrap_err();
        assert!(
            matches!(refused, BusError::Disconnected { .. }),
            "{refused}"
        );
        let refused = speaker.request(&APP_STATE, &query(), DEADLINE).await;
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, BusError::Disconnected { .. }),
            "{refused}"
        );
        assert!(refused.is_transient());
        assert!(begun.elapsed() < DEADLINE / 2, "it waited for the broker");
        broker.up().await;
    }
}

#[tokio::test]
async fn a_question_that_nobody_hears_is_told_at_once() {
    let broker = Broker::start().await;
    let bus = broker.connect("asker").await;
    connected(&bus, true).await;
    let begun = Instant::now();
    let error = bus
        .request(&APP_STATE, &query(), DEADLINE)
        .await
        .unwrap_err();
    assert!(matches!(error, BusError::NoResponders { .. }), "{error}");
    assert!(begun.elapsed() < DEADLINE / 2);
}

/// A broker that greets, and of which one can see and decide when it answers.
struct Hesitant {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Hesitant {
    /// Takes the one connection that comes.
    async fn greet(door: &tokio::net::TcpListener) -> Self {
        let (socket, _) = door.accept().await.unwrap();
        let (reader, writer) = socket.into_split();
        let mut broker = Self {
            reader: BufReader::new(reader),
            writer,
        };
        let info =
            r#"INFO {"server_id":"h","version":"2.10.0","max_payload":1048576,"headers":true}"#;
        broker.say(&format!("{info}\r\n")).await;
        broker.hear("PING").await;
        broker.say("PONG\r\n").await;
        broker
    }

    async fn say(&mut self, words: &str) {
        self.writer.write_all(words.as_bytes()).await.unwrap();
    }

    /// The next line that begins so.
    async fn hear(&mut self, beginning: &str) -> String {
        let heard = timeout(DEADLINE, async {
            loop {
                let mut line = String::new();
                self.reader.read_line(&mut line).await.unwrap();
                if line.starts_with(beginning) {
                    return line;
                }
                assert!(!line.is_empty(), "hung up before {beginning}");
            }
        });
        heard.await.unwrap()
    }
}

#[tokio::test]
async fn a_flush_is_over_when_the_broker_has_heard_it_all() {
    let door = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!("urls = [\"nats://{}\"]", door.local_addr().unwrap());
    let config: BusConfig = toml::from_str(&config).unwrap();
    let bus = Bus::connect(&config, "dea").await.unwrap();
    let mut broker = Hesitant::greet(&door).await;
    connected(&bus, true).await;
    let _heard = bus.subscribe(&UPDATED).await.unwrap();
    let flushing = tokio::spawn(async move { bus.flush(DEADLINE).await });

    broker.hear("SUB droplet.updated").await;
    let echo = broker.hear("SUB _INBOX.").await;
    let [_, inbox, sid] = echo.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{echo}");
    };
    broker.hear(&format!("PUB {inbox} 0")).await;
    assert!(!flushing.is_finished(), "nothing has been answered");
    broker.say(&format!("MSG {inbox} {sid} 0\r\n\r\n")).await;
    timeout(DEADLINE, flushing).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn host_names_are_registered_again_after_a_restart_and_given_up_at_the_end() {
    let mut broker = Broker::start().await;
    let (bus, router) = (
        broker.connect("registrant").await,
        broker.connect("router").await,
    );
    connected(&bus, true).await;
    let mut registered = router.subscribe(&router::REGISTER).await.unwrap();
    let mut unregistered = router.subscribe(&router::UNREGISTER).await.unwrap();
    router.flush(DEADLINE).await.unwrap();
    let stop = CancellationToken::new();
    let uris = vec!["doppler.test".to_owned()];
    let address = "127.0.0.1:7".parse().unwrap();
    let registrar = Registrar::new(bus.clone(), address, uris, "loggregator-0", "i");
    let task = tokio::spawn(registrar.run(stop.clone()));
    let first = timeout(DEADLINE, registered.next()).await.unwrap().unwrap();
    assert_eq!(
        (first.port, &*first.uris),
        (7, &["doppler.test".to_owned()][..])
    );

    broker.down().await;
    connected(&bus, false).await;
    connected(&router, false).await;
    broker.up().await;
    connected(&router, true).await;
    // As a router does after each reconnect.
    let start = router::RouterStart {
        id: "r".to_owned(),
        hosts: Vec::new(),
        minimum_register_interval_in_seconds: 20,
        prune_threshold_in_seconds: None,
    };
    connected(&bus, true).await;
    bus.flush(DEADLINE).await.unwrap();
    router.publish(&router::START, &start).await.unwrap();
    let again = timeout(Duration::from_secs(10), registered.next()).await;
    assert_eq!(again.unwrap().unwrap(), first);

    stop.cancel();
    let gone = timeout(DEADLINE, unregistered.next()).await.unwrap();
    assert_eq!(gone.unwrap(), first);
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn lines_that_were_lost_are_told_in_the_stream_once_the_bus_is_back() {
    let mut broker = Broker::absent();
    let bus = broker.connect("dea").await;
    let stop = CancellationToken::new();
    let (log, sending) = AppLog::new(bus.clone(), LogSource::App, stop.clone());
    let sending = tokio::spawn(sending);
    let (lossy, quiet) = (AppGuid::new("lossy"), AppGuid::new("quiet"));
    for n in 0..7 {
        log.line(&lossy, LogStream::Out, "0", &format!("line {n}"));
    }
    timeout(DEADLINE, async {
        while log.dropped() < 7 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();

    broker.up().await;
    let reader = broker.connect("loggregator").await;
    let mut batches = reader.subscribe(&logs::ALL).await.unwrap();
    connected(&reader, true).await;
    reader.flush(DEADLINE).await.unwrap();
    connected(&bus, true).await;
    log.line(&quiet, LogStream::Out, "0", "nothing lost here");
    let mut told = Vec::new();
    while told.len() < 2 {
        let batch = timeout(DEADLINE, batches.next()).await.unwrap().unwrap();
        told.push((batch.app_id, batch.lines[0].clone()));
    }
    let of = |app: &AppGuid| &told.iter().find(|(a, _)| a == app).unwrap().1;
    assert_eq!(of(&quiet).message, "nothing lost here");
    assert_eq!(of(&lossy).source_type, LogSource::Loggregator);
    assert!(
        of(&lossy).message.starts_with("7 lines"),
        "{}",
        of(&lossy).message
    );
    stop.cancel();
    timeout(DEADLINE, sending).await.unwrap().unwrap();
    assert_eq!(log.dropped(), 7);
}

// === a process of its own ===

/// Set for the process that the test below starts: the config file of a role.
const CHILD: &str = "KIT_TEST_CONFIG";

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {}

/// Not a test by itself: what [`a_role_with_handed_over_sockets`] starts as a process.
#[test]
fn role_process() {
    let Ok(config) = std::env::var(CHILD) else {
        return;
    };
    let code = cupola_component::run(
        Role::Loggregator,
        std::path::Path::new(&config),
        async |_: Section, mut deps, shutdown| {
            let http = deps.listeners.take("http", None)?;
            let check = deps.health.check("room", "not asked yet");
            let http = tokio::net::TcpListener::from_std(http)?;
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    accepted = http.accept() => {
                        accepted?;
                        check.pass();
                    }
                }
            }
        },
    );
    // The harness would end with a status of its own.
    std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
}

struct Process {
    child: Child,
    status: SocketAddr,
    http: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Process {
    fn start(broker: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("role.toml");
        let text = format!(
            "[component]\nid = \"l1\"\n[bus]\nurls = [\"nats://{broker}\"]\n[loggregator]\n"
        );
        std::fs::write(&config, text).unwrap();
        let sockets = ["127.0.0.1:0"; 2].map(|address| TcpListener::bind(address).unwrap());
        let [http, status] = [0, 1].map(|n: usize| sockets[n].local_addr().unwrap());
        let mappings = sockets
            .into_iter()
            .zip(3..)
            .map(|(socket, child_fd)| FdMapping {
                parent_fd: OwnedFd::from(socket),
                child_fd,
            });
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "role_process", "--nocapture"])
            .env(CHILD, config)
            .env("LISTEN_FDS", "2")
            .env("LISTEN_FDNAMES", "http:status")
            .stdin(Stdio::null())
            .fd_mappings(mappings.collect())
            .unwrap();
        Self {
            child: command.spawn().unwrap(),
            status,
            http,
            _folder: folder,
        }
    }

    /// Status and body of a GET on the status socket.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.status).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.get(9..12)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    fn eventually(&self, path: &str, wanted: impl Fn(u16, &str) -> bool) {
        let begun = Instant::now();
        loop {
            let got = self.get(path);
            if got
                .as_ref()
                .is_some_and(|(status, body)| wanted(*status, body))
            {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{path} says {got:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_handed_over_sockets() {
    let mut broker = Broker::absent();
    let mut role = Process::start(broker.address);
    // It answers before the bus is there and before its room is ready, and says so.
    role.eventually("/healthz", |status, body| {
        status == 503 && body.contains("bus: not connected") && body.contains("room: not asked")
    });
    broker.up().await;
    role.eventually("/healthz", |status, body| {
        status == 503 && !body.contains("bus") && body.contains("room")
    });
    TcpStream::connect(role.http).unwrap();
    role.eventually("/healthz", |status, body| status == 200 && body == "ok\n");

    // A connection that asks nothing keeps nobody else from asking.
    let _idle: Vec<_> = (0..20).map(|_| TcpStream::connect(role.status)).collect();
    role.eventually("/varz", |status, body| {
        status == 200 && body.contains("\"type\":\"LoggregatorServer\"")
    });
    role.eventually("/metrics", |status, body| {
        status == 200 && body.contains("bus_messages_dropped_total 0")
    });

    let watcher = broker.connect("watcher").await;
    connected(&watcher, true).await;
    let found = watcher.request(&DISCOVER, &Nothing, DEADLINE).await;
    let found: Component = found.unwrap();
    assert_eq!(
        (found.kind.as_str(), found.host),
        ("LoggregatorServer", role.status.to_string())
    );

    broker.down().await;
    role.eventually("/healthz", |status, body| {
        status == 503 && body.contains("bus")
    });
    broker.up().await;
    role.eventually("/healthz", |status, _| status == 200);

    kill(
        Pid::from_raw(i32::try_from(role.child.id()).unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    let begun = Instant::now();
    let ended = loop {
        if let Some(status) = role.child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < DEADLINE, "it does not stop");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(ended.success(), "{ended}");
}
