//! The write side: which address sits in which pools.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use cupola_messages::router::Registration;

use super::endpoint::Standing;
use super::pool::Member;
use super::table::Table;
use super::{Address, Endpoint, Identity, Moment, Pool, Registered, Route};

/// Every address with its places.
#[derive(Debug, Default)]
pub(super) struct Book {
    addresses: HashMap<Address, Record>,
    last_id: u64,
}

/// What is known about one address.
#[derive(Debug)]
struct Record {
    endpoint: Arc<Endpoint>,
    seats: Vec<Seat>,
}

/// A place in a pool.
#[derive(Debug)]
struct Seat {
    pool: Arc<Pool>,
    member: Arc<Member>,
}

// === impl Book ===

impl Book {
    pub(super) fn len(&self) -> usize {
        self.addresses.len()
    }

    pub(super) fn register(
        &mut self,
        table: &Table,
        address: Address,
        registration: &Registration,
        lifetime: Duration,
        now: Moment,
    ) -> Registered {
        let mut done = Registered::default();
        let mut routes = Vec::with_capacity(registration.uris.len());
        for uri in &registration.uris {
            match Route::parse(uri) {
                Ok(route) => routes.push(route),
                Err(_) => done.malformed += 1,
            }
        }
        let identity = Identity::of(registration);
        let other_tenant = self
            .addresses
            .get(&address)
            .is_some_and(|r| r.endpoint.identity != identity);
        if other_tenant && let Some(record) = self.addresses.remove(&address) {
            // Before the newcomer is seated, so that at no time both are to be had.
            record.close(table, now);
            done.evicted = true;
        }
        if routes.is_empty() {
            return done;
        }
        let record = match self.addresses.entry(address) {
            Entry::Occupied(known) => {
                let record = known.into_mut();
                record.describe(registration);
                record
            }
            Entry::Vacant(place) => {
                self.last_id += 1;
                let standing = Arc::new(Standing::new(self.last_id));
                let address = place.key().clone();
                let endpoint = Endpoint::new(address, identity, registration, standing);
                place.insert(Record {
                    endpoint: Arc::new(endpoint),
                    seats: Vec::new(),
                })
            }
        };
        for route in &routes {
            let pool = record.sit(table, route, lifetime, now, &mut done);
            pool.set_route_service(
                registration
                    .route_service_url
                    .as_deref()
                    .filter(|url| !url.is_empty()),
            );
        }
        done
    }

    pub(super) fn unregister(
        &mut self,
        table: &Table,
        address: &Address,
        registration: &Registration,
        keep_empty: bool,
        now: Moment,
    ) -> usize {
        let Some(record) = self.addresses.get_mut(address) else {
            return 0;
        };
        if !Identity::of(registration).may_remove(&record.endpoint.identity) {
            return 0;
        }
        let routes: Vec<_> = registration
            .uris
            .iter()
            .filter_map(|uri| Route::parse(uri).ok())
            .collect();
        let named = |seat: &Seat| routes.iter().any(|route| seat.pool.route().same_key(route));
        let removed = record.vacate(table, keep_empty, now, named);
        if record.seats.is_empty() {
            record.endpoint.standing.retire();
            self.addresses.remove(address);
        }
        removed
    }

    pub(super) fn prune(&mut self, table: &Table, keep_empty: bool, now: Moment) -> usize {
        let mut pruned = 0;
        self.addresses.retain(|_, record| {
            let stale = |seat: &Seat| seat.member.age(now) > seat.member.lifetime();
            pruned += record.vacate(table, keep_empty, now, stale);
            if record.seats.is_empty() {
                record.endpoint.standing.retire();
            }
            !record.seats.is_empty()
        });
        pruned
    }

    pub(super) fn refresh_all(&mut self, now: Moment) {
        for seat in self.addresses.values().flat_map(|record| &record.seats) {
            seat.member.refresh(now);
        }
    }
}

// === impl Record ===

impl Record {
    /// Takes over changed attributes, in all its pools.
    fn describe(&mut self, registration: &Registration) {
        if self.endpoint.is_described_by(registration) {
            return;
        }
        self.endpoint = Arc::new(Endpoint::new(
            self.endpoint.address.clone(),
            self.endpoint.identity.clone(),
            registration,
            Arc::clone(&self.endpoint.standing),
        ));
        for seat in &mut self.seats {
            seat.reseat(Arc::new(seat.member.renewed(&self.endpoint)));
        }
    }

    /// Takes a place in the pool of `route`, or refreshes the one it has there.
    fn sit(
        &mut self,
        table: &Table,
        route: &Route,
        lifetime: Duration,
        now: Moment,
        done: &mut Registered,
    ) -> Arc<Pool> {
        if let Some(seat) = self
            .seats
            .iter_mut()
            .find(|s| s.pool.route().same_key(route))
        {
            done.refreshed += 1;
            if seat.member.lifetime() == lifetime {
                seat.member.refresh(now);
            } else {
                seat.reseat(Arc::new(Member::new(
                    Arc::clone(&self.endpoint),
                    lifetime,
                    now,
                )));
            }
            return Arc::clone(&seat.pool);
        }
        done.added += 1;
        let pool = table.pool(route);
        let member = Arc::new(Member::new(Arc::clone(&self.endpoint), lifetime, now));
        pool.add(Arc::clone(&member));
        self.seats.push(Seat {
            pool: Arc::clone(&pool),
            member,
        });
        self.seats.shrink_to_fit();
        pool
    }

    /// Leaves the places that `leaves` names; says how many.
    fn vacate(
        &mut self,
        table: &Table,
        keep_empty: bool,
        now: Moment,
        leaves: impl Fn(&Seat) -> bool,
    ) -> usize {
        let before = self.seats.len();
        self.seats.retain(|seat| {
            let leaves = leaves(seat);
            if leaves {
                seat.leave(table, keep_empty, now);
            }
            !leaves
        });
        before - self.seats.len()
    }

    /// The address belongs to someone else now.
    fn close(mut self, table: &Table, now: Moment) {
        self.endpoint.standing.retire();
        // Even where empty routes are kept: this one lost its endpoint without a word from its owner.
        self.vacate(table, false, now, |_| true);
    }
}

// === impl Seat ===

impl Seat {
    fn reseat(&mut self, member: Arc<Member>) {
        self.pool.replace(&self.member, &member);
        self.member = member;
    }

    fn leave(&self, table: &Table, keep_empty: bool, now: Moment) {
        if self.pool.remove(&self.member, now) && !keep_empty {
            table.remove(&self.pool);
        }
    }
}
