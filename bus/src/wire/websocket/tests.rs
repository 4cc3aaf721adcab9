#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(
    clippy::cast_possible_truncation,
    reason = "lengths are matched before they are written"
)]

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;
use crate::config::Websocket;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
const LIMIT: usize = 100_000;
const MASK: [u8; 4] = [1, 2, 3, 250];

fn fresh(compression: bool) -> WebsocketCodec {
    let config = Websocket {
        no_tls: true,
        compression,
        ..Websocket::default()
    };
    WebsocketCodec::new(Arc::new(Upgrader::new(&config, LIMIT).unwrap()))
}

/// A codec whose upgrade is over.
fn open(compression: bool) -> WebsocketCodec {
    let mut codec = fresh(compression);
    let mut answer = Vec::new();
    codec.decode(REQUEST.as_bytes(), &mut Vec::new()).unwrap();
    codec.drain(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 101 ") && codec.is_ready());
    codec
}

/// A frame as a client sends it. `first` is the byte with flags and opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

fn packed(plain: &[u8]) -> Vec<u8> {
    let mut compressor = Compress::new(Compression::best(), false);
    let mut out = Vec::with_capacity(plain.len() + 1000);
    compressor
        .compress_vec(plain, &mut out, FlushCompress::Sync)
        .unwrap();
    assert_eq!(compressor.total_in(), plain.len() as u64);
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

/// Decodes all of it, however often that takes.
fn decode(codec: &mut WebsocketCodec, wire: &[u8]) -> Result<(Decoded, Vec<u8>), CodecError> {
    let mut plain = Vec::new();
    let mut decoded = codec.decode(wire, &mut plain)?;
    while decoded == Decoded::More {
        decoded = codec.decode(&[], &mut plain)?;
    }
    Ok((decoded, plain))
}

fn refused(codec: &mut WebsocketCodec, wire: &[u8]) -> (u16, String) {
    let error = decode(codec, wire).unwrap_err();
    let mut last = Vec::new();
    codec.close(Farewell::Protocol(""), &mut last);
    assert_eq!(last[0], 0x88, "{error}");
    let code = u16::from_be_bytes([last[2], last[3]]);
    (code, error.to_string())
}

#[test]
fn messages_of_either_kind_whole_and_in_pieces() {
    let mut codec = open(false);
    let mut wire = frame(0x82, b"PUB a 1\r\n");
    wire.extend(frame(0x01, b"x"));
    wire.extend(frame(0x89, b"hello?"));
    wire.extend(frame(0x80, b"\r\n"));
    wire.extend(frame(0x82, b""));
    wire.extend(frame(0x8a, b"unasked"));
    let (decoded, plain) = decode(&mut codec, &wire).unwrap();
    assert_eq!(
        (decoded, &plain[..]),
        (Decoded::Open, &b"PUB a 1\r\nx\r\n"[..])
    );
    let mut said = Vec::new();
    codec.encode(b"MSG", &mut said).unwrap();
    assert_eq!(said, b"\x8a\x06hello?\x82\x03MSG");
}

#[test]
fn frames_of_the_server_by_length() {
    let mut codec = open(false);
    for (length, head) in [
        (125, &[0x82, 125][..]),
        (126, &[0x82, 126, 0, 126]),
        (70_000, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]),
    ] {
        let mut wire = Vec::new();
        codec.encode(&vec![7; length], &mut wire).unwrap();
        assert!(wire.starts_with(head) && wire.len() == head.len() + length);
    }
}

#[test]
fn what_is_large_enough_is_compressed_and_what_does_not_shrink_is_not() {
    let mut codec = open(true);
    let mut wire = Vec::new();
    codec.encode(&[b'a'; 63], &mut wire).unwrap();
    assert_eq!(wire[0], 0x82);
    wire.clear();
    let text = b"MSG some.subject 1 5\r\nhello\r\n".repeat(50);
    codec.encode(&text, &mut wire).unwrap();
    assert!(wire[0] == 0xc2 && wire.len() < text.len() / 4);
    // Each message stands alone.
    for _ in 0..3 {
        let mut again = Vec::new();
        codec.encode(&text, &mut again).unwrap();
        assert_eq!(again, wire);
    }
    let noise: Vec<u8> = (0..4000).map(|_| rand::random()).collect();
    wire.clear();
    codec.encode(&noise, &mut wire).unwrap();
    assert_eq!(wire[0], 0x82);
    let mut inflated = vec![0; 2 * text.len()];
    let mut codec = open(true);
    wire.clear();
    codec.encode(&text, &mut wire).unwrap();
    let payload = if wire[1] == 126 {
        &wire[4..]
    } else {
        &wire[2..]
    };
    let mut inflater = flate2::Decompress::new(false);
    inflater
        .decompress(payload, &mut inflated, flate2::FlushDecompress::Sync)
        .unwrap();
    assert_eq!(&inflated[..text.len()], &text[..]);
}

#[test]
fn the_peer_closes_and_hears_its_own_words() {
    let mut codec = open(false);
    let mut wire = frame(0x82, b"PING\r\n");
    wire.extend(frame(0x88, b"\x03\xe9bye"));
    wire.extend(frame(0x82, b"never read"));
    let (decoded, plain) = decode(&mut codec, &wire).unwrap();
    assert_eq!(
        (decoded, &plain[..]),
        (Decoded::PeerClosed, &b"PING\r\n"[..])
    );
    let mut said = Vec::new();
    // What it asked for before is answered.
    codec.encode(b"PONG\r\n", &mut said).unwrap();
    codec.close(Farewell::Done("x"), &mut said);
    assert_eq!(said, b"\x82\x06PONG\r\n\x88\x05\x03\xe9bye");
    codec.encode(b"too late", &mut said).unwrap();
    assert_eq!(said.len(), 15);
}

#[test]
fn we_close_with_a_code_that_says_why() {
    for (farewell, code) in [
        (Farewell::Done("x"), 1000),
        (Farewell::GoingAway("x"), 1001),
        (Farewell::Protocol("x"), 1002),
        (Farewell::Refused("x"), 1008),
        (Farewell::TooBig("x"), 1009),
        (Farewell::Other("x"), 1011),
    ] {
        let (mut codec, mut said) = (open(false), Vec::new());
        codec.close(farewell, &mut said);
        assert_eq!(said[0], 0x88);
        assert_eq!(u16::from_be_bytes([said[2], said[3]]), code);
    }
    // One that has not been upgraded would not understand it.
    let mut said = Vec::new();
    fresh(false).close(Farewell::Done(""), &mut said);
    assert!(said.is_empty());
}

#[test]
fn masks_may_be_left_out_by_agreement() {
    let mut codec = fresh(false);
    let request = REQUEST.replacen("Host", "Nats-No-Masking: true\r\nHost", 1);
    codec.decode(request.as_bytes(), &mut Vec::new()).unwrap();
    let mut answer = Vec::new();
    codec.drain(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("\r\nNats-No-Masking: true\r\n"), "{answer}");
    let (_, plain) = decode(&mut codec, b"\x82\x06PING\r\n").unwrap();
    assert_eq!(plain, b"PING\r\n");
    refused(&mut open(false), b"\x82\x06PING\r\n");
}

#[test]
fn frames_out_of_order_are_violations() {
    let message = packed(b"text");
    for (frames, why) in [
        (vec![frame(0x80, b"x")], "no message to continue"),
        (vec![frame(0x02, b"x"), frame(0x82, b"y")], "within another"),
        (
            vec![frame(0x02, b"x"), frame(0xc0, b"y")],
            "only a first frame",
        ),
        (vec![frame(0xc2, &message)], "not agreed"),
        (vec![frame(0x88, b"\x03")], "half a close code"),
    ] {
        let (code, error) = refused(&mut open(false), &frames.concat());
        assert!(code == 1002 && error.contains(why), "{code} {error}");
    }
    assert_eq!(
        refused(&mut open(false), &frame(0x88, b"\x03\xe8\xff")).0,
        1007
    );
    assert_eq!(
        refused(&mut open(true), &frame(0xc2, b"no deflate at all")).0,
        1007
    );
}

#[test]
fn bombs_are_defused() {
    let bomb = packed(&vec![0; 50_000_000]);
    assert!(bomb.len() < 60_000);
    let mut codec = open(true);
    let mut plain = Vec::new();
    let wire = frame(0xc2, &bomb);
    let first = codec.decode(&wire, &mut plain).unwrap();
    assert_eq!(first, Decoded::More);
    // It stops when there is enough, and no further than the limit in all.
    assert!(plain.len() < ENOUGH + (64 << 10));
    let (code, error) = refused(&mut codec, &[]);
    assert!(code == 1009 && error.contains("inflates"), "{error}");
    // In fragments, as well.
    let mut codec = open(true);
    let (head, tail) = bomb.split_at(100);
    let wire = [frame(0x42, head), frame(0x80, tail)].concat();
    assert_eq!(refused(&mut codec, &wire).0, 1009);
    // Many messages within the limit are handed over a few at a time.
    let mut codec = open(true);
    let wire = frame(0xc2, &packed(&vec![b' '; LIMIT])).repeat(20);
    let (mut calls, mut total, mut input) = (0, 0, &wire[..]);
    loop {
        let mut plain = Vec::new();
        let decoded = codec.decode(input, &mut plain).unwrap();
        (calls, total, input) = (calls + 1, total + plain.len(), &[]);
        assert!(plain.len() < ENOUGH + (64 << 10));
        if decoded == Decoded::Open {
            break;
        }
    }
    assert_eq!(total, 20 * LIMIT);
    assert!(calls >= 20);
}

#[test]
fn a_stream_that_says_it_ends_is_a_message_too() {
    let mut compressor = Compress::new(Compression::best(), false);
    let mut out = Vec::with_capacity(1000);
    compressor
        .compress_vec(b"PING\r\n", &mut out, FlushCompress::Finish)
        .unwrap();
    let mut codec = open(true);
    let wire = [frame(0xc2, &out), frame(0x82, b"PONG\r\n")].concat();
    assert_eq!(decode(&mut codec, &wire).unwrap().1, b"PING\r\nPONG\r\n");
}

#[test]
fn requests_that_are_refused_or_endless() {
    let mut codec = fresh(false);
    let error = codec
        .decode(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &mut Vec::new())
        .unwrap_err();
    assert!(error.to_string().contains("handshake error"), "{error}");
    let mut said = Vec::new();
    codec.drain(&mut said);
    assert!(said.starts_with(b"HTTP/1.1 400 "));
    let mut codec = fresh(false);
    let endless = format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(HEAD_MAX));
    codec
        .decode(endless.as_bytes(), &mut Vec::new())
        .unwrap_err();
    said.clear();
    codec.drain(&mut said);
    assert!(said.starts_with(b"HTTP/1.1 431 "));
}

