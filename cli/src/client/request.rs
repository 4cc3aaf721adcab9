//! One request and its answer, as values: a request can be sent again after the token was renewed.

use std::time::Duration;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::error::{ApiError, Refusal};
use crate::session::Secret;

/// Longest wait for the whole answer to an ordinary request.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Empty,
    Json(Bytes),
    /// `application/x-www-form-urlencoded`.
    Form(Bytes),
    /// Whatever the caller's headers say it is.
    Raw(Bytes),
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) within: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) version: reqwest::Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

// === impl Request ===

impl Request {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            reqwest::header::ACCEPT,
            HeaderValue::from_static("application/json"),
        );
        Self {
            method,
            url,
            headers,
            body: Body::Empty,
            within: ANSWER_WITHIN,
        }
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, ApiError> {
        self.body = Body::Json(serde_json::to_vec(body).map_err(ApiError::Encode)?.into());
        Ok(self)
    }

    pub(crate) fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        self.body = Body::Form(form.finish().into_bytes().into());
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// With the token, spelled as `cf` spells it.
    pub(crate) fn bearer(self, token: &Secret) -> Self {
        self.authorization(&format!("bearer {}", token.reveal()))
    }

    /// With a header that is never shown. A token that is no header value cannot be valid: the
    /// platform then says so.
    pub(crate) fn authorization(mut self, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        self
    }

    /// Whether sending it twice is the same as sending it once.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

// === impl Answer ===

impl Answer {
    /// The answer if it is a success, else what the platform objected to.
    pub(crate) fn accepted(self) -> Result<Self, ApiError> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(ApiError::Refused(Box::new(Refusal::read(&self))))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body).map_err(|source| ApiError::Decode {
            url: self.url.clone(),
            source,
        })
    }

    /// The server is restarting or overloaded: the same request may well succeed in a moment.
    pub(crate) fn is_passing_trouble(&self) -> bool {
        matches!(
            self.status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        )
    }

    /// `X-Cf-Warnings`: comma-separated, each escaped like a query value.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.headers
            .get_all("x-cf-warnings")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|warning| warning.trim().replace('+', " "))
            .filter(|warning| !warning.is_empty())
            .map(|warning| {
                percent_decode_str(&warning)
                    .decode_utf8_lossy()
                    .into_owned()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn warnings_are_split_and_unescaped() {
        let mut headers = HeaderMap::new();
        headers.append(
            "x-cf-warnings",
            HeaderValue::from_static("Endpoint+deprecated,a%2Cb%20c"),
        );
        let answer = Answer {
            url: "http://x/".parse().unwrap(),
            status: StatusCode::OK,
            version: reqwest::Version::HTTP_11,
            headers,
            body: Bytes::new(),
        };
        assert_eq!(answer.warnings(), ["Endpoint deprecated", "a,b c"]);
    }

    #[test]
    fn form_values_are_escaped() {
        let request = Request::new(Method::POST, "http://x/".parse().unwrap())
            .form(&[("password", "a&b=c d"), ("scope", "")]);
        let Body::Form(form) = request.body else {
            panic!("no form")
        };
        assert_eq!(form, "password=a%26b%3Dc+d&scope=");
    }
}
