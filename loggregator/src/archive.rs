//! The last lines of each app, and those who wait for the next.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cupola_messages::logs::{LogBatch, LogLine};
use cupola_types::AppGuid;
use tokio::sync::broadcast;

/// Lines that wait for one reader of a stream; a slower one is told how many it missed.
const STREAM_CAPACITY: usize = 1_024;
/// What a line costs beside its text.
const LINE_OVERHEAD: usize = 96;

/// Bounds of an [`Archive`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) lines_per_app: usize,
    pub(crate) bytes_per_app: usize,
    pub(crate) bytes_total: usize,
}

/// All apps' last lines. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    bounds: Bounds,
    apps: HashMap<AppGuid, App>,
    /// Apps by when they last spoke, for forgetting the most silent first.
    by_age: BTreeMap<u64, AppGuid>,
    clock: u64,
    bytes: usize,
    evicted_lines: u64,
}

#[derive(Debug)]
struct App {
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
    spoke_at: u64,
    stream: Option<broadcast::Sender<Arc<LogLine>>>,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Not before, in nanoseconds since the epoch.
    pub(crate) start_ns: i64,
    /// Before, in nanoseconds since the epoch.
    pub(crate) end_ns: i64,
    /// At most so many.
    pub(crate) limit: usize,
    /// Newest first, and when there are more than the limit the newest ones.
    pub(crate) descending: bool,
}

impl Window {
    /// Everything, oldest first.
    pub(crate) fn everything() -> Self {
        Self {
            start_ns: i64::MIN,
            end_ns: i64::MAX,
            limit: usize::MAX,
            descending: false,
        }
    }
}

// === impl Archive ===

impl Archive {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                bounds,
                apps: HashMap::new(),
                by_age: BTreeMap::new(),
                clock: 0,
                bytes: 0,
                evicted_lines: 0,
            })),
        }
    }

    /// Keeps the lines and passes them to whoever waits for them.
    pub(crate) fn add(&self, batch: LogBatch) {
        self.lock().add(batch);
    }

    /// The kept lines of an app within `window`, by timestamp.
    pub(crate) fn read(&self, app: &AppGuid, window: Window) -> Vec<Arc<LogLine>> {
        let mut lines: Vec<Arc<LogLine>> = {
            let inner = self.lock();
            let Some(app) = inner.apps.get(app) else {
                return Vec::new();
            };
            let wanted = window.start_ns..window.end_ns;
            app.lines
                .iter()
                .filter(|line| wanted.contains(&line.timestamp_ns))
                .cloned()
                .collect()
        };
        // Batches of several senders interleave, so the order of arrival is not that of time.
        lines.sort_by_key(|line| line.timestamp_ns);
        if window.descending {
            lines.reverse();
        }
        lines.truncate(window.limit);
        lines
    }

    /// The lines of an app from now on.
    pub(crate) fn follow(&self, app: &AppGuid) -> broadcast::Receiver<Arc<LogLine>> {
        let mut inner = self.lock();
        let app = inner.app(app);
        match &app.stream {
            Some(stream) => stream.subscribe(),
            None => {
                let (stream, reader) = broadcast::channel(STREAM_CAPACITY);
                app.stream = Some(stream);
                reader
            }
        }
    }

    /// Apps, bytes kept and lines forgotten to stay within the total.
    pub(crate) fn totals(&self) -> (usize, usize, u64) {
        let inner = self.lock();
        (inner.apps.len(), inner.bytes, inner.evicted_lines)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    fn app(&mut self, guid: &AppGuid) -> &mut App {
        let clock = &mut self.clock;
        let by_age = &mut self.by_age;
        self.apps.entry(guid.clone()).or_insert_with(|| {
            *clock += 1;
            by_age.insert(*clock, guid.clone());
            App {
                lines: VecDeque::new(),
                bytes: 0,
                spoke_at: *clock,
                stream: None,
            }
        })
    }

    fn add(&mut self, batch: LogBatch) {
        let bounds = self.bounds;
        self.clock += 1;
        let now = self.clock;
        let app = self.app(&batch.app_id);
        let before = app.bytes;
        for line in batch.lines {
            let line = Arc::new(line);
            if let Some(stream) = &app.stream
                && stream.send(Arc::clone(&line)).is_err()
            {
                app.stream = None; // the last reader has gone
            }
            app.bytes += cost(&line);
            app.lines.push_back(line);
            while app.lines.len() > bounds.lines_per_app || app.bytes > bounds.bytes_per_app {
                let Some(oldest) = app.lines.pop_front() else {
                    break;
                };
                app.bytes -= cost(&oldest);
            }
        }
        let (after, spoke_at) = (app.bytes, std::mem::replace(&mut app.spoke_at, now));
        self.bytes = self.bytes + after - before;
        self.by_age.remove(&spoke_at);
        self.by_age.insert(now, batch.app_id);
        while self.bytes > bounds.bytes_total {
            let Some((_, silent)) = self.by_age.pop_first() else {
                break;
            };
            if let Some(app) = self.apps.remove(&silent) {
                self.bytes -= app.bytes;
                self.evicted_lines += app.lines.len() as u64;
            }
        }
    }
}

