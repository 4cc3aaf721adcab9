//! Connections that go to live with another worker, and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::certificates::Authority;
use super::spoken::{Spoken, begin_tls};
use super::support::{QUIET, TestBroker, broker};

/// In a flood, of each publisher; a batch is what it writes at once.
const BATCHES: usize = 20;
const BATCH: usize = 500;
/// A build for tests on a busy machine is not quick often.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for an answer as soon as it has one, until it is told to stop.
async fn chat<S>(mut client: Spoken<S>, enough: Arc<AtomicBool>) -> Spoken<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while !enough.load(Ordering::Relaxed) {
        client.sync().await;
    }
    client
}

/// Publishes as fast as it can.
async fn flood<S>(mut client: Spoken<S>, subject: &'static str) -> Spoken<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for batch in 0..BATCHES {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let lines = numbers.map(|number| format!("PUB {subject} 100\r\n{number:0>100}\r\n"));
        client.say(lines.collect::<String>()).await;
    }
    client.sync().await;
    client
}

/// Hears the floods of both, each in its order.
async fn hear(mut client: Spoken<TcpStream>) -> Spoken<TcpStream> {
    let mut next = [0; 2];
    for _ in 0..2 * BATCHES * BATCH {
        let from = match &*client.hear().await {
            "MSG flood.clear 1 100" => 0,
            "MSG flood.tls 1 100" => 1,
            other => panic!("{other}"),
        };
        assert_eq!(client.hear().await.parse(), Ok(next[from]));
        next[from] += 1;
    }
    client
}

async fn until_moved(broker: &TestBroker, before: u64) {
    while broker.handle.stats().moves == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_quick_comes_together_and_parts_under_load_and_nothing_is_lost() {
    let authority = Authority::new();
    let config = json!({
        "workers": 2, "stay_awake": true,
        "tls": authority.section(), "allow_non_tls": true,
    });
    let broker = broker(config).await;
    let socket = async || Spoken::new(TcpStream::connect(broker.address).await.unwrap());
    // The third lives with the first, by whom the second comes to live.
    let (mut clear, mut tls, mut hearer) = (socket().await, socket().await, socket().await);
    for client in [&mut clear, &mut tls, &mut hearer] {
        client.info().await;
    }
    let mut tls = begin_tls(tls.into_inner(), authority.client(None))
        .await
        .unwrap();
    clear.say(QUIET).await;
    tls.say(QUIET).await;
    hearer.say(format!("{QUIET}SUB flood.* 1\r\n")).await;
    hearer.sync().await;

    let all = async {
        for _ in 0..3 {
            let moves = broker.handle.stats().moves;
            let enough = Arc::new(AtomicBool::new(false));
            let one = tokio::spawn(chat(clear, Arc::clone(&enough)));
            let other = tokio::spawn(chat(tls, Arc::clone(&enough)));
            until_moved(&broker, moves).await;
            enough.store(true, Ordering::Relaxed);
            (clear, tls) = (one.await.unwrap(), other.await.unwrap());

            let moves = broker.handle.stats().moves;
            while broker.handle.stats().moves == moves {
                let one = tokio::spawn(flood(clear, "flood.clear"));
                let other = tokio::spawn(flood(tls, "flood.tls"));
                hearer = tokio::spawn(hear(hearer)).await.unwrap();
                (clear, tls) = (one.await.unwrap(), other.await.unwrap());
            }
        }
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .expect("they come together and part again");
}
