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
            "CONNECT {{\"name\":\"{id}\",\"cluster\":\"test\",\"headers\":true}}\r\n\
             INFO {{\"server_id\":\"{id}\",\"server_name\":\"{id}\",\"proto\":{proto},\"headers\":true,\
             \"cluster\":\"test\",\"max_payload\":1048576}}\r\n"
        ))
        .await;
        let mut peer = Peer(raw);
        peer.sync().await;
        peer
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
