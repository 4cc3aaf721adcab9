//! Several servers as one: ours alone on loopback, and together with genuine nats-servers in network
//! namespaces of the tests' own.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stderr, reason = "what is skipped must be seen")]

mod accounts;
mod door;
mod mesh;
mod mixed;
mod peer;
mod reload;
mod rights;
mod support;
mod town;
