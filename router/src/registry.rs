//! Which endpoints answer for which route.
//!
//! Readers are the cores: a lookup is one atomic load of a shard, a hash, and one atomic load of the
//! pool's members; it takes no lock. The writer is the control plane, alone behind a mutex: it keeps a
//! book by address, so that a refresh of what is known (nearly every message) only stores a time, and
//! so that an address that turns up under another identity loses the old one from all its routes at
//! once.
//!
//! ```text
//!   host ─▶ shard (swapped) ─▶ HostEntry: pools by path, longest first
//!                                 pool: members (swapped) ─▶ endpoint ─▶ standing (shared by address)
//! ```

mod book;
mod endpoint;
mod moment;
mod pool;
mod route;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cupola_messages::router::Registration;
use parking_lot::Mutex;

pub use endpoint::{Address, Endpoint, Identity, Standing};
pub use moment::{Clock, Moment};
pub use pool::{Lease, Pool, Refusal, Wanted};
pub use route::{Route, RouteError};

use book::Book;
use table::Table;

/// How long routes live.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// How long an endpoint stays without a refresh.
    pub stale_after: Duration,
    /// How long a route without endpoints is still known, answered as "no endpoints"; zero forgets
    /// it at once.
    pub keep_empty: Duration,
}

/// What a registration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Registered {
    /// Routes that got a new endpoint by it.
    pub added: usize,
    /// Routes whose endpoint was refreshed.
    pub refreshed: usize,
    /// Uris in it that cannot be routes.
    pub malformed: usize,
    /// Whether the address belonged to another identity before, which was removed everywhere.
    pub evicted: bool,
}

/// A message that cannot be obeyed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegistryError {
    /// There is no dialling that.
    #[error("endpoint address {host:?} port {port} cannot be dialled")]
    Address {
        /// The host as it came.
        host: String,
        /// The port as it came.
        port: u16,
    },
    /// A route service in clear would let requests be read.
    #[error("route service url {0:?} is not https")]
    RouteService(String),
}

/// The routes of this router.
#[derive(Debug)]
pub struct Registry {
    table: Table,
    book: Mutex<Book>,
    lifetimes: Lifetimes,
    changed_at: AtomicU64,
    grown_at: AtomicU64,
}

// === impl Registry ===

impl Registry {
    /// One without routes.
    #[must_use]
    pub fn new(lifetimes: Lifetimes) -> Self {
        Self {
            table: Table::default(),
            book: Mutex::new(Book::default()),
            lifetimes,
            changed_at: AtomicU64::new(0),
            grown_at: AtomicU64::new(0),
        }
    }

    /// Obeys `router.register`.
    ///
    /// # Errors
    /// When the message as a whole is refused; a malformed uri in it is only counted.
    pub fn register(
        &self,
        registration: &Registration,
        now: Moment,
    ) -> Result<Registered, RegistryError> {
        let address = address_of(registration)?;
        if let Some(url) = registration
            .route_service_url
            .as_deref()
            .filter(|url| !url.is_empty())
            && !url.starts_with("https")
        {
            return Err(RegistryError::RouteService(url.chars().take(100).collect()));
        }
        let lifetime = self.lifetime(registration);
        let done = self
            .book
            .lock()
            .register(&self.table, address, registration, lifetime, now);
        self.changed_at.store(now.as_millis(), Ordering::Relaxed);
        if done.added > 0 {
            self.grown_at.store(now.as_millis(), Ordering::Relaxed);
        }
        Ok(done)
    }

    /// Obeys `router.unregister`; says how many routes lost the endpoint. A message of another
    /// identity than the present one removes nothing: it is late.
    ///
    /// # Errors
    /// When the message has no usable address.
    pub fn unregister(
        &self,
        registration: &Registration,
        now: Moment,
    ) -> Result<usize, RegistryError> {
        let address = address_of(registration)?;
        let keep_empty = !self.lifetimes.keep_empty.is_zero();
        let removed =
            self.book
                .lock()
                .unregister(&self.table, &address, registration, keep_empty, now);
        self.changed_at.store(now.as_millis(), Ordering::Relaxed);
        Ok(removed)
    }

    /// Drops what has not been refreshed within its lifetime; says how many places were lost.
    pub fn prune(&self, now: Moment) -> usize {
        let mut book = self.book.lock();
        let pruned = book.prune(&self.table, !self.lifetimes.keep_empty.is_zero(), now);
        self.table.forget_empty(self.lifetimes.keep_empty, now);
        pruned
    }

    /// Takes everything as refreshed now: after the bus was away, silence proves nothing.
    pub fn refresh_all(&self, now: Moment) {
        self.book.lock().refresh_all(now);
    }

    /// The pool for a request: the exact host, then ever wider wildcards; in each, the longest path
    /// that has endpoints. When all on the way are empty, the most exact empty one, so that "no
    /// endpoints" can be told from "no such route". `host` is in any case, `path` as it came.
    #[must_use]
    pub fn lookup(&self, host: &str, path: &str) -> Option<Arc<Pool>> {
        self.table.lookup(host, path)
    }

    /// How many routes there are.
    #[must_use]
    pub fn routes(&self) -> usize {
        self.table.routes()
    }

    /// How many addresses there are.
    #[must_use]
    pub fn endpoints(&self) -> usize {
        self.book.lock().len()
    }

    /// When the last message was obeyed.
    #[must_use]
    pub fn changed_at(&self) -> Moment {
        Moment::from_millis(self.changed_at.load(Ordering::Relaxed))
    }

    /// When an endpoint was last added to a route.
    #[must_use]
    pub fn grown_at(&self) -> Moment {
        Moment::from_millis(self.grown_at.load(Ordering::Relaxed))
    }

    /// All pools of one part of the table; `None` beyond the last part. A table of any size can be
    /// walked this way without holding anything up.
    #[must_use]
    pub fn part(&self, number: usize) -> Option<Vec<Arc<Pool>>> {
        self.table.part(number)
    }

    fn lifetime(&self, registration: &Registration) -> Duration {
        let own = registration
            .stale_threshold_in_seconds
            .map(u64::from)
            .map(Duration::from_secs);
        match own {
            Some(own) if !own.is_zero() => own.min(self.lifetimes.stale_after),
            _ => self.lifetimes.stale_after,
        }
    }
}

fn address_of(registration: &Registration) -> Result<Address, RegistryError> {
    Address::new(&registration.host, registration.port).ok_or_else(|| RegistryError::Address {
        host: registration.host.chars().take(100).collect(),
        port: registration.port,
    })
}

#[cfg(test)]
mod tests;
