//! Requests and their answers.

use std::io::Read as _;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, anyhow, ensure};

use crate::bus::peers::Peer;
use crate::bus::sample::{Latencies, Sample};
use crate::bus::server::Server;
use crate::bus::wire::Connection;

/// Where requests go.
const SERVICE: &str = "service.echo";
/// Bytes of a request and of an answer.
const SIZE: usize = 16;
const PAYLOAD: &str = "0123456789abcdef";

/// `requesters` at a time, each `each` times.
pub(super) fn measure(peer: &Peer, requesters: usize, each: usize) -> anyhow::Result<Vec<Sample>> {
    let server = Server::start(peer)?;
    let mut responder = Connection::open(server.port)?;
    responder.subscribe(&format!("{SERVICE} 1"))?;
    let mut connections = (0..requesters)
        .map(|number| Requester::open(&server, number))
        .collect::<anyhow::Result<Vec<_>>>()?;
    turn(&mut responder, &mut connections, each / 10 + 1)?;
    let (cpu, started) = (server.cpu()?, Instant::now());
    let mut latencies = turn(&mut responder, &mut connections, each)?;
    let (cpu, seconds) = (server.cpu()? - cpu, started.elapsed().as_secs_f64());
    let requests = (requesters * each) as u64;
    Ok(vec![
        Sample::cpu(cpu, requests, Some(0.6)),
        Sample::rate(requests, seconds),
        Sample::less("p50, µs", latencies.micros(50.0), Some(0.6)),
        Sample::less("p99, µs", latencies.micros(99.0), Some(0.6)),
        Sample::less("p99.9, µs", latencies.micros(99.9), None),
    ])
}

/// Everybody asks `each` times, and is answered.
fn turn(
    responder: &mut Connection,
    requesters: &mut [Requester],
    each: usize,
) -> anyhow::Result<Latencies> {
    let all = requesters.len() * each;
    thread::scope(|scope| {
        let answering = scope.spawn(move || answer(responder, all));
        let asking: Vec<_> = requesters
            .iter_mut()
            .map(|requester| {
                thread::Builder::new()
                    .stack_size(128 << 10)
                    .spawn_scoped(scope, move || requester.ask(each))
            })
            .collect::<Result<_, _>>()?;
        let mut latencies = Latencies::with_capacity(all);
        for thread in asking {
            latencies.append(
                thread
                    .join()
                    .map_err(|_| anyhow!("a requester panicked"))??,
            );
        }
        answering
            .join()
            .map_err(|_| anyhow!("the responder panicked"))??;
        Ok(latencies)
    })
}

/// A client that waits for each answer, with one subscription for all of them, as clients have.
#[derive(Debug)]
struct Requester {
    connection: Connection,
    request: Vec<u8>,
    /// Where in the request the number of the request stands.
    number_at: usize,
    next: u32,
    answer_len: usize,
}

impl Requester {
    fn open(server: &Server, number: usize) -> anyhow::Result<Self> {
        let mut connection = Connection::open(server.port)?;
        let inbox = format!("_INBOX.client{number:06}");
        connection.subscribe(&format!("{inbox}.* 1"))?;
        let request = format!("PUB {SERVICE} {inbox}.00000000 {SIZE}\r\n{PAYLOAD}\r\n");
        Ok(Requester {
            connection,
            number_at: format!("PUB {SERVICE} {inbox}.").len(),
            request: request.into_bytes(),
            next: 0,
            answer_len: format!("MSG {inbox}.00000000 1 {SIZE}\r\n{PAYLOAD}\r\n").len(),
        })
    }

    fn ask(&mut self, times: usize) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::with_capacity(times);
        let mut buffer = [0; 1024];
        for _ in 0..times {
            self.next += 1;
            let number = format!("{:08}", self.next);
            self.request[self.number_at..self.number_at + 8].copy_from_slice(number.as_bytes());
            let asked = Instant::now();
            self.connection.send(&self.request)?;
            let mut got = 0;
            while got < self.answer_len {
                let count = self
                    .connection
                    .socket
                    .read(&mut buffer[got..])
                    .context("wait for an answer")?;
                ensure!(count > 0, "the server cut a requester off");
                got += count;
                // A ping of the server's may come at any time, between frames.
                if buffer[..got].starts_with(b"PING\r\n") {
                    buffer.copy_within(6..got, 0);
                    got -= 6;
                }
            }
            latencies.push(asked.elapsed().as_nanos() as u64);
            let answered = memchr::memmem::find(&buffer[..got], number.as_bytes());
            ensure!(answered.is_some(), "the answer to another request came");
        }
        Ok(latencies)
    }
}

/// Answers `count` requests, as many as come at once by one write.
fn answer(connection: &mut Connection, count: usize) -> anyhow::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let (mut held, mut answered) = (0, 0);
    let mut answers = Vec::new();
    while answered < count {
        let got = connection
            .socket
            .read(&mut buffer[held..])
            .context("wait for requests")?;
        ensure!(got > 0, "the server cut the responder off");
        let bytes = &buffer[..held + got];
        let mut at = 0;
        answers.clear();
        while let Some(end) = memchr::memchr(b'\n', &bytes[at..]) {
            let line = &bytes[at..at + end];
            let after = at + end + 1;
            if !line.starts_with(b"MSG") {
                at = after;
                continue;
            }
            if bytes.len() < after + SIZE + 2 {
                break;
            }
            let reply = line
                .split(|byte| *byte == b' ')
                .nth(3)
                .context("a request without a reply subject")?;
            answers.extend_from_slice(b"PUB ");
            answers.extend_from_slice(reply);
            answers.extend_from_slice(format!(" {SIZE}\r\n").as_bytes());
            answers.extend_from_slice(&bytes[after..after + SIZE + 2]);
            answered += 1;
            at = after + SIZE + 2;
        }
        held = bytes.len() - at;
        buffer.copy_within(at..at + held, 0);
        connection.send(&answers)?;
    }
    Ok(())
}
