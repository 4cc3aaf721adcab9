//! The read side: host → pools, in shards that are swapped whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::{Moment, Pool, Route};

/// A write copies one shard: at 100 000 hosts that is 400 entries, some microseconds.
const SHARDS: usize = 256;
/// Longest host that is looked up; no route has a longer one.
const MAX_HOST_BYTES: usize = 255;

type Shard = HashMap<Arc<str>, Arc<HostEntry>>;

/// All routes, for reading without a lock. Only the holder of the book writes.
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[ArcSwap<Shard>]>,
    routes: AtomicUsize,
}

/// The pools of one host, the longest path first.
#[derive(Debug, Clone, Default)]
struct HostEntry {
    pools: Vec<Arc<Pool>>,
}

// === impl Table ===

impl Default for Table {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| ArcSwap::default()).collect(),
            routes: AtomicUsize::new(0),
        }
    }
}

impl Table {
    pub(super) fn lookup(&self, host: &str, path: &str) -> Option<Arc<Pool>> {
        if host.is_empty() || host.len() > MAX_HOST_BYTES {
            return None;
        }
        let mut buffer = [0_u8; MAX_HOST_BYTES];
        let host = lower_cased(host, &mut buffer);
        let mut empty = None;
        match self.in_host(host, path) {
            Some(pool) if !pool.is_empty() => return Some(pool),
            found => empty = empty.or(found),
        }
        // Wildcards: the left-most label gives way to `*`, then the next, and so on.
        let mut name = String::new();
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if parent.is_empty() {
                break;
            }
            name.clear();
            name.push_str("*.");
            name.push_str(parent);
            match self.in_host(&name, path) {
                Some(pool) if !pool.is_empty() => return Some(pool),
                found => empty = empty.or(found),
            }
            rest = parent;
        }
        empty
    }

    pub(super) fn routes(&self) -> usize {
        self.routes.load(Ordering::Relaxed)
    }

    pub(super) fn part(&self, number: usize) -> Option<Vec<Arc<Pool>>> {
        let shard = self.shards.get(number)?.load();
        Some(
            shard
                .values()
                .flat_map(|entry| entry.pools.iter().cloned())
                .collect(),
        )
    }

    /// The pool of `route`, made when there is none.
    pub(super) fn pool(&self, route: &Route) -> Arc<Pool> {
        let shard = self.shard(route.host());
        let present = shard.load();
        let entry = present.get(route.host());
        let known = entry.and_then(|e| e.pools.iter().find(|pool| pool.route().same_key(route)));
        if let Some(pool) = known {
            return Arc::clone(pool);
        }
        let pool = Arc::new(Pool::new(route.clone(), usize::from(rand::random::<u16>())));
        let mut entry = entry.map(|e| HostEntry::clone(e)).unwrap_or_default();
        entry.pools.push(Arc::clone(&pool));
        entry
            .pools
            .sort_by_key(|pool| std::cmp::Reverse(pool.route().path().len()));
        entry.pools.shrink_to_fit();
        let mut next = Shard::clone(&present);
        next.insert(Arc::from(route.host()), Arc::new(entry));
        shard.store(Arc::new(next));
        self.routes.fetch_add(1, Ordering::Relaxed);
        pool
    }

    /// Takes `gone` out.
    pub(super) fn remove(&self, gone: &Arc<Pool>) {
        let host = gone.route().host();
        let shard = self.shard(host);
        let present = shard.load();
        let Some(entry) = present.get(host) else {
            return;
        };
        let pools: Vec<_> = entry
            .pools
            .iter()
            .filter(|p| !Arc::ptr_eq(p, gone))
            .cloned()
            .collect();
        if pools.len() == entry.pools.len() {
            return;
        }
        let mut next = Shard::clone(&present);
        if pools.is_empty() {
            next.remove(host);
        } else {
            next.insert(Arc::from(host), Arc::new(HostEntry { pools }));
        }
        shard.store(Arc::new(next));
        self.routes.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes out the pools that have been empty for `keep` or longer.
    pub(super) fn forget_empty(&self, keep: Duration, now: Moment) {
        let expired = |pool: &Arc<Pool>| pool.empty_for(now).is_some_and(|empty| empty >= keep);
        for number in 0..self.shards.len() {
            for pool in self.part(number).into_iter().flatten().filter(expired) {
                self.remove(&pool);
            }
        }
    }

    /// The pool of exactly this lower-case host.
    fn in_host(&self, host: &str, path: &str) -> Option<Arc<Pool>> {
        let shard = self.shard(host).load();
        let entry = shard.get(host)?;
        let covering = || entry.pools.iter().filter(|pool| pool.route().covers(path));
        covering()
            .find(|pool| !pool.is_empty())
            .or_else(|| covering().next())
            .cloned()
    }

    fn shard(&self, host: &str) -> &ArcSwap<Shard> {
        // FNV-1a spreads names well enough over shards; inside one, the map hashes with a secret.
        let hash = host.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let number = usize::try_from((hash ^ (hash >> 32)) & (SHARDS as u64 - 1)).unwrap_or(0);
        &self.shards[number]
    }
}

/// `host` in lower case, copied only when it has to be.
fn lower_cased<'a>(host: &'a str, buffer: &'a mut [u8; MAX_HOST_BYTES]) -> &'a str {
    if !host.bytes().any(|b| b.is_ascii_uppercase()) {
        return host;
    }
    let Some(copy) = buffer.get_mut(..host.len()) else {
        return host;
    };
    copy.copy_from_slice(host.as_bytes());
    copy.make_ascii_lowercase();
    std::str::from_utf8(copy).unwrap_or(host)
}
