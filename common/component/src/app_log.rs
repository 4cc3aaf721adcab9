//! Lines for apps' log streams, batched on their way to the loggregator.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cupola_messages::logs::{
    self, LogBatch, LogLine, LogSource, LogStream, MAX_BATCH_LINES, MAX_LINE_BYTES,
};
use cupola_types::AppGuid;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;

/// Lines that wait for the bus. When more come, they are dropped and counted: a chatty app must
/// never slow down the component that carries its words.
const QUEUE_LINES: usize = 8_192;
/// Lines taken together from the queue.
const TAKE: usize = 1_024;
/// How long the first line of a batch waits for company.
const LINGER: Duration = Duration::from_millis(10);

/// Where a component puts lines for apps' log streams. Cheap to clone; never blocks.
#[derive(Debug, Clone)]
pub struct AppLog {
    queue: mpsc::Sender<(AppGuid, LogLine)>,
    dropped: Arc<AtomicU64>,
    source: LogSource,
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
            dropped: Arc::default(),
            source,
        };
        let dropped = Arc::clone(&log.dropped);
        (log, send(bus, lines, dropped, shutdown))
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
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that did not get through.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

async fn send(
    bus: Bus,
    mut lines: mpsc::Receiver<(AppGuid, LogLine)>,
    dropped: Arc<AtomicU64>,
    shutdown: CancellationToken,
) {
    let mut taken = Vec::with_capacity(TAKE);
    loop {
        let more = tokio::select! {
            n = lines.recv_many(&mut taken, TAKE) => n > 0,
            () = shutdown.cancelled() => {
                lines.close();
                lines.recv_many(&mut taken, TAKE).await > 0
            }
        };
        if !more {
            return;
        }
        if taken.len() < TAKE && !shutdown.is_cancelled() {
            tokio::time::sleep(LINGER).await;
            while taken.len() < TAKE {
                let Ok(line) = lines.try_recv() else { break };
                taken.push(line);
            }
        }
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
                    dropped.fetch_add(count, Ordering::Relaxed);
                }
                lines = rest;
            }
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
