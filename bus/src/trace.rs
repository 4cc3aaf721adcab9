//! What the log says of connections: who they are, and with `-V` every frame they send or get.

use std::fmt;
use std::net::IpAddr;

use tracing::{Level, enabled, trace};

use crate::client::Client;
use crate::parser::{Op, Publish};

/// Keys of CONNECT that nobody should find in a log.
const SECRETS: [&str; 4] = ["pass", "auth_token", "sig", "jwt"];

/// A connection as log lines name it: `127.0.0.1:4000 - cid:5 - "v1.2:python:worker"`, and one by websocket
/// `127.0.0.1:4000 - wid:5`, with what a proxy says before it where there is one: `192.0.2.7/127.0.0.1:4000`.
pub(crate) struct Who<'a>(pub(crate) &'a Client);

impl fmt::Display for Who<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = self.0;
        let websocket = client
            .handshake()
            .and_then(|handshake| handshake.websocket.as_ref());
        match websocket.and_then(|greeting| greeting.forwarded_for) {
            Some(IpAddr::V6(address)) => write!(to, "[{address}]/")?,
            Some(address) => write!(to, "{address}/")?,
            None => {}
        }
        let number = if websocket.is_some() { "wid" } else { "cid" };
        write!(to, "{} - {number}:{}", client.peer, client.id)?;
        let about = client.about();
        if about.lang.is_some() || about.version.is_some() || about.name.is_some() {
            let version = about
                .version
                .as_deref()
                .map(|version| format!("v{version}"));
            let parts = [
                version.as_deref(),
                about.lang.as_deref(),
                about.name.as_deref(),
            ];
            let parts: Vec<&str> = parts.into_iter().flatten().collect();
            write!(to, " - {:?}", parts.join(":"))?;
        }
        Ok(())
    }
}

/// Whether frames are logged at all. One load and a comparison: cheap enough for every frame.
#[inline]
pub(crate) fn is_on() -> bool {
    enabled!(Level::TRACE)
}

/// A frame that came from a client. At most `limit` bytes of a payload are shown; 0 means all.
#[cold]
pub(crate) fn incoming(client: &Client, op: &Op<'_>, limit: usize) {
    let who = Who(client);
    match op {
        Op::Publish(message) => {
            trace!("{who} - <<- [{}]", publish_line(message));
            let payload = &message.body[..message.size()];
            trace!("{who} - <<- MSG_PAYLOAD: [{:?}]", shortened(payload, limit));
        }
        Op::Subscribe {
            subject,
            queue,
            sid,
        } => {
            let queue = queue.map(|queue| format!(" {}", text(queue)));
            let queue = queue.unwrap_or_default();
            trace!("{who} - <<- [SUB {}{queue} {}]", text(subject), text(sid));
        }
        Op::Unsubscribe { sid, max } => {
            let max = max.map(|max| format!(" {max}")).unwrap_or_default();
            trace!("{who} - <<- [UNSUB {}{max}]", text(sid));
        }
        Op::Ping => trace!("{who} - <<- [PING]"),
        Op::Pong => trace!("{who} - <<- [PONG]"),
        Op::Connect(json) => trace!("{who} - <<- [CONNECT {}]", redacted(json)),
        Op::Ignored => {}
        Op::Error => trace!("{who} - <<- [-ERR]"),
    }
}

/// A frame for a client that is no message.
#[cold]
pub(crate) fn outgoing(client: &Client, frame: &[u8]) {
    trace!("{} - ->> [{}]", Who(client), text(frame).trim_end());
}

/// A message for a client.
#[cold]
pub(crate) fn delivered(client: &Client, message: &Publish<'_>, sid: &[u8]) {
    let (subject, sid) = (text(message.subject), text(sid));
    let reply = message.reply.map(|reply| format!(" {}", text(reply)));
    let reply = reply.unwrap_or_default();
    let (who, size) = (Who(client), message.size());
    match message.header_len {
        Some(len) if client.out().headers => {
            trace!("{who} - ->> [HMSG {subject} {sid}{reply} {len} {size}]");
        }
        Some(len) => trace!("{who} - ->> [MSG {subject} {sid}{reply} {}]", size - len),
        None => trace!("{who} - ->> [MSG {subject} {sid}{reply} {size}]"),
    }
}

