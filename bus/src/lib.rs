//! The message bus of the house: a core-NATS broker.
//!
//! It speaks the NATS client protocol to any NATS client: publish and subscribe with wildcards, queue
//! groups, request and reply with no-responders, headers, users with permissions. It keeps nothing: a
//! message goes to whoever listens when it is published, at most once.
//!
//! ```text
//!   socket ──read──▶ parser ──op──▶ session ──match──▶ sublist
//!                                      │
//!                                      └─append──▶ receivers' queues ──one write each──▶ sockets
//! ```
//!
//! All of it happens in one task on one thread, from the read to the writes. `README.md` explains
//! threads, buffers, sharding and caches; each module explains itself.
//!
//! The door is [`build`] and [`Broker::run`]. The `cupola-bus` program puts nats-server's command line
//! and configuration file ([`conf`], [`options`]) in front of it.
#![forbid(unsafe_code)]

mod access;
mod account;
mod auth;
mod broker;
mod client;
mod clock;
pub mod cluster;
mod complaint;
pub mod conf;
pub mod config;
mod delivery;
mod descriptors;
mod doors;
mod encoding;
mod events;
mod exchange;
pub mod framing;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod handshakes;
mod hash;
mod header;
mod hub;
mod jwt;
mod link;
mod lookout;
pub mod machine;
mod mapping;
mod memory;
mod message_trace;
mod monitor;
pub mod options;
mod outbound;
pub mod parser;
mod permissions;
mod place;
mod protocol;
mod security;
mod session;
mod settings;
mod socket;
pub mod subject;
pub mod sublist;
mod subscription;
mod tap;
mod trace;
mod watch;
mod whereabouts;
mod wire;
mod worker;

pub use access::AccessError;
pub use auth::AuthConfigError;
pub use broker::{
    Broker, BuildError, Handle, Listeners, Purpose, ReloadError, RunError, build, check,
};
pub use config::Config;
pub use exchange::ExchangeError;
pub use hub::{Stats, Traffic};
pub use jwt::{OperatorError, TokenError};
pub use mapping::BadMapping;
pub use permissions::BadRule;
pub use protocol::VERSION;
pub use sublist::SublistStats;
pub use whereabouts::BadAdvertised;
pub use wire::{TlsConfigError, WebsocketConfigError};