proptest! {
    #[test]
    fn the_stream_may_be_cut_anywhere(
        messages in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..400), 0..5u8, any::<bool>()), 1..12),
        cuts in prop::collection::vec(1usize..90, 1..20),
    ) {
        let mut wire = REQUEST.as_bytes().to_vec();
        let mut wanted = Vec::new();
        for (message, times, compress) in &messages {
            // Long ones come from repetition, so that compressing them is worth it.
            let message = message.repeat(1 << times);
            let (body, flag) = if *compress { (packed(&message), 0x40) } else { (message.clone(), 0) };
            let (head, tail) = body.split_at(body.len() / 3);
            wire.extend(frame(0x02 | flag, head));
            wire.extend(frame(0x89, b"!"));
            wire.extend(frame(0x80, tail));
            wanted.extend(message);
        }
        let mut codec = fresh(true);
        let (mut plain, mut said) = (Vec::new(), Vec::new());
        let (mut rest, mut cuts) = (&wire[..], cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            let (decoded, more) = decode(&mut codec, head).unwrap();
            prop_assert_eq!(decoded, Decoded::Open);
            plain.extend(more);
            codec.drain(&mut said);
            rest = tail;
        }
        prop_assert!(plain == wanted);
        prop_assert!(said.ends_with(&b"\x8a\x01!".repeat(messages.len())));
    }

    #[test]
    fn anything_may_come(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..10)) {
        let mut codec = open(true);
        for piece in pieces {
            if decode(&mut codec, &piece).is_err() {
                break;
            }
        }
    }
}
