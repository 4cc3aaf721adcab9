//! The whole platform, driven the way its users drive it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests may panic, print what they counted, and pace the load they make"
)]

mod kill;
mod life;
mod postgres;
mod refusals;
mod samples;
mod start_and_stop;
