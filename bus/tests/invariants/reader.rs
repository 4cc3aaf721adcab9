//! The receiving side of a client: reads frames, checks each against the plan, and keeps who sent what.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout;

use super::plan::{Plan, Sub};
use super::support::PATIENCE;

/// A message that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) sid: usize,
    pub(crate) from: usize,
    pub(crate) number: usize,
}

/// What can come next.
pub(crate) enum Event {
    Message(Received),
    Pong,
    /// The connection has ended.
    End,
}

pub(crate) struct Reader {
    socket: BufReader<OwnedReadHalf>,
    /// Whether the client understands headers.
    headers: bool,
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(socket: OwnedReadHalf, headers: bool) -> Self {
        Reader {
            socket: BufReader::with_capacity(32 << 10, socket),
            headers,
        }
    }

    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        let read = self.socket.read_until(b'\n', &mut line);
        timeout(PATIENCE, read)
            .await
            .expect("nothing comes")
            .unwrap_or(0);
        String::from_utf8(line).unwrap()
    }

    /// The next event; a message must be one of the plan, whole, and wanted by one of `subs`.
    pub(crate) async fn next(&mut self, plan: &Plan, subs: &[Sub]) -> Event {
        let line = self.line().await;
        let words: Vec<&str> = line.split_whitespace().collect();
        let (block_len, total) = match words[..] {
            [] => return Event::End,
            ["PONG"] => return Event::Pong,
            ["MSG", _, _, total] => (None, total),
            ["HMSG", _, _, block, total] => (Some(block.parse::<usize>().unwrap()), total),
            _ => panic!("unexpected: {line:?}"),
        };
        let mut body = vec![0; total.parse::<usize>().unwrap() + 2];
        let read = self.socket.read_exact(&mut body);
        timeout(PATIENCE, read)
            .await
            .expect("nothing comes")
            .unwrap();
        assert!(body.ends_with(b"\r\n"));
        body.truncate(body.len() - 2);
        let payload = body.split_off(block_len.unwrap_or(0));
        let mut words_of_payload = payload.splitn(3, |byte| *byte == b' ');
        let mut number = || -> usize {
            let word = words_of_payload.next().unwrap();
            std::str::from_utf8(word).unwrap().parse().unwrap()
        };
        let (from, number) = (number(), number());
        let message = &plan.messages[from][number];
        assert_eq!(words[1], message.subject);
        assert!(
            payload == message.payload(from, number),
            "a payload was damaged"
        );
        let headed = message.headers && plan.clients[from].headers && self.headers;
        assert_eq!(block_len.is_some(), headed, "{line:?}");
        if headed {
            assert_eq!(body, message.block(from, number));
        }
        let sid: usize = words[2].parse().unwrap();
        assert!(subs[sid].wants(words[1]), "{line:?} for {:?}", subs[sid]);
        Event::Message(Received { sid, from, number })
    }

    /// All messages up to the next PONG, or to the end.
    pub(crate) async fn until_pong(&mut self, plan: &Plan, subs: &[Sub]) -> Vec<Received> {
        let mut all = Vec::new();
        while let Event::Message(received) = self.next(plan, subs).await {
            all.push(received);
        }
        all
    }
}
