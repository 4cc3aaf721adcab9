//! The dea in numbers: Prometheus metrics and the `/varz` keys of old.

use cupola_component::Metrics;
use cupola_types::InstanceState;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;
use serde_json::{Map, Value, json};

use crate::dea::Shared;
use crate::registry::Book;

/// Least room in MiB that the old controllers needed to stage an app.
const STAGING_MB: u32 = 1024;

/// Reads the registry whenever somebody looks.
#[derive(Debug)]
struct Gauges(Shared);

/// Registers what the dea tells about itself.
pub(crate) fn register(dea: &Shared, metrics: &Metrics) {
    let collector = Box::new(Gauges(Shared::clone(dea)));
    metrics.register(|registry| registry.register_collector(collector));
    let dea = Shared::clone(dea);
    metrics.varz(move || varz(&dea));
}

// === impl Gauges ===

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let dea = &self.0;
        let (counts, free, capacity) = dea
            .registry
            .read(|book| (book.count_by_state(), book.available(), book.capacity()));
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family =
            encoder.encode_descriptor("dea_instances", "Instances by state", None, kind)?;
        for state in InstanceState::ALL {
            let count = counts.get(state).copied().unwrap_or(0);
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            let labels = [("state", state.as_str())];
            gauge.encode(family.encode_family(&labels)?)?;
        }
        let amounts = [
            (
                "dea_memory_capacity_mebibytes",
                "Memory for instances",
                capacity.memory.0,
            ),
            (
                "dea_memory_available_mebibytes",
                "Memory not reserved",
                free.memory.0,
            ),
            (
                "dea_disk_capacity_mebibytes",
                "Disk for instances",
                capacity.disk.0,
            ),
            (
                "dea_disk_available_mebibytes",
                "Disk not reserved",
                free.disk.0,
            ),
        ];
        for (name, help, amount) in amounts {
            let gauge = ConstGauge::new(i64::from(amount));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let droplets = ConstGauge::new(i64::try_from(dea.droplets.len()).unwrap_or(i64::MAX));
        let help = "Droplets in the cache";
        let kind = droplets.metric_type();
        droplets.encode(encoder.encode_descriptor("dea_droplets_cached", help, None, kind)?)?;
        let dropped = i64::try_from(dea.log.dropped()).unwrap_or(i64::MAX);
        let dropped = ConstGauge::new(dropped);
        let help = "Log lines that did not reach the bus";
        let kind = dropped.metric_type();
        dropped.encode(encoder.encode_descriptor("dea_log_lines_dropped", help, None, kind)?)
    }
}

fn varz(dea: &Shared) -> Map<String, Value> {
    let mut keys = dea.registry.read(room);
    keys.insert(
        "stacks".to_owned(),
        json!(dea.config.stacks.names().collect::<Vec<_>>()),
    );
    keys
}

/// The part of `/varz` that the registry knows.
fn room(book: &Book) -> Map<String, Value> {
    let (capacity, free) = (book.capacity(), book.available());
    let stagers = free.memory.0.min(free.disk.0) / STAGING_MB;
    let stagers = if book.is_closed() { 0 } else { stagers };
    let by_state: Map<String, Value> = book
        .count_by_state()
        .iter()
        .map(|(s, n)| (s.as_str().to_owned(), json!(n)))
        .collect();
    let instances: Vec<Value> = book
        .instances()
        .map(|i| {
            json!({
                "application_id": i.app, "application_version": i.version,
                "application_name": i.name, "instance_id": i.guid, "instance_index": i.index,
                "state": i.state(), "state_timestamp": i.state_since(), "limits": i.limits,
            })
        })
        .collect();
    let document = json!({
        "can_stage": u8::from(stagers > 0),
        "reservable_stagers": stagers,
        "available_memory_ratio": ratio(free.memory.0, capacity.memory.0),
        "available_disk_ratio": ratio(free.disk.0, capacity.disk.0),
        "instances": by_state,
        "instance_registry": instances,
    });
    match document {
        Value::Object(keys) => keys,
        _ => Map::new(),
    }
}

fn ratio(part: u32, whole: u32) -> f64 {
    if whole == 0 {
        0.0
    } else {
        f64::from(part) / f64::from(whole)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use cupola_types::{DiskMb, MemoryMb};

    use super::*;
    use crate::capacity::Capacity;
    use crate::instance::tests::instance;

    #[test]
    fn varz_tells_the_room_left_and_no_secret() {
        let capacity = Capacity {
            memory: MemoryMb(128),
            disk: DiskMb(1280),
            max_instances: 10,
        };
        let mut book = Book::new(capacity);
        let it = instance("a", 0);
        let private = it.private_id.clone();
        book.admit(it).unwrap();
        let keys = room(&book);
        assert_eq!(keys["available_memory_ratio"], 0.5);
        assert_eq!(keys["available_disk_ratio"], 0.9);
        assert_eq!(keys["can_stage"], 0);
        assert_eq!(keys["instances"]["BORN"], 1);
        assert!(!serde_json::to_string(&keys).unwrap().contains(&private));
        assert!((ratio(1, 0)).abs() < 1e-9);
    }
}
