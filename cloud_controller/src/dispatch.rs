//! Getting decisions carried out: who has room, who is told what, and what became of it.
//!
//! ```text
//!   action ── row + order, one transaction ──► orders ──► worker, one per app at a time
//!                                                            │ start: pick a DEA, ask it, next if refused
//!   dea.advertise ──► DEA pool (what has room) ◄─────────────┤ stage: pick a stager, ask it
//!   staging.advertise ──► stager pool                        │ stop, routes: tell all
//!   hm9000.start/stop ──► checked against the row ──► order ─┘
//! ```
//!
//! The row is the truth. An order is removed only when it was carried out or is pointless by now, so
//! that a controller that dies in between carries it out after its restart.

mod build;
mod listen;
pub(crate) mod placement;
pub(crate) mod pool;
mod proposals;
mod start;
mod watch;
mod work;

use std::collections::{BTreeSet, HashMap, HashSet};

use cupola_types::{AppVersion, InstanceIndex};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use build::{app_description, blob_path};
pub(crate) use listen::listen;
pub(crate) use watch::{fail_staging, watch};
pub(crate) use work::work;

use crate::model::order::{Order, OrderRow};
use pool::{DeaPool, StagerPool};

/// What the controller knows of those it gives orders to.
#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    nudged: Notify,
    deas: Mutex<DeaPool>,
    stagers: Mutex<StagerPool>,
    /// A DEA or stager was heard of that may have the room somebody waits for.
    arrived: Notify,
    /// Apps whose orders are being carried out.
    busy: Mutex<HashSet<String>>,
    /// Start orders that are being carried out, by row: the indices that no DEA has taken yet.
    placing: Mutex<HashMap<i64, BTreeSet<InstanceIndex>>>,
}

// === impl Dispatcher ===

impl Dispatcher {
    /// There are new orders.
    pub(crate) fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// Whether an order is still going to start this instance. Once a DEA has taken it, the order
    /// has no more say: should the instance die in the same moment, it may be started again.
    fn is_to_start(&self, row: &OrderRow, version: &AppVersion, index: InstanceIndex) -> bool {
        let Order::Start {
            version: ordered,
            indices,
        } = &row.body.0
        else {
            return false;
        };
        let is_left = match self.placing.lock().get(&row.id) {
            Some(left) => left.contains(&index),
            None => indices.contains(&index),
        };
        ordered == version && is_left
    }

    /// How many DEAs and stagers have been heard of lately.
    pub(crate) fn known(&self) -> (usize, usize) {
        (self.deas.lock().len(), self.stagers.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use cupola_db::Json;

    use super::*;

    #[test]
    fn an_order_holds_an_index_until_a_dea_has_taken_it() {
        let version = AppVersion::new("v1");
        let (zero, one) = (InstanceIndex(0), InstanceIndex(1));
        let row = |order| OrderRow {
            id: 7,
            body: Json(order),
            created_at: cupola_db::now(),
            adopted: false,
        };
        let start = row(Order::Start {
            version: version.clone(),
            indices: vec![zero, one],
        });
        let dispatcher = Dispatcher::default();
        // Not begun: all of it is still to be done.
        assert!(dispatcher.is_to_start(&start, &version, zero));
        assert!(!dispatcher.is_to_start(&start, &version, InstanceIndex(2)));
        assert!(!dispatcher.is_to_start(&start, &AppVersion::new("v0"), zero));
        // Index 0 has a place, index 1 has none yet.
        dispatcher.placing.lock().insert(7, BTreeSet::from([one]));
        assert!(!dispatcher.is_to_start(&start, &version, zero));
        assert!(dispatcher.is_to_start(&start, &version, one));
        // All have a place; the row is about to go.
        dispatcher.placing.lock().insert(7, BTreeSet::new());
        assert!(!dispatcher.is_to_start(&start, &version, one));
        assert!(!dispatcher.is_to_start(&row(Order::Routes), &version, zero));
    }
}
