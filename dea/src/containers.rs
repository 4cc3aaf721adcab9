//! The containers of living instances, and what they use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use cupola_messages::dea::Usage;
use cupola_types::InstanceGuid;
use cupola_warden::Stats;
use cupola_warden::aio::Container;
use parking_lot::Mutex;
use tokio::time::timeout;
use tracing::debug;

/// How long a measurement serves everybody who asks.
const FRESH: Duration = Duration::from_secs(1);
/// How long measuring may take; whoever asks waits two seconds in all.
const MEASURE_WITHIN: Duration = Duration::from_millis(1500);

/// The containers of living instances.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    /// Held for look-ups and edits only.
    live: Mutex<HashMap<InstanceGuid, Arc<Live>>>,
}

#[derive(Debug)]
struct Live {
    container: Container,
    /// Bytes of disk that it takes besides its own.
    shared_bytes: u64,
    /// Held while measuring, so that many who ask at once cause one measurement.
    last: tokio::sync::Mutex<Sample>,
}

/// One measurement.
#[derive(Debug, Clone)]
struct Sample {
    at: Instant,
    cpu_ns: u64,
    /// Absent in the baseline that the first measurement is compared with.
    usage: Option<Usage>,
}

// === impl Containers ===

impl Containers {
    /// Adds a container whose processes have used `cpu_ns` of processor time so far, and whose
    /// droplet takes `shared_bytes` outside of it.
    pub(crate) fn insert(
        &self,
        guid: &InstanceGuid,
        container: Container,
        cpu_ns: u64,
        shared_bytes: u64,
    ) {
        let baseline = Sample {
            at: Instant::now(),
            cpu_ns,
            usage: None,
        };
        let live = Live {
            container,
            shared_bytes,
            last: tokio::sync::Mutex::new(baseline),
        };
        self.live.lock().insert(guid.clone(), Arc::new(live));
    }

    pub(crate) fn remove(&self, guid: &InstanceGuid) {
        self.live.lock().remove(guid);
    }

    /// What an instance uses now, give or take a second; `None` when it cannot be told.
    pub(crate) async fn usage(&self, guid: &InstanceGuid) -> Option<Usage> {
        let live = self.live.lock().get(guid).cloned()?;
        let mut last = live.last.lock().await;
        if let Some(usage) = last.usage.clone().filter(|_| last.at.elapsed() < FRESH) {
            return Some(usage);
        }
        let info = timeout(MEASURE_WITHIN, live.container.info()).await.ok()?;
        let stats = info.inspect_err(|error| debug!(instance.guid = %guid, %error, "no stats"));
        let mut stats = stats.ok()?.stats;
        stats.disk_bytes = stats.disk_bytes.saturating_add(live.shared_bytes);
        *last = next_sample(&last, &stats, Instant::now());
        last.usage.clone()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share of a core needs no more than 52 bits"
)]
fn next_sample(last: &Sample, stats: &Stats, now: Instant) -> Sample {
    let passed = now.duration_since(last.at).as_nanos().max(1) as f64;
    let usage = Usage {
        time: Utc::now().format("%Y-%m-%d %H:%M:%S %z").to_string(),
        cpu: stats.cpu_ns.saturating_sub(last.cpu_ns) as f64 / passed,
        mem: stats.memory_bytes,
        disk: stats.disk_bytes,
    };
    Sample {
        at: now,
        cpu_ns: stats.cpu_ns,
        usage: Some(usage),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn processor_use_is_the_share_of_a_core_since_the_last_look() {
        let start = Instant::now();
        let last = Sample {
            at: start,
            cpu_ns: 1_000_000_000,
            usage: None,
        };
        let stats = Stats {
            cpu_ns: 4_000_000_000,
            memory_bytes: 7,
            disk_bytes: 9,
            ..Stats::default()
        };
        let next = next_sample(&last, &stats, start + Duration::from_secs(2));
        let usage = next.usage.clone().unwrap();
        assert!((usage.cpu - 1.5).abs() < 1e-9);
        assert_eq!((usage.mem, usage.disk), (7, 9));
        let fewer = Stats { cpu_ns: 0, ..stats };
        let after = next_sample(&next, &fewer, start + Duration::from_secs(3));
        assert!(after.usage.unwrap().cpu.abs() < 1e-9, "never negative");
    }
}
