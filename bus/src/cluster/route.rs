//! A route, as others see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::info::{Gossip, RouteInfo};
use crate::client::{Client, signal};
use crate::outbound::ChunkPool;
use crate::protocol::frame;

/// A connection to another server.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) client: Arc<Client>,
    /// Whether this server has dialled it.
    pub(crate) dialled: bool,
    /// Whether it is one of the configured ones.
    pub(crate) configured: AtomicBool,
    /// How news of it travel, as far as this server was told when it heard of the peer.
    pub(crate) gossip: Gossip,
    /// Turns in which something came from it.
    heard: AtomicU64,
    /// PINGs sent, and PONGs that came.
    asked: AtomicU64,
    answered: AtomicU64,
    /// The last round trip, in microseconds; 0 before the first.
    rtt: AtomicU64,
    /// What the peer has said of itself.
    info: Mutex<Option<Arc<RouteInfo>>>,
}

// === impl Route ===

impl Route {
    pub(crate) fn new(
        client: Arc<Client>,
        dialled: bool,
        configured: bool,
        gossip: Gossip,
    ) -> Self {
        Route {
            client,
            dialled,
            configured: AtomicBool::new(configured),
            gossip,
            heard: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            rtt: AtomicU64::new(0),
            info: Mutex::new(None),
        }
    }

    /// Whether it is one of the configured ones.
    pub(crate) fn is_configured(&self) -> bool {
        self.configured.load(Ordering::Relaxed)
    }

    /// The number of its connection.
    pub(crate) fn id(&self) -> u64 {
        self.client.id
    }

    pub(crate) fn info(&self) -> Option<Arc<RouteInfo>> {
        self.info.lock().clone()
    }

    pub(crate) fn set_info(&self, info: RouteInfo) -> Arc<RouteInfo> {
        let info = Arc::new(info);
        *self.info.lock() = Some(Arc::clone(&info));
        info
    }

    /// Notes that something has come.
    pub(crate) fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Grows with everything that comes.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Sends a PING, from whatever thread; gives what [`Route::answered`] is to reach for its answer.
    pub(crate) fn ask(&self) -> u64 {
        self.note_asked();
        self.say(frame::PING);
        // With those that others send meanwhile: then this one is answered in any case.
        self.asked.load(Ordering::Acquire)
    }

    /// Notes that a PING is being sent.
    pub(crate) fn note_asked(&self) {
        self.asked.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes a PONG; everything before it has been handled.
    pub(crate) fn note_answered(&self) {
        self.answered.fetch_add(1, Ordering::AcqRel);
    }

    /// PONGs that came.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Acquire)
    }

    /// Whether a PING is still unanswered.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.answered() < self.asked.load(Ordering::Acquire)
    }

    /// The last round trip.
    pub(crate) fn rtt(&self) -> Duration {
        Duration::from_micros(self.rtt.load(Ordering::Relaxed))
    }

    pub(crate) fn set_rtt(&self, rtt: Duration) {
        let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        self.rtt.store(micros.max(1), Ordering::Relaxed);
    }

    /// Sends a frame, from whatever thread.
    pub(crate) fn say(&self, frame: &[u8]) {
        self.client.send(frame, &mut ChunkPool::default());
        self.client.raise(signal::FLUSH);
    }
}
