//! The official client, as the roles of the house use it.

use std::time::Duration;

use async_nats::{ConnectOptions, HeaderMap};
use futures_util::StreamExt as _;

use super::support::{broker, eventually, plain};

#[tokio::test]
async fn publish_subscribe_and_headers() {
    let broker = plain().await;
    let client = async_nats::connect(broker.url()).await.unwrap();
    let mut inbox = client.subscribe("greet.*").await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Trace", "abc");
    client
        .publish_with_headers("greet.joe", headers, "hello".into())
        .await
        .unwrap();
    client.publish("greet.sue", "hi".into()).await.unwrap();
    let first = inbox.next().await.unwrap();
    assert_eq!(
        (first.subject.as_str(), &first.payload[..]),
        ("greet.joe", &b"hello"[..])
    );
    assert_eq!(first.headers.unwrap().get("Trace").unwrap().as_str(), "abc");
    assert_eq!(&inbox.next().await.unwrap().payload[..], b"hi");
}

#[tokio::test]
async fn request_reply_and_no_responders() {
    let broker = plain().await;
    let client = async_nats::connect(broker.url()).await.unwrap();
    let error = client.request("nobody", "".into()).await.unwrap_err();
    assert_eq!(
        error.kind(),
        async_nats::client::RequestErrorKind::NoResponders
    );
    let service = async_nats::connect(broker.url()).await.unwrap();
    let mut requests = service
        .queue_subscribe("double", "workers".into())
        .await
        .unwrap();
    // Beside the requester's own for answers. A flush says only that bytes have left.
    eventually("the service listens", || {
        broker.handle.stats().subscriptions.len == 2
    })
    .await;
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let number: u32 = std::str::from_utf8(&request.payload)
                .unwrap()
                .parse()
                .unwrap();
            let answer = (number * 2).to_string();
            service
                .publish(request.reply.unwrap(), answer.into())
                .await
                .unwrap();
        }
    });
    for number in 0..200u32 {
        let answer = client
            .request("double", number.to_string().into())
            .await
            .unwrap();
        assert_eq!(answer.payload, (number * 2).to_string());
    }
}

#[tokio::test]
async fn nkeys_and_the_permissions_of_a_role() {
    let key = nkeys::KeyPair::new_user();
    let broker = broker(serde_json::json!({
        "authorization": { "users": [
            { "nkey": key.public_key(), "permissions": {
                "publish": { "allow": ["router.register", "dea.*.start"] },
                "subscribe": { "allow": ["router.start", "_INBOX.dea.>"] },
                "allow_responses": true } },
            { "user": "watcher", "password": "pw" },
        ] },
    }))
    .await;
    let (events, mut heard) = tokio::sync::mpsc::channel(8);
    let client = ConnectOptions::with_nkey(key.seed().unwrap())
        .custom_inbox_prefix("_INBOX.dea")
        .event_callback(move |event| {
            let events = events.clone();
            async move {
                let _ = events.send(event.to_string()).await;
            }
        })
        .connect(broker.url())
        .await
        .unwrap();
    let watcher = ConnectOptions::with_user_and_password("watcher".into(), "pw".into())
        .connect(broker.url())
        .await
        .unwrap();
    let mut seen = watcher.subscribe(">").await.unwrap();
    // A flush ends at the socket.
    super::support::eventually("it is subscribed", || {
        broker.handle.stats().subscriptions.len > 0
    })
    .await;
    client
        .publish("router.register", "{}".into())
        .await
        .unwrap();
    client.publish("app.state", "{}".into()).await.unwrap();
    let answer = client.request("dea.7.start", "{}".into());
    let serve = async {
        assert_eq!(
            seen.next().await.unwrap().subject.as_str(),
            "router.register"
        );
        let request = seen.next().await.unwrap();
        assert_eq!(request.subject.as_str(), "dea.7.start");
        watcher
            .publish(request.reply.unwrap(), "accepted".into())
            .await
            .unwrap();
    };
    let (answer, ()) = tokio::join!(answer, serve);
    assert_eq!(&answer.unwrap().payload[..], b"accepted");
    let violation = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            let event = heard.recv().await.unwrap();
            if event.to_lowercase().contains("permissions violation") {
                return event;
            }
        }
    });
    let violation = violation.await.unwrap();
    assert!(violation.contains("app.state"), "{violation}");
    // A key that is not listed stays outside.
    let stranger = nkeys::KeyPair::new_user().seed().unwrap();
    assert!(
        ConnectOptions::with_nkey(stranger)
            .connect(broker.url())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn clients_come_back_after_a_restart() {
    let first = plain().await;
    let address = first.address;
    let client = ConnectOptions::new()
        .retry_on_initial_connect()
        .reconnect_delay_callback(|_| Duration::from_millis(20))
        .connect(first.url())
        .await
        .unwrap();
    let mut inbox = client.subscribe("again").await.unwrap();
    client.flush().await.unwrap();
    first.shutdown.cancel();
    first.running.await.unwrap().unwrap();
    let config = cupola_bus::Config {
        listen: address,
        ..Default::default()
    };
    let second = cupola_bus::build(config, cupola_bus::Listeners::default())
        .await
        .unwrap();
    let handle = second.handle();
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(second.run(stop.clone()));
    super::support::eventually("the client is back", || {
        handle.stats().subscriptions.len == 1
    })
    .await;
    client.publish("again", "x".into()).await.unwrap();
    assert_eq!(&inbox.next().await.unwrap().payload[..], b"x");
    stop.cancel();
    running.await.unwrap().unwrap();
}
