//! The router: requests in, answers out.
//!
//! ```text
//!            bus ──▶ control plane ──▶ registry (read without locks)
//!                    subscribe, prune,     │
//!                    greet, varz, logs     ▼
//!  clients ─▶ socket ─▶ core 0: accept ─▶ engine ─▶ endpoints
//!                  └──▶ core 1: …         (own runtime, own idle connections, own counters)
//! ```
//!
//! A core is a thread that shares nothing but the route table with the others, so a request takes no
//! lock and wakes no other thread. What decides about a request (its target, its headers, which
//! endpoint, which failure, what is logged) knows nothing of the HTTP machinery, which sits behind the
//! `engine` seam and is hyper today.
//!
//! The router keeps no state that another lacks: kill it, and the next one asks on the bus and knows
//! all routes a moment later. While the bus is away it routes by what it knows.

#![forbid(unsafe_code)]

mod access_log;
mod config;
mod control;
mod core;
mod engine;
mod failure;
mod headers;
pub mod registry;
mod room;
mod routes_list;
mod stats;
mod sticky;
mod target;
mod varz;
mod watch;

#[cfg(test)]
mod tests;

pub use config::{Config, ConfigError, ForwardedProto};
pub use room::{Room, build};
