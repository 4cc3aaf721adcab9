//! What can go wrong between us and the platform, told so that a person can act on it.

use std::error::Error as StdError;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

use super::request::Answer;
use crate::session::SessionError;

/// Longest part of an unreadable answer that is repeated in an error, in characters.
const LONGEST_QUOTE: usize = 200;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("no API endpoint is set")]
    NoTarget,
    #[error("not logged in")]
    NotLoggedIn,
    #[error("no org is targeted")]
    NoOrg,
    #[error("no space is targeted")]
    NoSpace,
    #[error("the login has expired")]
    LoginExpired,
    #[error("{address:?} is not an address")]
    BadAddress {
        address: String,
        #[source]
        source: url::ParseError,
    },
    #[error("{address} does not belong to the API at {base}")]
    ForeignAddress { address: String, base: Url },
    #[error("cannot set up the HTTP client: {cause}")]
    Setup { cause: String },
    #[error("cannot write the request")]
    Encode(#[source] serde_json::Error),
    #[error("cannot connect to {url}: {cause}")]
    Unreachable { url: Url, cause: String },
    #[error("{url} did not answer within {} s", within.as_secs())]
    Timeout { url: Url, within: Duration },
    #[error("the exchange with {url} broke off: {cause}")]
    Broken { url: Url, cause: String },
    #[error("the answer of {url} is larger than {limit} bytes")]
    TooLarge { url: Url, limit: usize },
    #[error("cannot understand the answer of {url}")]
    Decode {
        url: Url,
        #[source]
        source: serde_json::Error,
    },
    #[error(transparent)]
    Refused(#[from] Box<Refusal>),
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// The platform answered, and the answer is no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    /// The number of the v2 error table; 0 when the answer had none.
    pub(crate) code: i64,
    /// `CF-…`, or the `error` of UAA; empty when the answer had none.
    pub(crate) name: String,
    pub(crate) description: String,
}

/// The error bodies of the controller (v2, v3) and of UAA, all optional.
#[derive(Debug, Default, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    description: String,
    #[serde(default)]
    error_code: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
    #[serde(default)]
    errors: Vec<V3Error>,
}

#[derive(Debug, Default, Deserialize)]
struct V3Error {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

// === impl ApiError ===

impl ApiError {
    /// Tells the ways apart in which sending can fail.
    pub(crate) fn sending(url: &Url, within: Duration, error: &reqwest::Error) -> Self {
        let url = url.clone();
        let cause = root_cause(error);
        if error.is_connect() {
            Self::Unreachable { url, cause }
        } else if error.is_timeout() {
            Self::Timeout { url, within }
        } else {
            Self::Broken { url, cause }
        }
    }

