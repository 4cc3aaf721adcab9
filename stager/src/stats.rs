//! What an operator sees of this room.

use std::time::Duration;

use cupola_component::Metrics;
use cupola_messages::staging::Completed;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::capacity::Capacity;

/// Upper bounds of the histogram of build times, in seconds.
const SECONDS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0];

/// The metrics of the room. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Stats {
    tasks: Gauge,
    ended: Family<Outcome, Counter>,
    seconds: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    /// `staged`, or the kind of the failure.
    outcome: String,
}

impl Stats {
    /// Registers the metrics, and what is left for builds as `/varz` keys.
    pub(crate) fn new(metrics: &Metrics, capacity: &Capacity) -> Self {
        let stats = Self {
            tasks: Gauge::default(),
            ended: Family::default(),
            seconds: Histogram::new(SECONDS),
        };
        metrics.register(|registry| {
            registry.register("stager_tasks", "Builds in hand", stats.tasks.clone());
            registry.register("stager_stagings", "Builds that ended", stats.ended.clone());
            registry.register(
                "stager_staging_seconds",
                "How long builds took",
                stats.seconds.clone(),
            );
        });
        let (tasks, capacity) = (stats.tasks.clone(), capacity.clone());
        metrics.varz(move || {
            let left = capacity.left();
            [
                ("tasks".to_owned(), tasks.get().into()),
                ("available_memory_mb".to_owned(), left.memory.0.into()),
                ("available_disk_mb".to_owned(), left.disk.0.into()),
            ]
            .into_iter()
            .collect()
        });
        stats
    }

    pub(crate) fn in_hand(&self, tasks: usize) {
        self.tasks.set(i64::try_from(tasks).unwrap_or(i64::MAX));
    }

    pub(crate) fn ended(&self, completed: &Completed, took: Duration) {
        let outcome = match &completed.error_info {
            None => "staged",
            Some(failure) => failure.kind.as_str(),
        };
        self.ended
            .get_or_create(&Outcome {
                outcome: outcome.to_owned(),
            })
            .inc();
        self.seconds.observe(took.as_secs_f64());
    }
}
