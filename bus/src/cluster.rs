//! The cluster: a full mesh of servers, each telling the others what its clients listen to, over which a
//! message travels at most one hop.
//!
//! The protocol is that of nats-server's routes (2.9 and later), so that genuine servers and ours may be
//! mixed. We ask for one connection to each peer; a newer server that would like a pool of them agrees, as
//! it does with servers older than itself.

mod credentials;
pub(crate) mod dial;
pub(crate) mod dialler;
mod end;
pub(crate) mod frame;
pub(crate) mod info;
pub(crate) mod interest;
pub(crate) mod mesh;
pub(crate) mod node;
pub mod parser;
mod relief;
mod rights;
pub(crate) mod route;
mod security;
mod session;
mod talk;
mod urls;

pub(crate) use end::RouteEnd;
pub(crate) use node::{Doors, Node};
pub(crate) use rights::{RouteRights, Told};
pub(crate) use security::RouteTls;
pub(crate) use session::RouteSession;
