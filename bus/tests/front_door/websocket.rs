//! The door for websockets.

use base64::Engine as _;
use cupola_bus::{Config, Listeners, build};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::certificates::Authority;
use super::spoken::Spoken;
use super::support::{PATIENCE, QUIET, TestBroker, broker, eventually};

/// A broker whose websockets need no TLS, with more in their section.
async fn open(more: Value) -> TestBroker {
    open_with(more, json!({})).await
}

async fn open_with(more: Value, mut config: Value) -> TestBroker {
    let mut section = json!({ "no_tls": true, "handshake_timeout": "20s" });
    for (key, value) in more.as_object().unwrap() {
        section[key] = value.clone();
    }
    config["websocket"] = section;
    broker(config).await
}

fn url(broker: &TestBroker) -> String {
    format!("ws://{}", broker.websocket.unwrap())
}

/// A websocket by the library, that has read INFO.
struct Client {
    socket: tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>,
    info: Value,
}

impl Client {
    async fn connect(broker: &TestBroker, headers: &[(&'static str, &str)]) -> Self {
        let mut request = url(broker).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        let mut client = Client {
            socket,
            info: Value::Null,
        };
        let line = client.hear().await;
        client.info = serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
        client
    }

    async fn say(&mut self, message: impl Into<Message>) {
        self.socket.send(message.into()).await.unwrap();
    }

    async fn next(&mut self) -> Message {
        let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
        next.expect("nothing came in time").unwrap().unwrap()
    }

    async fn hear(&mut self) -> String {
        match self.next().await {
            Message::Binary(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn frames_carry_the_stream_wherever_they_are_cut() {
    let broker = open(json!({})).await;
    let mut client = Client::connect(&broker, &[]).await;
    assert_eq!(client.info["port"], broker.websocket.unwrap().port());
    assert!(client.info["tls_required"].is_null());
    client.say(QUIET).await;
    client.say(b"SUB a 1\r\nPU".to_vec()).await;
    client.say(b"B a 5\r\nhel".to_vec()).await;
    client.say("lo\r\nPING\r\n").await;
    assert_eq!(client.hear().await, "MSG a 1 5\r\nhello\r\nPONG\r\n");
    client.say(Message::Ping(b"there?".to_vec().into())).await;
    assert_eq!(
        client.next().await,
        Message::Pong(b"there?".to_vec().into())
    );
    // Clients of both doors hear each other.
    let mut other = broker.greeted(QUIET).await;
    other.send("PUB a 2\r\nhi\r\n").await;
    assert_eq!(client.hear().await, "MSG a 1 2\r\nhi\r\n");
    client.socket.close(None).await.unwrap();
    while let Some(Ok(message)) = client.socket.next().await {
        assert!(message.is_close(), "{message:?}");
    }
    eventually("it has left", || broker.handle.stats().connections == 1).await;
}

#[tokio::test]
async fn errors_and_ends_come_with_a_close_code() {
    let broker = open_with(json!({}), json!({ "authorization": { "token": "t" } })).await;
    let mut client = Client::connect(&broker, &[]).await;
    assert_eq!(client.info["auth_required"], true);
    client.say("CONNECT {\"auth_token\":\"wrong\"}\r\n").await;
    assert_eq!(client.hear().await, "-ERR 'Authorization Violation'\r\n");
    let Message::Close(Some(close)) = client.next().await else {
        panic!("no close frame");
    };
    assert_eq!(u16::from(close.code), 1008);
    assert_eq!(close.reason.as_str(), "Authentication Failure");

    let mut client = Client::connect(&broker, &[]).await;
    client
        .say("CONNECT {\"auth_token\":\"t\",\"verbose\":false}\r\nPING\r\n")
        .await;
    assert_eq!(client.hear().await, "PONG\r\n");
    broker.shutdown.cancel();
    let Message::Close(Some(close)) = client.next().await else {
        panic!("no close frame");
    };
    assert_eq!(u16::from(close.code), 1001);
}

#[tokio::test]
async fn what_is_no_upgrade_is_answered_in_http() {
    let section = json!({ "handshake_timeout": "300ms", "allowed_origins": ["https://a.example"] });
    let broker = open(section).await;
    let ask = async |request: &str| {
        let socket = TcpStream::connect(broker.websocket.unwrap()).await.unwrap();
        let mut spoken = Spoken::new(socket);
        spoken.say(request).await;
        spoken.hear().await
    };
    let get = "GET / HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(ask(&format!("{get}\r\n")).await, "HTTP/1.1 400 Bad Request");
    assert_eq!(
        ask("CONNECT {}\r\nPING\r\n").await,
        "HTTP/1.1 400 Bad Request"
    );
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://b.example\r\n\r\n";
    assert_eq!(
        ask(&format!("{get}{upgrade}")).await,
        "HTTP/1.1 403 Forbidden"
    );
    // One that never finishes is hung up on.
    assert_eq!(ask(get).await, "");
    eventually("nobody is left", || broker.handle.stats().connections == 0).await;
}

/// Upgrades by hand.
async fn by_hand(broker: &TestBroker, extensions: &str) -> Spoken<TcpStream> {
    let socket = TcpStream::connect(broker.websocket.unwrap()).await.unwrap();
    let mut spoken = Spoken::new(socket);
    let key = base64::engine::general_purpose::STANDARD.encode([7; 16]);
    spoken
        .say(format!(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{extensions}\r\n"
        ))
        .await;
    assert_eq!(spoken.hear().await, "HTTP/1.1 101 Switching Protocols");
    while !spoken.hear().await.is_empty() {}
    spoken
}

/// The first byte and the payload of the next frame.
async fn frame(spoken: &mut Spoken<TcpStream>) -> (u8, Vec<u8>) {
    let head = spoken.bytes(2).await;
    let length = match head[1] {
        126 => usize::from(u16::from_be_bytes(
            spoken.bytes(2).await.try_into().unwrap(),
        )),
        length => usize::from(length),
    };
    (head[0], spoken.bytes(length).await)
}

/// A text frame with a mask of zeros.
fn masked(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81, 0xfe];
    frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn long_messages_are_compressed_for_those_who_want_it() {
    let broker = open(json!({ "compression": true })).await;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let text = "all work and no play ".repeat(200);
    let publish = format!("{QUIET}SUB a 1\r\nPUB a {}\r\n{text}\r\n", text.len());
    for (extensions, compressed) in [(offer, true), ("", false)] {
        let mut client = by_hand(&broker, extensions).await;
        let (first, _info) = frame(&mut client).await;
        assert_eq!(first, if compressed { 0xc2 } else { 0x82 });
        client.say(masked(publish.as_bytes())).await;
        let (first, payload) = frame(&mut client).await;
        assert_eq!(first, if compressed { 0xc2 } else { 0x82 });
        assert_eq!(payload.len() < text.len() / 10, compressed);
    }
}

#[tokio::test]
async fn who_breaks_the_rules_is_told_and_closed() {
    let broker = open(json!({})).await;
    let mut client = by_hand(&broker, "").await;
    frame(&mut client).await;
    // Not masked.
    client.say(b"\x81\x06PING\r\n").await;
    let (first, payload) = frame(&mut client).await;
    assert_eq!((first, &payload[..2]), (0x88, &1002u16.to_be_bytes()[..]));
    client.ends().await;
    // It asks for ever and never reads: what waits for it has a bound.
    let mut deaf = by_hand(&broker, "").await;
    frame(&mut deaf).await;
    let mut ping = vec![0x89, 0xfd, 0, 0, 0, 0];
    ping.extend([b'x'; 125]);
    let pings = ping.repeat(1000);
    let mut deaf = deaf.into_inner();
    let flood = async {
        while tokio::io::AsyncWriteExt::write_all(&mut deaf, &pings)
            .await
            .is_ok()
        {}
    };
    tokio::time::timeout(PATIENCE, flood).await.unwrap();
    eventually("it is gone", || broker.handle.stats().connections == 0).await;
}

#[tokio::test]
async fn what_came_before_a_close_is_answered_even_in_one_piece_with_connect() {
    let broker = open(json!({})).await;
    let mut client = by_hand(&broker, "").await;
    frame(&mut client).await;
    let mut all = masked(QUIET.as_bytes());
    all.extend(masked(b"PING\r\n"));
    // Close, code 1000, with a mask of zeros.
    all.extend(b"\x88\x82\0\0\0\0\x03\xe8");
    client.say(all).await;
    assert_eq!(frame(&mut client).await, (0x82, b"PONG\r\n".to_vec()));
    assert_eq!(frame(&mut client).await, (0x88, b"\x03\xe8".to_vec()));
    client.ends().await;
}

#[tokio::test]
async fn cookies_and_credentials_of_their_own() {
    let section = json!({ "user_cookie": "who", "pass_cookie": "secret" });
    let users = json!({ "authorization": { "users": [{ "user": "joe", "password": "pw" }] } });
    let broker = open_with(section, users).await;
    for (cookie, answer) in [
        ("a=b; who=joe; secret=pw", "PONG\r\n"),
        ("who=joe; secret=no", "-ERR 'Authorization Violation'\r\n"),
    ] {
        let mut client = Client::connect(&broker, &[("Cookie", cookie)]).await;
        client.say(format!("{QUIET}PING\r\n")).await;
        assert_eq!(client.hear().await, answer, "{cookie}");
    }

    let section = json!({ "username": "web", "password": "pw" });
    let broker = open_with(section, json!({ "authorization": { "token": "t" } })).await;
    for (credentials, answer) in [
        (r#""user":"web","pass":"pw""#, "PONG\r\n"),
        (r#""auth_token":"t""#, "-ERR 'Authorization Violation'\r\n"),
    ] {
        let mut client = Client::connect(&broker, &[]).await;
        let connect = format!("CONNECT {{\"verbose\":false,{credentials}}}\r\nPING\r\n");
        client.say(connect).await;
        assert_eq!(client.hear().await, answer, "{credentials}");
    }
    let mut other = broker.raw().await;
    other
        .send("CONNECT {\"verbose\":false,\"auth_token\":\"t\"}\r\n")
        .await;
    other.sync().await;
}

#[tokio::test]
async fn the_official_client_over_ws_and_wss() {
    let authority = Authority::new();
    for secure in [false, true] {
        let section = if secure {
            json!({ "no_tls": false, "tls": authority.section() })
        } else {
            json!({})
        };
        let broker = open(section).await;
        let port = broker.websocket.unwrap().port();
        let url = if secure {
            format!("wss://localhost:{port}")
        } else {
            format!("ws://localhost:{port}")
        };
        let options = async_nats::ConnectOptions::new();
        let options = options.add_root_certificates(authority.file("ca.pem"));
        let client = options.connect(&url).await.unwrap();
        assert_eq!(client.server_info().tls_required, secure);
        let mut inbox = client.subscribe("a").await.unwrap();
        let large = vec![7; 1 << 20];
        client.publish("a", large.clone().into()).await.unwrap();
        for number in 0..3000 {
            client
                .publish("a", number.to_string().into())
                .await
                .unwrap();
        }
        let heard = async {
            assert!(inbox.next().await.unwrap().payload == large);
            for number in 0..3000 {
                assert_eq!(inbox.next().await.unwrap().payload, number.to_string());
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap();
    }
}

#[tokio::test]
async fn it_does_not_start_without_tls_unless_told_to() {
    let mut config: Config = serde_json::from_value(json!({ "websocket": {} })).unwrap();
    config.listen = "127.0.0.1:0".parse().unwrap();
    let error = build(config, Listeners::default()).await.unwrap_err();
    assert!(
        error.to_string().contains("websocket requires TLS"),
        "{error}"
    );
}
