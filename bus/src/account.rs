//! Subject spaces: what is published in one account is heard in that account.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};

use crate::exchange::{Exchange, Responses};
use crate::hash::Seed;
use crate::hub::Traffic;
use crate::memory::Memory;
use crate::sublist::Sublist;
use crate::subscription::Subscription;

/// The account of clients that belong to no other.
pub(crate) const GLOBAL: &str = "$G";
/// The account in which the server speaks of itself, unless the configuration names another.
pub(crate) const SYSTEM: &str = "$SYS";

/// One subject space.
pub(crate) struct Account {
    pub(crate) name: Arc<str>,
    /// Dense, and never used again for another account: picks each worker's match cache.
    pub(crate) index: usize,
    pub(crate) list: Sublist<Subscription>,
    /// For the tables of sids; the same in all accounts, so that a connection can change over.
    pub(crate) seed: Seed,
    /// What it takes from others; replaced as a whole.
    exchange: RwLock<Arc<Exchange>>,
    /// What of its services others have asked and is not answered yet; made with the first request.
    responses: OnceLock<Arc<Responses>>,
    /// Connections that belong to it here.
    connections: AtomicUsize,
    /// And at the other servers of the cluster: all together, and by the id of the server.
    elsewhere: AtomicUsize,
    by_server: Mutex<HashMap<Box<str>, usize>>,
    watch: Watch,
    memory: Arc<Memory>,
    /// What its clients did that are gone, and how many of them were cut off for being slow.
    pub(crate) past: Mutex<Traffic>,
    pub(crate) slow_consumers: AtomicU64,
    pub(crate) created: SystemTime,
}

/// Set once, when there is somebody.
type Watch = Arc<OnceLock<Arc<dyn InterestWatch>>>;

/// Somebody who is told of each subscription that comes or goes, in any account: the other servers of
/// a cluster send only what is wanted here.
pub(crate) trait InterestWatch: Send + Sync {
    /// `sub` is in the account's list from now on.
    fn added(&self, account: &Account, sub: &Arc<Subscription>);
    /// `sub` is in it no longer.
    fn removed(&self, account: &Account, sub: &Arc<Subscription>);
}

/// All accounts of a broker, by name.
pub(crate) struct Accounts {
    by_name: RwLock<HashMap<Arc<str>, Arc<Account>>>,
    global: Arc<Account>,
    system: RwLock<Option<Arc<Account>>>,
    seed: Seed,
    watch: Watch,
    memory: Arc<Memory>,
    created: AtomicUsize,
}

// === impl Account ===

impl Account {
    fn new(name: &str, index: usize, seed: Seed, watch: Watch, memory: &Arc<Memory>) -> Self {
        Account {
            name: name.into(),
            index,
            list: Sublist::new(),
            seed,
            exchange: RwLock::default(),
            responses: OnceLock::new(),
            connections: AtomicUsize::new(0),
            elsewhere: AtomicUsize::new(0),
            by_server: Mutex::default(),
            watch,
            memory: Arc::clone(memory),
            past: Mutex::default(),
            slow_consumers: AtomicU64::new(0),
            created: SystemTime::now(),
        }
    }

    /// What it takes from others, and its limits.
    pub(crate) fn exchange(&self) -> Arc<Exchange> {
        Arc::clone(&self.exchange.read())
    }

    /// Puts another exchange into force; returns the one before.
    pub(crate) fn replace_exchange(&self, exchange: Arc<Exchange>) -> Arc<Exchange> {
        std::mem::replace(&mut *self.exchange.write(), exchange)
    }

    /// Its open requests, if it has ever been asked.
    pub(crate) fn responses(&self) -> Option<&Arc<Responses>> {
        self.responses.get()
    }

    /// Its open requests; `list` is called with them when they are made.
    pub(crate) fn responses_or(&self, list: impl FnOnce(&Arc<Responses>)) -> &Arc<Responses> {
        self.responses.get_or_init(|| {
            let responses = Arc::new(Responses::new());
            list(&responses);
            responses
        })
    }

    /// What people call it: by the name in its JWT, where it has one.
    pub(crate) fn label(&self) -> Arc<str> {
        match &self.exchange().token {
            Some(token) => token.name().into(),
            None => Arc::clone(&self.name),
        }
    }

