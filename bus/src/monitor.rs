//! What the broker says of itself over HTTP: nats-server's endpoints, and `/metrics` for Prometheus.

pub(crate) mod absent;
pub(crate) mod accountz;
pub(crate) mod accstatz;
mod answers;
mod closed;
pub(crate) mod connz;
mod endpoint;
pub(crate) mod healthz;
pub(crate) mod human;
mod index;
mod jsonp;
mod metrics;
mod page;
pub(crate) mod process;
mod prometheus;
mod query;
mod report;
pub(crate) mod routez;
mod sample;
mod seats;
mod server;
mod state;
pub(crate) mod subsz;
mod varz;

pub(crate) use accstatz::{AccountStat, Volume};
pub(crate) use answers::Answers;
pub(crate) use query::BadRequest;
pub(crate) use report::Report;
pub(crate) use sample::{Sample, is_zero};
pub(crate) use server::{Scheme, serve};
pub(crate) use state::{Stage, State};
pub(crate) use varz::PerKind;
