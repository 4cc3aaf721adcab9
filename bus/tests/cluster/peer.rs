//! A server played by the test: what ours says to it, and does with what it says.

use crate::support::{Raw, Server, connected, line, server, sync};

/// A route made by hand.
pub(crate) struct Peer(Raw);

impl Peer {
    /// Dials a server and says who it is.
    pub(crate) async fn dial(to: &Server, id: &str) -> Self {
        Self::of_version(to, id, 1).await
    }

    /// One that speaks this version of the protocol.
    async fn of_version(to: &Server, id: &str, proto: u32) -> Self {
        let mut raw = Raw::dial(to.routes).await;
        raw.send(format!(
            "CONNECT {{\"name\":\"{id}\",\"cluster\":\"test\",\"headers\":true}}\r\n"
        ))
        .await;
        Peer(raw).introduced(id, proto).await
    }

    /// Waits until a server dials it, and says who it is.
    async fn answer(at: &tokio::net::TcpListener, id: &str) -> Self {
        let (socket, _) = at.accept().await.unwrap();
        let mut raw = Raw::over(socket);
        assert!(raw.line().await.starts_with("CONNECT "));
        Peer(raw).introduced(id, 1).await
    }

    async fn introduced(mut self, id: &str, proto: u32) -> Self {
        self.send(&format!(
            "INFO {{\"server_id\":\"{id}\",\"server_name\":\"{id}\",\"proto\":{proto},\"headers\":true,\
             \"cluster\":\"test\",\"max_payload\":1048576}}\r\n"
        ))
        .await;
        self.sync().await;
        self
    }

