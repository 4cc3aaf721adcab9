//! Lines for apps' log streams, batched on their way to the loggregator.
//!
//! What does not get through is counted, and the app's own stream says so as soon as it can.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cupola_messages::logs::{
    self, LogBatch, LogLine, LogSource, LogStream, MAX_BATCH_LINES, MAX_LINE_BYTES,
};
use cupola_types::AppGuid;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;

/// Lines that wait for the bus. When more come, they are dropped and counted: a chatty app must
/// never slow down the component that carries its words.
const QUEUE_LINES: usize = 8_192;
/// Lines taken together from the queue.
const TAKE: usize = 1_024;
/// How long the first line of a batch waits for company.
const LINGER: Duration = Duration::from_millis(10);
/// How often an app's stream is told what it lost, at most.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Apps whose losses are told; those of further apps are only counted.
const MAX_UNTOLD: usize = 4_096;

/// Where a component puts lines for apps' log streams. Cheap to clone; never blocks.
#[derive(Debug, Clone)]
pub struct AppLog {
    queue: mpsc::Sender<(AppGuid, LogLine)>,
    lost: Arc<Lost>,
    source: LogSource,
}

/// Lines that did not get through.
#[derive(Debug, Default)]
struct Lost {
    total: AtomicU64,
    /// By app, until its stream has been told.
    untold: Mutex<HashMap<AppGuid, u64>>,
}

impl AppLog {
    /// A stream of lines from `source`, and the task that sends them until `shutdown`; spawn it.
    pub fn new(
        bus: Bus,
        source: LogSource,
        shutdown: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, lines) = mpsc::channel(QUEUE_LINES);
        let log = Self {
            queue,
            lost: Arc::default(),
            source,
        };
        let lost = Arc::clone(&log.lost);
        (log, send(bus, lines, lost, shutdown))
    }

    /// The same queue, for lines that something else than this component said.
    #[must_use]
    pub fn speaking_as(&self, source: LogSource) -> Self {
        Self {
            source,
            ..self.clone()
        }
    }

    /// Adds a line, read now. `instance` is the app instance's index, or the component's.
    pub fn line(&self, app: &AppGuid, stream: LogStream, instance: &str, text: &str) {
        self.line_at(app, stream, instance, text, now_ns());
    }

    /// Adds a line that was read at `timestamp_ns`, nanoseconds since the epoch.
    pub fn line_at(
        &self,
        app: &AppGuid,
        stream: LogStream,
        instance: &str,
        text: &str,
        timestamp_ns: i64,
    ) {
        let mut end = text.len().min(MAX_LINE_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let line = LogLine {
            message: text[..end].to_owned(),
            stream,
            timestamp_ns,
            source_type: self.source,
            source_instance: instance.to_owned(),
        };
        if self.queue.try_send((app.clone(), line)).is_err() {
            self.lost.add(app, 1);
        }
    }

    /// Lines that did not get through.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lost.total.load(Ordering::Relaxed)
    }
}

// === impl Lost ===

impl Lost {
    fn add(&self, app: &AppGuid, lines: u64) {
        self.total.fetch_add(lines, Ordering::Relaxed);
        self.remember(app, lines);
    }

    fn remember(&self, app: &AppGuid, lines: u64) {
        let mut untold = self.lock();
        if let Some(count) = untold.get_mut(app) {
            *count += lines;
        } else if untold.len() < MAX_UNTOLD {
            untold.insert(app.clone(), lines);
        }
    }

    fn is_untold(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Says in each stream what it lost; what cannot be said is kept for the next time.
    async fn tell(&self, bus: &Bus) {
        let untold = std::mem::take(&mut *self.lock());
        for (app, count) in untold {
            let batch = LogBatch {
                app_id: app.clone(),
                lines: vec![lost_line(count)],
            };
            if bus.publish(&logs::app(&app), &batch).await.is_err() {
                self.remember(&app, count);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AppGuid, u64>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost_line(count: u64) -> LogLine {
    let lines = if count == 1 { "line" } else { "lines" };
    LogLine {
        message: format!("{count} {lines} did not get through to this log and are left out"),
        stream: LogStream::Err,
        timestamp_ns: now_ns(),
        source_type: LogSource::Loggregator,
        source_instance: "0".to_owned(),
    }
}

async fn send(
    bus: Bus,
    mut lines: mpsc::Receiver<(AppGuid, LogLine)>,
    lost: Arc<Lost>,
    shutdown: CancellationToken,
) {
    let mut taken = Vec::with_capacity(TAKE);
    let mut tell_at = Instant::now();
    loop {
        let more = tokio::select! {
            n = lines.recv_many(&mut taken, TAKE) => n > 0,
            () = tokio::time::sleep_until(tell_at), if lost.is_untold() => true,
            () = shutdown.cancelled() => {
                lines.close();
                lines.recv_many(&mut taken, TAKE).await > 0
            }
        };
        if !more {
            lost.tell(&bus).await;
            return;
        }
        if (1..TAKE).contains(&taken.len()) && !shutdown.is_cancelled() {
            tokio::time::sleep(LINGER).await;
            while taken.len() < TAKE {
                let Ok(line) = lines.try_recv() else { break };
                taken.push(line);
            }
        }
        send_taken(&bus, &mut taken, &lost).await;
        if tell_at <= Instant::now() {
            if *bus.connected().borrow() {
                lost.tell(&bus).await;
            }
            tell_at = Instant::now() + TELL_EVERY;
        }
    }
}

/// Sends the lines, each app's apart.
async fn send_taken(bus: &Bus, taken: &mut Vec<(AppGuid, LogLine)>, lost: &Lost) {
    let mut by_app: HashMap<AppGuid, Vec<LogLine>> = HashMap::new();
    for (app, line) in taken.drain(..) {
        by_app.entry(app).or_default().push(line);
    }
    for (app, mut lines) in by_app {
        while !lines.is_empty() {
            let rest = lines.split_off(batch_length(&lines, bus.max_payload()));
            let count = lines.len() as u64;
            let batch = LogBatch {
                app_id: app.clone(),
                lines,
            };
            if bus.publish(&logs::app(&app), &batch).await.is_err() {
                lost.add(&app, count);
            }
            lines = rest;
        }
    }
}

/// How many of the first lines make one message: bounded in count and in bytes, where each byte of
/// text may take six in JSON.
fn batch_length(lines: &[LogLine], max_payload: usize) -> usize {
    let mut bytes = 0;
    let fitting = lines.iter().take(MAX_BATCH_LINES).take_while(|line| {
        bytes += line.message.len() * 6 + 256;
        bytes < max_payload
    });
    fitting.count().max(1)
}

fn now_ns() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize, bytes: usize) -> Vec<LogLine> {
        let line = LogLine {
            message: "x".repeat(bytes),
            stream: LogStream::Out,
            timestamp_ns: 0,
            source_type: LogSource::App,
            source_instance: "0".to_owned(),
        };
        vec![line; count]
    }

    #[test]
    fn a_batch_is_bounded_in_lines_and_bytes_and_never_empty() {
        assert_eq!(
            batch_length(&lines(1_000, 10), 1024 * 1024),
            MAX_BATCH_LINES
        );
        assert!(batch_length(&lines(100, MAX_LINE_BYTES), 1024 * 1024) <= 11);
        assert_eq!(batch_length(&lines(1, MAX_LINE_BYTES), 1024), 1);
    }
}
