//! The real binary against a small platform inside the test: a real HTTP server that behaves like
//! the cloud controller and UAA where the commands look, and a real websocket that streams logs.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod apps;
mod cup;
mod failures;
mod help;
mod logs;
mod model;
mod platform;
mod push;
mod routes;
mod session;
mod terminal;
