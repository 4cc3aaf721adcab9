//! The last lines of each app, and those who wait for the next.
//!
//! A follower has no queue of its own: it remembers how far it has read and takes what came since
//! from the kept lines. So slow readers cost nothing, and what they missed is known by number.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cupola_messages::logs::{LogBatch, LogLine};
use cupola_types::AppGuid;
use tokio::sync::watch;

/// Lines that a follower takes at a time.
const TAKE: usize = 256;
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
    /// Apps that have lines or followers.
    apps: HashMap<AppGuid, App>,
    /// Apps that have lines by when they last spoke, for forgetting the most silent first.
    by_age: BTreeMap<u64, AppGuid>,
    clock: u64,
    bytes: usize,
    evicted_lines: u64,
}

#[derive(Debug, Default)]
struct App {
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
    spoke_at: u64,
    /// How many lines came since the app is known; the last of `lines` has this number.
    heard: usize,
    /// Tells followers of `heard`; absent when there are none.
    followers: Option<watch::Sender<usize>>,
}

/// Reads the lines of one app as they come.
#[derive(Debug)]
pub(crate) struct Follower {
    archive: Archive,
    app: AppGuid,
    heard: watch::Receiver<usize>,
    /// Number of the last line that was taken.
    read: usize,
}

/// What came since a follower last looked.
#[derive(Debug)]
pub(crate) struct News {
    /// Lines that were forgotten before they were taken.
    pub(crate) missed: usize,
    pub(crate) lines: Vec<Arc<LogLine>>,
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
        let bounds = Bounds {
            // Else one app could fill everything and then be forgotten whole.
            bytes_per_app: bounds.bytes_per_app.min(bounds.bytes_total),
            ..bounds
        };
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

    /// Keeps the lines and wakes whoever waits for them.
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

