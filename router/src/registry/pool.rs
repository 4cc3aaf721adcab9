//! The endpoints of one route, and whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::{Endpoint, Moment, Route};

/// The endpoints of one route. Readers take a snapshot; only the registry replaces it.
#[derive(Debug)]
pub struct Pool {
    route: Route,
    members: ArcSwap<Vec<Arc<Member>>>,
    /// Whose turn it is. One counter for all cores, so that a few requests reach every endpoint.
    cursor: AtomicUsize,
    /// A service that must see each request first. The last registration decides.
    route_service: ArcSwapOption<String>,
    /// When the last endpoint left; meaningful while there is none.
    emptied: AtomicU64,
}

/// An endpoint's place in a pool: each route of an endpoint ages by itself.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    refreshed: AtomicU64,
    /// How long it stays without a refresh.
    lifetime: Duration,
}

/// Which endpoint a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// Whichever is next.
    Any,
    /// This instance if it can, else whichever is next.
    Preferred(&'a str),
    /// Exactly this copy of this app.
    Exactly {
        /// The app's guid.
        app: &'a str,
        /// The instance index, as text.
        index: &'a str,
    },
}

/// Why a pool gave no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none at all.
    #[error("no endpoints")]
    Empty,
    /// Each has been tried for this request.
    #[error("every endpoint has been tried")]
    Exhausted,
    /// Each has as many requests as it may have.
    #[error("every endpoint is at its connection limit")]
    Overloaded,
    /// The copy that was asked for is not among them.
    #[error("no such instance")]
    NoSuchInstance,
}

/// An endpoint chosen for one request. It counts as busy until this is dropped.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(route: Route, start: usize) -> Self {
        Self {
            route,
            members: ArcSwap::default(),
            cursor: AtomicUsize::new(start),
            route_service: ArcSwapOption::empty(),
            emptied: AtomicU64::new(0),
        }
    }

    /// The key under which it is found.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Whether it has no endpoint.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.load().is_empty()
    }

    /// Whether a route service must see each request first.
    #[must_use]
    pub fn has_route_service(&self) -> bool {
        self.route_service.load().is_some()
    }

    /// The endpoints, each with the time since its last refresh and its lifetime.
    #[must_use]
    pub fn snapshot(&self, now: Moment) -> Vec<(Arc<Endpoint>, Duration, Duration)> {
        let members = self.members.load();
        let row = |m: &Arc<Member>| (Arc::clone(&m.endpoint), m.age(now), m.lifetime);
        members.iter().map(row).collect()
    }

    /// Chooses an endpoint that is not among `tried`, passing over those that sit out after a
    /// failure as long as there is another. `limit` is how many requests one may have, 0 for any.
    ///
    /// # Errors
    /// Says why there is none.
    pub fn choose(
        &self,
        wanted: Wanted<'_>,
        tried: &[u64],
        limit: u32,
        now: Moment,
    ) -> Result<Lease, Refusal> {
        let members = self.members.load();
        if members.is_empty() {
            return Err(Refusal::Empty);
        }
        match wanted {
            Wanted::Exactly { app, index } => return exactly(&members, app, index, tried, limit),
            Wanted::Preferred(instance) => {
                let preferred = members
                    .iter()
                    .find(|m| *m.endpoint.identity.instance == *instance);
                if let Some(member) = preferred.filter(|m| m.is_open(tried, now))
                    && let Some(lease) = member.lease(limit)
                {
                    return Ok(lease);
                }
            }
            Wanted::Any => {}
        }
        self.next_in_turn(&members, tried, limit, now)
    }

    fn next_in_turn(
        &self,
        members: &[Arc<Member>],
        tried: &[u64],
        limit: u32,
        now: Moment,
    ) -> Result<Lease, Refusal> {
        let start = self.cursor.fetch_add(1, Ordering::Relaxed) % members.len();
        let in_turn = || members[start..].iter().chain(&members[..start]);
        let mut overloaded = false;
        for member in in_turn().filter(|m| m.is_open(tried, now)) {
            match member.lease(limit) {
                Some(lease) => return Ok(lease),
                None => overloaded = true,
            }
        }
        // Marks are advice: when nobody else is left, forgive them all rather than refuse.
        if in_turn().any(|m| !m.was_tried(tried) && m.endpoint.standing.failed(now)) {
            for member in members {
                member.endpoint.standing.clear_mark();
            }
            for member in in_turn().filter(|m| m.is_open(tried, now)) {
                match member.lease(limit) {
                    Some(lease) => return Ok(lease),
                    None => overloaded = true,
                }
            }
        }
        Err(if overloaded {
            Refusal::Overloaded
        } else {
            Refusal::Exhausted
        })
    }

    pub(super) fn set_route_service(&self, url: Option<&str>) {
        if self.route_service.load().as_deref().map(String::as_str) != url {
            self.route_service
                .store(url.map(|url| Arc::new(url.to_owned())));
        }
    }

    pub(super) fn add(&self, member: Arc<Member>) {
        let mut members = Vec::clone(&self.members.load());
        members.push(member);
        members.shrink_to_fit();
        self.members.store(Arc::new(members));
    }

    /// Puts `new` in the place of `old`, keeping the order.
    pub(super) fn replace(&self, old: &Arc<Member>, new: &Arc<Member>) {
        let mut members = Vec::clone(&self.members.load());
        for member in &mut members {
            if Arc::ptr_eq(member, old) {
                *member = Arc::clone(new);
            }
        }
        self.members.store(Arc::new(members));
    }

    /// Takes `gone` out; says whether the pool is empty then.
    pub(super) fn remove(&self, gone: &Arc<Member>, now: Moment) -> bool {
        let mut members = Vec::clone(&self.members.load());
        members.retain(|member| !Arc::ptr_eq(member, gone));
        let empty = members.is_empty();
        if empty {
            self.emptied.store(now.as_millis(), Ordering::Relaxed);
        }
        self.members.store(Arc::new(members));
        empty
    }

    /// How long it has been without an endpoint.
    pub(super) fn empty_for(&self, now: Moment) -> Option<Duration> {
        self.is_empty()
            .then(|| now.since(Moment::from_millis(self.emptied.load(Ordering::Relaxed))))
    }
}

