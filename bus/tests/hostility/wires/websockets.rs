//! What only websockets allow: control frames, empty and giant ones, compression.

use super::*;

#[tokio::test]
async fn websockets_that_ask_for_ever_and_never_read() {
    let authority = Authority::new();
    for way in [Way::Websocket, Way::Both] {
        let broker = serving(way, &authority, json!({})).await;
        let mut innocent = witness(&broker).await;
        let before = memory_of_this_process();
        let mut pings = frame(0x89, &[b'x'; 125]).repeat(500);
        // Among parts of a message, and with pongs nobody has asked for.
        pings.extend(frame(0x8a, b""));
        pings.extend(frame(0x02, b""));
        let pings = [pings, frame(0x80, b"")].concat();
        let mut attackers = Vec::new();
        for _ in 0..5 {
            let mut attacker = Attacker::come(way, &broker, &authority).await;
            attacker.pester(&pings).await;
            assert!(round_trip(&mut innocent).await < PROMPT);
            attackers.push(attacker);
        }
        let held = memory_of_this_process().saturating_sub(before);
        assert!(held < 64 << 20, "{way:?}: {} MiB are held", held >> 20);
        only_one_is_left(&broker).await;
    }
}

#[tokio::test]
async fn frames_that_say_nothing_or_too_much() {
    let authority = Authority::new();
    for way in [Way::Websocket, Way::Both] {
        let broker = serving(way, &authority, json!({})).await;
        let mut innocent = witness(&broker).await;
        let before = memory_of_this_process();
        // Parts of a message without end and without a byte, plain and compressed.
        for first in [0x02, 0x42] {
            let mut attacker = Attacker::come(way, &broker, &authority).await;
            attacker.say(QUIET).await.unwrap();
            attacker.stream.write_all(&frame(first, b"")).await.unwrap();
            let nothing = frame(0x00, b"").repeat(20_000);
            for _ in 0..20 {
                attacker.stream.write_all(&nothing).await.unwrap();
                assert!(round_trip(&mut innocent).await < PROMPT);
            }
        }
        // A length that nobody has memory for, of a payload that never comes.
        let mut waiting = Vec::new();
        for first in [0x82, 0xc2, 0x02] {
            let mut attacker = Attacker::come(way, &broker, &authority).await;
            attacker.say(QUIET).await.unwrap();
            let mut giant = vec![first, 0xff];
            giant.extend((i64::MAX.cast_unsigned()).to_be_bytes());
            giant.extend([0; 4]);
            attacker.stream.write_all(&giant).await.unwrap();
            waiting.push(attacker);
        }
        assert!(round_trip(&mut innocent).await < PROMPT);
        let held = memory_of_this_process().saturating_sub(before);
        assert!(held < 32 << 20, "{way:?}: {} MiB are held", held >> 20);
        // What nobody may send ends at once.
        let broken: [&[u8]; 7] = [
            // No mask, a continuation of nothing, a message inside another, a long ping, a ping in parts,
            // reserved bits, an unknown kind.
            b"\x82\x06PING\r\n",
            b"\x80\x80\0\0\0\0",
            b"\x02\x80\0\0\0\0\x02\x80\0\0\0\0",
            b"\x89\xfe\x01\x00\0\0\0\0",
            b"\x09\x80\0\0\0\0",
            b"\xb2\x80\0\0\0\0",
            b"\x83\x80\0\0\0\0",
        ];
        for broken in broken {
            let mut attacker = Attacker::come(way, &broker, &authority).await;
            attacker.stream.write_all(broken).await.unwrap();
            attacker.is_ended().await;
        }
        drop(waiting);
        assert!(round_trip(&mut innocent).await < PROMPT);
        only_one_is_left(&broker).await;
    }
}

#[tokio::test]
async fn frames_that_say_nothing_do_not_keep_back_what_others_say() {
    let authority = Authority::new();
    for way in [Way::Websocket, Way::Both] {
        let broker = serving(way, &authority, json!({})).await;
        let mut innocent = witness(&broker).await;
        let mut flood = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let mut attacker = Attacker::come(way, &broker, &authority).await;
            attacker.say(QUIET).await.unwrap();
            attacker.stream.write_all(&frame(0x02, b"")).await.unwrap();
            let nothing = frame(0x00, b"").repeat(100_000);
            // The worker always has something to do.
            flood.spawn(async move { while attacker.stream.write_all(&nothing).await.is_ok() {} });
        }
        for _ in 0..20 {
            let took = round_trip(&mut innocent).await;
            assert!(took < PROMPT / 2, "{way:?}: {took:?}");
        }
    }
}

