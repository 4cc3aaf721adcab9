//! Websockets: frames mean the same however the stream is cut, and no message grows beyond the limit.

use std::sync::Arc;

use super::cut::{Dice, pieces};
use crate::config::Websocket;
use crate::wire::websocket::{Upgrader, WebsocketCodec};
use crate::wire::{Codec as _, Decoded, Farewell};

/// The most a message may inflate to, and a call of `decode` may hand out besides its input.
const LIMIT: usize = 256 << 10;

/// An upgrade request; the extension is added when frames shall be compressed.
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const EXTENSION: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// Takes three bytes that say how to feed, then what follows an upgrade request, or one of its own.
pub fn websocket(data: &[u8]) {
    let Some((&[mode, low, high], rest)) = data.split_first_chunk() else {
        return;
    };
    let mut stream = Vec::new();
    if mode & 1 == 0 {
        stream.extend_from_slice(REQUEST.as_bytes());
        if mode & 2 == 0 {
            stream.extend_from_slice(EXTENSION.as_bytes());
        }
        stream.extend_from_slice(b"\r\n");
    }
    stream.extend_from_slice(rest);
    let config = Websocket {
        no_tls: true,
        compression: true,
        same_origin: mode & 4 != 0,
        ..Websocket::default()
    };
    let Ok(upgrader) = Upgrader::new(&config, LIMIT) else {
        return;
    };
    let upgrader = Arc::new(upgrader);
    let whole = decode([stream.as_slice()], &upgrader);
    let mut dice = Dice::new([low, high]);
    let cut = decode(pieces(&stream, &mut dice), &upgrader);
    if whole.end.is_some() && cut.end.is_some() {
        assert_eq!((&whole.answer, &whole.end), (&cut.answer, &cut.end));
    } else {
        // The last bytes of an unfinished message may not have been inflated yet, and be one too many.
        let one_heard_less = |one: &Heard, other: &Heard| {
            one.end.is_none() && other.end.as_deref() != Some("closed")
        };
        assert!(one_heard_less(&whole, &cut) || one_heard_less(&cut, &whole));
        assert!(whole.answer.starts_with(&cut.answer) || cut.answer.starts_with(&whole.answer));
    }
    // How much of a message comes out before it is whole, or found to be wrong, is nobody's business.
    let agree = whole.plain.starts_with(&cut.plain) || cut.plain.starts_with(&whole.plain);
    assert!(agree, "where the stream is cut matters");
}

/// What came of a stream.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    plain: Vec<u8>,
    answer: Vec<u8>,
    end: Option<String>,
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, upgrader: &Arc<Upgrader>) -> Heard {
    let mut codec = WebsocketCodec::new(Arc::clone(upgrader));
    let mut heard = Heard {
        plain: Vec::new(),
        answer: Vec::new(),
        end: None,
    };
    'pieces: for piece in pieces {
        let mut input = piece;
        loop {
            let mut plain = Vec::new();
            let decoded = codec.decode(input, &mut plain);
            assert!(
                plain.len() <= LIMIT + piece.len(),
                "{} bytes came of {}",
                plain.len(),
                piece.len()
            );
            heard.plain.append(&mut plain);
            codec.drain(&mut heard.answer);
            input = b"";
            match decoded {
                Ok(Decoded::Open) => break,
                Ok(Decoded::More) => {}
                Ok(Decoded::PeerClosed) => {
                    heard.end = Some("closed".to_owned());
                    break 'pieces;
                }
                Err(error) => {
                    heard.end = Some(error.to_string());
                    break 'pieces;
                }
            }
        }
    }
    if heard.end.is_some() {
        codec.close(Farewell::Done(""), &mut heard.answer);
    }
    heard
}
