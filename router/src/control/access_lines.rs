//! Access lines on their way to the apps' logs, and what can be learned from them off the requests'
//! path.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use cupola_component::AppLog;
use cupola_messages::logs::LogStream;
use cupola_types::AppGuid;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::access_log::AccessLine;

/// How long one window of the per-app counts is.
const WINDOW: Duration = Duration::from_secs(60);
/// Apps and components counted at most; further ones are not.
const MAX_NAMES: usize = 20_000;
/// Apps listed as the busiest.
const TOP: usize = 10;

/// Takes the cores' lines.
#[derive(Debug)]
pub(crate) struct AccessLines {
    log: AppLog,
    /// Which router, as the source instance of its lines.
    index: String,
    tally: Arc<Mutex<Tally>>,
}

/// Counts by app and by component.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests by app, in this window and the one before.
    apps: HashMap<Box<str>, [u64; 2]>,
    components: BTreeMap<Box<str>, ComponentTally>,
}

/// What one component's endpoints answered.
#[derive(Debug, Default)]
struct ComponentTally {
    requests: u64,
    responses: [u64; 6],
    took: Duration,
}

// === impl AccessLines ===

impl AccessLines {
    pub(crate) fn new(log: AppLog, index: u32) -> Self {
        Self {
            log,
            index: index.to_string(),
            tally: Arc::default(),
        }
    }

    /// The counts, shared.
    pub(crate) fn tally(&self) -> Arc<Mutex<Tally>> {
        Arc::clone(&self.tally)
    }

    /// Takes batches until all cores have ended.
    pub(crate) async fn run(self, mut batches: mpsc::Receiver<Vec<AccessLine>>) {
        let mut windows = interval(WINDOW);
        windows.set_missed_tick_behavior(MissedTickBehavior::Delay);
        windows.reset();
        loop {
            tokio::select! {
                _ = windows.tick() => self.tally.lock().turn(),
                batch = batches.recv() => {
                    let Some(batch) = batch else { return };
                    self.take(&batch);
                }
            }
        }
    }

    fn take(&self, batch: &[AccessLine]) {
        for line in batch {
            let app = AppGuid::new(&*line.endpoint.identity.app);
            self.log.line_at(
                &app,
                LogStream::Out,
                &self.index,
                &line.text,
                line.timestamp_ns(),
            );
        }
        let mut tally = self.tally.lock();
        for line in batch {
            tally.count(line);
        }
    }
}

// === impl Tally ===

impl Tally {
    fn count(&mut self, line: &AccessLine) {
        let app = &line.endpoint.identity.app;
        if let Some(counts) = self.apps.get_mut(app) {
            counts[0] += 1;
        } else if self.apps.len() < MAX_NAMES {
            self.apps.insert(app.clone(), [1, 0]);
        }
        let Some(component) = line.endpoint.component() else {
            return;
        };
        if !self.components.contains_key(component) && self.components.len() < MAX_NAMES {
            self.components
                .insert(component.into(), ComponentTally::default());
        }
        if let Some(tally) = self.components.get_mut(component) {
            let class = if line.status < 600 {
                usize::from(line.status / 100)
            } else {
                0
            };
            tally.requests += 1;
            tally.responses[class] += 1;
            tally.took += line.took;
        }
    }

    /// Begins a new window.
    fn turn(&mut self) {
        self.apps.retain(|_, counts| {
            *counts = [0, counts[0]];
            counts[1] > 0
        });
    }

    /// `top10_app_requests` of old.
    pub(crate) fn top(&self) -> Value {
        // A full window when there is one, else what has been seen of the first.
        let rpm = |counts: &[u64; 2]| counts[1].max(counts[0]);
        let mut apps: Vec<_> = self
            .apps
            .iter()
            .map(|(app, counts)| (rpm(counts), &**app))
            .collect();
        apps.sort_unstable_by(|a, b| b.cmp(a));
        let row = |(rpm, app): (u64, &str)| json!({ "application_id": app, "rpm": rpm, "rps": rpm / WINDOW.as_secs() });
        apps.into_iter().take(TOP).map(row).collect()
    }

    /// `tags.component` of old.
    pub(crate) fn by_component(&self) -> Value {
        let row = |tally: &ComponentTally| {
            let mut row = Map::new();
            row.insert("requests".to_owned(), tally.requests.into());
            for (class, count) in tally.responses.iter().enumerate() {
                let class = if class == 0 {
                    "xxx".to_owned()
                } else {
                    format!("{class}xx")
                };
                row.insert(format!("responses_{class}"), (*count).into());
            }
            let mean = tally.took.as_secs_f64()
                / f64::from(u32::try_from(tally.requests).unwrap_or(u32::MAX).max(1));
            row.insert(
                "latency".to_owned(),
                json!({ "value": mean, "samples": tally.requests }),
            );
            Value::Object(row)
        };
        let rows = self
            .components
            .iter()
            .map(|(name, tally)| (name.to_string(), row(tally)));
        Value::Object(rows.collect())
    }
}
