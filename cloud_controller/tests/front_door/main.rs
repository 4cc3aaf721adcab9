//! The room from outside: its API over real HTTP, its bus over a real broker, its rows and blobs in
//! real files. The DEAs, stagers and health managers are played by the tests, on the bus.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod dispatching;
mod harness;
mod listing;
mod orgs;
mod peers;
mod postgres;
mod push;
mod rights;
mod routing;
mod settings;
mod stagers;
mod uploads;
mod v3;
