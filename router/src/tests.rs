//! The front door, with real sockets on both sides.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(
    clippy::disallowed_methods,
    reason = "plain threads: there is no runtime to block"
)]

mod answers;
mod bodies;
mod drain;
mod harness;
mod limits;
mod log;
mod retries;
mod routing;
mod smuggling;
mod upgrades;
