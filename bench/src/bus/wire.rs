//! The client's side of the wire: bare blocking sockets, no client library.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// How long a socket may be silent or full before a measurement is given up.
const PATIENCE: Duration = Duration::from_secs(20);
/// Protocol 0: no INFO comes later, in the middle of what is measured.
const CONNECT: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"protocol\":0}\r\nPING\r\n";

/// A connection, greeted.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
}

// === impl Connection ===

impl Connection {
    /// Connects, says CONNECT and hears PONG.
    pub(crate) fn open(port: u16) -> anyhow::Result<Self> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("connect")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut connection = Connection { socket };
        connection.expect(b"INFO ")?;
        connection.send(CONNECT.as_bytes())?;
        connection.expect(b"PONG")?;
        Ok(connection)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.socket.write_all(bytes).context("write to the server")
    }

    /// Waits until everything sent has been handled.
    pub(crate) fn sync(&mut self) -> anyhow::Result<()> {
        self.send(b"PING\r\n")?;
        self.expect(b"PONG")
    }

    /// Subscribes and waits until it holds.
    pub(crate) fn subscribe(&mut self, what: &str) -> anyhow::Result<()> {
        self.send(format!("SUB {what}\r\n").as_bytes())?;
        self.sync()
    }

    /// Waits until what has been subscribed to at the server of `far` so far is known at this one's.
    pub(crate) fn reaches(&mut self, far: &mut Connection) -> anyhow::Result<()> {
        const PROBE: &str = "probe";
        far.subscribe(&format!("{PROBE} 1"))?;
        far.socket
            .set_read_timeout(Some(Duration::from_millis(20)))?;
        let until = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        loop {
            self.send(&publish(PROBE, 0))?;
            match far.socket.read(&mut buffer) {
                Ok(count) if buffer[..count].starts_with(b"MSG ") => return Ok(()),
                Ok(0) => bail!("the server hung up"),
                Ok(_) | Err(_) if Instant::now() < until => {}
                _ => bail!("nothing comes over the route"),
            }
        }
    }

    /// Reads until a line begins with `word`. Only where no messages come.
    fn expect(&mut self, word: &[u8]) -> anyhow::Result<()> {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = self
                .socket
                .read(&mut buffer)
                .with_context(|| format!("wait for {}", String::from_utf8_lossy(word)))?;
            ensure!(count > 0, "the server hung up");
            text.extend_from_slice(&buffer[..count]);
            if text.ends_with(b"\n") {
                if text
                    .split(|byte| *byte == b'\n')
                    .any(|line| line.starts_with(word))
                {
                    return Ok(());
                }
                refuse_errors(&text)?;
            }
        }
    }
}

fn refuse_errors(text: &[u8]) -> anyhow::Result<()> {
    if text.starts_with(b"-ERR") {
        bail!("the server says {}", String::from_utf8_lossy(text).trim());
    }
    Ok(())
}

/// A publish with a payload of `size` bytes.
pub(crate) fn publish(subject: &str, size: usize) -> Vec<u8> {
    let mut frame = format!("PUB {subject} {size}\r\n").into_bytes();
    frame.resize(frame.len() + size, b'x');
    frame.extend_from_slice(b"\r\n");
    frame
}

/// How long the frame of a delivery is.
pub(crate) fn delivery_len(subject: &str, sid: &str, size: usize) -> usize {
    format!("MSG {subject} {sid} {size}\r\n").len() + size + 2
}

/// What comes to a subscriber whose messages all have one length: takes it apart without reading more
/// than the first bytes of each frame, and makes sure that frames lie where they should.
#[derive(Debug)]
pub(crate) struct Inflow {
    buffer: Vec<u8>,
    /// The beginning of a frame at the start of the buffer.
    held: usize,
    /// How much of a frame is still to come.
    skip: usize,
    frame_len: usize,
}

/// The marker that ends a phase: each subscriber gets it after everything else.
pub(crate) const END: &str = "end";

// === impl Inflow ===

impl Inflow {
    pub(crate) fn new(frame_len: usize) -> Self {
        Inflow {
            buffer: vec![0; 256 << 10],
            held: 0,
            skip: 0,
            frame_len,
        }
    }

    /// Reads once. Calls `message` with the place of each message that begins; returns how many did,
    /// and whether the marker came.
    pub(crate) fn read(
        &mut self,
        socket: &mut TcpStream,
        mut message: impl FnMut(&[u8]),
    ) -> anyhow::Result<(u64, bool)> {
        let count = socket
            .read(&mut self.buffer[self.held..])
            .context("wait for messages")?;
        ensure!(count > 0, "the server cut a subscriber off");
        let bytes = &self.buffer[..self.held + count];
        let (mut at, mut messages, mut ended) = (self.skip, 0, false);
        loop {
            if at >= bytes.len() {
                (self.skip, self.held) = (at - bytes.len(), 0);
                return Ok((messages, ended));
            }
            let frame = &bytes[at..];
            let head = &frame[..frame.len().min(64)];
            let whole = match head {
                [b'M', _, _, _, b'e', ..] => {
                    head.windows(4).position(|end| end == b"\r\n\r\n").map(|p| {
                        ended = true;
                        p + 4
                    })
                }
                [b'M', _, _, _, _, ..] if head.len() >= 64.min(self.frame_len) => {
                    messages += 1;
                    message(frame);
                    Some(self.frame_len)
                }
                [b'P', ..] => Some(6),
                [b'-', ..] if head.contains(&b'\n') => {
                    bail!("the server says {}", String::from_utf8_lossy(head).trim())
                }
                [b'M' | b'-', ..] if head.len() < 64 => None,
                _ => bail!("no frame begins like {:?}", String::from_utf8_lossy(head)),
            };
            match whole {
                Some(len) => at += len,
                None => {
                    let held = frame.len();
                    self.buffer.copy_within(at..at + held, 0);
                    (self.held, self.skip) = (held, 0);
                    return Ok((messages, ended));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What a subscriber makes of `pieces`, each of them a read of its own.
    fn read(pieces: &[&[u8]], frame_len: usize) -> anyhow::Result<(u64, bool)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut server = TcpStream::connect(listener.local_addr()?)?;
        let (mut client, _) = listener.accept()?;
        client.set_read_timeout(Some(PATIENCE))?;
        let mut inflow = Inflow::new(frame_len);
        let (mut messages, mut ended) = (0, false);
        for piece in pieces {
            server.write_all(piece)?;
            let (more, end) =
                inflow.read(&mut client, |frame| assert!(frame.starts_with(b"MSG")))?;
            messages += more;
            ended |= end;
        }
        Ok((messages, ended))
    }

    #[test]
    fn messages_are_counted_wherever_they_are_cut() -> anyhow::Result<()> {
        let frame = b"MSG bench.data 1 16\r\n0123456789abcdef\r\n";
        let end = b"MSG end end 0\r\n\r\n";
        let stream = [&frame[..], b"PING\r\n", frame, end].concat();
        for cut in 1..stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(read(&[head, tail], frame.len())?, (2, true), "cut at {cut}");
        }
        Ok(())
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for bad in [&b"XYZ\r\n"[..], b"-ERR 'Slow Consumer'\r\n"] {
            assert!(read(&[bad], 40).is_err());
        }
    }

    #[test]
    fn frames_are_as_long_as_announced() {
        assert_eq!(publish("a", 3), b"PUB a 3\r\nxxx\r\n");
        assert_eq!(delivery_len("a", "7", 3), b"MSG a 7 3\r\nxxx\r\n".len());
    }
}
