//! Several servers as one: ours alone on loopback, and together with genuine nats-servers in network
//! namespaces of the tests' own.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod mesh;
mod support;
