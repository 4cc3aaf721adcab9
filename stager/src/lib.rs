//! The stager: source in, droplet out.
//!
//! An order names an app's package and where its droplet goes, as signed URLs. The stager answers
//! at once whether it takes the task, builds in a container of its own, streams what the build
//! prints to the app's log, and POSTs the result to the controller. It holds no credential of
//! anything.
//!
//! ```text
//! staging.<id>.start ──> room ──> staging (a task per build) ──> report ──> controller
//!                         │          │ package, cache, droplet by transfer
//!                         │          │ zip made tar by archive, unpacked inside
//!                         │          │ buildpack: detect, compile, release inside
//!                         │          └ output ──> loggregator.log.<app>
//!                         ├ capacity  memory, disk, places
//!                         └ journal   what to tell if we are killed
//! ```
//!
//! What it is not: a judge of apps. It never runs or reads anything of an app outside a container,
//! but for two small texts: the `Procfile` and what `bin/release` prints.
//!
//! Buildpacks are data: a folder with `bin/detect`, `bin/compile` and `bin/release`. The built-in
//! ones lie in `stager/buildpacks/` and are part of the executable.
//!
//! Killed at any moment, it leaves nothing behind: downloads are files without names, containers
//! are removed at the next start, and the journal tells the controller of every task that was
//! accepted.

#![forbid(unsafe_code)]

mod archive;
mod buildpack;
mod builtin;
mod capacity;
mod config;
mod environment;
mod failure;
mod inside;
mod journal;
mod output;
mod report;
mod room;
mod staging;
mod start_command;
mod stats;
mod transfer;

pub use config::{Config, Containers};
pub use room::{Room, build};