    /// The next thing it is told about this subject.
    async fn told(&mut self, subject: &str) -> String {
        loop {
            let told = line(&mut self.0).await;
            assert!(!told.is_empty(), "the connection has ended");
            if told.split(' ').any(|word| word == subject) {
                return told;
            }
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(text).await;
    }

    /// What it is told until all that it has said is handled. Pings are answered; interest of the server's own
    /// and of [`connected`] is left out.
    pub(crate) async fn sync(&mut self) -> Vec<String> {
        self.send("PING\r\n").await;
        let mut told = Vec::new();
        loop {
            match line(&mut self.0).await {
                line if line == "PONG" => return told,
                line if line.contains(" $SYS.") || line.contains(" probe.") => {}
                line => told.push(line),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_a_group_that_has_just_left_is_passed_on() {
    let a = server("a", &[], serde_json::json!({})).await;
    let b = server("b", &[a.routes], serde_json::json!({})).await;
    a.has_peers(1).await;
    b.has_peers(1).await;
    let mut at_b = b.client().await;
    at_b.send("SUB work q 1\r\nSUB both q 2\r\nSUB both 3\r\n")
        .await;
    sync(&mut at_b).await;
    connected(&mut a.client().await, &mut at_b).await;
    let mut peer = Peer::dial(&a, "NPEER").await;
    // It believes that there is a member at A, which there is not any more.
    // Where somebody else listens as well it stays lost: they have had their copy from where it was published.
    peer.send("RMSG $G both | q 2\r\nno\r\nRMSG $G work | q 2\r\nhi\r\n")
        .await;
    assert_eq!(peer.sync().await, [""; 0]);
    at_b.expect("MSG work 1 2\r\nhi\r\n").await;
    connected(&mut a.client().await, &mut at_b).await;

    // Nobody has any but the one who asks: it gets it back, and its own members may have it.
    peer.send("RS+ $G rest q 2\r\nRMSG $G rest + back q p 2\r\nho\r\n")
        .await;
    assert_eq!(
        peer.sync().await,
        ["RMSG $G rest + back q 2", "ho"],
        "and nothing for a group that nobody is in"
    );
}

/// A server that dials its peer and is dialled by it: of the two connections that come of it, it uses the
/// first one, and the second one in the end, as that was dialled by the one with the smaller id.
async fn dialled_twice() -> (Server, [Peer; 2]) {
    const ID: &str = "APEER";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let routes = [listener.local_addr().unwrap()];
    let (a, first) = tokio::join!(
        server("a", &routes, serde_json::json!({})),
        Peer::answer(&listener, ID)
    );
    let second = Peer::dial(&a, ID).await;
    (a, [first, second])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_replaces_another_is_read_after_it() {
    let (a, [mut first, mut second]) = dialled_twice().await;
    let mut to = a.client().await;
    to.send("SUB flow 1\r\n").await;
    sync(&mut to).await;
    assert_eq!(first.told("flow").await, "RS+ $G flow");
    // It is told on the second one before it is taken back on the first one.
    let both = async {
        assert_eq!(second.told("flow").await, "RS+ $G flow");
        first.told("flow").await
    };
    assert_eq!(both.await, "RS- $G flow");
    second.send("RMSG $G flow 1\r\n2\r\n").await;
    for _ in 0..200 {
        // Long enough for it to come, if it was read.
        sync(&mut to).await;
    }
    first.send("RMSG $G flow 1\r\n1\r\n").await;
    // Among what is answered here is that it has been told all.
    first.sync().await;
    for n in 1..=2 {
        to.expect(&format!("MSG flow 1 1\r\n{n}\r\n")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_connections_a_peer_has_dialled_it_chooses_one() {
    let a = server("a", &[], serde_json::json!({})).await;
    let mut to = a.client().await;
    to.send("SUB flow 1\r\n").await;
    sync(&mut to).await;
    let mut first = Peer::dial(&a, "NPEER").await;
    let mut second = Peer::dial(&a, "NPEER").await;
    // It has met A by the second one first.
    second.send("RS+ $G own\r\n").await;
    // Both are alive: this one answers as well.
    first.sync().await;
    assert_eq!(second.told("flow").await, "RS+ $G flow");
    assert_eq!(first.told("flow").await, "RS- $G flow");
    first.sync().await;
    second.send("RMSG $G flow 1\r\n1\r\n").await;
    to.expect("MSG flow 1 1\r\n1\r\n").await;
    // Until it ends.
    while !line(&mut first.0).await.is_empty() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_gets_all_by_one_connection_until_it_has_taken_everything_back_there() {
    let (a, [mut first, mut second]) = dialled_twice().await;
    first.send("RS+ $G one\r\nRS+ $G two\r\n").await;
    first.sync().await;
    second
        .send("RS+ $G one\r\nRS+ $G two\r\nRS+ $G new\r\n")
        .await;
    second.sync().await;
    let mut from = a.client().await;
    let all = "PUB one 0\r\n\r\nPUB two 0\r\n\r\nPUB new 0\r\n\r\n";
    let told = [
        "RMSG $G one 0",
        "",
        "RMSG $G two 0",
        "",
        "RMSG $G new 0",
        "",
    ];
    for taken_back in ["", "RS- $G one\r\n"] {
        first.send(taken_back).await;
        first.sync().await;
        from.send(all).await;
        sync(&mut from).await;
        assert_eq!(first.sync().await, told);
        assert_eq!(second.sync().await, [""; 0]);
    }
    first.send("RS- $G two\r\n").await;
    first.sync().await;
    from.send(all).await;
    sync(&mut from).await;
    assert_eq!(first.sync().await, [""; 0]);
    assert_eq!(second.sync().await, told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_headers_wants_none_from_its_peers() {
    let a = server("a", &[], serde_json::json!({ "headers": false })).await;
    let mut client = Raw::dial(a.clients).await;
    assert_eq!(client.info["headers"], false);
    client
        .send("CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB t 1\r\n")
        .await;
    sync(&mut client).await;
    let mut peer = Peer::dial(&a, "NPEER").await;
    assert_eq!(peer.0.info["headers"], false);
    peer.send("HMSG $G t 18 20\r\nNATS/1.0\r\nX: y\r\n\r\nhi\r\n")
        .await;
    client.expect("MSG t 1 2\r\nhi\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_traced_goes_marked_to_those_who_trace() {
    let a = server("a", &[], serde_json::json!({})).await;
    let mut from = a.client().await;
    from.send("SUB trace 1\r\n").await;
    sync(&mut from).await;
    let block = "NATS/1.0\r\nNats-Trace-Dest: trace\r\nNats-Trace-Only: true\r\n";
    let len = block.len() + 2;
    for (proto, hop) in [(2, None), (3, Some("Nats-Trace-Hop: 1"))] {
        let mut peer = Peer::of_version(&a, &format!("NPEER{proto}"), proto).await;
        peer.send("RS+ $G t\r\n").await;
        peer.sync().await;
        from.send(format!("HPUB t {len} {len}\r\n{block}\r\n\r\n"))
            .await;
        let (.., body) = from.message().await;
        let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let sent = &event["events"][1];
        assert_eq!(sent["hop"], "1");
        assert_eq!(sent.get("error").is_none(), hop.is_some(), "{sent}");
        let told = peer.sync().await;
        let marked = told
            .iter()
            .map(String::as_str)
            .find(|line| Some(*line) == hop);
        assert_eq!(marked, hop, "{told:?}");
        assert_eq!(
            told.iter().any(|line| line.starts_with("HMSG")),
            hop.is_some()
        );
        drop(peer);
        a.has_peers(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_keep_up_is_cut_off_and_counted() {
    let a = server("a", &[], serde_json::json!({ "max_pending": "256K" })).await;
    let mut peer = Peer::dial(&a, "NPEER").await;
    peer.send("RS+ $G flood\r\n").await;
    peer.sync().await;
    let mut from = a.client().await;
    let message = format!("PUB flood 65536\r\n{}\r\n", "x".repeat(65536));
    // The system's own buffers take some.
    while a.handle.peers() > 0 {
        from.send(&message).await;
        sync(&mut from).await;
    }
    let varz = a.handle.varz();
    assert_eq!(
        (
            &varz["slow_consumers"],
            &varz["slow_consumer_stats"]["routes"]
        ),
        (&1.into(), &1.into())
    );
    assert_eq!(varz["slow_consumer_stats"]["clients"], 0);
}
