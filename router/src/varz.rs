//! What a router tells of itself: `/varz` as of old, and metrics for Prometheus.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use serde_json::{Map, Value, json};

use crate::control::{Counts, Tally};
use crate::registry::{Clock, Registry};
use crate::stats::{CoreStats, Counter, Stats};

/// How often rates are brought up to date.
const RATE_EVERY: Duration = Duration::from_secs(5);

/// Everything that is told, computed when it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Varz {
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Clock,
    pub(crate) stats: Stats,
    pub(crate) counts: Arc<Counts>,
    pub(crate) tally: Arc<Mutex<Tally>>,
    pub(crate) rates: Arc<Mutex<Rates>>,
}

/// Requests per second: lately, and averaged over 1, 5 and 15 minutes.
#[derive(Debug)]
pub(crate) struct Rates {
    last: (Instant, u64),
    lately: f64,
    averages: [f64; 3],
}

type Sum = fn(&CoreStats) -> &Counter;

/// Counters by name and meaning.
const COUNTERS: &[(&str, &str, Sum)] = &[
    ("router_requests", "Requests of clients", |c| &c.requests),
    (
        "router_rejected_requests",
        "Requests refused without asking an endpoint",
        |c| &c.rejected,
    ),
    (
        "router_bad_gateways",
        "Requests that no endpoint answered",
        |c| &c.bad_gateways,
    ),
    (
        "router_overloaded_requests",
        "Requests refused at an endpoint limit",
        |c| &c.overloaded,
    ),
    (
        "router_retries",
        "Further attempts on another endpoint",
        |c| &c.retries,
    ),
    (
        "router_clients_gone",
        "Requests whose client did not wait for the answer",
        |c| &c.clients_gone,
    ),
    ("router_dials", "Connections to endpoints begun", |c| {
        &c.dials
    }),
    (
        "router_dial_failures",
        "Connections to endpoints not made",
        |c| &c.dial_failures,
    ),
    (
        "router_upgrades",
        "Connections that changed protocol",
        |c| &c.upgrades,
    ),
    ("router_connections", "Client connections accepted", |c| {
        &c.connections
    }),
    (
        "router_connections_refused",
        "Client connections beyond the limit",
        |c| &c.connections_refused,
    ),
    ("router_received_bytes", "Body bytes from clients", |c| {
        &c.bytes_in
    }),
    ("router_sent_bytes", "Body bytes to clients", |c| {
        &c.bytes_out
    }),
    (
        "router_log_lines_dropped",
        "Access lines lost for want of room",
        |c| &c.log_lines_dropped,
    ),
];

/// Names of the status classes, by hundreds.
const CLASSES: [&str; 6] = ["xxx", "1xx", "2xx", "3xx", "4xx", "5xx"];

// === impl Varz ===

impl Varz {
    /// Keeps the rates, for ever.
    pub(crate) async fn keep_rates(&self) {
        loop {
            tokio::time::sleep(RATE_EVERY).await;
            self.rates
                .lock()
                .update(Instant::now(), self.stats.sum(|c| &c.requests));
        }
    }

    /// The document's keys (bus contract §5.7).
    pub(crate) fn document(&self) -> Map<String, Value> {
        let stats = &self.stats;
        let latency = stats.latency();
        let at = |share| latency.quantile(share).as_secs_f64();
        let samples = u32::try_from(latency.samples()).unwrap_or(u32::MAX);
        let (lately, averages) = {
            let rates = self.rates.lock();
            (rates.lately, rates.averages)
        };
        let mut all = Map::new();
        all.insert("requests".to_owned(), stats.sum(|c| &c.requests).into());
        all.insert("rate".to_owned(), json!(averages));
        for (number, class) in CLASSES.iter().enumerate() {
            let count = stats.sum(|c| &c.responses[number]);
            all.insert(format!("responses_{class}"), count.into());
        }
        all.insert(
            "latency".to_owned(),
            json!({
                "50": at(0.50), "75": at(0.75), "90": at(0.90), "95": at(0.95), "99": at(0.99),
                "value": latency.total().as_secs_f64() / f64::from(samples.max(1)),
                "samples": latency.samples(),
            }),
        );
        let (top, components) = {
            let tally = self.tally.lock();
            (tally.top(), tally.by_component())
        };
        let mut document = all.clone();
        let silence = self.clock.now().since(self.registry.changed_at());
        let rest = json!({
            "urls": self.registry.routes(),
            "droplets": self.registry.endpoints(),
            "bad_requests": stats.sum(|c| &c.rejected),
            "bad_gateways": stats.sum(|c| &c.bad_gateways),
            "requests_per_sec": lately,
            "top10_app_requests": top,
            "ms_since_last_registry_update": u64::try_from(silence.as_millis()).unwrap_or(u64::MAX),
            "all": all,
            "tags": { "component": components },
        });
        if let Value::Object(rest) = rest {
            document.extend(rest);
        }
        document
    }
}

