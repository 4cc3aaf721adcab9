//! The dea (droplet execution agent): runs instances of apps.
//!
//! It says how much room it has, takes orders to start and stop, and tells what became of them.
//! Each instance is a container of its own, made by warden; each container has a supervisor that
//! belongs to nobody, so apps live on when the dea is killed, and the next dea adopts them.
//!
//! ```text
//!  controller ── dea.<id>.start ──> orders ── admits, answers ──> registry (state, room)
//!             ── dea.stop ────────>   │                              │ changes
//!                                     └─ one Life per instance       ├─> heartbeats, advertisements
//!                droplet cache <────────── droplet                   └─> snapshot
//!                warden        <────────── container, process
//!                routers       <────────── register, unregister
//!                loggregator   <────────── output, line by line
//! ```
//!
//! What it is not: it stages nothing, decides nothing about where or whether apps run, and keeps
//! no truth. It has one door: [`Config`] → [`build`] → [`Room::run`].

#![forbid(unsafe_code)]

mod adopt;
mod announce;
mod capacity;
mod config;
mod containers;
mod crash_reaper;
mod dea;
mod droplet;
mod environment;
mod evacuation;
mod exits;
mod facilities;
mod health_check;
mod instance;
mod launch;
mod lifecycle;
mod metrics;
mod orders;
mod output;
mod queries;
mod registry;
mod room;
mod routes;
mod settled;
mod snapshot;
mod start_command;

pub use config::{Config, ContainerConfig};
pub use room::{Room, build};
