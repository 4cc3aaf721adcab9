//! Every message on the bus: its subject, payload, sender, receiver, cadence and delivery promise.
//!
//! One module per conversation. A place on the bus is a value: a [`Topic`] is published to and
//! subscribed, a [`Call`] is asked and answered. No other crate writes a subject as text. Subjects
//! and field names are those of Cloud Foundry v2; fields of our own are marked so. Receivers ignore
//! unknown fields and tolerate absent optional ones.
//!
//! [`wire`] is the table of all of it, from which the broker's permissions are made
//! ([`permissions`]).
//!
//! A message is a hint: each may be lost, doubled, late or out of order, and nothing is lost by it,
//! because a reconciler compares the row that is the truth with what runs. Where the table promises
//! more, it is because the message is a request with an answer.

#![forbid(unsafe_code)]

pub mod component;
pub mod dea;
pub mod environment;
pub mod health;
pub mod logs;
pub mod permissions;
pub mod router;
pub mod staging;
mod topic;
pub mod wire;

pub use topic::{Call, Message, Nothing, PayloadError, Topic};

use topic::json_messages;

#[cfg(test)]
mod golden;
