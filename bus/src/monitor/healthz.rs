//! `/healthz`: whether clients should come here.

use serde::Serialize;

/// How the broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It takes clients.
    Ready,
    /// It takes none, or not for long.
    Unavailable(&'static str),
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Healthz {
    status: &'static str,
    /// In messages only; HTTP has its own place for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

impl Health {
    /// As an HTTP status.
    pub(crate) fn code(self) -> u16 {
        match self {
            Health::Ready => 200,
            Health::Unavailable(_) => 503,
        }
    }
}

impl Healthz {
    /// The body of an HTTP answer.
    pub(crate) fn of(health: Health) -> Self {
        let (status, error) = match health {
            Health::Ready => ("ok", None),
            Health::Unavailable(why) => ("unavailable", Some(why)),
        };
        Healthz {
            status,
            status_code: None,
            error,
        }
    }

    /// The data of an answer by message.
    pub(crate) fn with_code(health: Health) -> Self {
        Healthz {
            status_code: Some(health.code()),
            ..Self::of(health)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn says_ok_or_why_not() {
        let text = |healthz| serde_json::to_string(&healthz).unwrap();
        assert_eq!(text(Healthz::of(Health::Ready)), r#"{"status":"ok"}"#);
        assert_eq!(
            text(Healthz::with_code(Health::Ready)),
            r#"{"status":"ok","status_code":200}"#
        );
        let down = Health::Unavailable("shutting down");
        assert_eq!(
            text(Healthz::of(down)),
            r#"{"status":"unavailable","error":"shutting down"}"#
        );
        assert_eq!(down.code(), 503);
    }
}
