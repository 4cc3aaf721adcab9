//! Monitoring beside a genuine nats-server: under the same clients, the same fields of the same types, over
//! HTTP and in the system account.
//!
//! What release 2.15.1 says lies in `2.15.1.txt`, as paths and types. With `NATS_SERVER` set to a program,
//! that one is asked in its place; with `RECORD_SHAPES=1` as well, the file is written anew. The
//! `nats-server` on the path is always asked, whatever its age.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod server;
mod shape;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use server::{Client, Server, until};
use shape::Shape;

/// The shape of everything that was said, by what was asked.
type Shapes = BTreeMap<String, Shape>;

/// Fields that genuine servers have and we do not, each with the reason.
const LACKING: &[&str] = &[
    // The commit a Go program was built from; there is none that would mean anything to a reader.
    "git_commit",
    // A hash over the text of the configuration file; ours need not come from one.
    "config_digest",
    // Switches of JetStream.
    "feature_flags",
    // How long JetStream waits for disks.
    "disk_io_wait_stats",
    // Routes for single accounts, and pools of them, are declined.
    "routes[].account",
    "data.routes[].account",
    "cluster.pool_size",
    // Only a subscription that ends by itself has it, and whether one is there just then is chance: a
    // requester's own goes with its answer.
    "data.subscriptions_list[].max",
];

/// What is asked over HTTP.
const PATHS: &[&str] = &[
    "/varz",
    "/connz",
    "/connz?auth=1&subs=1",
    "/connz?auth=1&subs=detail",
    "/connz?state=closed&auth=1",
    "/connz?state=any&sort=subs&limit=2&offset=1",
    // As `nats-top` does.
    "/connz?limit=1024&sort=bytes_to&subs=1",
    "/subsz",
    "/subsz?subs=1&acc=A&test=foo",
    "/routez",
    "/routez?subs=1",
    "/routez?subs=detail",
    "/accountz",
    "/accountz?acc=A",
    "/accountz?acc=B",
    "/accstatz",
    "/accstatz?unused=1",
    "/healthz",
    "/gatewayz",
    "/leafz",
    "/jsz",
];

