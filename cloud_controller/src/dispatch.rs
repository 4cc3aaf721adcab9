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

use std::collections::HashSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use build::{app_description, blob_path};
pub(crate) use listen::listen;
pub(crate) use watch::{fail_staging, watch};
pub(crate) use work::work;

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
}

// === impl Dispatcher ===

impl Dispatcher {
    /// There are new orders.
    pub(crate) fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// How many DEAs and stagers have been heard of lately.
    pub(crate) fn known(&self) -> (usize, usize) {
        (self.deas.lock().len(), self.stagers.lock().len())
    }
}
