//! What every role is built on: config, logs, sockets, the bus, health, metrics, shutdown.
//!
//! A role's `main` is one call to [`run()`]: it reads the role's config file, takes over the sockets
//! that a supervisor holds, connects to the bus under the role's own identity, serves `/healthz`,
//! `/varz` and `/metrics`, builds the room, runs it and stops it cleanly on SIGTERM.
//!
//! Rooms see [`Deps`] and nothing of the process around them: no environment, no signals, no
//! statics. So a test builds a room with deps of its own.

#![forbid(unsafe_code)]

mod app_log;
mod backoff;
mod bus;
mod config;
pub mod duration;
mod health;
mod listeners;
mod metrics;
mod registrar;
mod run;
pub mod size;
mod status;

pub use app_log::AppLog;
pub use backoff::Backoff;
pub use bus::{
    Asked, Bus, BusConfig, BusError, RawMessage, RawSubscription, Requests, Subscription,
};
pub use config::{ComponentConfig, ConfigError, LogConfig, LogFormat, RoleConfig, nearest};
pub use health::{Check, Health};
pub use listeners::{ListenError, Listeners};
pub use metrics::Metrics;
pub use registrar::Registrar;
pub use run::{Deps, EX_CONFIG, install_crypto, run, run_with, shutdown_on_signals, start_logging};
