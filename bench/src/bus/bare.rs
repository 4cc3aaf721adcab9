//! The limit: what sockets and copies cost, with next to nothing in between.
//!
//! A server that frames what it gets like a broker, and understands no more of it than it must. It looks
//! at the first frame of a run; those that follow and begin alike are taken to be of the same length. A
//! subscriber is found by the beginning of the subject. One thread per connection, blocking
//! reads, one blocking write per subscriber and read: no look-ups, no limits, no queues.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Context as _;

/// Subscribers, each with the beginning of what it listens to.
type Subscribers = Arc<Mutex<Vec<Subscriber>>>;

#[derive(Debug)]
struct Subscriber {
    subject: Vec<u8>,
    sid: Vec<u8>,
    socket: TcpStream,
}

/// Serves for ever.
pub(crate) fn run(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("listen")?;
    let subscribers = Subscribers::default();
    for socket in listener.incoming() {
        let (socket, subscribers) = (socket?, Arc::clone(&subscribers));
        thread::spawn(move || serve(socket, &subscribers));
    }
    Ok(())
}

fn serve(mut socket: TcpStream, subscribers: &Subscribers) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    socket.write_all(b"INFO {}\r\n").ok()?;
    let mut input = vec![0; 64 << 10];
    let mut output = Vec::with_capacity(128 << 10);
    let mut held = 0;
    loop {
        let got = socket
            .read(&mut input[held..])
            .ok()
            .filter(|got| *got > 0)?;
        let bytes = &input[..held + got];
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let Some(done) = frames(rest, &mut socket, subscribers, &mut output) else {
                break;
            };
            at += done;
        }
        held = bytes.len() - at;
        input.copy_within(at..at + held, 0);
    }
}

/// Handles the first frame and those like it; `None` when it is not whole.
fn frames(
    bytes: &[u8],
    socket: &mut TcpStream,
    subscribers: &Subscribers,
    output: &mut Vec<u8>,
) -> Option<usize> {
    let line_end = memchr::memchr(b'\n', bytes)? + 1;
    let line = bytes[..line_end].trim_ascii_end();
    let mut words = line.split(|byte| *byte == b' ');
    match words.next()? {
        b"PUB" => {}
        b"PING" => {
            let _ = socket.write_all(b"PONG\r\n");
            return Some(line_end);
        }
        b"SUB" => {
            let subscriber = Subscriber {
                subject: words.next()?.trim_suffix_star().to_vec(),
                sid: words.next()?.to_vec(),
                socket: socket.try_clone().ok()?,
            };
            subscribers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(subscriber);
            return Some(line_end);
        }
        _ => return Some(line_end),
    }
    let subject = words.next()?;
    let rest = &line[4 + subject.len()..];
    let size = std::str::from_utf8(words.next_back()?)
        .ok()?
        .parse::<usize>()
        .ok()?;
    let len = line_end + size + 2;
    if bytes.len() < len {
        return None;
    }
    // All that follow and begin alike.
    let alike = &line[..4 + subject.len()];
    let mut whole = len;
    while bytes.len() >= whole + len
        && bytes[whole..].starts_with(alike)
        && bytes[whole + len - 1] == b'\n'
    {
        whole += len;
    }
    let list = subscribers.lock().unwrap_or_else(PoisonError::into_inner);
    for subscriber in list
        .iter()
        .filter(|subscriber| subject.starts_with(&subscriber.subject))
    {
        output.clear();
        for frame in bytes[..whole].chunks_exact(len) {
            output.extend_from_slice(b"MSG ");
            output.extend_from_slice(subject);
            output.push(b' ');
            output.extend_from_slice(&subscriber.sid);
            output.extend_from_slice(rest);
            output.extend_from_slice(b"\r\n");
            output.extend_from_slice(&frame[line_end..]);
        }
        let _ = (&subscriber.socket).write_all(output);
    }
    Some(whole)
}

trait TrimStar {
    fn trim_suffix_star(&self) -> &[u8];
}

impl TrimStar for [u8] {
    /// `_INBOX.x.` for `_INBOX.x.*`.
    fn trim_suffix_star(&self) -> &[u8] {
        self.strip_suffix(b"*").unwrap_or(self)
    }
}