/// So many zeros, compressed as a message of a websocket.
fn bomb(zeros: usize) -> Vec<u8> {
    let mut packed = Vec::with_capacity(zeros / 500 + 1000);
    let mut compressor = flate2::Compress::new(flate2::Compression::best(), false);
    let zeros = vec![b' '; zeros];
    let flush = flate2::FlushCompress::Sync;
    compressor.compress_vec(&zeros, &mut packed, flush).unwrap();
    packed
}

#[tokio::test]
async fn bombs() {
    let authority = Authority::new();
    for way in [Way::Websocket, Way::Both] {
        let broker = serving(way, &authority, json!({})).await;
        let mut innocent = witness(&broker).await;
        let before = memory_of_this_process();
        let large = frame(0xc2, &bomb(64 << 20));
        // Small ones in great number, each of which is no more than blanks between two commands.
        let many = [
            frame(0x82, QUIET.as_bytes()),
            frame(0xc2, &bomb(1000)).repeat(2000),
        ]
        .concat();
        let mut attackers = Vec::new();
        for number in 0..20 {
            let mut attacker = Attacker::come(way, &broker, &authority).await;
            let wire = if number % 2 == 0 { &large } else { &many };
            let _ = attacker.stream.write_all(wire).await;
            assert!(round_trip(&mut innocent).await < PROMPT);
            attackers.push(attacker);
        }
        let held = memory_of_this_process().saturating_sub(before);
        assert!(held < 48 << 20, "{way:?}: {} MiB are held", held >> 20);
        drop(attackers);
        only_one_is_left(&broker).await;
    }
}

#[tokio::test]
async fn messages_that_are_begun_and_left_are_counted() {
    const MOST: usize = 6 << 20;
    let authority = Authority::new();
    for way in [Way::Websocket, Way::Both] {
        let limits = json!({ "limits": { "max_memory": MOST } });
        let broker = serving(way, &authority, limits).await;
        let mut innocent = witness(&broker).await;
        let mut attackers = Vec::new();
        // An inflater each, for as long as they like.
        for _ in 0..MOST / (44 << 10) + 50 {
            let mut attacker = Attacker::come(way, &broker, &authority).await;
            let begun = [frame(0x82, QUIET.as_bytes()), frame(0x42, b"\x62")].concat();
            attacker.stream.write_all(&begun).await.unwrap();
            attackers.push(attacker);
        }
        eventually("some are cut off", || {
            broker.handle.stats().connections < attackers.len()
        })
        .await;
        assert!(round_trip(&mut innocent).await < PROMPT);
    }
}

#[tokio::test]
async fn who_has_said_much_and_is_idle_keeps_nothing() {
    const COUNT: usize = 60;
    let authority = Authority::new();
    for way in WAYS {
        let broker = serving_with(way, &authority, false, json!({})).await;
        let mut idle = Vec::new();
        let long = format!("PUB nobody 200000\r\n{}\r\nPING\r\n", "x".repeat(200_000));
        let mut before = 0;
        for number in 0..=COUNT {
            let mut client = Attacker::come(way, &broker, &authority).await;
            client.say(format!("{QUIET}PING\r\n")).await.unwrap();
            client.hears("PONG").await;
            idle.push(client);
            if number == 0 {
                // What all share has its size now.
                idle[0].say(&long).await.unwrap();
                idle[0].hears("PONG").await;
            }
            before = memory_of_this_process();
        }
        for client in &mut idle[1..] {
            client.say(&long).await.unwrap();
            client.hears("PONG").await;
        }
        let each = memory_of_this_process().saturating_sub(before) / COUNT;
        // What the library keeps of TLS, at both ends.
        assert!(each < 64 << 10, "{way:?}: {each} bytes for each");
    }
}