/// What is asked in the system account, `<id>` being the server's.
const REQUESTS: &[(&str, &str)] = &[
    ("$SYS.REQ.SERVER.PING", r#"{"server_name":"alpha"}"#),
    ("$SYS.REQ.SERVER.PING.STATSZ", r#"{"server_name":"alpha"}"#),
    ("$SYS.REQ.SERVER.<id>.VARZ", ""),
    (
        "$SYS.REQ.SERVER.<id>.SUBSZ",
        r#"{"subscriptions":true,"test":"foo"}"#,
    ),
    (
        "$SYS.REQ.SERVER.<id>.CONNZ",
        r#"{"auth":true,"subscriptions_detail":true}"#,
    ),
    ("$SYS.REQ.SERVER.<id>.CONNZ", r#"{"state":1}"#),
    ("$SYS.REQ.SERVER.<id>.CONNZ", r#"{"sort":"bogus"}"#),
    ("$SYS.REQ.SERVER.<id>.ROUTEZ", ""),
    ("$SYS.REQ.SERVER.<id>.GATEWAYZ", ""),
    ("$SYS.REQ.SERVER.<id>.LEAFZ", ""),
    ("$SYS.REQ.SERVER.<id>.ACCOUNTZ", ""),
    ("$SYS.REQ.SERVER.<id>.ACCOUNTZ", r#"{"account":"A"}"#),
    ("$SYS.REQ.SERVER.<id>.ACCOUNTZ", r#"{"account":"NOPE"}"#),
    ("$SYS.REQ.SERVER.<id>.JSZ", ""),
    ("$SYS.REQ.SERVER.<id>.HEALTHZ", ""),
    ("$SYS.REQ.ACCOUNT.A.SUBSZ", ""),
    ("$SYS.REQ.ACCOUNT.A.CONNZ", ""),
    ("$SYS.REQ.ACCOUNT.A.INFO", ""),
    ("$SYS.REQ.ACCOUNT.A.STATZ", ""),
    ("$SYS.REQ.ACCOUNT.A.CONNS", ""),
    ("$SYS.REQ.ACCOUNT.A.LEAFZ", ""),
    ("$SYS.REQ.ACCOUNT.A.JSZ", ""),
    ("$SYS.REQ.ACCOUNT.PING.STATZ", ""),
];
/// What the tools of people send, byte for byte but for the name of the server they mean: `nats server
/// ping`, `list`, `info`, `check server`, `report connections|accounts|health|routes|cpu`, `request …` and
/// `nats account report statistics`, all fields written out as Go does.
const TOOLS: &[(&str, &str)] = &[
    (
        "$SYS.REQ.SERVER.PING",
        r#"{"server_name":"alpha","exact_match":true}"#,
    ),
    (
        "$SYS.REQ.SERVER.PING.VARZ",
        r#"{"server_name":"alpha","exact_match":true}"#,
    ),
    (
        "$SYS.REQ.SERVER.PING.CONNZ",
        r#"{"sort":"","auth":true,"subscriptions":true,"subscriptions_detail":false,"offset":0,"limit":1024,"cid":0,"mqtt_client":"","state":0,"user":"","acc":"","filter_subject":"","server_name":"alpha","exact_match":true}"#,
    ),
    (
        "$SYS.REQ.SERVER.PING.CONNZ",
        r#"{"sort":"","auth":true,"subscriptions":true,"subscriptions_detail":false,"offset":1025,"limit":1024,"cid":0,"mqtt_client":"","state":2,"user":"a","acc":"A","filter_subject":"foo","server_name":"alpha","exact_match":true}"#,
    ),
    (
        "$SYS.REQ.SERVER.PING.HEALTHZ",
        r#"{"js-enabled-only":true,"server_name":"alpha","exact_match":true}"#,
    ),
    (
        "$SYS.REQ.SERVER.PING.ROUTEZ",
        r#"{"subscriptions":false,"subscriptions_detail":false,"server_name":"alpha","exact_match":true}"#,
    ),
    (
        "$SYS.REQ.SERVER.PING.SUBSZ",
        r#"{"offset":0,"limit":1024,"subscriptions":false,"server_name":"alpha"}"#,
    ),
    (
        "$SYS.REQ.SERVER.PING.ACCOUNTZ",
        r#"{"account":"A","server_name":"alpha"}"#,
    ),
    (
        "$SYS.REQ.ACCOUNT.PING.STATZ",
        r#"{"accounts":null,"include_unused":true,"server_name":"alpha"}"#,
    ),
];
/// What servers before 2.10 cannot be asked.
const LATER_REQUESTS: &[(&str, &str)] = &[
    ("$SYS.REQ.USER.INFO", ""),
    ("$SYS.REQ.SERVER.<id>.IDZ", ""),
    ("$SYS.REQ.SERVER.<id>.CONNZ", "no json"),
    ("$SYS.REQ.SERVER.<id>.KICK", r#"{"cid":99999}"#),
    ("$SYS.REQ.SERVER.<id>.LDM", r#"{"cid":99999}"#),
    ("$SYS.REQ.SERVER.<id>.RELOAD", ""),
];

fn config(name: &str, route: &str) -> String {
    format!(
        "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\nserver_name: {name}\nserver_tags: [\"az:a\", \"big\"]\n\
         cluster {{ name: kolb, listen: \"127.0.0.1:-1\"{route} }}\n\
         accounts {{\n\
           A {{ users: [{{user: a, password: pw}}], exports: [{{stream: \"pub.>\"}}, {{service: \"help\"}}],\n\
             imports: [{{service: {{account: B, subject: \"do.it\"}}, to: \"done\"}}] }}\n\
           B {{ users: [{{user: b, password: pw}}], exports: [{{service: \"do.it\"}}],\n\
             imports: [{{stream: {{account: A, subject: \"pub.>\"}}}},\n\
               {{service: {{account: A, subject: \"help\"}}, to: \"my.help\"}}] }}\n\
           SYS {{ users: [{{user: sys, password: pw}}] }}\n\
         }}\n\
         system_account: SYS\n"
    )
}

/// Has clients do a bit of everything, and asks for everything there is.
fn observe(program: &Path, is_old: bool) -> Shapes {
    let mut alpha = Server::start(program, &config("alpha", ""));
    let route = format!(", routes: [\"nats://{}\"]", alpha.cluster.unwrap());
    let beta = Server::start(program, &config("beta", &route));
    until("the servers have found each other", || {
        (alpha.json("/routez")["num_routes"].as_u64()? > 0).then_some(())
    });
    let mut shapes = Shapes::new();
    let mut listener = alpha.client("sys");
    listener.send("SUB $SYS.> all\r\n");
    listener.sync();
    let mut alice = alpha.client("a");
    alice.send("SUB foo 1\r\nSUB bar.* 2\r\nSUB foo q 3\r\nUNSUB 3 10\r\nPUB foo 3\r\nabc\r\n");
    alice.sync();
    let mut away = beta.client("a");
    away.send("SUB foo 1\r\nSUB away q 2\r\n");
    away.sync();
    until("its interest has arrived", || {
        let routez = alpha.json("/routez?subs=1").to_string();
        // The round trip is measured a moment after the greeting.
        (routez.contains("away") && routez.contains("rtt")).then_some(())
    });
    drop(alpha.client("b"));
    let mut wrong = Client::dial(alpha.clients);
    wrong.send("CONNECT {\"user\":\"x\",\"pass\":\"y\",\"name\":\"evil\"}\r\n");
    until("both are gone", || {
        let closed = alpha.json("/connz?state=closed");
        (closed["total"].as_u64()? >= 2).then_some(())
    });

    for path in PATHS {
        record(&mut shapes, path, &alpha.json(path));
    }
    let id = alpha.json("/varz")["server_id"]
        .as_str()
        .unwrap()
        .to_owned();
    for event in [
        "$SYS.ACCOUNT.A.CONNECT",
        "$SYS.ACCOUNT.B.DISCONNECT",
        "$SYS.ACCOUNT.A.SERVER.CONNS",
        "$SYS.SERVER.<id>.STATSZ",
        "$SYS.SERVER.<id>.CLIENT.AUTH.ERR",
    ] {
        let subject = event.replace("<id>", &id);
        let message = listener.wait_for(event, |message| message.subject == subject);
        record(
            &mut shapes,
            event,
            &serde_json::from_str(&message.body).unwrap(),
        );
    }
    let mut asker = alpha.client("sys");
    let mut ask = |requests: &[(&str, &str)]| {
        for (subject, payload) in requests {
            let answer = asker.request(&subject.replace("<id>", &id), payload);
            record(&mut shapes, &format!("{subject} {payload}"), &answer);
        }
    };
    ask(REQUESTS);
    ask(TOOLS);
    if !is_old {
        ask(LATER_REQUESTS);
        let answer = asker.request(
            &format!("$SYS.REQ.SERVER.{id}.KICK"),
            &format!("{{\"cid\":{}}}", alice.cid),
        );
        record(&mut shapes, "KICK", &answer);
        until("she is gone", || {
            let closed = alpha.json("/connz?state=closed");
            let mut closed = closed["connections"].as_array()?.iter();
            closed
                .find(|it| it["cid"] == alice.cid && it["reason"] == "Kicked")
                .map(|_| ())
        });
    }
    let mut own = alpha.client("a");
    for subject in [
        "$SYS.REQ.ACCOUNT.PING.CONNZ",
        "$SYS.REQ.ACCOUNT.PING.STATZ",
        "$SYS.REQ.SERVER.PING.CONNZ",
    ] {
        let answer = own.request(subject, "");
        record(&mut shapes, &format!("own {subject}"), &answer);
    }
    // An account's question about itself is for all servers.
    own.send("SUB _I.all all\r\nPUB $SYS.REQ.ACCOUNT.PING.CONNZ _I.all 0\r\n\r\n");
    let mut answered = [0, 0].map(|_| {
        let answer = own.wait_for("the answers of both", |message| message.subject == "_I.all");
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        answer["server"]["name"].as_str().unwrap().to_owned()
    });
    answered.sort();
    assert_eq!(answered, ["alpha", "beta"]);
    alpha.terminate();
    let subject = format!("$SYS.SERVER.{id}.SHUTDOWN");
    let message = listener.wait_for("SHUTDOWN", |message| message.subject == subject);
    record(
        &mut shapes,
        "SHUTDOWN",
        &serde_json::from_str(&message.body).unwrap(),
    );
    shapes
}

fn record(shapes: &mut Shapes, what: &str, value: &Value) {
    shape::add(shapes.entry(what.to_owned()).or_default(), value);
}

fn compare(theirs: &Shapes, ours: &Shapes) {
    let mut different = Vec::new();
    for (what, theirs) in theirs {
        let ours = ours.get(what).cloned().unwrap_or_default();
        for difference in shape::differences(theirs, &ours, LACKING) {
            different.push(format!("{what}: {difference}"));
        }
    }
    assert!(different.is_empty(), "different:\n{}", different.join("\n"));
}

fn ours() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_cupola-bus"))
}

#[test]
fn fields_are_those_of_the_newest_nats_server() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/monitoring/2.15.1.txt");
    let theirs = match std::env::var_os("NATS_SERVER").map(PathBuf::from) {
        Some(program) => {
            let theirs = observe(&program, false);
            if std::env::var_os("RECORD_SHAPES").is_some() {
                std::fs::write(&file, shape::write(&theirs)).unwrap();
            }
            theirs
        }
        None => shape::read(&std::fs::read_to_string(&file).unwrap()),
    };
    compare(&theirs, &observe(ours(), false));
}

#[test]
fn fields_are_those_of_the_nats_server_at_hand() {
    compare(
        &observe(Path::new("nats-server"), true),
        &observe(ours(), true),
    );
}