// === impl Member ===

impl Member {
    pub(super) fn new(endpoint: Arc<Endpoint>, lifetime: Duration, now: Moment) -> Self {
        Self {
            endpoint,
            refreshed: AtomicU64::new(now.as_millis()),
            lifetime,
        }
    }

    /// The same place for a newer description of its endpoint.
    pub(super) fn renewed(&self, endpoint: &Arc<Endpoint>) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            refreshed: AtomicU64::new(self.refreshed.load(Ordering::Relaxed)),
            lifetime: self.lifetime,
        }
    }

    pub(super) fn refresh(&self, now: Moment) {
        self.refreshed.store(now.as_millis(), Ordering::Relaxed);
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(super) fn age(&self, now: Moment) -> Duration {
        now.since(Moment::from_millis(self.refreshed.load(Ordering::Relaxed)))
    }

    fn was_tried(&self, tried: &[u64]) -> bool {
        tried.contains(&self.endpoint.standing.id())
    }

    /// Whether it may be offered without forgiving anything.
    fn is_open(&self, tried: &[u64], now: Moment) -> bool {
        let standing = &self.endpoint.standing;
        !standing.failed(now) && !standing.retired() && !self.was_tried(tried)
    }

    fn lease(&self, limit: u32) -> Option<Lease> {
        self.endpoint.standing.enter(limit).then(|| Lease {
            endpoint: Arc::clone(&self.endpoint),
        })
    }
}

// === impl Lease ===

impl Lease {
    /// The chosen endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.standing.leave();
    }
}

/// The copy `index` of `app`. While one is evacuated there may be two; a failed mark does not count,
/// for the client asked for this one and no other.
fn exactly(
    members: &[Arc<Member>],
    app: &str,
    index: &str,
    tried: &[u64],
    limit: u32,
) -> Result<Lease, Refusal> {
    let is_it = |m: &&Arc<Member>| *m.endpoint.identity.app == *app && *m.endpoint.index == *index;
    let mut refusal = Refusal::NoSuchInstance;
    for member in members.iter().filter(is_it) {
        if member.was_tried(tried) {
            refusal = Refusal::Exhausted;
            continue;
        }
        match member.lease(limit) {
            Some(lease) => return Ok(lease),
            None => refusal = Refusal::Overloaded,
        }
    }
    Err(refusal)
}
