//! Why a connection ended, and what the client is told.

use std::io;

use crate::client::Client;
use crate::cluster::RouteEnd;
use crate::parser::Violation;
use crate::trace::Who;
use crate::wire::{CodecError, Farewell};

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
    /// Only between servers.
    #[error("{0}")]
    Route(RouteEnd),
    /// TLS or websocket.
    #[error("{0}")]
    Codec(CodecError),
    #[error("TLS handshake error: {0}")]
    TlsHandshake(rustls::Error),
    #[error("TLS handshake error: it took too long")]
    TlsTimeout,
    #[error("TLS handshake error: the client did not begin one")]
    TlsRequired,
    #[error("more TLS handshakes per second than connection_rate_limit allows")]
    TlsRate,
    #[error("websocket handshake error: it took too long")]
    UpgradeTimeout,
    #[error("too many handshakes are under way")]
    TooManyHandshakes,
    #[error("CONNECT is not in order: {0}")]
    BadConnect(serde_json::Error),
    #[error("unknown protocol version")]
    BadProtocol,
    #[error("no_responders without headers")]
    NoRespondersNeedsHeaders,
    #[error("wrong credentials")]
    Refused,
    #[error("the time of the user's JWT is over")]
    UserExpired,
    #[error("the time of the account's JWT is over, or the account is gone")]
    AccountExpired,
    #[error("the user's JWT has been revoked")]
    UserRevoked,
    #[error("its user is gone or belongs to another account")]
    Moved,
    #[error("maximum connections of the account exceeded")]
    TooManyAccountConnections,
    #[error("authentication timeout")]
    AuthTimeout,
    #[error("maximum connections exceeded")]
    TooManyConnections,
    #[error("stale connection: pings stay unanswered")]
    Stale,
    #[error("slow consumer: too much is waiting for it")]
    SlowConsumerPending,
    #[error("slow consumer: too much is waiting for all together, and most for it")]
    SlowConsumerMemory,
    #[error("slow consumer: its socket took nothing for too long")]
    SlowConsumerDeadline,
    #[error("shutdown")]
    Shutdown,
    #[error("sent away by an operator")]
    Kicked,
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
            End::UserExpired => "User Authentication Expired",
            End::AccountExpired => "Account Authentication Expired",
            End::UserRevoked => "User Authentication Revoked",
            End::TooManyAccountConnections => "maximum account active connections exceeded",
            End::TooManyConnections => "maximum connections exceeded",
            End::Stale => "Stale Connection",
            End::TlsRequired | End::TlsTimeout => "Secure Connection - TLS Required",
            End::TlsRate => "Connection throttling is active. Please try again later.",
            End::ClientClosed
            | End::ClientError
            | End::Moved
            | End::Read(_)
            | End::Write(_)
            | End::Codec(_)
            | End::TlsHandshake(_)
            | End::UpgradeTimeout
            | End::TooManyHandshakes
            | End::Route(_)
            | End::BadConnect(_)
            | End::SlowConsumerPending
            | End::SlowConsumerMemory
            | End::SlowConsumerDeadline
            | End::Shutdown
            | End::Kicked
            | End::Defect => return None,
        })
    }

    /// The reason in the words of monitoring, which are nats-server's.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            End::ClientClosed | End::Moved => "Client Closed",
            End::ClientError => "Parse Error",
            End::Read(_) => "Read Error",
            End::Write(_) => "Write Error",
            End::Codec(CodecError::Tls(_))
            | End::TlsHandshake(_)
            | End::TlsTimeout
            | End::TlsRequired => "TLS Handshake Failure",
            End::TlsRate | End::TooManyHandshakes => "Maximum Connections Exceeded",
            End::UpgradeTimeout | End::Codec(_) | End::BadConnect(_) => "Protocol Violation",
            End::Route(end) => end.reason(),
            End::Violation(violation) => match violation {
                Violation::UnknownOperation | Violation::Malformed => "Protocol Violation",
                Violation::MaxPayload { .. } => "Maximum Message Payload Exceeded",
                Violation::MaxControlLine => "Maximum Control Line Exceeded",
                Violation::NotAuthenticated => "Authentication Failure",
            },
            End::BadProtocol => "Bad Client Protocol Version",
            End::NoRespondersNeedsHeaders => "No Responders Requires Headers",
            End::Refused => "Authentication Failure",
            End::AuthTimeout => "Authentication Timeout",
            End::UserExpired => "Authentication Expired",
            End::AccountExpired => "Authentication Expired",
            End::UserRevoked => "Credentials Revoked",
            End::TooManyConnections => "Maximum Connections Exceeded",
            End::TooManyAccountConnections => "Maximum Account Connections Exceeded",
            End::Stale => "Stale Connection",
            End::SlowConsumerPending | End::SlowConsumerMemory => "Slow Consumer (Pending Bytes)",
            End::SlowConsumerDeadline => "Slow Consumer (Write Deadline)",
            End::Shutdown => "Server Shutdown",
            End::Kicked => "Kicked",
            End::Defect => "Internal Error",
        }
    }

    /// Whether it never got in, as what it said of itself was not enough.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            End::Refused | End::AuthTimeout | End::Violation(Violation::NotAuthenticated)
        )
    }

    /// Whether its credentials were wrong, or it showed none.
    pub(crate) fn is_wrong_login(&self) -> bool {
        matches!(
            self,
            End::Refused | End::Violation(Violation::NotAuthenticated)
        )
    }

    /// How a codec says it: as nats-server closes websockets.
    pub(crate) fn farewell(&self) -> Farewell {
        let text = self.reason();
        match self {
            End::ClientClosed | End::Moved => Farewell::Done(text),
            End::Violation(Violation::MaxPayload { .. }) => Farewell::TooBig(text),
            End::Violation(Violation::MaxControlLine | Violation::NotAuthenticated) => {
                Farewell::Refused(text)
            }
            End::Violation(_)
            | End::BadConnect(_)
            | End::BadProtocol
            | End::ClientError
            | End::Codec(_) => Farewell::Protocol(text),
            End::Shutdown | End::Stale | End::Read(_) | End::Write(_) => Farewell::GoingAway(text),
            End::NoRespondersNeedsHeaders | End::Kicked | End::Defect => Farewell::Other(text),
            _ => Farewell::Refused(text),
        }
    }

    /// Says it in the log, as loudly as it deserves.
    pub(crate) fn log(&self, client: &Client, user: &str) {
        let who = Who(client);
        match self {
            End::Refused | End::Violation(Violation::NotAuthenticated) => {
                // In words that programs look for which keep such peers out.
                if user.is_empty() {
                    tracing::error!("{who} - authentication error");
                } else {
                    tracing::error!("{who} - authentication error - User {user:?}");
                }
            }
            End::AuthTimeout => tracing::debug!("{who} - Authentication Timeout"),
            End::SlowConsumerPending | End::SlowConsumerMemory | End::SlowConsumerDeadline => {
                tracing::info!(client.user = user, "{who} - Slow Consumer Detected: {self}");
            }
            End::TooManyConnections
            | End::TooManyAccountConnections
            | End::Violation(_)
            | End::BadConnect(_)
            | End::BadProtocol
            | End::NoRespondersNeedsHeaders
            | End::Codec(_)
            | End::TlsHandshake(_)
            | End::TlsTimeout
            | End::TlsRequired
            | End::UpgradeTimeout => tracing::error!("{who} - {self}"),
            End::TlsRate | End::TooManyHandshakes => tracing::warn!("{who} - {self}"),
            End::Defect => tracing::error!("{who} - {self}: the connection is dropped"),
            _ => {}
        }
        tracing::debug!("{who} - Client connection closed: {}", self.reason());
    }
}
