//! Compares what is wanted with what runs, and proposes what to start and what to stop.
//!
//! What is wanted is read from the cloud controller's bulk API; what runs is heard in the DEAs'
//! heartbeats. [`decide`](decide::decide) is one pure function over both and the time. It proposes
//! nothing while its knowledge is stale: after a start or a reconnect it waits until every DEA that
//! is known to live has spoken. The controller checks each proposal against its rows, so a second
//! or a mistaken health manager does no harm.
//!
//! ```text
//! heartbeats, exits ─► actual ─┐
//! crashes ───────────► crashes ├─► decide(…, now) ─► hm9000.start / hm9000.stop
//! GET /bulk/apps ────► desired ┘
//! ```

#![forbid(unsafe_code)]

mod actual;
mod bulk;
mod config;
mod crashes;
mod decide;
mod desired;
mod ledger;
mod room;

pub use config::{Config, Timing};
pub use room::{Room, build};

/// A point in time, as time since an epoch that the process chose. A type of its own, so that
/// tests run a day of heartbeats in a moment.
type Moment = std::time::Duration;