fn cost(line: &LogLine) -> usize {
    line.message.len() + line.source_instance.len() + LINE_OVERHEAD
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use cupola_messages::logs::{LogSource, LogStream};
    use proptest::prelude::*;

    fn line(text: &str, timestamp_ns: i64) -> LogLine {
        LogLine {
            message: text.to_owned(),
            stream: LogStream::Out,
            timestamp_ns,
            source_type: LogSource::App,
            source_instance: "0".to_owned(),
        }
    }

    fn batch(app: &str, lines: Vec<LogLine>) -> LogBatch {
        LogBatch {
            app_id: AppGuid::new(app),
            lines,
        }
    }

    fn archive(lines_per_app: usize, bytes_per_app: usize, bytes_total: usize) -> Archive {
        Archive::new(Bounds {
            lines_per_app,
            bytes_per_app,
            bytes_total,
        })
    }

    fn texts(lines: &[Arc<LogLine>]) -> Vec<&str> {
        lines.iter().map(|line| line.message.as_str()).collect()
    }

    #[test]
    fn lines_come_back_by_time_whatever_order_they_came_in() {
        let archive = archive(10, 10_000, 10_000);
        archive.add(batch("a", vec![line("second", 2)]));
        archive.add(batch("a", vec![line("first", 1), line("third", 3)]));
        let app = AppGuid::new("a");
        let all = archive.read(&app, Window::everything());
        assert_eq!(texts(&all), ["first", "second", "third"]);
        let newest = Window {
            descending: true,
            limit: 1,
            ..Window::everything()
        };
        assert_eq!(texts(&archive.read(&app, newest)), ["third"]);
        let from = Window {
            start_ns: 2,
            ..Window::everything()
        };
        assert_eq!(texts(&archive.read(&app, from)), ["second", "third"]);
    }

    #[test]
    fn the_oldest_lines_of_an_app_go_first() {
        let archive = archive(2, 10_000, 10_000);
        archive.add(batch("a", vec![line("1", 1), line("2", 2), line("3", 3)]));
        assert_eq!(
            texts(&archive.read(&AppGuid::new("a"), Window::everything())),
            ["2", "3"]
        );
    }

    #[test]
    fn the_app_that_was_silent_longest_is_forgotten_first() {
        let archive = archive(10, 400, 600);
        archive.add(batch("old", vec![line(&"x".repeat(200), 1)]));
        archive.add(batch("new", vec![line(&"x".repeat(200), 2)]));
        archive.add(batch("new", vec![line("y", 3)]));
        assert!(
            archive
                .read(&AppGuid::new("old"), Window::everything())
                .is_empty()
        );
        assert_eq!(
            archive
                .read(&AppGuid::new("new"), Window::everything())
                .len(),
            2
        );
        assert_eq!(archive.totals().2, 1);
    }

    #[test]
    fn a_reader_hears_what_comes_and_a_slow_one_learns_what_it_missed() {
        let archive = archive(10, 10_000, 10_000);
        let mut reader = archive.follow(&AppGuid::new("a"));
        archive.add(batch("a", vec![line("hello", 1)]));
        assert_eq!(reader.try_recv().unwrap().message, "hello");
        let flood = (0..STREAM_CAPACITY + 5).map(|_| line("x", 1)).collect();
        archive.add(batch("a", flood));
        assert!(matches!(
            reader.try_recv(),
            Err(broadcast::error::TryRecvError::Lagged(5))
        ));
    }

    proptest! {
        #[test]
        fn the_bounds_hold_whatever_is_said(
            said in proptest::collection::vec((0u8..5, 0usize..300, 0i64..100), 1..200),
        ) {
            let archive = archive(8, 1_000, 2_500);
            for (app, length, at) in said {
                archive.add(batch(&format!("app{app}"), vec![line(&"x".repeat(length), at)]));
                let inner = archive.lock();
                prop_assert!(inner.bytes <= 2_500);
                prop_assert_eq!(inner.bytes, inner.apps.values().map(|a| a.bytes).sum::<usize>());
                prop_assert_eq!(inner.apps.len(), inner.by_age.len());
                for app in inner.apps.values() {
                    prop_assert!(app.lines.len() <= 8 && app.bytes <= 1_000);
                    prop_assert_eq!(app.bytes, app.lines.iter().map(|l| cost(l)).sum::<usize>());
                }
            }
        }
    }
}
