//! A request written by hand.

use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};

use super::UsageError;
use crate::args;

/// Largest file that is sent as a body, in bytes.
const LARGEST_BODY: u64 = 64 << 20;

#[derive(Debug)]
pub(crate) struct CurlPlan {
    pub(crate) path: String,
    pub(crate) method: Method,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Option<Bytes>,
    /// Print status and headers too.
    pub(crate) include: bool,
    pub(crate) output: Option<PathBuf>,
}

pub(super) fn curl(typed: args::Curl) -> anyhow::Result<CurlPlan> {
    let body = typed.data.as_deref().map(body).transpose()?;
    let method = match typed.method {
        Some(method) => Method::from_bytes(method.to_ascii_uppercase().as_bytes())
            .map_err(|_| UsageError::new(format!("-X: {method:?} is no method")))?,
        None if body.is_some() => Method::POST,
        None => Method::GET,
    };
    let headers = typed
        .headers
        .iter()
        .map(|text| header(text))
        .collect::<Result<_, _>>()?;
    Ok(CurlPlan {
        path: typed.path,
        method,
        headers,
        body,
        include: typed.include,
        output: typed.output,
    })
}

/// As `curl` has it: `@name` is a file.
fn body(data: &str) -> anyhow::Result<Bytes> {
    let Some(path) = data.strip_prefix('@') else {
        return Ok(Bytes::from(data.to_owned()));
    };
    let size = std::fs::metadata(path)
        .with_context(|| format!("reading {path}"))?
        .len();
    if size > LARGEST_BODY {
        return Err(UsageError::new(format!("-d: {path} is larger than 64 MB")).into());
    }
    Ok(std::fs::read(path)
        .with_context(|| format!("reading {path}"))?
        .into())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), UsageError> {
    let wrong = || UsageError::new(format!("-H: {text:?} is no header; write 'Name: value'"));
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = name.trim().parse().map_err(|_| wrong())?;
    let value = value.trim().parse().map_err(|_| wrong())?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn typed(data: Option<&str>, method: Option<&str>, headers: &[&str]) -> args::Curl {
        args::Curl {
            path: "/v2/info".into(),
            method: method.map(str::to_owned),
            headers: headers.iter().map(|h| (*h).to_owned()).collect(),
            data: data.map(str::to_owned),
            include: false,
            output: None,
        }
    }

    #[test]
    fn a_body_makes_it_a_post_unless_told_otherwise() {
        assert_eq!(curl(typed(None, None, &[])).unwrap().method, Method::GET);
        assert_eq!(
            curl(typed(Some("{}"), None, &[])).unwrap().method,
            Method::POST
        );
        assert_eq!(
            curl(typed(Some("{}"), Some("put"), &[])).unwrap().method,
            Method::PUT
        );
        assert!(curl(typed(None, Some("a b"), &[])).is_err());
    }

    #[test]
    fn headers_need_a_colon() {
        let plan = curl(typed(None, None, &["X-A:  b: c"])).unwrap();
        assert_eq!(plan.headers[0].1, "b: c");
        assert!(curl(typed(None, None, &["X-A"])).is_err());
        assert!(curl(typed(Some("@/nowhere/at/all"), None, &[])).is_err());
    }
}
