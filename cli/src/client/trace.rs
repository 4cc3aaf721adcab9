//! `CUP_TRACE` and `-v`: every request and answer in words, with the secrets masked.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::request::{Answer, Body, Request};
use crate::surroundings::TraceTo;

const MASK: &str = "[PRIVATE DATA HIDDEN]";
/// More of a body than this is not written.
const LONGEST_BODY: usize = 64 * 1024;
/// Keys of JSON bodies and forms whose values nobody should read over a shoulder.
const PRIVATE: [&str; 17] = [
    "access_token",
    "auth_password",
    "client_secret",
    "credentials",
    "environment_json",
    "id_token",
    "oldpassword",
    "passcode",
    "password",
    "refresh_token",
    "running_env_json",
    "secret",
    "signature",
    "staging_env_json",
    "system_env_json",
    "token",
    "docker_credentials",
];

#[derive(Debug)]
pub(crate) struct Trace {
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Nowhere,
    Stderr,
    File(Mutex<File>),
}

/// The trace file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the trace file {}", path.display())]
pub(crate) struct TraceError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

// === impl Trace ===

impl Trace {
    pub(crate) fn open(to: &TraceTo) -> Result<Self, TraceError> {
        let sink = match to {
            TraceTo::Nowhere => Sink::Nowhere,
            TraceTo::Stderr => Sink::Stderr,
            TraceTo::File(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)
                .map(|file| Sink::File(Mutex::new(file)))
                .map_err(|source| TraceError {
                    path: path.clone(),
                    source,
                })?,
        };
        Ok(Self { sink })
    }

    pub(crate) fn request(&self, request: &Request) {
        self.write(|| {
            let body = match &request.body {
                Body::Empty => String::new(),
                Body::Json(bytes) | Body::Raw(bytes) => masked_body(bytes),
                Body::Form(bytes) => masked_form(bytes),
            };
            told_request(
                request.method.as_str(),
                &request.url,
                &request.headers,
                &body,
            )
        });
    }

    /// A request whose body is streamed and not shown.
    pub(crate) fn streamed(&self, method: &str, url: &url::Url, what: &str) {
        self.write(|| told_request(method, url, &HeaderMap::new(), &format!("[{what}]")));
    }

    pub(crate) fn answer(&self, answer: &Answer) {
        self.write(|| {
            format!(
                "RESPONSE: [{}]\n{:?} {}\n{}\n{}\n\n",
                crate::clock::stamp(crate::clock::now()),
                answer.version,
                answer.status,
                told_headers(&answer.headers),
                masked_body(&answer.body),
            )
        });
    }

    fn write(&self, words: impl FnOnce() -> String) {
        // A trace that cannot be written must not fail the command that it watches.
        match &self.sink {
            Sink::Nowhere => {}
            Sink::Stderr => {
                let _ = io::stderr().lock().write_all(words().as_bytes());
            }
            Sink::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = file.write_all(words().as_bytes());
            }
        }
    }
}

fn told_request(method: &str, url: &url::Url, headers: &HeaderMap, body: &str) -> String {
    format!(
        "REQUEST: [{}]\n{method} {}\n{}\n{body}\n\n",
        crate::clock::stamp(crate::clock::now()),
        masked_url(url),
        told_headers(headers),
    )
}

fn told_headers(headers: &HeaderMap) -> String {
    let lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| {
            let private = value.is_sensitive()
                || matches!(name.as_str(), "authorization" | "set-cookie" | "cookie");
            let value = if private {
                MASK.into()
            } else {
                String::from_utf8_lossy(value.as_bytes())
            };
            format!("{name}: {value}\n")
        })
        .collect();
    lines.concat()
}

fn is_private(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    PRIVATE.contains(&key.as_str())
}

fn masked_url(url: &url::Url) -> String {
    if url.query_pairs().all(|(key, _)| !is_private(&key)) {
        return url.to_string();
    }
    let mut masked = url.clone();
    masked
        .query_pairs_mut()
        .clear()
        .extend_pairs(url.query_pairs().map(|(key, value)| {
            let value = if is_private(&key) { MASK.into() } else { value };
            (key, value)
        }));
    masked.to_string()
}

fn masked_form(bytes: &[u8]) -> String {
    let pairs = url::form_urlencoded::parse(bytes).map(|(key, value)| {
        if is_private(&key) {
            (key, MASK.into())
        } else {
            (key, value)
        }
    });
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

fn masked_body(bytes: &[u8]) -> String {
    if bytes.len() > LONGEST_BODY {
        return format!("[{} bytes]", bytes.len());
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(mut value) => {
            mask(&mut value);
            serde_json::to_string_pretty(&value).unwrap_or_default()
        }
        Err(_) if bytes.is_empty() => String::new(),
        Err(_) => format!("[{} bytes that are not JSON]", bytes.len()),
    }
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if is_private(key) && !value.is_null() {
                    *value = Value::from(MASK);
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let body = masked_body(
            br#"{"access_token":"AAA","entity":[{"environment_json":{"K":"BBB"},"name":"n"}]}"#,
        );
        assert!(
            !body.contains("AAA") && !body.contains("BBB") && body.contains("\"n\""),
            "{body}"
        );
        let form = masked_form(b"grant_type=password&username=u&password=CCC");
        assert!(
            !form.contains("CCC") && form.contains("username=u"),
            "{form}"
        );
        let url = masked_url(&"http://x/b?expires=1&signature=DDD".parse().unwrap());
        assert!(!url.contains("DDD") && url.contains("expires=1"), "{url}");
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "bearer EEE".parse().unwrap());
        assert!(!told_headers(&headers).contains("EEE"));
    }

    #[test]
    fn a_body_that_is_not_json_is_only_counted() {
        assert_eq!(masked_body(b"\x00\x01"), "[2 bytes that are not JSON]");
        assert_eq!(masked_body(b""), "");
    }
}
