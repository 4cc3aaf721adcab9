//! Traces of messages, field by field as nats-server 2.15.1 makes them.
//!
//! `traces.json` holds what the genuine server published for each case, without what differs from run to
//! run. Ours is compared with it; so is a genuine one where the benchmark has installed it
//! (`target/bench-bus`) or `CUPOLA_TRACING_SERVER` names one. With `CUPOLA_RECORD_TRACES=1` that one writes
//! the file.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::Server;

const OURS: &str = env!("CARGO_BIN_EXE_cupola-bus");

/// One account.
const ALONE: &str = r#"
authorization { users [
  { user: a, password: a, permissions: { publish: { deny: "no.pub" }, subscribe: { deny: "x.secret" } } }
  { user: b, password: b }
] }
"#;

/// Two accounts that share something.
const SHARING: &str = r#"
accounts {
  A {
    users [ { user: a, password: a } ]
    mappings { "map.*": "mapped.{{wildcard(1)}}" }
    exports [ { stream: "s.>" }, { service: "svc.q" } ]
  }
  B {
    users [ { user: b, password: b } ]
    imports [
      { stream: { account: A, subject: "s.>" }, prefix: "imp" }
      { service: { account: A, subject: "svc.q" }, to: "myq" }
    ]
  }
}
"#;

/// Three accounts that let traces pass, and trace samples.
const FOLLOWING: &str = r#"
accounts {
  A {
    users [ { user: a, password: a } ]
    msg_trace: tr.samples
    exports [ { stream: "s.>" }, { service: "svc.q", allow_trace: true }, { service: "svc.quiet" } ]
  }
  B {
    users [ { user: b, password: b } ]
    msg_trace: { dest: tr.bee, sampling: 100 }
    imports [
      { stream: { account: A, subject: "s.>" }, prefix: "imp", allow_trace: true }
      { service: { account: A, subject: "svc.q" }, to: "myq" }
      { service: { account: A, subject: "svc.quiet" }, to: "quiet" }
    ]
    exports [ { service: "myq", allow_trace: true }, { service: "quiet", allow_trace: true } ]
  }
  C {
    users [ { user: c, password: c } ]
    imports [
      { service: { account: B, subject: "myq" }, to: "far" }
      { service: { account: B, subject: "quiet" }, to: "half" }
    ]
  }
}
"#;

/// A case a line: its name, who publishes, on which subject, with which reply subject, and the headers.
const CASES_ALONE: &str = "
to a subscriber and a group | pub | x.y | | Nats-Trace-Dest: tr.dest; foo: bar; foo: baz; Foo:
only traced                 | pub | x.y | rr | Nats-Trace-Dest: tr.dest; Nats-Trace-Only: true
only, in capitals           | pub | x.y | | Nats-Trace-Dest: tr.dest; Nats-Trace-Only: ON
only, but not so            | pub | x.y | | Nats-Trace-Dest: tr.dest; Nats-Trace-Only: yes
only, without destination   | pub | x.y | | Nats-Trace-Only: true
to nobody                   | pub | zz | rr | Nats-Trace-Dest: tr.dest
only to nobody              | pub | zz | rr | Nats-Trace-Dest: tr.dest; Nats-Trace-Only: 1
denied                      | pub | no.pub | | Nats-Trace-Dest: tr.dest
denied destination          | pub | x.y | | Nats-Trace-Dest: no.pub
kept from some              | pub | x.secret | | Nats-Trace-Dest: tr.dest
header in lower case        | pub | x.y | | nats-trace-dest: tr.dest
blanks around it            | pub | x.y | | A: b; Nats-Trace-Dest:   tr.dest  \t
not a subject               | pub | x.y | | Nats-Trace-Dest: tr dest
only to what is no subject  | pub | x.y | | Nats-Trace-Dest: tr.*; Nats-Trace-Only: true
two destinations            | pub | x.y | | Nats-Trace-Dest: tr.dest; Nats-Trace-Dest: tr.other
no echo                     | silent | x.y | | Nats-Trace-Dest: tr.dest
the last one                | pub | once | | Nats-Trace-Dest: tr.dest
one too many                | pub | once | | Nats-Trace-Dest: tr.dest
";
const CASES_SHARING: &str = "
mapped                  | pub | map.q | | Nats-Trace-Dest: tr.dest
mapped, and only        | pub | map.q | | Nats-Trace-Dest: tr.dest; Nats-Trace-Only: true
stream                  | pub | s.1 | | Nats-Trace-Dest: tr.dest
stream, and only        | pub | s.1 | | Nats-Trace-Dest: tr.dest; Nats-Trace-Only: true
service                 | bee | myq | rep | Nats-Trace-Dest: tr.dest
service, and only       | bee | myq | rep | Nats-Trace-Dest: tr.dest; Nats-Trace-Only: true
";
const CASES_FOLLOWING: &str = "
sampled                 | pub | x.y | | traceparent: 00-0af7-b9c7-01
not sampled             | pub | x.y | | traceparent: 00-0af7-b9c7-00
sampled, and only       | pub | x.y | | TraceParent: 00-0af7-b9c7-01; Nats-Trace-Only: true
sampled and asked for   | pub | x.y | | traceparent: 00-0af7-b9c7-01; Nats-Trace-Dest: tr.dest
not to be traced        | pub | x.y | | traceparent: 00-0af7-b9c7-01; Nats-Trace-Dest: trace disabled
from elsewhere          | pub | x.y | | Nats-Trace-Origin-Account: B; Nats-Trace-Dest: tr.dest
from elsewhere, and only | pub | x.y | | Nats-Trace-Origin-Account: B; Nats-Trace-Dest: tr.dest; Nats-Trace-Only: true
stream                  | pub | s.1 | | Nats-Trace-Dest: tr.dest
stream, and only        | pub | s.1 | | Nats-Trace-Dest: tr.dest; Nats-Trace-Only: true
stream of samples       | pub | s.1 | | traceparent: 00-0af7-b9c7-01
service                 | bee | myq | rep | Nats-Trace-Dest: tr.dest
service, and only       | bee | myq | rep | Nats-Trace-Dest: tr.dest; Nats-Trace-Only: true
service, sampled        | bee | myq | rep | traceparent: 00-0af7-b9c7-01
two services            | cee | far | rep | Nats-Trace-Dest: tr.dest
the second says nothing | cee | half | rep | Nats-Trace-Dest: tr.dest
and only                | cee | half | rep | Nats-Trace-Dest: tr.dest; Nats-Trace-Only: true
";