    /// The refusal, if that is what it is.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the platform refused with this number.
    pub(crate) fn has_code(&self, code: i64) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code == code)
    }

    /// Nothing of the request reached the other side.
    pub(crate) fn never_arrived(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// The same request may succeed in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Broken { .. } => true,
            Self::Refused(refusal) => refusal.status.is_server_error(),
            _ => false,
        }
    }

    /// What to do next.
    pub(crate) fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::NoTarget => "set one with 'cup api URL' or 'cup login -a URL'",
            Self::NotLoggedIn => "log in with 'cup login'",
            Self::LoginExpired => "log in again with 'cup login'",
            Self::NoOrg => "choose one with 'cup target -o ORG'; 'cup orgs' lists them",
            Self::NoSpace => "choose one with 'cup target -s SPACE'; 'cup spaces' lists them",
            Self::ForeignAddress { .. } => "give a path such as /v2/info",
            Self::Unreachable { cause, .. } if cause.to_lowercase().contains("certificate") => {
                "if you trust the platform, use 'cup api URL --skip-ssl-validation'"
            }
            Self::Unreachable { .. } => {
                "check that the platform is up and that 'cup api' shows the right address"
            }
            Self::Timeout { .. } | Self::Broken { .. } => {
                "try again; CUP_TRACE=true shows each request"
            }
            Self::Decode { .. } | Self::TooLarge { .. } => {
                "check that 'cup api' shows the address of a Cloud Foundry API"
            }
            Self::Refused(refusal) => return refusal.advice().map(str::to_owned),
            Self::Session(error) => return Some(error.advice()),
            Self::BadAddress { .. } | Self::Setup { .. } | Self::Encode(_) => return None,
        };
        Some(advice.to_owned())
    }
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn read(answer: &Answer) -> Self {
        let body: ErrorBody = serde_json::from_slice(&answer.body).unwrap_or_default();
        let mut refusal = Self {
            url: answer.url.clone(),
            status: answer.status,
            code: body.code,
            name: body.error_code,
            description: body.description,
        };
        if let Some(first) = body.errors.into_iter().next() {
            refusal.code = first.code;
            refusal.name = first.title;
            refusal.description = first.detail;
        } else if refusal.name.is_empty() {
            refusal.name = body.error;
        }
        if refusal.description.is_empty() {
            refusal.description = body.error_description;
        }
        if refusal.description.is_empty() {
            refusal.description = quote(&answer.body);
        }
        refusal
    }

    fn advice(&self) -> Option<&'static str> {
        Some(match (self.status.as_u16(), self.code) {
            (401, _) => "log in again with 'cup login'",
            (_, 10003) => "ask a manager of the org for the role that this needs",
            (_, 100_002) => "choose another name, or push to the app that has it",
            (_, 100_005 | 310_003) => "use less memory with -m, or stop another app",
            (_, 210_003) => "choose another host with -n, or use --random-route",
            (_, 170_003) => {
                "name a buildpack with -b, and check that the folder given by -p is the app's"
            }
            (_, 10000) if self.status == StatusCode::NOT_FOUND => {
                "this platform may not know the request; check 'cup api'"
            }
            (413, _) => "leave out what the app does not need, with a .cfignore file",
            (429, _) => "wait a minute and try again",
            (500..=599, _) => "try again; if it stays, ask the operator and name the time",
            _ => return None,
        })
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.description.is_empty() {
            write!(f, "{} answered", self.url)?;
        } else {
            f.write_str(self.description.trim_end_matches('.'))?;
        }
        write!(f, " (HTTP {}", self.status.as_u16())?;
        if !self.name.is_empty() {
            write!(f, ", {}", self.name)?;
        }
        if self.code != 0 {
            write!(f, " {}", self.code)?;
        }
        f.write_str(")")
    }
}

impl StdError for Refusal {}

/// The start of an answer that is not JSON, fit for one line.
fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST_QUOTE).collect()
}

/// The innermost cause: the outer ones only repeat the address.
pub(crate) fn root_cause(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal::read(&Answer {
            url: "http://api/v2/apps".parse().unwrap(),
            status: StatusCode::from_u16(status).unwrap(),
            version: reqwest::Version::HTTP_11,
            headers: reqwest::header::HeaderMap::new(),
            body: body.to_owned().into(),
        })
    }

    #[test]
    fn every_dialect_of_error_body_is_understood() {
        let v2 = refusal(
            400,
            r#"{"code":100002,"description":"The app name is taken: a","error_code":"CF-AppNameTaken"}"#,
        );
        assert_eq!(
            v2.to_string(),
            "The app name is taken: a (HTTP 400, CF-AppNameTaken 100002)"
        );
        let uaa = refusal(
            401,
            r#"{"error":"unauthorized","error_description":"Bad credentials"}"#,
        );
        assert_eq!(uaa.to_string(), "Bad credentials (HTTP 401, unauthorized)");
        let v3 = refusal(
            404,
            r#"{"errors":[{"code":10010,"title":"CF-ResourceNotFound","detail":"x"}]}"#,
        );
        assert_eq!(v3.to_string(), "x (HTTP 404, CF-ResourceNotFound 10010)");
        let html = refusal(502, "<html>\n<b>bad   gateway</b>");
        assert_eq!(html.to_string(), "<html> <b>bad gateway</b> (HTTP 502)");
        assert_eq!(
            refusal(500, "").to_string(),
            "http://api/v2/apps answered (HTTP 500)"
        );
    }

    #[test]
    fn refusals_come_with_advice() {
        let taken = r#"{"code":210003,"description":"x","error_code":"CF-RouteHostTaken"}"#;
        assert!(
            refusal(400, taken)
                .advice()
                .unwrap()
                .contains("--random-route")
        );
        assert!(refusal(401, "").advice().unwrap().contains("cup login"));
    }
}