    /// Counts a connection in; `false`, and nothing counted, when it has as many as it may in the cluster.
    pub(crate) fn connect(&self, max: Option<u32>) -> bool {
        let here = self.connections.fetch_add(1, Ordering::AcqRel);
        let before = here + self.elsewhere.load(Ordering::Relaxed);
        let full = max.is_some_and(|max| usize::try_from(max).is_ok_and(|max| before >= max));
        if full {
            self.disconnect();
        }
        !full
    }

    /// Counts a connection out.
    pub(crate) fn disconnect(&self) {
        self.connections.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many connections belong to it here.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// How many belong to it in the cluster, as far as the others have told.
    pub(crate) fn connections_everywhere(&self) -> usize {
        self.connections() + self.elsewhere.load(Ordering::Relaxed)
    }

    /// Another server has told how many belong to it there; none when that has gone.
    pub(crate) fn set_elsewhere(&self, server: &str, connections: usize) {
        let mut by_server = self.by_server.lock();
        if connections == 0 {
            by_server.remove(server);
        } else {
            by_server.insert(server.into(), connections);
        }
        let sum = by_server
            .values()
            .fold(0, |sum: usize, one| sum.saturating_add(*one));
        self.elsewhere.store(sum, Ordering::Relaxed);
    }

    /// Lists a subscription, and tells who watches.
    pub(crate) fn insert(&self, sub: &Arc<Subscription>) {
        self.list.insert(sub);
        self.memory.listed(sub);
        if let Some(watch) = self.watch.get() {
            watch.added(self, sub);
        }
    }

    /// Takes a subscription off the list, and tells who watches; `false` when it was not there.
    pub(crate) fn remove(&self, sub: &Arc<Subscription>) -> bool {
        let removed = self.list.remove(sub);
        if removed {
            self.memory.unlisted(sub);
            if let Some(watch) = self.watch.get() {
                watch.removed(self, sub);
            }
        }
        removed
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

// === impl Accounts ===

impl Accounts {
    /// The two that every broker has.
    pub(crate) fn new(memory: &Arc<Memory>) -> Self {
        let watch = Watch::default();
        let seed = Seed::random();
        let account = |name, index| Account::new(name, index, seed, Arc::clone(&watch), memory);
        let (global, system) = (Arc::new(account(GLOBAL, 0)), Arc::new(account(SYSTEM, 1)));
        let by_name = [&global, &system]
            .map(|account| (Arc::clone(&account.name), Arc::clone(account)))
            .into();
        Accounts {
            by_name: RwLock::new(by_name),
            global,
            system: RwLock::new(Some(system)),
            seed,
            watch,
            memory: Arc::clone(memory),
            created: AtomicUsize::new(2),
        }
    }

    /// `$G`.
    pub(crate) fn global(&self) -> &Arc<Account> {
        &self.global
    }

    /// The one in which the server speaks of itself, if it does.
    pub(crate) fn system(&self) -> Option<Arc<Account>> {
        self.system.read().clone()
    }

    /// Makes another account the system's, or none. The usual one is then not there, unless it is
    /// configured for something else.
    pub(crate) fn set_system(&self, account: Option<Arc<Account>>) {
        let name = account.as_ref().map(|account| Arc::clone(&account.name));
        let old = std::mem::replace(&mut *self.system.write(), account);
        if let Some(old) = old
            && *old.name == *SYSTEM
            && name.as_deref() != Some(SYSTEM)
        {
            self.by_name.write().remove(&*old.name);
        }
    }

    /// An account that is known.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Account>> {
        self.by_name.read().get(name).cloned()
    }

    /// An account, made when it is not known.
    pub(crate) fn get_or_create(&self, name: &str) -> Arc<Account> {
        if let Some(known) = self.get(name) {
            return known;
        }
        let mut by_name = self.by_name.write();
        if let Some(known) = by_name.get(name) {
            return Arc::clone(known);
        }
        let index = self.created.fetch_add(1, Ordering::Relaxed);
        let account = Arc::new(Account::new(
            name,
            index,
            self.seed,
            Arc::clone(&self.watch),
            &self.memory,
        ));
        by_name.insert(Arc::clone(&account.name), Arc::clone(&account));
        account
    }

    /// All of them, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Account>> {
        self.by_name.read().values().cloned().collect()
    }

    /// Tells `watch` of all changes from now on. There is one for the life of a broker.
    pub(crate) fn watch(&self, watch: Arc<dyn InterestWatch>) {
        let _ = self.watch.set(watch);
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}