impl Collector for Varz {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut counter = |name: &str, help: &str, value: u64| {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
        };
        for (name, help, sum) in COUNTERS {
            counter(name, help, self.stats.sum(sum))?;
        }
        for (name, help, count) in [
            (
                "router_register_messages",
                "Registrations heard",
                &self.counts.registers,
            ),
            (
                "router_unregister_messages",
                "Unregistrations heard",
                &self.counts.unregisters,
            ),
            (
                "router_malformed_messages",
                "Messages that could not be obeyed",
                &self.counts.malformed,
            ),
            (
                "router_addresses_changed_hands",
                "Addresses seen with a new owner",
                &self.counts.evicted,
            ),
            (
                "router_routes_pruned",
                "Endpoints dropped for their silence",
                &self.counts.pruned,
            ),
        ] {
            counter(name, help, count.load(Relaxed))?;
        }
        let mut responses = encoder.encode_descriptor(
            "router_responses",
            "Answers by class of status",
            None,
            MetricType::Counter,
        )?;
        for (number, class) in CLASSES.iter().enumerate() {
            let metric = ConstCounter::new(self.stats.sum(|c| &c.responses[number]));
            metric.encode(responses.encode_family(&[("status_group", *class)])?)?;
        }
        let mut gauge = |name: &str, help: &str, value: u64| {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge(
            "router_open_connections",
            "Client connections now",
            self.stats.open_connections(),
        )?;
        gauge(
            "router_routes_total",
            "Routes in the table",
            self.registry.routes() as u64,
        )?;
        gauge(
            "router_endpoints_total",
            "Endpoints in the table",
            self.registry.endpoints() as u64,
        )?;
        self.encode_latency(&mut encoder)
    }
}

impl Varz {
    fn encode_latency(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let latency = self.stats.latency();
        let mut buckets = encoder.encode_descriptor(
            "router_latency_seconds",
            "Time from a request's head to the end of its answer",
            None,
            MetricType::Histogram,
        )?;
        let mut last = 0;
        let mut bounds: Vec<_> = latency
            .cumulative()
            .map(|(bound, cumulative)| {
                let count = cumulative - last;
                last = cumulative;
                (bound.as_secs_f64(), count)
            })
            .collect();
        if let Some((bound, _)) = bounds.last_mut() {
            *bound = f64::INFINITY;
        }
        let samples = latency.samples();
        buckets.encode_histogram::<prometheus_client::encoding::NoLabelSet>(
            latency.total().as_secs_f64(),
            samples,
            &bounds,
            None,
        )
    }
}

// === impl Rates ===

impl Rates {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            last: (now, 0),
            lately: 0.0,
            averages: [0.0; 3],
        }
    }

    fn update(&mut self, now: Instant, requests: u64) {
        let (then, before) = std::mem::replace(&mut self.last, (now, requests));
        let passed = now.saturating_duration_since(then).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        let new = u32::try_from(requests.saturating_sub(before)).unwrap_or(u32::MAX);
        self.lately = f64::from(new) / passed;
        for (average, minutes) in self.averages.iter_mut().zip([1.0, 5.0, 15.0]) {
            let weight = 1.0 - (-passed / (minutes * 60.0)).exp();
            *average += weight * (self.lately - *average);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_the_traffic() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        for tick in 1..=60 {
            rates.update(start + RATE_EVERY * tick, u64::from(tick) * 50);
        }
        assert!((rates.lately - 10.0).abs() < 0.01);
        assert!(
            (rates.averages[0] - 10.0).abs() < 0.2,
            "{:?}",
            rates.averages
        );
        assert!(rates.averages[2] < rates.averages[1]);
    }
}
