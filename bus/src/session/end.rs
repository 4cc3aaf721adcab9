//! Why a connection ended, and what the client is told.

use std::io;

use crate::client::Client;
use crate::parser::Violation;
use crate::wire::CodecError;

/// The reason a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("closed by the client")]
    ClientClosed,
    #[error("the client reported an error")]
    ClientError,
    #[error("read failed: {0}")]
    Read(io::Error),
    #[error("write failed: {0}")]
    Write(io::Error),
    #[error("protocol violation: {0}")]
    Violation(Violation),
    /// TLS or websocket.
    #[error("{0}")]
    Codec(CodecError),
    #[error("CONNECT is not in order: {0}")]
    BadConnect(serde_json::Error),
    #[error("unknown protocol version")]
    BadProtocol,
    #[error("no_responders without headers")]
    NoRespondersNeedsHeaders,
    #[error("wrong credentials")]
    Refused,
    #[error("authentication timeout")]
    AuthTimeout,
    #[error("maximum connections exceeded")]
    TooManyConnections,
    #[error("stale connection: pings stay unanswered")]
    Stale,
    #[error("slow consumer: too much is waiting for it")]
    SlowConsumerPending,
    #[error("slow consumer: its socket took nothing for too long")]
    SlowConsumerDeadline,
    #[error("shutdown")]
    Shutdown,
    #[error("a defect in this server")]
    Defect,
}

impl End {
    /// The text of the `-ERR` that precedes the end. Clients match these words.
    pub(crate) fn text(&self) -> Option<&'static str> {
        Some(match self {
            End::Violation(violation) => match violation {
                Violation::UnknownOperation => "Unknown Protocol Operation",
                Violation::MaxPayload { .. } => "Maximum Payload Violation",
                Violation::MaxControlLine => "maximum control line exceeded",
                Violation::NotAuthenticated => "Authorization Violation",
                Violation::Malformed => return None,
            },
            End::BadProtocol => "invalid client protocol",
            End::NoRespondersNeedsHeaders => "no responders requires headers support",
            End::Refused => "Authorization Violation",
            End::AuthTimeout => "Authentication Timeout",
            End::TooManyConnections => "maximum connections exceeded",
            End::Stale => "Stale Connection",
            End::ClientClosed
            | End::ClientError
            | End::Read(_)
            | End::Write(_)
            | End::Codec(_)
            | End::BadConnect(_)
            | End::SlowConsumerPending
            | End::SlowConsumerDeadline
            | End::Shutdown
            | End::Defect => return None,
        })
    }

    /// Says it in the log, as loudly as it deserves.
    pub(crate) fn log(&self, client: &Client, user: &str) {
        let (id, peer) = (client.id, client.peer);
        match self {
            End::Refused | End::Violation(Violation::NotAuthenticated) | End::AuthTimeout => {
                tracing::warn!(client.id = id, client.peer = %peer, reason = %self, "client refused");
            }
            End::SlowConsumerPending | End::SlowConsumerDeadline | End::TooManyConnections => {
                tracing::warn!(client.id = id, client.peer = %peer, client.user = user, reason = %self, "client cut off");
            }
            End::Defect => {
                tracing::error!(client.id = id, client.peer = %peer, reason = %self, "client dropped");
            }
            _ => {
                tracing::debug!(client.id = id, client.peer = %peer, client.user = user, reason = %self, "client left");
            }
        }
    }
}
