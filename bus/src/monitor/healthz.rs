//! `/healthz`: whether clients should come here.

use serde::{Deserialize, Serialize};

use super::query::{BadRequest, Query};

/// How the broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It takes clients.
    Ready,
    /// It takes none, or not for long.
    Unavailable(&'static str),
}

/// What is asked. As JSON it is the payload of a `$SYS.REQ.….HEALTHZ` request. What concerns JetStream alone
/// is understood and makes no difference.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    account: String,
    stream: String,
    consumer: String,
    /// Lists what is wrong, each with its kind.
    details: bool,
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    #[serde(skip)]
    code: u16,
}

/// One thing that is wrong.
#[derive(Debug, Serialize)]
struct Fault {
    #[serde(rename = "type")]
    kind: &'static str,
    error: &'static str,
}

// === impl Options ===

impl Options {
    /// From the parameters of a URL.
    ///
    /// # Errors
    /// One of them cannot be what it should.
    pub(crate) fn parse(query: &Query) -> Result<Self, BadRequest> {
        query.check_flags(&[
            "js-enabled",
            "js-enabled-only",
            "js-server-only",
            "js-meta-only",
        ])?;
        Ok(Options {
            account: query.text("account").to_owned(),
            stream: query.text("stream").to_owned(),
            consumer: query.text("consumer").to_owned(),
            details: query.flag("details")?,
        })
    }

    /// What is missing to make sense of the question.
    fn lack(&self) -> Option<&'static str> {
        if self.account.is_empty() && !self.stream.is_empty() {
            Some("\"account\" must not be empty when checking stream health")
        } else if self.stream.is_empty() && !self.consumer.is_empty() {
            Some("\"stream\" must not be empty when checking consumer health")
        } else {
            None
        }
    }
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
    pub(crate) fn new(health: Health, options: &Options) -> Self {
        let (code, fault) = match (options.lack(), health) {
            (Some(lack), _) => (400, Some(("error", "BAD_REQUEST", lack))),
            (None, Health::Ready) => (health.code(), None),
            (None, Health::Unavailable(why)) => {
                (health.code(), Some(("unavailable", "CONNECTION", why)))
            }
        };
        let mut answer = Healthz {
            status: "ok",
            status_code: None,
            error: None,
            errors: Vec::new(),
            code,
        };
        match fault {
            None => {}
            Some((_, kind, error)) if options.details => {
                answer.status = "error";
                answer.errors.push(Fault { kind, error });
            }
            Some((status, _, error)) => {
                answer.status = status;
                answer.error = Some(error);
            }
        }
        answer
    }

    /// The status it has over HTTP.
    pub(crate) fn code(&self) -> u16 {
        self.code
    }

    /// The data of an answer by message.
    pub(crate) fn with_code(health: Health, options: &Options) -> Self {
        let answer = Self::new(health, options);
        Healthz {
            status_code: Some(answer.code),
            ..answer
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn answer(health: Health, query: &str) -> (u16, String) {
        let options = Options::parse(&Query::parse(query)).unwrap();
        let answer = Healthz::new(health, &options);
        (answer.code(), serde_json::to_string(&answer).unwrap())
    }

    #[test]
    fn says_ok_or_why_not() {
        let ok = (200, r#"{"status":"ok"}"#.to_owned());
        assert_eq!(answer(Health::Ready, ""), ok);
        assert_eq!(answer(Health::Ready, "details=1&js-enabled-only=true"), ok);
        let coded = Healthz::with_code(Health::Ready, &Options::default());
        assert_eq!(
            serde_json::to_string(&coded).unwrap(),
            r#"{"status":"ok","status_code":200}"#
        );
        let down = Health::Unavailable("shutting down");
        assert_eq!(
            answer(down, ""),
            (
                503,
                r#"{"status":"unavailable","error":"shutting down"}"#.to_owned()
            )
        );
        assert_eq!(
            answer(down, "details=1"),
            (
                503,
                r#"{"status":"error","errors":[{"type":"CONNECTION","error":"shutting down"}]}"#
                    .to_owned()
            )
        );
        assert!(Options::parse(&Query::parse("js-meta-only=x")).is_err());
    }

    #[test]
    fn streams_are_asked_for_with_their_accounts() {
        for (query, lack) in [
            (
                "stream=s",
                "\"account\" must not be empty when checking stream health",
            ),
            (
                "account=a&consumer=c",
                "\"stream\" must not be empty when checking consumer health",
            ),
        ] {
            let (code, text) = answer(Health::Ready, query);
            assert_eq!(code, 400);
            let text: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                (&text["status"], &text["error"]),
                (&"error".into(), &lack.into())
            );
        }
        assert_eq!(
            answer(Health::Ready, "account=a&stream=s&consumer=c").0,
            200
        );
    }
}
