//! The seam between the router and the HTTP/1 machinery.
//!
//! Everything that decides (registry, headers, failures, stickiness, log, deadlines) is the engine's to
//! use and not to know: an engine takes one accepted connection and serves it until it ends. There is
//! one, on hyper.

pub(crate) mod hyper;

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::TcpStream;

use crate::core::Core;

/// Serves client connections of one core.
pub(crate) trait Engine: 'static {
    /// Prepares to serve for `core`.
    fn new(core: Rc<Core>) -> Self;

    /// Serves one connection until it ends, is too slow, or the core drains.
    fn serve(self: Rc<Self>, stream: TcpStream, peer: SocketAddr) -> impl Future<Output = ()>;

    /// Called now and then, to let go of what has idled too long.
    fn tidy(&self);
}
