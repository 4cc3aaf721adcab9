//! What monitoring keeps between two questions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::closed::Closed;
use super::endpoint::Endpoint;
use super::healthz::Health;
use super::human;
use super::process::Load;
use super::varz::{ClusterOptions, WebsocketOptions};
use crate::config::Config;
use crate::hub::Hub;
use crate::sublist::CacheStats;

/// The memory of monitoring. Nothing in it is touched per message.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) facts: Facts,
    pub(crate) closed: Closed,
    pub(crate) load: Load,
    /// Where routes are accepted.
    pub(crate) cluster_address: OnceLock<SocketAddr>,
    /// Turns in which a publisher was made to wait for a receiver.
    pub(crate) stalls: AtomicU64,
    /// Times a connection has gone to live with another worker.
    pub(crate) moves: AtomicU64,
    requests: [AtomicU64; Endpoint::ALL.len()],
    /// What the caches of each worker held when it last tidied up, by the index of the account.
    caches: Mutex<BTreeMap<usize, Vec<(usize, CacheStats)>>>,
    loaded: Mutex<SystemTime>,
    stage: AtomicU8,
}

/// What the configuration says and no reload changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) https: Option<SocketAddr>,
    /// What paths begin with: empty, or `/` and something.
    pub(crate) base_path: String,
    /// Seconds.
    pub(crate) tls_timeout: f64,
    pub(crate) cluster: ClusterOptions,
    pub(crate) websocket: WebsocketOptions,
}

/// Where in its life the broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    Starting,
    Serving,
    LameDuck,
    Stopping,
}

// === impl State ===

impl State {
    /// For a broker with this configuration, monitored at these addresses.
    pub(crate) fn new(
        config: &Config,
        http: Option<SocketAddr>,
        https: Option<SocketAddr>,
    ) -> Self {
        State {
            facts: Facts::new(config, http, https),
            closed: Closed::new(config.max_closed_clients),
            load: Load::default(),
            cluster_address: OnceLock::new(),
            stalls: AtomicU64::new(0),
            moves: AtomicU64::new(0),
            requests: std::array::from_fn(|_| AtomicU64::new(0)),
            caches: Mutex::default(),
            loaded: Mutex::new(SystemTime::now()),
            stage: AtomicU8::new(Stage::Starting as u8),
        }
    }

