//! One line per request, for the log of the app that answered it.
//!
//! A core formats its lines into a list of its own and hands the list over ten times a second, so that
//! a request costs no wake-up of another thread. When the receiver is behind, lines are dropped and
//! counted: logging never slows a request down.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use tokio::sync::{Notify, mpsc};

use crate::headers::names;
use crate::registry::Endpoint;
use crate::stats::CoreStats;

/// How long the first line of a batch waits for company.
const LINGER: Duration = Duration::from_millis(100);
/// A batch of this many lines is handed over at once.
const BATCH_LINES: usize = 512;
/// Batches that may wait for the receiver, over all cores; more are dropped.
pub(crate) const QUEUE_BATCHES: usize = 64;
/// Longest target in a line, in bytes.
const MAX_TARGET_BYTES: usize = 8_000;
/// Longest other text of the client's in a line, in bytes.
const MAX_TEXT_BYTES: usize = 1_000;

/// A finished line.
#[derive(Debug)]
pub(crate) struct AccessLine {
    /// Who answered.
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) text: String,
    pub(crate) at: SystemTime,
    pub(crate) status: u16,
    pub(crate) took: Duration,
}

/// What must be remembered of a request until it ends.
#[derive(Debug)]
pub(crate) struct RequestNote {
    pub(crate) began: SystemTime,
    pub(crate) method: Method,
    pub(crate) target: Uri,
    pub(crate) version: Version,
    pub(crate) host: String,
    pub(crate) peer: SocketAddr,
    pub(crate) referer: Option<HeaderValue>,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) forwarded_for: Option<HeaderValue>,
    pub(crate) forwarded_proto: Option<HeaderValue>,
    pub(crate) request_id: HeaderValue,
}

/// How a request ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending<'a> {
    pub(crate) status: u16,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) took: Duration,
    /// Time until the endpoint's head was there, from when it was asked.
    pub(crate) endpoint_took: Option<Duration>,
    pub(crate) router_error: Option<&'a str>,
}

/// A core's unsent lines.
#[derive(Debug)]
pub(crate) struct AccessLog {
    lines: RefCell<Vec<AccessLine>>,
    first: Notify,
    sender: Option<mpsc::Sender<Vec<AccessLine>>>,
}

// === impl AccessLog ===

impl AccessLog {
    /// One that hands over to `sender`; without one it takes no lines.
    pub(crate) fn new(sender: Option<mpsc::Sender<Vec<AccessLine>>>) -> Self {
        Self {
            lines: RefCell::default(),
            first: Notify::new(),
            sender,
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.sender.is_some()
    }

    pub(crate) fn push(&self, line: AccessLine, stats: &CoreStats) {
        let waiting = {
            let mut lines = self.lines.borrow_mut();
            lines.push(line);
            lines.len()
        };
        if waiting >= BATCH_LINES {
            self.hand_over(stats);
        } else if waiting == 1 {
            self.first.notify_one();
        }
    }

    /// Hands over a batch a short while after its first line, for ever.
    pub(crate) async fn run(&self, stats: &CoreStats) {
        loop {
            self.first.notified().await;
            tokio::time::sleep(LINGER).await;
            self.hand_over(stats);
        }
    }

    pub(crate) fn hand_over(&self, stats: &CoreStats) {
        let lines = self.lines.take();
        if lines.is_empty() {
            return;
        }
        let count = lines.len() as u64;
        if self
            .sender
            .as_ref()
            .is_none_or(|sender| sender.try_send(lines).is_err())
        {
            stats.log_lines_dropped.add(count);
        }
    }
}

// === impl RequestNote ===

impl RequestNote {
    /// Remembers the headers as the endpoint sees them.
    pub(crate) fn take_headers(&mut self, headers: &HeaderMap) {
        self.referer = headers.get(http::header::REFERER).cloned();
        self.user_agent = headers.get(http::header::USER_AGENT).cloned();
        self.forwarded_for = headers.get(&names::FORWARDED_FOR).cloned();
        self.forwarded_proto = headers.get(&names::FORWARDED_PROTO).cloned();
    }

    /// The line: `host - [time] "request" status bytes_in bytes_out "referer" …`.
    pub(crate) fn line(&self, endpoint: &Endpoint, ending: &Ending<'_>) -> String {
        let mut line = String::with_capacity(512);
        // Writing into a String cannot fail.
        let _ = self.write(&mut line, endpoint, ending);
        line
    }

    fn write(&self, line: &mut String, endpoint: &Endpoint, ending: &Ending<'_>) -> fmt::Result {
        let began = DateTime::<Utc>::from(self.began).to_rfc3339_opts(SecondsFormat::Nanos, true);
        write!(line, "{} - [{began}] \"{} ", self.host, self.method)?;
        let target = self
            .target
            .path_and_query()
            .map_or("*", |target| target.as_str());
        escape(line, target.as_bytes(), MAX_TARGET_BYTES);
        write!(
            line,
            " {:?}\" {} {} {} ",
            self.version, ending.status, ending.bytes_in, ending.bytes_out
        )?;
        quote(line, self.referer.as_ref().map(HeaderValue::as_bytes));
        line.push(' ');
        quote(line, self.user_agent.as_ref().map(HeaderValue::as_bytes));
        write!(
            line,
            " \"{}\" \"{}\" x_forwarded_for:",
            self.peer, endpoint.address
        )?;
        quote(line, self.forwarded_for.as_ref().map(HeaderValue::as_bytes));
        line.push_str(" x_forwarded_proto:");
        quote(
            line,
            self.forwarded_proto.as_ref().map(HeaderValue::as_bytes),
        );
        line.push_str(" vcap_request_id:");
        quote(line, Some(self.request_id.as_bytes()));
        let endpoint_took = ending.endpoint_took.unwrap_or_default();
        write!(
            line,
            " response_time:{:.6} gorouter_time:{:.6} app_id:",
            ending.took.as_secs_f64(),
            ending.took.saturating_sub(endpoint_took).as_secs_f64()
        )?;
        quote(line, Some(endpoint.identity.app.as_bytes()));
        line.push_str(" app_index:");
        quote(line, Some(endpoint.index.as_bytes()));
        line.push_str(" instance_id:");
        quote(line, Some(endpoint.identity.instance.as_bytes()));
        line.push_str(" x_cf_routererror:");
        quote(line, ending.router_error.map(str::as_bytes));
        Ok(())
    }
}

// === impl AccessLine ===

impl AccessLine {
    /// When it was written, in nanoseconds since the epoch.
    pub(crate) fn timestamp_ns(&self) -> i64 {
        let since = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }
}

/// `"text"`, or `"-"` when there is none.
fn quote(line: &mut String, text: Option<&[u8]>) {
    line.push('"');
    match text {
        None | Some([]) => line.push('-'),
        Some(text) => escape(line, text, MAX_TEXT_BYTES),
    }
    line.push('"');
}

/// Adds `text` so that it cannot end its quotes or its line, nor move a terminal's cursor.
fn escape(line: &mut String, text: &[u8], limit: usize) {
    for &byte in &text[..text.len().min(limit)] {
        match byte {
            b'"' | b'\\' => {
                line.push('\\');
                line.push(char::from(byte));
            }
            b' '..=b'~' => line.push(char::from(byte)),
            _ => {
                // Writing into a String cannot fail.
                let _ = write!(line, "\\x{byte:02x}");
            }
        }
    }
}
