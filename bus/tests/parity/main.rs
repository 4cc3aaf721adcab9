//! The same dialogues with a genuine nats-server and with `cupola-bus`: word for word the same answers.
//!
//! `dialogues.txt` holds them. A dialogue begins with `# name`, goes on with lines of a configuration file,
//! and after `---` has one step a line: the connection's letter, and what it sends or `?`, which reads up to
//! the PONG that answers its PING, or to the end of the connection. `\n` is a line end, `\l` a lone line feed,
//! `\t` a tab; a line end is added unless the last word is `\`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod traces;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
/// Dialogues that are held at the same time.
const AT_ONCE: usize = 4;

struct Server {
    process: Child,
    address: SocketAddr,
}

struct Dialogue {
    name: String,
    config: String,
    steps: Vec<(char, String)>,
}

#[test]
fn answers_are_those_of_nats_server() {
    let dialogues = read_dialogues(include_str!("dialogues.txt"));
    assert!(dialogues.len() > 150, "the dialogues are gone");
    // Each has servers of its own, and most of their time is spent on starting them.
    let different: String = std::thread::scope(|scope| {
        let shares = dialogues.chunks(dialogues.len().div_ceil(AT_ONCE));
        let shares: Vec<_> = shares
            .map(|share| scope.spawn(|| share.iter().filter_map(compare).collect::<String>()))
            .collect();
        shares
            .into_iter()
            .map(|share| share.join().unwrap())
            .collect()
    });
    assert!(different.is_empty(), "different answers:\n{different}");
}

/// Holds a dialogue with both; tells what is different, if anything is.
fn compare(dialogue: &Dialogue) -> Option<String> {
    let theirs = hold(Path::new("nats-server"), dialogue);
    let ours = hold(Path::new(env!("CARGO_BIN_EXE_cupola-bus")), dialogue);
    let name = &dialogue.name;
    (theirs != ours).then(|| format!("{name}\n  theirs {theirs:#?}\n  ours {ours:#?}\n"))
}

/// Holds a dialogue with a server of its own; returns what was heard.
fn hold(program: &Path, dialogue: &Dialogue) -> Vec<String> {
    let server = Server::start(program, &dialogue.config);
    let mut connections = BTreeMap::<char, TcpStream>::new();
    let mut heard = Vec::new();
    for (who, what) in &dialogue.steps {
        let socket = connections
            .entry(*who)
            .or_insert_with(|| server.connect(program));
        if what == "?" {
            heard.push(format!("{who}: {}", listen(socket)));
        } else {
            let mut line = what
                .replace("\\n", "\r\n")
                .replace("\\l", "\n")
                .replace("\\t", "\t");
            if line.ends_with('\\') {
                line.pop();
            } else {
                line.push_str("\r\n");
            }
            // One who has been hung up on hears of it when it listens.
            let _ = socket.write_all(line.as_bytes());
        }
    }
    heard
}

/// Everything up to a PONG or the end.
fn listen(socket: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer) {
            Ok(count @ 1..) => heard.extend_from_slice(&buffer[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                heard.extend_from_slice(b"<nothing more>");
                break;
            }
            Ok(0) | Err(_) => {
                heard.extend_from_slice(b"<end>");
                break;
            }
        }
        if heard.ends_with(b"PONG\r\n") {
            break;
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}

fn read_dialogues(text: &str) -> Vec<Dialogue> {
    let mut dialogues = Vec::<Dialogue>::new();
    let mut in_steps = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("# ") {
            dialogues.push(Dialogue {
                name: name.to_owned(),
                config: String::new(),
                steps: Vec::new(),
            });
            in_steps = false;
            continue;
        }
        let dialogue = dialogues.last_mut().unwrap();
        if line == "---" {
            in_steps = true;
        } else if in_steps {
            let (who, what) = line.split_once(' ').unwrap();
            let who = who.chars().next().unwrap();
            dialogue.steps.push((who, what.to_owned()));
        } else {
            writeln!(dialogue.config, "{line}").unwrap();
        }
    }
    dialogues
}

// === impl Server ===

impl Server {
    fn start(program: &Path, config: &str) -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        // Any port: one that was free a moment ago may be somebody else's.
        write!(file, "listen: \"127.0.0.1:-1\"\n{config}").unwrap();
        let log = tempfile::NamedTempFile::new().unwrap();
        let process = Command::new(program)
            .arg("-c")
            .arg(file.path())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program:?}: {error}"));
        let mut server = Server {
            process,
            address: (Ipv4Addr::LOCALHOST, 0).into(),
        };
        let begun = Instant::now();
        loop {
            // By its word: a connection to try would be one of those that are counted.
            let said = std::fs::read_to_string(log.path()).unwrap();
            if said.contains("Server is ready") {
                server.address = listening(&said);
                return server;
            }
            if let Some(status) = server.process.try_wait().unwrap() {
                panic!("{program:?} ended with {status} on:\n{config}\n{said}");
            }
            assert!(begun.elapsed() < PATIENCE, "{program:?} is not ready");
            std::thread::yield_now();
        }
    }

    /// Connects and takes the INFO.
    fn connect(&self, program: &Path) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut byte = [0];
        while byte != *b"\n" {
            socket
                .read_exact(&mut byte)
                .unwrap_or_else(|error| panic!("no INFO from {program:?}: {error}"));
        }
        socket
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where a server says that it listens for clients.
fn listening(log: &str) -> SocketAddr {
    let said = "Listening for client connections on ";
    let mut lines = log.lines().filter_map(|line| line.split_once(said));
    let (_, address) = lines.next().expect("it listens");
    address.trim().parse().unwrap()
}