fn publish_line(message: &Publish<'_>) -> String {
    let subject = text(message.subject);
    let reply = message.reply.map(|reply| format!(" {}", text(reply)));
    let reply = reply.unwrap_or_default();
    match message.header_len {
        Some(len) => format!("HPUB {subject}{reply} {len} {}", message.size()),
        None => format!("PUB {subject}{reply} {}", message.size()),
    }
}

/// CONNECT without what must not be seen.
fn redacted(json: &[u8]) -> String {
    match serde_json::from_slice::<serde_json::Value>(json) {
        Ok(serde_json::Value::Object(mut map)) => {
            for (key, value) in &mut map {
                // In any case: so are keys understood.
                if SECRETS
                    .iter()
                    .any(|secret| key.eq_ignore_ascii_case(secret))
                {
                    *value = "[REDACTED]".into();
                }
            }
            serde_json::Value::Object(map).to_string()
        }
        _ => "not in order".to_owned(),
    }
}

fn shortened(bytes: &[u8], limit: usize) -> String {
    if limit == 0 || bytes.len() <= limit {
        return text(bytes);
    }
    format!("{}...", text(&bytes[..limit]))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;

    use super::*;
    use crate::account::Accounts;
    use crate::client::Kind;
    use crate::memory::Memory;
    use crate::wire::Handshake;
    use crate::wire::websocket::Greeting;

    fn client() -> Client {
        let memory = Arc::new(Memory::new(0));
        let account = Arc::clone(Accounts::new(&memory).global());
        let peer = "127.0.0.1:4000".parse().unwrap();
        Client::new(5, Kind::Client, peer, None, account, &memory, 0)
    }

    fn by_websocket(forwarded_for: Option<&str>) -> String {
        let client = client();
        client.set_handshake(Handshake {
            websocket: Some(Greeting {
                forwarded_for: forwarded_for.map(|address| address.parse().unwrap()),
                ..Greeting::default()
            }),
            ..Handshake::default()
        });
        Who(&client).to_string()
    }

    #[test]
    fn connections_are_named_by_the_way_they_came() {
        assert_eq!(Who(&client()).to_string(), "127.0.0.1:4000 - cid:5");
        assert_eq!(by_websocket(None), "127.0.0.1:4000 - wid:5");
        assert_eq!(
            by_websocket(Some("192.0.2.7")),
            "192.0.2.7/127.0.0.1:4000 - wid:5"
        );
        assert_eq!(
            by_websocket(Some("2001:db8::1")),
            "[2001:db8::1]/127.0.0.1:4000 - wid:5"
        );
    }

    #[test]
    fn what_a_client_says_of_itself_follows() {
        let client = client();
        client.about().name = Some("worker".into());
        client.about().lang = Some("python".into());
        assert_eq!(
            Who(&client).to_string(),
            "127.0.0.1:4000 - cid:5 - \"python:worker\""
        );
    }

    #[test]
    fn secrets_do_not_get_into_the_log() {
        let line = redacted(br#"{"user":"joe","pass":"hunter2","jwt":"ey","verbose":false}"#);
        assert!(line.contains("joe") && line.contains("REDACTED"), "{line}");
        assert!(
            !line.contains("hunter2") && !line.contains("ey\""),
            "{line}"
        );
        assert!(!redacted(b"{hunter2").contains("hunter2"));
        let line = redacted(
            br#"{"PASS":"hunter2","Auth_Token":"hunter2","Sig":"hunter2","JWT":"hunter2"}"#,
        );
        assert!(!line.contains("hunter2"), "{line}");
    }

    #[test]
    fn payloads_are_shortened() {
        assert_eq!(shortened(b"hello", 0), "hello");
        assert_eq!(shortened(b"hello", 5), "hello");
        assert_eq!(shortened(b"hello", 2), "he...");
    }
}