#[test]
fn traces_are_those_of_nats_server() {
    check("traces.json", ALONE, CASES_ALONE);
}

#[test]
fn traces_across_accounts_are_those_of_nats_server() {
    check("traces_sharing.json", SHARING, CASES_SHARING);
}

#[test]
fn traces_go_as_far_as_accounts_let_them() {
    check("traces_following.json", FOLLOWING, CASES_FOLLOWING);
}

fn check(file: &str, config: &str, cases: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/parity")
        .join(file);
    let genuine = genuine().map(|program| run(&program, config, cases));
    if std::env::var_os("CUPOLA_RECORD_TRACES").is_some() {
        let genuine = genuine
            .as_ref()
            .expect("there is no genuine server to record");
        let text = serde_json::to_string_pretty(genuine).unwrap();
        std::fs::write(&file, text + "\n").unwrap();
    }
    let recorded: BTreeMap<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    if let Some(genuine) = genuine {
        compare("the genuine server", &genuine, &recorded);
    }
    let ours = run(Path::new(OURS), config, cases);
    compare("ours", &ours, &recorded);
}

fn compare(whose: &str, found: &BTreeMap<String, Value>, recorded: &BTreeMap<String, Value>) {
    for (case, wanted) in recorded {
        let found = &found[case];
        assert!(
            found == wanted,
            "{whose}, {case}:\n{found:#}\nrecorded:\n{wanted:#}"
        );
    }
}

/// A genuine server that traces, if there is one.
fn genuine() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CUPOLA_TRACING_SERVER") {
        return Some(named.into());
    }
    let target = Path::new(OURS).parent()?.parent()?;
    Some(target.join("bench-bus/pypi/bin/nats-server")).filter(|program| program.is_file())
}

/// Plays all cases; returns what everybody heard.
fn run(program: &Path, config: &str, cases: &str) -> BTreeMap<String, Value> {
    let server = Server::start(program, config);
    let mut clients = Clients {
        server: &server,
        program,
        all: Vec::new(),
    };
    clients.add("watch", "a", true, "SUB tr.> 1\r\n");
    let listens = "SUB x.* 1\r\nSUB x.> grp 2\r\nSUB once 3\r\nUNSUB 3 1\r\nSUB mapped.* 4\r\nSUB svc.* 5\r\n";
    clients.add("recv", "a", true, listens);
    clients.add("silent", "a", false, "SUB x.y 1\r\n");
    clients.add("pub", "a", true, "SUB rr 1\r\n");
    if config != ALONE {
        clients.add("bee", "b", true, "SUB imp.> 1\r\nSUB tr.> 2\r\n");
    }
    if config == FOLLOWING {
        clients.add("cee", "c", true, "SUB tr.> 1\r\n");
    }
    let play = |case: &str| {
        let words: Vec<&str> = case.split('|').map(str::trim).collect();
        let [name, who, subject, reply, headers] = words[..] else {
            panic!("{case}")
        };
        clients.publish(who, subject, reply, headers);
        let mut heard = clients.heard(who);
        if program != Path::new(OURS) {
            // The genuine one publishes its traces from another thread, a moment later.
            std::thread::park_timeout(Duration::from_millis(50));
            for (name, more) in clients.heard(who) {
                let list = heard.entry(name).or_default();
                list.extend(more);
            }
        }
        (name.to_owned(), json!(heard))
    };
    cases.trim().lines().map(play).collect()
}

