//! For tests and benchmarks only: a whole platform with real processes in a folder of its own; with
//! the feature `room`, what the tests of one room need around it.
//!
//! ```no_run
//! let platform = cupola_testkit::Platform::start();
//! platform.cup(&["push", "hello", "-p", "examples/static-site"]).succeeds();
//! assert_eq!(platform.get("hello", "/").status, 200);
//! ```
//!
//! Nothing here sleeps for a fixed time: everything waits on a condition, with a deadline.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    clippy::disallowed_methods,
    reason = "a test kit panics where a test shall fail, and polls between looks"
)]

mod cup;
mod http;
mod leftovers;
mod listening;
mod nats_server;
mod platform;
mod programs;
#[cfg(feature = "room")]
pub mod room;
mod wait;

pub use cup::{Cup, Ran};
pub use http::{Answer, HttpRequest, request};
pub use leftovers::Leftovers;
pub use listening::Listening;
pub use nats_server::{NatsServer, on_nats_server};
pub use platform::{Options, Platform, RoleStatus};
pub use programs::{example, program, workspace_root};
pub use wait::{eventually, until};