    /// The lines of an app from now on. The app is remembered while it is followed, whatever is
    /// forgotten; whoever calls bounds the number of followers.
    pub(crate) fn follow(&self, app: &AppGuid) -> Follower {
        let mut inner = self.lock();
        let known = inner.apps.entry(app.clone()).or_default();
        let read = known.heard;
        let followers = known
            .followers
            .get_or_insert_with(|| watch::Sender::new(read));
        Follower {
            heard: followers.subscribe(),
            archive: self.clone(),
            app: app.clone(),
            read,
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

// === impl Follower ===

impl Follower {
    /// Waits for the next lines. Cancel-safe. `None` when the archive is gone.
    pub(crate) async fn next(&mut self) -> Option<News> {
        let read = self.read;
        self.heard.wait_for(|heard| *heard > read).await.ok()?;
        let inner = self.archive.lock();
        let app = inner.apps.get(&self.app)?;
        let forgotten = app.heard - app.lines.len();
        let missed = forgotten.saturating_sub(read);
        let known = (read + missed) - forgotten;
        let lines: Vec<_> = app.lines.iter().skip(known).take(TAKE).cloned().collect();
        self.read = read + missed + lines.len();
        Some(News { missed, lines })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut inner = self.archive.lock();
        if let Some(app) = inner.apps.get_mut(&self.app)
            && app
                .followers
                .as_ref()
                .is_some_and(|followers| followers.receiver_count() <= 1)
        {
            app.followers = None; // this was the last one
        }
        inner.forget_if_idle(&self.app);
    }
}

// === impl Inner ===

impl Inner {
    fn add(&mut self, batch: LogBatch) {
        if batch.lines.is_empty() {
            return;
        }
        self.clock += 1;
        let app = self.apps.entry(batch.app_id.clone()).or_default();
        self.by_age.remove(&app.spoke_at);
        self.bytes -= app.bytes;
        for line in batch.lines {
            app.push(line, self.bounds);
        }
        app.spoke_at = self.clock;
        self.bytes += app.bytes;
        if let Some(followers) = &app.followers {
            followers.send_replace(app.heard);
        }
        if app.lines.is_empty() {
            self.forget_if_idle(&batch.app_id);
        } else {
            self.by_age.insert(self.clock, batch.app_id);
        }
        while self.bytes > self.bounds.bytes_total {
            let Some((_, silent)) = self.by_age.pop_first() else {
                break;
            };
            if let Some(app) = self.apps.get_mut(&silent) {
                self.bytes -= std::mem::take(&mut app.bytes);
                self.evicted_lines += std::mem::take(&mut app.lines).len() as u64;
            }
            self.forget_if_idle(&silent);
        }
    }

    /// Forgets an app without lines and without followers.
    fn forget_if_idle(&mut self, guid: &AppGuid) {
        let idle = |app: &App| app.lines.is_empty() && app.followers.is_none();
        if self.apps.get(guid).is_some_and(idle) {
            self.apps.remove(guid);
        }
    }
}

// === impl App ===

impl App {
    fn push(&mut self, line: LogLine, bounds: Bounds) {
        self.heard += 1;
        self.bytes += cost(&line);
        self.lines.push_back(Arc::new(line));
        while self.lines.len() > bounds.lines_per_app || self.bytes > bounds.bytes_per_app {
            let Some(oldest) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= cost(&oldest);
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

    async fn next(reader: &mut Follower) -> News {
        let news = tokio::time::timeout(std::time::Duration::from_secs(5), reader.next());
        news.await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_reader_hears_what_comes_and_a_slow_one_learns_what_it_missed() {
        let archive = archive(10, 10_000, 10_000);
        let mut reader = archive.follow(&AppGuid::new("a"));
        archive.add(batch("a", vec![line("hello", 1)]));
        assert_eq!(texts(&next(&mut reader).await.lines), ["hello"]);
        archive.add(batch("a", (0..15).map(|_| line("x", 1)).collect()));
        let news = next(&mut reader).await;
        assert_eq!((news.missed, news.lines.len()), (5, 10));
        archive.add(batch("a", vec![line("again", 1)]));
        let news = next(&mut reader).await;
        assert_eq!((news.missed, texts(&news.lines)), (0, vec!["again"]));
    }

    #[tokio::test]
    async fn a_reader_goes_on_when_its_app_is_forgotten() {
        let archive = archive(10, 400, 600);
        let mut reader = archive.follow(&AppGuid::new("a"));
        archive.add(batch("a", vec![line("read", 1)]));
        assert_eq!(texts(&next(&mut reader).await.lines), ["read"]);
        archive.add(batch("a", vec![line("forgotten", 2)]));
        for other in ["b", "c"] {
            archive.add(batch(other, vec![line(&"x".repeat(200), 3)]));
        }
        assert_eq!(
            archive.totals().2,
            2,
            "the lines of the followed app are gone"
        );
        archive.add(batch("a", vec![line("new", 4)]));
        let news = next(&mut reader).await;
        assert_eq!((news.missed, texts(&news.lines)), (1, vec!["new"]));
    }

    #[tokio::test]
    async fn following_silent_apps_leaves_nothing_behind() {
        let archive = archive(10, 400, 600);
        let readers: Vec<_> = ["a", "b", "b"]
            .map(|app| archive.follow(&AppGuid::new(app)))
            .into();
        assert_eq!(archive.totals().0, 2);
        drop(readers);
        archive.add(batch("c", vec![]));
        assert_eq!(archive.totals().0, 0);
    }

    #[test]
    fn one_app_may_fill_everything_and_keeps_its_last_lines() {
        let archive = archive(1_000, 1_000_000, 1_000);
        archive.add(batch("a", (0..100).map(|n| line("x", n)).collect()));
        let kept = archive.read(&AppGuid::new("a"), Window::everything());
        assert_eq!(kept.len(), 10);
        assert_eq!(kept[9].timestamp_ns, 99);
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
                prop_assert!(inner.by_age.iter().all(|(at, app)| inner.apps[app].spoke_at == *at));
                for app in inner.apps.values() {
                    prop_assert!(app.lines.len() <= 8 && app.bytes <= 1_000);
                    prop_assert_eq!(app.bytes, app.lines.iter().map(|l| cost(l)).sum::<usize>());
                }
            }
        }
    }
}
