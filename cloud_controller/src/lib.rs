//! The cloud controller: the API of the platform, and the truth about what shall run.
//!
//! ```text
//!   HTTP ─► routes ─► action ─► model ─► schema        one transaction: rows, audit event, orders
//!             │          │
//!          present    orders ─► dispatch ─► bus         DEAs start and stop, stagers build
//!                                  ▲
//!                     advertisements, exits, proposals of the health manager
//! ```
//!
//! - `routes` read a request, call one action and write the answer; one file per noun.
//! - `action` holds the rules, `access` who may do what, `model` the queries, `present` the JSON.
//! - `dispatch` carries decisions out. A decision is a row; the order that follows from it is a
//!   row, too, written in the same transaction, so that a controller may be killed at any moment and
//!   what was asked of it is either done or undone.
//! - `bits` unpacks what users send, and trusts nothing of it.
//!
//! What it is not: it runs nothing, builds nothing, and does not know who a user is: that is UAA's.

#![forbid(unsafe_code)]

mod access;
mod action;
mod actor;
mod bits;
mod config;
mod controller;
mod dispatch;
mod error;
mod model;
mod present;
mod room;
mod routes;
mod schema;
mod sealed;
mod seed;
mod uaa;

pub use config::{
    AppsConfig, Config, InfoConfig, LogsConfig, SecretsConfig, SeedConfig, StagingConfig,
    UaaConfig, UploadLimits,
};
pub use room::{MIGRATIONS, Room, build};