struct Clients<'a> {
    server: &'a Server,
    program: &'a Path,
    all: Vec<(&'static str, BufReader<TcpStream>)>,
}

impl Clients<'_> {
    fn add(&mut self, name: &'static str, user: &str, echo: bool, lines: &str) {
        let mut socket = self.server.connect(self.program);
        let hello = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true, "echo": echo,
            "name": name, "user": user, "pass": user, "protocol": 0,
        });
        write!(socket, "CONNECT {hello}\r\n{lines}").unwrap();
        self.all.push((name, BufReader::new(socket)));
        self.heard(name);
    }

    fn publish(&mut self, who: &str, subject: &str, reply: &str, headers: &str) {
        let mut block = String::from("NATS/1.0\r\n");
        for header in headers.split("; ") {
            block.push_str(&header.replace("\\t", "\t"));
            block.push_str("\r\n");
        }
        block.push_str("\r\n");
        let (len, total) = (block.len(), block.len() + 2);
        let frame = format!("HPUB {subject} {reply} {len} {total}\r\n{block}hi\r\n");
        let socket = self.all.iter_mut().find(|(name, _)| *name == who).unwrap();
        socket.1.get_mut().write_all(frame.as_bytes()).unwrap();
    }

    /// What has come for whom. The publisher comes first: when it hears its PONG, all is delivered.
    fn heard(&mut self, first: &str) -> BTreeMap<String, Vec<Value>> {
        self.all.sort_by_key(|(name, _)| (*name != first, *name));
        let mut heard = BTreeMap::new();
        for (name, socket) in &mut self.all {
            socket.get_mut().write_all(b"PING\r\n").unwrap();
            let lines = until_pong(socket);
            if !lines.is_empty() {
                heard.insert((*name).to_owned(), lines);
            }
        }
        heard
    }
}

fn until_pong(socket: &mut BufReader<TcpStream>) -> Vec<Value> {
    let mut heard = Vec::new();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["PONG"] => return heard,
            // The first one may come at any time.
            ["PING"] => {}
            ["MSG" | "HMSG", subject, .., size] => {
                let mut body = vec![0; size.parse::<usize>().unwrap() + 2];
                socket.read_exact(&mut body).unwrap();
                body.truncate(body.len() - 2);
                heard.push(message(subject, &body));
            }
            _ => heard.push(line.trim().into()),
        }
    }
}

/// A trace without what differs from run to run; of other messages their subject, and whether they would
/// be traced again.
fn message(subject: &str, body: &[u8]) -> Value {
    let Ok(mut trace) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        // Later ones put a subject of their own there for other servers to answer on.
        let disabled = ["trace disabled", "_R_."]
            .iter()
            .any(|value| text.contains(&format!("Nats-Trace-Dest: {value}")));
        return json!({ "subject": subject, "disabled": disabled });
    };
    let server = trace.as_object_mut().unwrap().remove("server").unwrap();
    for field in ["name", "host", "id", "ver", "time"] {
        assert!(server[field].is_string(), "{field} in {server}");
    }
    for field in ["flags", "seq"] {
        assert!(server[field].is_u64(), "{field} in {server}");
    }
    let events = trace["events"].as_array_mut().unwrap();
    for event in &mut *events {
        let event = event.as_object_mut().unwrap();
        let at = event.remove("ts").unwrap();
        chrono::DateTime::parse_from_rfc3339(at.as_str().unwrap()).unwrap();
        if let Some(cid) = event.remove("cid") {
            assert!(cid.as_u64().unwrap() > 0);
        }
    }
    // The genuine server goes through receivers in no order.
    events.sort_by_cached_key(|event| match &event["type"] {
        way_out if way_out == "eg" => event.to_string(),
        _ => String::new(),
    });
    trace
}
