//! Why a route ended, and what the peer is told.

use std::sync::Arc;

use super::dial::Outcome;
use super::parser::Violation;
use crate::session::End;

/// The reason a route ended, where it is one that clients do not have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteEnd {
    #[error("it leads to this very server")]
    Own,
    #[error("there is another connection to this server")]
    Duplicate(Arc<str>),
    #[error("there are too many connections to this server, or too many servers")]
    Crowded,
    #[error("remote server has a duplicate name: {0:?}")]
    DuplicateName(String),
    #[error("cluster name {theirs:?} does not match {ours:?}")]
    ClusterName { theirs: String, ours: String },
    #[error("this server has taken over the name of another cluster")]
    Renamed,
    #[error("a client has connected to the port of routes")]
    WrongPort,
    #[error("gateway {0:?} has connected to the port of routes")]
    Gateway(String),
    #[error("the connection is for account {0:?} alone, and this server has one for all")]
    Dedicated(String),
    #[error("protocol violation: {0}")]
    Violation(Violation),
    #[error("interest or a message from a server that has not said who it is")]
    Unknown,
    #[error("INFO or CONNECT is not in order: {0}")]
    BadJson(serde_json::Error),
    #[error("the server has too many subscriptions")]
    TooMuchInterest,
    #[error("the server said: {0}")]
    Said(String),
    #[error("the TLS handshake took too long")]
    Handshake,
    #[error("the route is no longer configured")]
    Removed,
}

// === impl RouteEnd ===

impl RouteEnd {
    /// The text of the `-ERR` that precedes the end.
    pub(crate) fn text(&self) -> Option<String> {
        Some(match self {
            RouteEnd::WrongPort => "attempted to connect to route port".to_owned(),
            RouteEnd::Gateway(name) => {
                format!("Rejecting connection from gateway \"{name}\" on the Route port")
            }
            RouteEnd::ClusterName { theirs, ours } => {
                format!("Rejecting connection, cluster name \"{theirs}\" does not match \"{ours}\"")
            }
            RouteEnd::Violation(Violation::NotAuthenticated) => {
                "Authorization Violation".to_owned()
            }
            RouteEnd::Violation(Violation::UnknownOperation) => {
                "Unknown Protocol Operation".to_owned()
            }
            RouteEnd::Violation(Violation::MaxPayload { .. }) => {
                "Maximum Payload Violation".to_owned()
            }
            RouteEnd::Violation(Violation::MaxControlLine) => {
                "maximum control line exceeded".to_owned()
            }
            _ => return None,
        })
    }

    /// The reason in the words of monitoring, which are nats-server's.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            RouteEnd::Own | RouteEnd::Duplicate(_) | RouteEnd::Crowded => "Duplicate Route",
            RouteEnd::DuplicateName(_) => "Duplicate Server Name",
            RouteEnd::ClusterName { .. } | RouteEnd::Renamed => "Cluster Name Conflict",
            RouteEnd::WrongPort => "Incorrect Port",
            RouteEnd::Gateway(_) => "Wrong Gateway",
            RouteEnd::Handshake => "TLS Handshake Failure",
            RouteEnd::Removed => "Route Removed",
            RouteEnd::BadJson(_) => "Parse Error",
            RouteEnd::Said(_) => "Client Closed",
            _ => "Protocol Violation",
        }
    }

    /// Whether somebody should look into it.
    fn is_trouble(&self) -> bool {
        match self {
            RouteEnd::Own | RouteEnd::Duplicate(_) | RouteEnd::Dedicated(_) | RouteEnd::Removed => {
                false
            }
            // A newer server tries once whether an account may have a connection of its own.
            RouteEnd::Said(text) => !text.contains("Not possible to have a dedicated route"),
            _ => true,
        }
    }
}

/// What the one who dialled makes of an end.
pub(crate) fn outcome(end: &End, was_used: bool) -> Outcome {
    match end {
        End::Route(RouteEnd::Own) => Outcome::Own,
        End::Route(RouteEnd::Duplicate(peer)) => Outcome::Duplicate((&**peer).into()),
        _ if was_used => Outcome::Ended,
        _ => Outcome::Refused,
    }
}

/// The text of the `-ERR` that precedes the end.
pub(crate) fn text(end: &End) -> Option<String> {
    match end {
        End::Route(end) => end.text(),
        end => end.text().map(str::to_owned),
    }
}

/// Says it in the log, as loudly as it deserves.
pub(crate) fn log(end: &End, id: u64, peer: std::net::SocketAddr) {
    match end {
        End::Route(reason) if !reason.is_trouble() => {
            tracing::debug!("{peer} - rid:{id} - Router connection closed: {end}");
        }
        End::ClientClosed | End::Shutdown => {
            tracing::info!("{peer} - rid:{id} - Router connection closed: {end}");
        }
        End::Defect => tracing::error!("{peer} - rid:{id} - Router connection closed: {end}"),
        end => tracing::warn!("{peer} - rid:{id} - Router connection closed: {end}"),
    }
}
