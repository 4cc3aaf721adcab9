//! Three servers of ours on loopback.

use std::collections::HashMap;

use tokio::io::AsyncBufReadExt as _;

use crate::support::{Raw, connected, eventually, server, three};

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_know_one_of_them_find_each_other() {
    let [a, b, c] = three().await;
    let mut at_b = b.client().await;
    let mut at_c = c.client().await;
    connected(&mut at_b, &mut at_c).await;
    let mut at_a = a.client().await;
    connected(&mut at_c, &mut at_a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_comes_once_however_many_ways_it_could() {
    let [a, b, c] = three().await;
    let mut from = a.client().await;
    let mut to = [b.client().await, c.client().await];
    for to in &mut to {
        to.send("SUB foo.bar 1\r\nSUB foo.* 2\r\nSUB foo.x.> 3\r\n")
            .await;
        to.sync().await;
        connected(&mut from, to).await;
    }
    from.send("PUB foo.bar 2\r\nhi\r\nPUB foo.x re 2\r\nho\r\n")
        .await;
    from.sync().await;
    for to in &mut to {
        let mut got = Vec::new();
        for _ in 0..3 {
            got.push(to.message().await);
        }
        got.sort();
        let sids: Vec<_> = got
            .iter()
            .map(|one| (one.0.as_str(), one.1.as_str()))
            .collect();
        assert_eq!(sids, [("foo.bar", "1"), ("foo.bar", "2"), ("foo.x", "2")]);
        assert_eq!(got[2].2.as_deref(), Some("re"));
    }
    // Nothing else is on its way, in any direction.
    let [b, c] = &mut to;
    connected(b, c).await;
    connected(c, b).await;
}

/// Reads what has come so far; returns how many lines that were.
async fn drain(raw: &mut Raw) -> usize {
    raw.send("PING\r\n").await;
    let mut lines = 0;
    while raw.line().await != "PONG" {
        lines += 1;
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_requests_cross() {
    let [a, b, _c] = three().await;
    let mut asks = a.client().await;
    let mut answers = b.client().await;
    answers.send("SUB svc q 1\r\n").await;
    answers.sync().await;
    connected(&mut asks, &mut answers).await;
    asks.send("SUB inbox.* 9\r\nHPUB svc inbox.1 12 13\r\nNATS/1.0\r\n\r\nx\r\n")
        .await;
    answers
        .expect("HMSG svc 1 inbox.1 12 13\r\nNATS/1.0\r\n\r\nx\r\n")
        .await;
    answers.send("PUB inbox.1 3\r\nyes\r\n").await;
    asks.expect("MSG inbox.1 9 3\r\nyes\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_subject_is_known_before_the_request() {
    let [a, b, _c] = three().await;
    let mut asks = a.client().await;
    let mut answers = b.client().await;
    answers.send("SUB svc 1\r\n").await;
    answers.sync().await;
    connected(&mut asks, &mut answers).await;
    for n in 0..300 {
        asks.send(format!(
            "SUB in.{n} {n}\r\nUNSUB {n} 1\r\nPUB svc in.{n} 0\r\n\r\n"
        ))
        .await;
        let (.., reply, _) = answers.message().await;
        answers
            .send(format!("PUB {} 0\r\n\r\n", reply.unwrap()))
            .await;
        let (subject, ..) = asks.message().await;
        assert_eq!(subject, format!("in.{n}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_drawn_by_their_number_wherever_they_are() {
    let [a, b, c] = three().await;
    let mut from = a.client().await;
    let mut at_b = b.client().await;
    let mut at_c = c.client().await;
    at_b.send("SUB work q 1\r\n").await;
    at_b.sync().await;
    at_c.send("SUB work q 1\r\nSUB work q 2\r\nSUB work q 3\r\n")
        .await;
    at_c.sync().await;
    connected(&mut from, &mut at_b).await;
    connected(&mut from, &mut at_c).await;
    let total = 2000;
    for _ in 0..total {
        from.send("PUB work 0\r\n\r\n").await;
    }
    from.sync().await;
    connected(&mut from, &mut at_b_probe(&b).await).await;
    connected(&mut from, &mut at_b_probe(&c).await).await;
    let (at_b_got, at_c_got) = (drain(&mut at_b).await / 2, drain(&mut at_c).await / 2);
    assert_eq!(at_b_got + at_c_got, total);
    // A quarter of them, give or take five standard deviations.
    assert!((400..600).contains(&at_b_got), "{at_b_got} of {total}");

    // One beside the publisher is as good as any other.
    let mut here = a.client().await;
    here.send("SUB work q 1\r\n").await;
    here.sync().await;
    for _ in 0..total {
        from.send("PUB work 0\r\n\r\n").await;
    }
    from.sync().await;
    connected(&mut from, &mut at_b_probe(&b).await).await;
    connected(&mut from, &mut at_b_probe(&c).await).await;
    let here_got = drain(&mut here).await / 2;
    let elsewhere = (drain(&mut at_b).await + drain(&mut at_c).await) / 2;
    assert_eq!(here_got + elsewhere, total);
    assert!((310..490).contains(&here_got), "{here_got} of {total}");
    drop(here);
    // When it goes, the others serve on.
    let mut served = 0;
    eventually_async("the others serve", async || {
        from.send("PUB work 0\r\n\r\n").await;
        from.sync().await;
        served += drain(&mut at_b).await + drain(&mut at_c).await;
        served > 10
    })
    .await;
}

async fn at_b_probe(server: &crate::support::Server) -> Raw {
    server.client().await
}

async fn eventually_async(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while !condition().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "never happened: {what}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens_is_known_across_the_cluster() {
    let [a, b, _c] = three().await;
    let mut asks = a.client().await;
    asks.send("SUB r 1\r\nPUB svc r 0\r\n\r\n").await;
    assert!(asks.line().await.starts_with("HMSG r 1 "));
    while !asks.line().await.is_empty() {}
    asks.line().await;
    let mut answers = b.client().await;
    answers.send("SUB svc q 1\r\n").await;
    answers.sync().await;
    connected(&mut asks, &mut answers).await;
    asks.send("PUB svc r 0\r\n\r\n").await;
    asks.sync().await;
    answers.message().await;
    answers.send("UNSUB 1\r\n").await;
    answers.sync().await;
    eventually_async("interest ends", async || {
        asks.send("PUB svc r 0\r\n\r\nPING\r\n").await;
        let first = asks.line().await;
        if first == "PONG" {
            return false;
        }
        while asks.line().await != "PONG" {}
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_hear_where_the_others_are() {
    let a = server("a", &[], serde_json::json!({})).await;
    let mut client = Raw::dial(a.clients).await;
    client
        .send("CONNECT {\"verbose\":false,\"protocol\":1}\r\n")
        .await;
    client.sync().await;
    assert!(client.info.get("connect_urls").is_none());
    let b = server("b", &[a.routes], serde_json::json!({})).await;
    let info = news(&mut client).await;
    assert!(
        info["connect_urls"]
            .as_array()
            .unwrap()
            .iter()
            .any(|url| *url == b.clients.to_string())
    );
    assert_eq!(info["cluster"], "test");
    let late = Raw::dial(a.clients).await;
    assert!(
        late.info["connect_urls"]
            .to_string()
            .contains(&b.clients.to_string())
    );
    let gone = b.clients.to_string();
    b.stop().await;
    let info = news(&mut client).await;
    // Clients forget who is missing on a list, but not when there is no list.
    let alone = serde_json::json!([a.clients.to_string()]);
    assert_eq!(info["connect_urls"], alone, "without {gone}");
    assert_eq!(Raw::dial(a.clients).await.info["connect_urls"], alone);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_news_before_the_first_ping_is_answered() {
    let a = server("a", &[], serde_json::json!({})).await;
    let mut client = Raw::dial(a.clients).await;
    client
        .send("CONNECT {\"verbose\":true,\"protocol\":1}\r\n")
        .await;
    client.expect("+OK\r\n").await;
    let b = server("b", &[a.routes], serde_json::json!({})).await;
    b.has_peers(1).await;
    let all = serde_json::json!([a.clients.to_string(), b.clients.to_string()]);
    eventually("the newcomers are told", || {
        a.handle.varz()["connect_urls"] == all
    })
    .await;
    client.send("SUB x 1\r\nPING\r\n").await;
    client.expect("+OK\r\nPONG\r\n").await;
    assert_eq!(news(&mut client).await["connect_urls"], all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_leaves_its_clients_the_others() {
    for _ in 0..5 {
        let a = server("a", &[], serde_json::json!({})).await;
        let b = server("b", &[a.routes], serde_json::json!({})).await;
        let mut client = Raw::dial(b.clients).await;
        client
            .send("CONNECT {\"verbose\":false,\"protocol\":1}\r\n")
            .await;
        client.sync().await;
        assert!(
            client.info["connect_urls"]
                .to_string()
                .contains(&a.clients.to_string())
        );
        b.stop().await;
        // No list without the other one comes on its way out.
        client.ends_with("").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_tell_each_other_where_they_serve_websockets() {
    let door = |advertise: &str| {
        serde_json::json!({ "websocket": {
            "listen": "127.0.0.1:0", "no_tls": true, "advertise": advertise,
        }})
    };
    let a = server("a", &[], door("here.example:1")).await;
    let b = server("b", &[a.routes], door("there.example:2")).await;
    for (server, told) in [
        (&a, ["here.example:1", "there.example:2"]),
        (&b, ["there.example:2", "here.example:1"]),
    ] {
        eventually("websockets elsewhere are known", || {
            server.handle.varz()["ws_connect_urls"] == serde_json::json!(told)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_let_in_when_the_peers_have_told_what_theirs_listen_to() {
    use tokio::io::AsyncWriteExt as _;
    let peer = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let routes = [peer.local_addr().unwrap()];
    let started = std::time::Instant::now();
    let peer = async {
        let (socket, _) = peer.accept().await.unwrap();
        let mut socket = tokio::io::BufReader::new(socket);
        let mut line = String::new();
        while line != "PING\r\n" {
            line.clear();
            socket.read_line(&mut line).await.unwrap();
        }
        let answered = started.elapsed();
        let info = serde_json::json!({
            "server_id": "PEER", "server_name": "peer", "proto": 1, "host": "127.0.0.1", "port": 1,
            "headers": true, "cluster": "test", "connect_urls": ["127.0.0.1:2"],
        });
        let words = format!("INFO {info}\r\nRS+ $G early\r\nPONG\r\n");
        socket.write_all(words.as_bytes()).await.unwrap();
        (answered, socket)
    };
    let server = async {
        let server = server("a", &routes, serde_json::json!({})).await;
        (started.elapsed(), server)
    };
    let ((answered, mut peer), (opened, a)) = tokio::join!(peer, server);
    // Unless the peer was so slow that it was not waited for.
    if opened < std::time::Duration::from_millis(250) {
        assert!(answered < opened, "{answered:?} {opened:?}");
        let mut client = a.client().await;
        assert!(client.info["connect_urls"].to_string().contains(":2"));
        client.send("PUB early 2\r\nhi\r\n").await;
        let mut line = String::new();
        while !line.starts_with("RMSG $G early 2") {
            line.clear();
            peer.read_line(&mut line).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_answers_keeps_nobody_out() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let a = server("a", &[mute.local_addr().unwrap()], serde_json::json!({})).await;
    a.client().await;
    assert_eq!(a.handle.peers(), 0);
}

async fn news(client: &mut Raw) -> serde_json::Value {
    let line = client.line().await;
    serde_json::from_str(line.strip_prefix("INFO ").expect("news")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_forgotten_and_one_that_comes_back_is_found() {
    let [a, b, c] = three().await;
    let mut from = a.client().await;
    let mut to = c.client().await;
    connected(&mut from, &mut to).await;
    let routes = a.routes;
    b.stop().await;
    a.has_peers(1).await;
    c.has_peers(1).await;
    connected(&mut from, &mut to).await;
    let b = server("b", &[routes], serde_json::json!({})).await;
    for server in [&a, &b, &c] {
        server.has_peers(2).await;
    }
    let mut again = b.client().await;
    connected(&mut to, &mut again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dials_itself_and_others_twice_has_one_route_to_each() {
    let a = server("a", &[], serde_json::json!({})).await;
    let routes = a.routes;
    let b = server(
        "b",
        &[routes, routes],
        serde_json::json!({ "connect_retries": 2 }),
    )
    .await;
    let c = server("c", &[routes, b.routes], serde_json::json!({})).await;
    for server in [&a, &b, &c] {
        server.has_peers(2).await;
    }
    eventually("no more connections than peers", || {
        [&a, &b, &c]
            .iter()
            .all(|server| server.handle.routes() == 2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_dial_each_other_keep_one_connection_and_lose_nothing() {
    // Both addresses must be known before either starts.
    let free = || {
        std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    };
    for round in 0..3 {
        let (one, other) = (free(), free());
        let listen = |at: std::net::SocketAddr| serde_json::json!({ "listen": at.to_string() });
        let (of_a, of_b) = ([other], [one]);
        let (a, b) = tokio::join!(
            server("a", &of_a, listen(one)),
            server("b", &of_b, listen(other)),
        );
        a.has_peers(1).await;
        b.has_peers(1).await;
        let mut from = a.client().await;
        let mut to = b.client().await;
        to.send("SUB flow 1\r\n").await;
        to.sync().await;
        connected(&mut from, &mut to).await;
        // While it is decided which connection stays.
        let total = 400;
        for n in 0..total {
            let text = n.to_string();
            from.send(format!("PUB flow {}\r\n{text}\r\n", text.len()))
                .await;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let mut got: HashMap<String, usize> = HashMap::new();
        for _ in 0..total {
            let (.., body) = to.message().await;
            *got.entry(String::from_utf8(body).unwrap()).or_default() += 1;
        }
        assert!(
            got.len() == total && got.values().all(|times| *times == 1),
            "round {round}"
        );
        eventually("one connection is left", || {
            a.handle.routes() == 1 && b.handle.routes() == 1
        })
        .await;
    }
}

/// The next event of a trace, and the server that tells it.
async fn event(raw: &mut Raw) -> (String, serde_json::Value) {
    let (.., body) = raw.message().await;
    let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
    (event["server"]["name"].as_str().unwrap().to_owned(), event)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_tells_its_part_of_a_trace() {
    let [a, b, c] = three().await;
    let mut from = a.client().await;
    let mut watch = b.client().await;
    let mut to = [b.client().await, c.client().await];
    watch.send("SUB trace 1\r\n").await;
    watch.sync().await;
    for to in &mut to {
        to.send("SUB t 1\r\nSUB t q 2\r\n").await;
        to.sync().await;
        connected(&mut from, to).await;
    }
    connected(&mut from, &mut watch).await;
    connected(&mut c.client().await, &mut watch).await;
    for (only, heard) in [("", 2), ("Nats-Trace-Only: true\r\n", 0)] {
        let block = format!("NATS/1.0\r\nNats-Trace-Dest: trace\r\n{only}\r\n");
        let len = block.len();
        from.send(format!("HPUB t {len} {len}\r\n{block}\r\n"))
            .await;
        from.sync().await;
        let mut told = HashMap::new();
        for _ in 0..3 {
            let (server, event) = event(&mut watch).await;
            told.insert(server, event);
        }
        let first = &told["a"];
        assert_eq!(first["hops"], 2, "{first}");
        for peer in ["b", "c"] {
            let steps = first["events"].as_array().unwrap();
            let sent = steps.iter().find(|step| step["name"] == peer).unwrap();
            assert_eq!((&sent["type"], &sent["kind"]), (&"eg".into(), &1.into()));
            assert!(sent.get("error").is_none(), "{sent}");
            let then = &told[peer];
            assert!(then.get("hops").is_none(), "{then}");
            assert_eq!(then["request"]["header"]["Nats-Trace-Hop"][0], sent["hop"]);
            let came = &then["events"][0];
            assert_eq!((&came["type"], &came["kind"]), (&"in".into(), &1.into()));
            assert_eq!((&came["name"], &came["acc"]), (&"a".into(), &"$G".into()));
        }
        let steps = |peer: &str| told[peer]["events"].as_array().unwrap().len();
        assert_eq!(steps("b") + steps("c"), 2 + 2 + 1, "one serves the group");
        // What was only traced has not come; what follows has.
        let mut messages = 0;
        for (to, server) in to.iter_mut().zip([&b, &c]) {
            let mut mark = server.client().await;
            connected(&mut from, &mut mark).await;
            to.send("PING\r\n").await;
            loop {
                let line = to.line().await;
                messages += usize::from(line.starts_with("HMSG t 1 "));
                if line == "PONG" {
                    break;
                }
            }
        }
        assert_eq!(messages, heard);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_for_servers_may_leave_out_its_port() {
    for (advertise, host) in [("there.example", "there.example"), ("::1", "::1")] {
        let a = server("a", &[], serde_json::json!({ "advertise": advertise })).await;
        let info = Raw::dial(a.routes).await.info;
        assert_eq!(info["host"], host);
        assert_eq!(info["port"], a.routes.port());
    }
    let config = serde_json::json!({
        "listen": "127.0.0.1:0",
        "cluster": { "listen": "127.0.0.1:0", "advertise": "nats://there.example" },
    });
    let config = serde_json::from_value(config).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = cupola_bus::build(config, listener).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "advertise of the cluster is \"nats://there.example\", which is not of the form host or host:port"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn long_names_of_many_groups_do_not_end_a_route() {
    let a = server("a", &[], serde_json::json!({})).await;
    let b = server("b", &[a.routes], serde_json::json!({})).await;
    a.has_peers(1).await;
    let mut at_b = b.client().await;
    for sid in 0..40 {
        let name = format!("{sid:04}").repeat(950);
        at_b.send(format!("SUB work {name} {sid}\r\n")).await;
    }
    at_b.sync().await;
    let mut at_a = a.client().await;
    connected(&mut at_a, &mut at_b).await;
    at_a.send("PUB work 2\r\nhi\r\n").await;
    let mut told: Vec<String> = Vec::new();
    for _ in 0..40 {
        let (subject, sid, ..) = at_b.message().await;
        assert_eq!(subject, "work");
        told.push(sid);
    }
    told.sort_by_key(|sid| sid.parse::<u32>().unwrap());
    assert_eq!(told, (0..40).map(|sid| sid.to_string()).collect::<Vec<_>>());
    assert_eq!(a.handle.varz()["routes"], 1);
    connected(&mut at_a, &mut at_b).await;
}
