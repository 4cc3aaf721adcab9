//! Metrics for Prometheus and the `/varz` document of old.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::registry::Registry;
use serde_json::{Map, Value};

type Varz = Box<dyn Fn() -> Map<String, Value> + Send + Sync>;

/// The process's metrics. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    varz: Arc<Mutex<Vec<Varz>>>,
}

impl Metrics {
    /// Registers metrics: `metrics.register(|r| r.register("dea_instances", "…", gauge.clone()))`.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds keys to the `/varz` document, computed at each request.
    pub fn varz(&self, keys: impl Fn() -> Map<String, Value> + Send + Sync + 'static) {
        self.varz
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(keys));
    }

    /// Everything in Prometheus' text form.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }

    pub(crate) fn varz_document(&self) -> Map<String, Value> {
        let varz = self.varz.lock().unwrap_or_else(PoisonError::into_inner);
        varz.iter().flat_map(|keys| keys()).collect()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