    /// The broker's life goes on.
    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
    }

    /// Whether it is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stage.load(Ordering::Acquire) == Stage::Stopping as u8
    }

    /// Whether clients should come.
    pub(crate) fn health(&self) -> Health {
        match self.stage.load(Ordering::Acquire) {
            stage if stage == Stage::Serving as u8 => Health::Ready,
            stage if stage == Stage::Starting as u8 => {
                Health::Unavailable("not yet ready for connections")
            }
            stage if stage == Stage::LameDuck as u8 => {
                Health::Unavailable("in lame duck mode: takes no new connections")
            }
            _ => Health::Unavailable("shutting down"),
        }
    }

    /// The configuration has been read again.
    pub(crate) fn reloaded(&self) {
        *self.loaded.lock() = SystemTime::now();
    }

    /// When the configuration was last read.
    pub(crate) fn loaded(&self) -> SystemTime {
        *self.loaded.lock()
    }

    /// Counts a question.
    pub(super) fn count(&self, endpoint: Endpoint) {
        self.requests[endpoint as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often each endpoint was asked, if it was.
    pub(super) fn requests(&self) -> BTreeMap<&'static str, u64> {
        Endpoint::ALL
            .iter()
            .map(|endpoint| {
                let count = self.requests[*endpoint as usize].load(Ordering::Relaxed);
                (endpoint.path(), count)
            })
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Takes a worker's word on its caches.
    pub(crate) fn report_caches(&self, worker: usize, caches: Vec<(usize, CacheStats)>) {
        self.caches.lock().insert(worker, caches);
    }

    /// What the caches of all workers hold, for one account or all together.
    pub(super) fn caches(&self, account: Option<usize>) -> CacheStats {
        let caches = self.caches.lock();
        caches
            .values()
            .flatten()
            .filter(|(index, _)| account.is_none_or(|wanted| wanted == *index))
            .fold(CacheStats::default(), |sum, (_, one)| CacheStats {
                entries: sum.entries + one.entries,
                fanout: sum.fanout + one.fanout,
                max_fanout: sum.max_fanout.max(one.max_fanout),
                misses: sum.misses + one.misses,
            })
    }
}

impl Facts {
    fn new(config: &Config, http: Option<SocketAddr>, https: Option<SocketAddr>) -> Self {
        let tls = config.tls.as_ref();
        let verifies = |tls: &crate::config::Tls| tls.verify || tls.verify_and_map;
        let cluster = config.cluster.as_ref().map(|cluster| ClusterOptions {
            host: cluster
                .listen
                .map(|at| at.ip().to_string())
                .unwrap_or_default(),
            port: cluster.listen.map_or(0, |at| at.port()),
            auth_timeout: cluster.authorization.timeout.as_secs_f64(),
            urls: cluster
                .routes
                .iter()
                .map(|route| format!("{}:{}", route.host, route.port))
                .collect(),
            tls_timeout: cluster
                .tls
                .as_ref()
                .map_or(2.0, |tls| tls.timeout.as_secs_f64()),
            tls_required: cluster.tls.is_some(),
            tls_verify: cluster.tls.as_ref().is_some_and(verifies),
            pool_size: -1,
            ..ClusterOptions::default()
        });
        let websocket = config.websocket.as_ref().map(|websocket| WebsocketOptions {
            host: websocket.listen.ip().to_string(),
            port: websocket.listen.port(),
            advertise: websocket.advertise.clone().unwrap_or_default(),
            no_auth_user: websocket.no_auth_user.clone().unwrap_or_default(),
            no_tls: websocket.no_tls,
            same_origin: websocket.same_origin,
            allowed_origins: websocket.allowed_origins.clone(),
            compression: websocket.compression,
            handshake_timeout: human::nanos(websocket.handshake_timeout),
            tls_cert_not_after: None,
        });
        Facts {
            http,
            https,
            base_path: base_path(&config.monitor_base_path),
            tls_timeout: tls.map_or(2.0, |tls| tls.timeout.as_secs_f64()),
            cluster: cluster.unwrap_or_default(),
            websocket: websocket.unwrap_or_default(),
        }
    }
}

impl Facts {
    /// The cluster with the port that routes have got, under the name it has now.
    pub(super) fn cluster(&self, hub: &Hub) -> ClusterOptions {
        let mut cluster = self.cluster.clone();
        if let Some(address) = hub.monitor.cluster_address.get() {
            cluster.port = address.port();
        }
        if let Some(node) = hub.cluster() {
            cluster.name = node.name().to_string();
        }
        cluster
    }

    /// The websocket listener with the port it has got.
    pub(super) fn websocket(&self, address: Option<&SocketAddr>) -> WebsocketOptions {
        let mut websocket = self.websocket.clone();
        if let Some(address) = address {
            websocket.port = address.port();
        }
        websocket
    }
}

/// A path as written by people, with one slash before each of its parts and none at the end.
fn base_path(written: &str) -> String {
    let parts = written.split('/').filter(|part| !part.is_empty());
    parts.flat_map(|part| ["/", part]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_paths_are_brought_into_one_form() {
        for (written, path) in [("", ""), ("/", ""), ("mon", "/mon"), ("/a//b/", "/a/b")] {
            assert_eq!(base_path(written), path, "{written}");
        }
    }

    #[test]
    fn life_goes_one_way() {
        let state = State::new(&Config::default(), None, None);
        assert_ne!(state.health(), Health::Ready);
        state.enter(Stage::Serving);
        assert_eq!(state.health(), Health::Ready);
        state.enter(Stage::LameDuck);
        state.enter(Stage::Serving);
        assert_eq!(state.health().code(), 503);
    }

    #[test]
    fn caches_are_summed_over_workers_and_replaced_by_their_later_word() {
        let state = State::new(&Config::default(), None, None);
        let one = |entries, max_fanout| CacheStats {
            entries,
            fanout: entries,
            max_fanout,
            misses: 1,
        };
        state.report_caches(0, vec![(0, one(100, 100))]);
        state.report_caches(0, vec![(0, one(1, 5)), (2, one(7, 1))]);
        state.report_caches(1, vec![(0, one(2, 3))]);
        assert_eq!(state.caches(Some(0)).entries, 3);
        assert_eq!(state.caches(Some(0)).max_fanout, 5);
        assert_eq!(
            (state.caches(None).entries, state.caches(None).misses),
            (10, 3)
        );
    }
}
