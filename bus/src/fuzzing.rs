//! What must hold for any bytes an outsider sends, one function a target. Each panics when it does not.
//!
//! `fuzz/fuzz_targets/*` call these with what the fuzzer makes up, and a test here replays what it has
//! kept, so that a finding stays found without the fuzzer. Compiled for those two only.

mod client;
mod config;
mod cut;
mod route;
mod websocket;

pub use client::client;
pub use config::config;
pub use route::route;
pub use websocket::websocket;

#[cfg(test)]
mod tests;
