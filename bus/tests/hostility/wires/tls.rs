//! What only TLS allows: floods of hellos, keys changed without end, records of one byte, long chains.

use super::*;

/// A ClientHello in its record.
fn client_hello(authority: &Authority) -> Vec<u8> {
    let name = "localhost".try_into().unwrap();
    let config = std::sync::Arc::new(authority.client(None));
    let mut client = tokio_rustls::rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn very_many_hellos_at_once() {
    let authority = Authority::new();
    for way in [Way::Tls, Way::Both] {
        let broker = serving(way, &authority, json!({})).await;
        let mut innocent = witness(&broker).await;
        let mut flood = Vec::new();
        for _ in 0..3000 {
            flood.push(socket(way, &broker).await);
        }
        eventually("all are there", || {
            broker.handle.stats().connections > flood.len()
        })
        .await;
        // To answer one costs far more than to send it.
        let hello = client_hello(&authority);
        for socket in &mut flood {
            socket.write_all(&hello).await.unwrap();
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            let took = round_trip(&mut innocent).await;
            assert!(took < PROMPT / 4, "{way:?}: {took:?}");
        }
        drop(flood);
        only_one_is_left(&broker).await;
    }
}

/// Each byte of these in a record of its own.
fn shredded(bytes: &[u8]) -> Vec<u8> {
    let records = bytes.iter().map(|byte| [0x16, 3, 1, 0, 1, *byte]);
    records.collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn hellos_in_pieces_of_one_byte() {
    let authority = Authority::new();
    let broker = serving(Way::Tls, &authority, json!({})).await;
    let mut innocent = witness(&broker).await;
    // A hello of the greatest length, of which the last byte never comes.
    let endless = [&[1, 0, 0xff, 0xf0][..], &[0; 0xffe0]].concat();
    let nothing = b"\x16\x03\x01\x00\x00".repeat(20_000);
    for wire in [
        shredded(&client_hello(&authority)[5..]),
        shredded(&endless),
        nothing,
    ] {
        let mut attackers = Vec::new();
        for _ in 0..20 {
            let mut socket = socket(Way::Tls, &broker).await;
            let wire = wire.clone();
            attackers.push(tokio::spawn(async move {
                let _ = socket.write_all(&wire).await;
                socket
            }));
        }
        for _ in 0..20 {
            let took = round_trip(&mut innocent).await;
            assert!(took < PROMPT, "{took:?}");
        }
        newcomer_is_served(Way::Tls, &broker, &authority).await;
        for attacker in attackers {
            attacker.await.unwrap();
        }
    }
    only_one_is_left(&broker).await;
}

#[tokio::test]
async fn keys_that_are_changed_all_the_time() {
    let authority = Authority::new();
    let broker = serving(Way::Tls, &authority, json!({})).await;
    let mut innocent = witness(&broker).await;
    let mut clear = Spoken::new(socket(Way::Tls, &broker).await);
    clear.info().await;
    let tls = begin_tls(clear.into_inner(), authority.client(None)).await;
    let mut attacker = tls.unwrap().into_inner();
    attacker.write_all(QUIET.as_bytes()).await.unwrap();
    let changing = async {
        // Each wants an answer, which is not read.
        while attacker.get_mut().1.refresh_traffic_keys().is_ok() {
            if Pin::new(&mut attacker).flush().await.is_err() {
                return;
            }
            if broker.handle.stats().connections == 1 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, changing)
        .await
        .expect("it goes on for ever");
    assert!(round_trip(&mut innocent).await < PROMPT);
    only_one_is_left(&broker).await;
}

#[tokio::test]
async fn records_of_one_byte() {
    let authority = Authority::new();
    let broker = serving(Way::Tls, &authority, json!({})).await;
    let mut innocent = witness(&broker).await;
    let mut attacker = Attacker::come(Way::Tls, &broker, &authority).await;
    attacker.say(QUIET).await.unwrap();
    let flood = tokio::spawn(async move {
        for byte in "PUB nobody 0\r\n\r\n".repeat(2000).bytes() {
            attacker.say([byte]).await.unwrap();
        }
        attacker.say("PING\r\n").await.unwrap();
        attacker.hears("PONG").await;
    });
    while !flood.is_finished() {
        assert!(round_trip(&mut innocent).await < PROMPT);
    }
    flood.await.unwrap();
}

#[tokio::test]
async fn chains_of_very_many_certificates() {
    let authority = Authority::new();
    authority.issue("joe", |_| {});
    let tls = authority.section_with(json!({ "verify": true, "timeout": "5s" }));
    let broker = serving(Way::Tls, &authority, json!({ "tls": tls })).await;
    let mut innocent = witness(&broker).await;
    for length in [50, 100, 400] {
        let mut attackers = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let mut clear = Spoken::new(socket(Way::Tls, &broker).await);
            clear.info().await;
            let chain = authority.client_with_chain("joe", length);
            attackers.spawn(async move {
                if let Ok(mut attacker) = begin_tls(clear.into_inner(), chain).await {
                    let mut rest = Vec::new();
                    let stream = attacker.stream();
                    let _ = stream.write_all(b"PING\r\n").await;
                    let _ =
                        tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut rest))
                            .await;
                }
            });
        }
        while !attackers.is_empty() {
            let took = round_trip(&mut innocent).await;
            assert!(took < PROMPT, "{length} certificates: {took:?}");
            attackers.try_join_next();
        }
    }
    only_one_is_left(&broker).await;
}
