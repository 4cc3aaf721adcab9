//! The broker through its front door: real sockets, raw and with the official client.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod accounts;
mod auth;
#[allow(dead_code, reason = "other tests use the rest of it")]
mod certificates;
mod clients;
mod configs;
mod crowd;
mod hostile;
mod jwt;
mod limits;
mod monitoring;
mod moving;
mod official_client;
mod operations;
mod program;
mod protocol;
mod queues;
mod secure;
mod slow;
#[allow(dead_code, reason = "other tests use the rest of it")]
mod spoken;
mod support;
mod tap;
mod websocket;
