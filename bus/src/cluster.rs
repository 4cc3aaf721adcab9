//! The cluster: a full mesh of servers, each telling the others what its clients listen to, over which a
//! message travels at most one hop.
//!
//! The protocol is that of nats-server's routes (2.9 and later), so that genuine servers and ours may be
//! mixed. We ask for one connection to each peer; a newer server that would like a pool of them agrees, as
//! it does with servers older than itself.

#![allow(dead_code, reason = "the routes are about to use it")]

pub(crate) mod dial;
pub(crate) mod frame;
pub(crate) mod info;
pub(crate) mod interest;
pub(crate) mod mesh;
pub mod parser;
