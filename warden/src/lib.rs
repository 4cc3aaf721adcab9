//! Containers: what runs an app so that it sees nothing but itself.
//!
//! ```text
//! daemon (dea, stager)           this library: Depot, Container, Process, Events
//!   └─ exec ─ supervisor         one small `cupola-warden` process per container, own session
//!        └─ clone3 ─ init        pid 1 inside: reaps, spawns, forwards signals
//!             └─ app processes   own uid, no capabilities, seccomp, limits by cgroup
//! ```
//!
//! A [`Depot`] is a folder with one sub-folder per container. [`Depot::create`] starts a supervisor,
//! which builds the namespaces, mounts and limits and then answers on `<depot>/<id>/ctl.sock`; a
//! [`Container`] is a handle that speaks to that socket. The supervisor belongs to nobody: when the
//! daemon dies the container lives on and [`Depot::recover`] finds it again; when the supervisor
//! dies, the kernel takes everything inside along.
//!
//! The library is blocking and every call has a deadline. With the feature `tokio`, `aio` offers
//! the same handles for async programs.
//!
//! What it is not: an image store, a network policy engine, or a scheduler. Needs Linux and root;
//! [`probe()`] says, facility by facility, what this machine can and cannot do.

#![deny(unsafe_code)]

#[cfg(feature = "tokio")]
pub mod aio;
mod archive;
mod cgroup;
mod client;
mod container;
mod depot;
mod error;
mod events;
mod id;
mod image;
mod inside;
mod launch;
mod netlink;
mod probe;
mod report;
mod seccomp;
mod spec;
mod stack;
mod stacks;
#[doc(hidden)]
pub mod supervisor;
mod sys;
mod wire;

pub use container::{Container, Process};
pub use depot::{Depot, DepotConfig, DepotSettings, Recovered, Subnet, Swept};
pub use error::{Missing, WardenError};
pub use events::Events;
pub use id::{ContainerId, ProcessId};
pub use probe::{Facilities, Facility, probe};
pub use report::{
    ContainerState, EndReason, Ended, Event, Exit, Info, PackReport, ProcessInfo, Stats, Stream,
    UnpackReport,
};
pub use spec::{
    Access, Bind, ContainerSpec, DiskMode, Limits, Links, NetworkMode, Pack, ProcessRole,
    ProcessSpec, Stack, Unpack,
};
pub use stacks::Stacks;

/// The result of a call into this library.
pub type Result<T> = std::result::Result<T, WardenError>;
