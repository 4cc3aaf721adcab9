//! The room through its front door: real HTTP, real database, one server per test.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

mod accounts;
mod clients;
mod harness;
mod logins;
mod registration;
mod resource_servers;
mod restarts;
mod ssh_code;
